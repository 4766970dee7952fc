"""Rows as named tuples, for the places that work on one resource at a time.

Field names and order are those of the table's columns; record times are microseconds UTC. Columns
are converted as a whole, so that a page of rows costs no per-value calls into Arrow.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa

from tams_gql.store.tables import (
    COLLECTIONS,
    FLOW_COUNTERS,
    FLOWS,
    JOBS,
    OBJECTS,
    PROFILES,
    SEGMENTS,
    SOURCES,
    Table,
)


class SourceRecord(NamedTuple):
    """A row of ``sources``."""

    id: str
    format: str
    label: str | None
    description: str | None
    tags: str | None
    created_by: str | None
    updated_by: str | None
    created: int
    updated: int
    version: int
    search: str | None
    explicit: bool
    flow_count: int


class FlowRecord(NamedTuple):
    """A row of ``flows``."""

    id: str
    source_id: str
    format: str
    label: str | None
    description: str | None
    tags: str | None
    codec: str | None
    container: str | None
    status: str | None
    read_only: bool
    generation: int | None
    avg_bit_rate: int | None
    max_bit_rate: int | None
    frame_width: int | None
    frame_height: int | None
    sample_rate: int | None
    channels: int | None
    init_segments: bool | None
    profile_id: str | None
    metadata_version: str | None
    created_by: str | None
    updated_by: str | None
    created: int
    metadata_updated: int
    version: int
    search: str | None
    body: str


class CountersRecord(NamedTuple):
    """A row of ``flow_counters``."""

    flow_id: str
    segment_count: int
    duration_ns: int
    bytes: int
    min_start_ns: int | None
    max_end_ns: int | None
    longest_ns: int
    segments_updated: int | None


class SegmentRecord(NamedTuple):
    """A row of ``segments``."""

    flow_id: str
    start_ns: int
    end_ns: int
    id: str
    object_id: str
    timerange: str
    ts_offset_ns: int
    last_duration_ns: int | None
    sample_offset: int | None
    sample_count: int | None
    key_frame_count: int | None
    size: int | None
    tags: str | None
    created: int


class ObjectRecord(NamedTuple):
    """A row of ``objects``."""

    id: str
    role: str | None
    size: int | None
    content_type: str | None
    timerange: str | None
    start_ns: int | None
    end_ns: int | None
    init_object_id: str | None
    key_frame_count: int | None
    instances: str
    created: int
    registered: int | None
    expires: int | None
    allocated_flow_id: str | None
    first_flow_id: str | None
    ref_count: int
    orphaned: int | None


class ProfileRecord(NamedTuple):
    """A row of ``profiles``."""

    id: str
    format: str
    codec: str | None
    label: str | None
    description: str | None
    tags: str | None
    created_by: str | None
    created: int
    body: str


class MemberRecord(NamedTuple):
    """A row of ``collections``."""

    parent_id: str
    position: int
    child_id: str
    role: str | None
    mapping: str | None
    parent_source_id: str
    child_source_id: str


class JobRecord(NamedTuple):
    """A row of ``jobs``."""

    id: str
    kind: str
    state: str
    object_id: str | None
    body: str
    due: int | None
    owner: str | None
    attempts: int
    done_bytes: int | None
    total_bytes: int | None
    error: str | None
    created: int
    updated: int


R = TypeVar(
    "R",
    SourceRecord,
    FlowRecord,
    CountersRecord,
    SegmentRecord,
    ObjectRecord,
    ProfileRecord,
    MemberRecord,
    JobRecord,
)

RECORD_TABLES: dict[type[tuple[Any, ...]], Table] = {
    SourceRecord: SOURCES,
    FlowRecord: FLOWS,
    CountersRecord: FLOW_COUNTERS,
    SegmentRecord: SEGMENTS,
    ObjectRecord: OBJECTS,
    ProfileRecord: PROFILES,
    MemberRecord: COLLECTIONS,
    JobRecord: JOBS,
}


def records(batch: pa.RecordBatch, kind: type[R]) -> list[R]:
    """The rows of a batch that holds all columns of the record's table, in order."""
    if batch.num_rows == 0:
        return []
    return list(map(kind._make, zip(*(values(column) for column in batch.columns), strict=True)))


def values(column: pa.Array) -> list[Any]:
    """A column as Python values, some twenty times faster than ``to_pylist``.

    Times come as integers. Works for text, booleans, 64-bit integers and timestamps.
    """
    if not (pa.types.is_integer(column.type) or pa.types.is_timestamp(column.type)):
        return list(column.to_numpy(zero_copy_only=False).tolist())
    numbers = np.frombuffer(column.buffers()[1], dtype=np.int64, count=len(column) + column.offset)
    plain: list[Any] = numbers[column.offset :].tolist()
    if column.null_count == 0:
        return plain
    # Through numpy a NULL would turn the whole column into floats and lose nanoseconds.
    valid = column.is_valid().to_numpy(zero_copy_only=False).tolist()
    return [value if known else None for value, known in zip(plain, valid, strict=True)]
