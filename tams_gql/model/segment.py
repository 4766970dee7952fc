"""A segment to register (schema ``flow-segment-post``).

Thousands of these arrive in a second, so this is plain Python with one pass over the known keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tams_gql.model.bounds import bad_input, check_int, refuse
from tams_gql.model.ids import parse_object_id
from tams_gql.model.media_object import ExternalUrl, parse_external_urls
from tams_gql.model.tags import TagsJson, parse_tags
from tams_gql.model.time import MAX_NS, MIN_NS, TimeRange, parse_timestamp


@dataclass(frozen=True, slots=True)
class NewSegment:
    """One stretch of a flow's timeline and the object that holds its samples.

    ``ts_offset_ns`` is segment time minus object time, with the client's text beside it.
    ``object_timerange`` is on the object's own timeline, and only set when the client gave it.
    """

    object_id: str
    timerange: TimeRange
    ts_offset_ns: int
    ts_offset_text: str | None
    object_timerange: TimeRange | None
    last_duration_ns: int | None
    sample_offset: int | None
    sample_count: int | None
    key_frame_count: int | None
    init_object_id: str | None
    get_urls: tuple[ExternalUrl, ...]
    tags: TagsJson


def parse_new_segment(body: Mapping[str, object], *, field: str) -> NewSegment:
    """Check one segment; a key whose value is ``null`` counts as left out.

    ``field`` is the path of the segment inside the client's input. Keys that the catalog sets or
    does not know are ignored. Raises ``BadInput`` about the first offending key.
    """
    if not isinstance(body, Mapping):
        refuse(field, body, "a JSON object")
    get = body.get
    # Paths are joined here once: `dotted` for every key would cost as much as the checks.
    prefix = f"{field}." if field else ""
    timerange = _timerange(_required(body, "timerange", prefix), f"{prefix}timerange")
    if timerange.text[0] == "(":
        # Schema `flow-segment-post`: the start is always inclusive.
        refuse(f"{prefix}timerange", timerange.text, "the start must be inclusive: [")
    object_timerange = (
        _timerange(text, f"{prefix}object_timerange")
        if (text := get("object_timerange")) is not None
        else None
    )
    object_id, init_object_id = _object_ids(body, prefix)
    ts_offset_ns, ts_offset_text = _ts_offset(body, timerange, prefix)
    urls, tags = get("get_urls"), get("tags")
    return NewSegment(
        object_id,
        timerange,
        ts_offset_ns,
        ts_offset_text,
        object_timerange,
        _last_duration(body, prefix),
        _count(body, "sample_offset", prefix),
        _count(body, "sample_count", prefix),
        _count(body, "key_frame_count", prefix),
        init_object_id,
        () if urls is None else parse_external_urls(urls, field=f"{prefix}get_urls"),
        {} if tags is None else parse_tags(tags, field=f"{prefix}tags"),
    )


def _required(body: Mapping[str, object], key: str, prefix: str) -> object:
    value = body.get(key)
    if value is None:
        raise bad_input(prefix + key, "is required")
    return value


def _timerange(text: object, field: str) -> TimeRange:
    # Samples lie somewhere: a range without them, or without end, cannot be a segment's.
    timerange = TimeRange.parse(text, field=field)
    if timerange.is_empty or not timerange.is_bounded:
        refuse(field, text, "a range with a start and an end that is not empty")
    return timerange


def _object_ids(body: Mapping[str, object], prefix: str) -> tuple[str, str | None]:
    object_id = parse_object_id(_required(body, "object_id", prefix), field=f"{prefix}object_id")
    init = body.get("init_object_id")
    if init is None:
        return object_id, None
    field = f"{prefix}init_object_id"
    init_object_id = parse_object_id(init, field=field)
    if init_object_id == object_id:
        refuse(field, init, "a media object cannot be its own initialisation segment")
    return object_id, init_object_id


def _ts_offset(
    body: Mapping[str, object], timerange: TimeRange, prefix: str
) -> tuple[int, str | None]:
    text = body.get("ts_offset")
    if text is None:
        return 0, None
    field = f"{prefix}ts_offset"
    offset_ns = parse_timestamp(text, field=field)
    # The place on the object's own timeline must be a time too.
    if timerange.start_ns - offset_ns < MIN_NS or timerange.end_ns - offset_ns > MAX_NS:
        refuse(field, text, f"{timerange.text} less the offset must stay within ±292 years")
    return offset_ns, str(text)


def _last_duration(body: Mapping[str, object], prefix: str) -> int | None:
    text = body.get("last_duration")
    if text is None:
        return None
    duration_ns = parse_timestamp(text, field=f"{prefix}last_duration")
    if duration_ns < 0:
        refuse(f"{prefix}last_duration", text, "a duration of at least 0:0")
    return duration_ns


def _count(body: Mapping[str, object], key: str, prefix: str) -> int | None:
    value = body.get(key)
    return None if value is None else check_int(value, prefix + key, minimum=0)
