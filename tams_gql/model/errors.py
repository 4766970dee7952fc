"""The one tree of expected failures.

::

    TamsError
    ├── BadInput            BAD_USER_INPUT     an input is malformed or breaks a rule
    │   └── CursorExpired   CURSOR_EXPIRED     a change-log cursor is older than the log
    ├── NotFound            NOT_FOUND          a named resource does not exist
    ├── Conflict            CONFLICT           the change contradicts the stored state
    ├── ReadOnly            READ_ONLY          the flow is marked read-only
    ├── Forbidden           FORBIDDEN          the principal may not do this
    ├── Unauthenticated     UNAUTHENTICATED    no valid credentials
    ├── LimitExceeded       LIMIT_EXCEEDED     a configured limit was passed
    └── Unavailable         UNAVAILABLE        a store or media backend does not answer

Each front end has one table that turns ``code`` into its own wire form. Everything that is not a
``TamsError`` is a defect: it is logged with the request id and shown as ``INTERNAL``.
"""

from __future__ import annotations

from typing import ClassVar


class TamsError(Exception):
    """An expected failure, safe to show to the client.

    ``field`` is the input to blame, as a dotted path in the client's spelling.
    ``details`` are extra facts for machines; they never hold secrets.
    """

    code: ClassVar[str] = "INTERNAL"

    def __init__(self, message: str, *, field: str | None = None, **details: object) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.details = details


class BadInput(TamsError):
    """An input is malformed or breaks a rule of the model."""

    code = "BAD_USER_INPUT"


class CursorExpired(BadInput):
    """A change-log cursor points before the oldest event that is still kept."""

    code = "CURSOR_EXPIRED"


class NotFound(TamsError):
    """A resource that the client named does not exist."""

    code = "NOT_FOUND"


class Conflict(TamsError):
    """The change contradicts what is stored: a stale version, an overlap, a taken id."""

    code = "CONFLICT"


class ReadOnly(TamsError):
    """The flow is marked read-only."""

    code = "READ_ONLY"


class Forbidden(TamsError):
    """The principal may not do this."""

    code = "FORBIDDEN"


class Unauthenticated(TamsError):
    """No valid credentials were given."""

    code = "UNAUTHENTICATED"


class LimitExceeded(TamsError):
    """A configured limit was passed; the message names it, its value and what was asked."""

    code = "LIMIT_EXCEEDED"


class Unavailable(TamsError):
    """A store or media backend does not answer; the same call may succeed later."""

    code = "UNAVAILABLE"
