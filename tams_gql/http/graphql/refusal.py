"""How a request is told that it is not served, in the form of GraphQL errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Response = dict[str, Any]


def error_response(message: str, code: str, **details: object) -> Response:
    """A response with one error."""
    return {"errors": [{"message": message, "extensions": {"code": code, **details}}]}


class Refused(Exception):
    """The HTTP request itself is refused, whatever its operation is."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str = "BAD_USER_INPUT",
        headers: Mapping[str, str] | None = None,
        **details: object,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})
        self.response = error_response(message, code, **details)


class Malformed(Exception):
    """A request parameter is missing or of the wrong type; ``field`` names it."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Refusal:
    """The outcome of an operation that was not run.

    ``status`` is for HTTP, where the code of the error does not tell it. ``busy``: later it could
    have been run.
    """

    response: Response
    status: int | None = None
    busy: bool = False
    executed: bool = False


class NotRun(Exception):
    """The operation is not run; ``refusal`` is its outcome."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__()
        self.refusal = refusal
