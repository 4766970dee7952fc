"""Which forms of answer a client takes: the ``Accept`` header (RFC 9110, section 12.5.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Literal, NamedTuple

GRAPHQL_JSON = "application/graphql-response+json"
LEGACY_JSON = "application/json"

JsonType = Literal["application/graphql-response+json", "application/json"]
StreamType = Literal["text/event-stream", "multipart/mixed"]

_QUALITY = re.compile(r"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")
_UTF_8 = ("utf-8", "utf8")
_CACHED_HEADER_CHARS = 300


class Accepted(NamedTuple):
    """What to answer with. ``json`` is for one response, ``stream`` for those of a subscription.

    ``only_streams``: a single response, too, is wanted as a stream of one.
    """

    json: JsonType | None
    stream: StreamType | None
    only_streams: bool


class _Range(NamedTuple):
    name: str
    parameters: Mapping[str, str]
    quality: float


def accepted(header: str) -> Accepted:
    """What the header asks for. No header is like ``*/*``, which means ``application/json``."""
    if len(header) > _CACHED_HEADER_CHARS:
        return _negotiated(header)  # the cache keeps its keys
    return _cached(header)


def _negotiated(header: str) -> Accepted:
    ranges = _ranges(header) if header.strip() else [_Range("*/*", {}, 1.0)]
    modern, legacy = _json_quality(ranges, GRAPHQL_JSON), _json_quality(ranges, LEGACY_JSON)
    best = max(modern, legacy)
    json: JsonType | None = None
    if best[0] > 0:
        # Named equally, the newer type says more; a wildcard comes from clients that know neither.
        prefers_modern = modern > legacy or (modern == legacy and modern[1] == _NAMED)
        json = "application/graphql-response+json" if prefers_modern else "application/json"
    events, parts = _events_quality(ranges), _parts_quality(ranges)
    stream: StreamType | None = None
    if events or parts:
        stream = "text/event-stream" if events >= parts else "multipart/mixed"
    return Accepted(json, stream, stream is not None and max(events, parts) > best[0])


_cached = lru_cache(maxsize=256)(_negotiated)

_NAMED, _OF_TYPE, _ANY = 3, 2, 1


def _json_quality(ranges: list[_Range], media_type: str) -> tuple[float, int]:
    """Quality of a type and how precisely it was named; the most precise range counts."""
    precision = {media_type: _NAMED, "application/*": _OF_TYPE, "*/*": _ANY}
    found = [
        (precision[entry.name], entry.quality)
        for entry in ranges
        if entry.name in precision and entry.parameters.get("charset", _UTF_8[0]) in _UTF_8
    ]
    most_precise, quality = max(found, default=(0, 0.0))
    return quality, most_precise


def _events_quality(ranges: list[_Range]) -> float:
    return max((r.quality for r in ranges if r.name == "text/event-stream"), default=0.0)


def _parts_quality(ranges: list[_Range]) -> float:
    # Without its parameter the type is that of other protocols.
    return max(
        (
            r.quality
            for r in ranges
            if r.name == "multipart/mixed"
            and r.parameters.get("subscriptionspec", "").startswith("1.0")
        ),
        default=0.0,
    )


def _ranges(header: str) -> list[_Range]:
    # No type that matters here has a parameter with a comma or semicolon in quotes.
    found = []
    for element in header.lower().split(","):
        name, *parts = (part.strip() for part in element.split(";"))
        pairs = (part.partition("=") for part in parts)
        parameters = {key.strip(): value.strip().strip('"') for key, _, value in pairs}
        quality = parameters.pop("q", "1")
        if _QUALITY.fullmatch(quality):
            found.append(_Range(name, parameters, float(quality)))
    return found
