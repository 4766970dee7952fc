"""Log records as text for people or as JSON lines, each with the id of its request.

Nothing secret is logged: the access log has no query strings, because signed media URLs carry
their signature there, and what slips into other messages is cut out before it is written.
"""

from __future__ import annotations

import asyncio
import logging
import re
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal, TextIO

import orjson

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""Id of the request that the current task works for; set by the HTTP middleware."""

FIELDS = "fields"
"""Key of ``extra``: a dictionary of values that JSON lines show as fields of their own."""

_QUERY = re.compile(r"\?[^\s\"'<>?]*=[^\s\"'<>]*")
_AUTHORIZATION = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def configure_logs(level: str, form: Literal["text", "json"], stream: TextIO | None = None) -> None:
    """Send every record of at least ``level`` to ``stream`` (standard error), replacing handlers.

    uvicorn's own notes about single connections are left out: they hold query strings, and the
    middleware logs each request.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    handler.addFilter(_not_a_cancelled_request)
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = name != "uvicorn.access"
        logger.setLevel(logging.WARNING)
    logging.captureWarnings(True)


class TextLines(logging.Formatter):
    """``2026-01-31T12:00:00.000Z INFO tams_gql.http GET /graphql 200 3.1 ms [request id]``"""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, followed by the traceback if there is one."""
        message = _plain(_clean(record.getMessage()))
        ids = " ".join(value for value in (request_id.get(), _trace_id()) if value)
        line = f"{_time(record)} {record.levelname} {record.name} {message}"
        if ids:
            line = f"{line} [{ids}]"
        trace = _traceback(self, record)
        # Indented, so that no line of a message inside it can pass for a record.
        return "\n".join([line, *(f"    {_plain(part)}" for part in trace.splitlines())])


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, the ids, and the record's fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the object; a value that JSON does not know is written as its text."""
        line: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _clean(record.getMessage()),
            "request_id": request_id.get(),
            "trace_id": _trace_id(),
            **getattr(record, FIELDS, {}),
            "exception": _traceback(self, record) or None,
        }
        present = {key: value for key, value in line.items() if value is not None}
        return orjson.dumps(present, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    return _clean(formatter.formatException(record.exc_info)) if record.exc_info else ""


def _clean(text: str) -> str:
    # A lone surrogate, as in a file name that is not UTF-8, could not be written.
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    text = _QUERY.sub("?[removed]", text)
    return _AUTHORIZATION.sub(r"\1 [removed]", text)


def _plain(text: str) -> str:
    # One record stays one line: a client must not be able to write lines of its own.
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def _trace_id() -> str | None:
    """Return the current OpenTelemetry trace id, if anything in this process has started a span."""
    # Importing the API only to learn that nobody traces would cost every start.
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    context = trace.get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else None


def _not_a_cancelled_request(record: logging.LogRecord) -> bool:
    """Drop uvicorn's traceback of a request that the end of the grace period cut off.

    uvicorn says in a line of its own how many requests that were.
    """
    cause = record.exc_info[1] if record.exc_info else None
    return not (record.name == "uvicorn.error" and isinstance(cause, asyncio.CancelledError))
