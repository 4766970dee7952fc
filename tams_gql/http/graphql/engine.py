"""What the transports need of the GraphQL engine."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, Literal, Protocol, TypeVar

Kind = Literal["query", "mutation", "subscription"]

ContextT = TypeVar("ContextT", contravariant=True)


class Outcome(Protocol):
    """One response; ``executed`` tells whether the operation was run, so that it has ``data``."""

    @property
    def response(self) -> dict[str, Any]:
        """The response as JSON."""

    @property
    def executed(self) -> bool:
        """False if the request was refused before anything ran."""


class Prepared(Protocol):
    """The kind of the operation, or why it cannot be run."""

    @property
    def kind(self) -> Kind | None:
        """None if there is a refusal."""

    @property
    def refusal(self) -> Outcome | None:
        """What to answer instead."""


class Engine(Protocol[ContextT]):
    """Runs GraphQL operations. Failures are outcomes, not exceptions."""

    def prepare(self, query: str, operation_name: str | None) -> Prepared:
        """Parse the document and choose its operation."""

    async def execute(
        self,
        query: str,
        *,
        variables: dict[str, Any] | None,
        operation_name: str | None,
        extensions: dict[str, Any] | None,
        context: ContextT,
    ) -> Outcome:
        """Run a query or mutation."""

    def stream(
        self,
        query: str,
        *,
        variables: dict[str, Any] | None,
        operation_name: str | None,
        extensions: dict[str, Any] | None,
        context: ContextT,
    ) -> AsyncGenerator[Outcome, None]:
        """Run a subscription."""
