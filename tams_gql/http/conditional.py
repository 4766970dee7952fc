"""Conditional and range requests: what the headers ask for, given what is stored (RFC 9110)."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import NamedTuple

from starlette.datastructures import Headers

_ETAG = re.compile(r'(?:W/)?("[^"]*")')
_SINGLE_RANGE = re.compile(r"bytes=[ \t]*([0-9]*)-([0-9]*)[ \t]*", re.IGNORECASE)


class ByteRange(NamedTuple):
    """Bytes ``start`` to ``stop``, ``stop`` not included."""

    start: int
    stop: int


class RangeNotSatisfiable(Exception):
    """The asked range lies wholly behind the end (416)."""


def http_date(moment: datetime) -> str:
    """``moment`` as HTTP writes dates: in GMT, whole seconds."""
    return format_datetime(moment.astimezone(UTC), usegmt=True)


def refused_by_precondition(headers: Headers, etag: str, modified: datetime) -> int | None:
    """304 or 412 if a precondition ends the request, else None (section 13.2.2).

    ``etag`` is strong and comes with its quotes.
    """
    modified = modified.replace(microsecond=0)
    if "if-match" in headers:
        if not _names(headers, "if-match", etag, weakly=False):
            return 412
    elif (since := _date(headers.get("if-unmodified-since"))) and modified > since:
        return 412
    if "if-none-match" in headers:
        return 304 if _names(headers, "if-none-match", etag, weakly=True) else None
    if (since := _date(headers.get("if-modified-since"))) and modified <= since:
        return 304
    return None


def requested_range(headers: Headers, etag: str, modified: datetime, size: int) -> ByteRange | None:
    """The single byte range to answer with, or None for the whole.

    The whole it is where there is no range, where it is malformed or in other units, where there
    are several (sections 14.1.2 and 14.2 leave that to the server), and where ``If-Range`` names
    another version. Raises RangeNotSatisfiable.
    """
    asked = headers.get("range")
    if asked is None or not _if_range_holds(headers.get("if-range"), etag, modified):
        return None
    return parse_range(asked, size)


def parse_range(text: str, size: int) -> ByteRange | None:
    """One byte range of a representation of ``size`` bytes; None if ``text`` is to be ignored."""
    found = _SINGLE_RANGE.fullmatch(text.strip(" \t"))
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        return _suffix(_position(last), size)
    start, end = _position(first), _position(last) if last else sys.maxsize
    if end < start:
        return None
    if start >= size:
        raise RangeNotSatisfiable
    return ByteRange(start, min(end + 1, size))


def _suffix(length: int, size: int) -> ByteRange | None:
    if length == 0:
        raise RangeNotSatisfiable
    # The end of nothing is nothing, which a 206 cannot express.
    return ByteRange(max(0, size - length), size) if size else None


def _position(digits: str) -> int:
    """The number, or one beyond any file if it is too long to be worth computing."""
    return int(digits) if len(digits) < 19 else sys.maxsize


def _names(headers: Headers, name: str, etag: str, *, weakly: bool) -> bool:
    listed = ", ".join(headers.getlist(name)).strip()
    if listed == "*":
        return True
    return any(
        found[1] == etag and (weakly or not found[0].startswith("W/"))
        for found in _ETAG.finditer(listed)
    )


def _if_range_holds(condition: str | None, etag: str, modified: datetime) -> bool:
    if condition is None:
        return True
    return condition.strip() in (etag, http_date(modified))


def _date(text: str | None) -> datetime | None:
    """The date, or None if there is none or it cannot be read: then it is as if it was not sent."""
    try:
        date = parsedate_to_datetime(text) if text else None
    except (ValueError, OverflowError):  # the parser lets numbers through that no date can hold
        return None
    if date is None:
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
