"""What transports run operations with: plain responses instead of the library's results."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from graphql import GraphQLError
from strawberry.types.execution import ExecutionResult, PreExecutionError

from tams_gql.context import Context
from tams_gql.schema.errors import coded
from tams_gql.schema.operation_cache import OperationCache, OperationKind

Response = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One response. ``executed`` is False if the request was refused before anything ran.

    Such a response has no ``data``; one that was executed has it, be it null.
    """

    response: Response
    executed: bool


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a document asks to run: the kind of its operation, or why it cannot be told."""

    kind: OperationKind | None
    refusal: Outcome | None


class GraphQLEngine:
    """Runs operations of one schema."""

    def __init__(self, schema: Any, cache: OperationCache) -> None:
        self._schema = schema
        self._cache = cache

    def prepare(self, query: str, operation_name: str | None) -> Prepared:
        """Parse the document, or find it parsed, and choose the operation."""
        try:
            return Prepared(self._cache.parsed(query).kind_of(operation_name), None)
        except GraphQLError as error:
            return Prepared(None, _refusal([coded(error)]))

    async def execute(
        self,
        query: str,
        *,
        variables: dict[str, Any] | None,
        operation_name: str | None,
        extensions: dict[str, Any] | None,
        context: Context,
    ) -> Outcome:
        """Run a query or mutation."""
        try:
            result = await self._schema.execute(
                query,
                variable_values=variables,
                operation_name=operation_name,
                context_value=context,
                operation_extensions=extensions,
            )
        except asyncio.CancelledError as stray:
            return _failed(_not_ours(stray))
        return _outcome(result)

    async def stream(
        self,
        query: str,
        *,
        variables: dict[str, Any] | None,
        operation_name: str | None,
        extensions: dict[str, Any] | None,
        context: Context,
    ) -> AsyncGenerator[Outcome, None]:
        """Run a subscription; close the generator to end it."""
        try:
            results = await self._schema.stream(
                query,
                variable_values=variables,
                operation_name=operation_name,
                context_value=context,
                operation_extensions=extensions,
            )
            async with aclosing(results):
                async for result in results:
                    yield _outcome(result)
        except asyncio.CancelledError as stray:
            yield _failed(_not_ours(stray))
        except Exception as failure:
            # The library lets out what fails around the operation, such as giving back its reads.
            yield _failed(failure)


def _not_ours(stray: asyncio.CancelledError) -> Exception:
    """What a cancellation is that comes from inside an operation; raised again if it is our own.

    Nobody has cancelled the task then, so it must answer: its client would wait for ever.
    """
    task = asyncio.current_task()
    if task is None or task.cancelling():
        raise stray
    failure = RuntimeError("something that the operation waited for was cancelled")
    failure.__cause__ = stray
    return failure


def _failed(failure: Exception) -> Outcome:
    return _refusal([coded(GraphQLError(str(failure), original_error=failure))])


def _outcome(result: ExecutionResult) -> Outcome:
    errors = [coded(error) for error in result.errors or ()]
    # Only what a field has failed with has a path; the rest has kept the operation from running.
    executed = result.data is not None or (
        not isinstance(result, PreExecutionError) and any(error.path for error in errors)
    )
    if not executed:
        return _refusal(errors, result.extensions)
    response: Response = {"data": result.data}
    if errors:
        response["errors"] = [error.formatted for error in errors]
    if result.extensions:
        response["extensions"] = result.extensions
    return Outcome(response, executed=True)


def _refusal(errors: list[GraphQLError], extensions: dict[str, Any] | None = None) -> Outcome:
    response: Response = {"errors": [error.formatted for error in errors]}
    if extensions:
        response["extensions"] = extensions
    return Outcome(response, executed=False)
