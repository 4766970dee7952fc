"""The rows of the generated catalog, made as the server itself would have stored them."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from typing import Any

from bench.catalog import (
    FLOWS_PER_SOURCE,
    RENDITIONS,
    SEGMENT_NS,
    Place,
    Rendition,
    Shape,
    created_us,
    genre_of,
    is_repeat,
    is_video,
    size_of,
)
from tams_gql.model.flow import parse_flow
from tams_gql.model.formats import ContentFormat
from tams_gql.model.time import TimeRange
from tams_gql.resolvers.documents import flow_row, search_text, tags_text, to_json_text
from tams_gql.store.records import (
    CountersRecord,
    FlowRecord,
    ObjectRecord,
    SegmentRecord,
    SourceRecord,
)

_CLIENT = "bench"
_FRAME_NS = 40_000_000
_FRAMES = SEGMENT_NS // _FRAME_NS
_TAGGED_EVERY = 20


def source_row(shape: Shape, source: int) -> SourceRecord:
    """A source with its three flows."""
    label, description = f"Programme {source}", f"Recording number {source} of the evening"
    tags = {"genre": genre_of(source), "audience": ["adults", "families"]}
    return SourceRecord(
        id=shape.id("source", source),
        format=_format(source).value,
        label=label,
        description=description,
        tags=tags_text(tags),
        created_by=_CLIENT,
        updated_by=_CLIENT,
        created=created_us(source),
        updated=created_us(source),
        version=1,
        search=search_text(label, description, tags),
        explicit=False,
        flow_count=FLOWS_PER_SOURCE,
    )


def flow_record(shape: Shape, flow: int) -> FlowRecord:
    """A flow; what it holds follows from its place below its source."""
    source, rendition = flow // FLOWS_PER_SOURCE, RENDITIONS[flow % FLOWS_PER_SOURCE]
    body = {
        "id": shape.id("flow", flow),
        "source_id": shape.id("source", source),
        "label": f"Programme {source} ({rendition.name})",
        "tags": {"genre": genre_of(source), "rendition": rendition.name},
        "generation": flow % FLOWS_PER_SOURCE,
        "max_bit_rate": rendition.max_bit_rate,
        "avg_bit_rate": rendition.max_bit_rate * 4 // 5,
        "segment_duration": {"numerator": 48, "denominator": 25},
        **(_pictures(rendition) if is_video(source) else _sound(rendition)),
    }
    # Within a source the flows were made one after the other.
    made = created_us(source) + flow % FLOWS_PER_SOURCE
    by = (_CLIENT, _CLIENT)
    return flow_row(parse_flow(body), created=made, updated=made, version=1, by=by)


def counters_row(shape: Shape, flow: int) -> CountersRecord:
    """What the writer would have counted for a flow."""
    flow_id, count = shape.id("flow", flow), shape.segments_of(flow)
    if count == 0:
        return CountersRecord(flow_id, 0, 0, 0, None, None, 0, None)
    return CountersRecord(
        flow_id=flow_id,
        segment_count=count,
        duration_ns=count * SEGMENT_NS,
        bytes=sum(size_of(shape.object_id(Place(flow, nth))) for nth in range(count)),
        min_start_ns=0,
        max_end_ns=count * SEGMENT_NS,
        longest_ns=SEGMENT_NS,
        segments_updated=_registered_us(Place(flow, count - 1)),
    )


def segment_row(shape: Shape, flow_id: str, place: Place) -> SegmentRecord:
    """A segment. A repeat lies one segment later than its object's own time."""
    object_id, repeat = shape.object_id(place), is_repeat(place.nth)
    timerange = _own_range(place.nth)
    token = bytes.fromhex(object_id[-12:]) + bytes((repeat, place.nth % 256))
    raw = timerange.start_ns.to_bytes(8, "big", signed=True) + token
    return SegmentRecord(
        flow_id=flow_id,
        start_ns=timerange.start_ns,
        end_ns=timerange.end_ns,
        id=urlsafe_b64encode(raw).decode().rstrip("="),
        object_id=object_id,
        timerange=timerange.text,
        ts_offset_ns=SEGMENT_NS if repeat else 0,
        last_duration_ns=_FRAME_NS,
        sample_offset=0,
        sample_count=_FRAMES,
        key_frame_count=1,
        size=size_of(object_id),
        tags=tags_text({"quality": "checked"}) if place.nth % _TAGGED_EVERY == 0 else None,
        created=_registered_us(place),
    )


def object_row(shape: Shape, place: Place, storage_id: str) -> ObjectRecord:
    """The object that a segment used first."""
    object_id, flow_id = shape.object_id(place), shape.id("flow", place.flow)
    timerange, made = _own_range(place.nth), _registered_us(place)
    repeated = place.nth + 1 < shape.segments_of(place.flow) and is_repeat(place.nth + 1)
    source = place.flow // FLOWS_PER_SOURCE
    key = f"2025/10/09/08/{object_id}"
    return ObjectRecord(
        id=object_id,
        role="media",
        size=size_of(object_id),
        content_type="video/mp2t" if is_video(source) else "audio/mp4",
        timerange=timerange.text,
        start_ns=timerange.start_ns,
        end_ns=timerange.end_ns,
        init_object_id=None,
        key_frame_count=1,
        instances=to_json_text([{"storage_id": storage_id, "key": key}]),
        created=made - 1_000_000,
        registered=made,
        expires=None,
        allocated_flow_id=flow_id,
        first_flow_id=flow_id,
        ref_count=2 if repeated else 1,
        orphaned=None,
    )


def _format(source: int) -> ContentFormat:
    return ContentFormat.VIDEO if is_video(source) else ContentFormat.AUDIO


def _pictures(rendition: Rendition) -> dict[str, Any]:
    return {
        "format": ContentFormat.VIDEO.value,
        "codec": "video/h264",
        "container": "video/mp2t",
        "essence_parameters": {
            "frame_width": rendition.width,
            "frame_height": rendition.height,
            "frame_rate": {"numerator": 25, "denominator": 1},
            "bit_depth": 8,
            "interlace_mode": "progressive",
            "colorspace": "BT709",
            "transfer_characteristic": "SDR",
            "component_type": "YCbCr",
        },
    }


def _sound(rendition: Rendition) -> dict[str, Any]:
    return {
        "format": ContentFormat.AUDIO.value,
        "codec": "audio/aac",
        "container": "audio/mp4",
        "essence_parameters": {"sample_rate": 48_000, "channels": rendition.channels},
    }


def _own_range(nth: int) -> TimeRange:
    return TimeRange.between(nth * SEGMENT_NS, (nth + 1) * SEGMENT_NS)


def _registered_us(place: Place) -> int:
    # As it was recorded: each segment when it had ended.
    source = place.flow // FLOWS_PER_SOURCE
    return created_us(source) + (place.nth + 1) * SEGMENT_NS // 1000 + place.flow % 1000
