"""Scalars of the public API.

Texts with a grammar of their own (times, MIME types) pass through as text: the domain parses them,
so that an error can name the input field and items of a batch fail one by one.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, NewType

import strawberry
from graphql import GraphQLError
from strawberry.types.scalar import ScalarDefinition

Timestamp = NewType("Timestamp", str)
TimeRange = NewType("TimeRange", str)
DateTime = NewType("DateTime", int)
BigInt = NewType("BigInt", int)
MimeType = NewType("MimeType", str)
Json = NewType("Json", object)

# Without a time zone, whose offset would be formatted as well and take as long as the rest.
_EPOCH = datetime(1970, 1, 1)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise GraphQLError(f"a string is expected, not {value!r:.80}")
    return value


def _date_time(us: int) -> str:
    text = (_EPOCH + timedelta(microseconds=us)).isoformat(timespec="microseconds")
    return f"{text}Z"


def _parse_date_time(value: Any) -> int:
    """Microseconds UTC of an RFC 3339 text."""
    try:
        parsed = datetime.fromisoformat(_text(value))
    except ValueError:
        raise GraphQLError(f"{value!r:.80} is not a date and time of RFC 3339") from None
    if parsed.tzinfo is None:
        raise GraphQLError(f"{value!r:.80} needs a UTC offset or Z")
    elapsed = parsed - datetime(1970, 1, 1, tzinfo=UTC)
    return (elapsed.days * 86_400 + elapsed.seconds) * 1_000_000 + elapsed.microseconds


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**63) <= value < 2**63:
        raise GraphQLError(f"a 64-bit integer is expected, not {value!r:.80}")
    return value


def _scalar(name: str, description: str, parse: Any = _text, serialize: Any = str) -> Any:
    return strawberry.scalar(
        name=name, description=description, parse_value=parse, serialize=serialize
    )


SCALARS: dict[object, ScalarDefinition] = {
    Timestamp: _scalar(
        "Timestamp",
        "A point on a media timeline, or a signed duration: `seconds:nanoseconds`, such as"
        " `10:500000000` or `-1:0`. At most ±292 years.",
    ),
    TimeRange: _scalar(
        "TimeRange",
        "A range on a media timeline in the TAMS grammar, such as `[0:0_10:0)`; `_` is everything,"
        " `()` nothing, `[10:0]` an instant. Registered ranges are returned exactly as sent.",
    ),
    DateTime: _scalar(
        "DateTime",
        "A moment in the life of a record: RFC 3339, UTC.",
        parse=_parse_date_time,
        serialize=_date_time,
    ),
    BigInt: _scalar(
        "BigInt",
        "A whole number of up to 64 bits, sent as a JSON number.",
        parse=_whole,
        serialize=_whole,
    ),
    MimeType: _scalar("MimeType", "A MIME type without parameters, such as `video/mp2t`."),
    Json: _scalar("JSON", "Any JSON value.", parse=lambda v: v, serialize=lambda v: v),
}
