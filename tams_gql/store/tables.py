"""The tables of the catalog: names, keys and Arrow schemas, defined once for every backend.

Conventions: ids are UTF-8 text; media times are ``int64`` nanoseconds, ranges half-open
``[start_ns, end_ns)``; record times are ``timestamp[us, UTC]``; an absent value is NULL, never an
empty string or zero. Columns named ``tags``, ``body``, ``instances``,
``response`` and ``mapping`` hold JSON text.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa

_TEXT = pa.string()
_INT = pa.int64()
_FLAG = pa.bool_()
_TIME = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A table: its Arrow schema and the columns that identify a row.

    ``tagged`` names the kind of resource whose ``tags`` column the backend must make searchable.
    """

    name: str
    schema: pa.Schema
    key: tuple[str, ...]
    tagged: str | None = None
    columns: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", tuple(self.schema.names))

    def __repr__(self) -> str:
        return f"Table({self.name})"


def _schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema([pa.field(name, kind) for name, kind in columns.items()])


SOURCES = Table(
    "sources",
    _schema(
        id=_TEXT,
        format=_TEXT,
        label=_TEXT,
        description=_TEXT,
        tags=_TEXT,
        created_by=_TEXT,
        updated_by=_TEXT,
        created=_TIME,
        updated=_TIME,
        version=_INT,
        search=_TEXT,  # label, description, tag values: case-folded, one a line, no U+0000
        explicit=_FLAG,  # made by a client, so kept when its last flow goes
        flow_count=_INT,  # guards the removal together with the last flow
    ),
    key=("id",),
    tagged="source",
)

FLOWS = Table(
    "flows",
    _schema(
        id=_TEXT,
        source_id=_TEXT,
        format=_TEXT,
        label=_TEXT,
        description=_TEXT,
        tags=_TEXT,
        codec=_TEXT,
        container=_TEXT,
        status=_TEXT,
        read_only=_FLAG,
        generation=_INT,
        avg_bit_rate=_INT,  # 1000 bit/s
        max_bit_rate=_INT,  # 1000 bit/s
        frame_width=_INT,  # pixels
        frame_height=_INT,  # pixels
        sample_rate=_INT,  # Hz
        channels=_INT,
        init_segments=_FLAG,
        profile_id=_TEXT,
        metadata_version=_TEXT,
        created_by=_TEXT,
        updated_by=_TEXT,
        created=_TIME,
        metadata_updated=_TIME,
        version=_INT,
        search=_TEXT,  # label, description, tag values: case-folded, one a line, no U+0000
        body=_TEXT,  # the technical part of the specification's JSON, as the client sent it
    ),
    key=("id",),
    tagged="flow",
)

# Kept by the writing transaction, so that no reader ever aggregates segments.
FLOW_COUNTERS = Table(
    "flow_counters",
    _schema(
        flow_id=_TEXT,
        segment_count=_INT,
        duration_ns=_INT,
        bytes=_INT,  # sum over segments of their object's size, unknown sizes count 0
        min_start_ns=_INT,
        max_end_ns=_INT,
        longest_ns=_INT,  # never shrinks while the flow has segments: an upper bound
        segments_updated=_TIME,
    ),
    key=("flow_id",),
)

SEGMENTS = Table(
    "segments",
    _schema(
        flow_id=_TEXT,
        start_ns=_INT,
        end_ns=_INT,
        id=_TEXT,
        object_id=_TEXT,
        timerange=_TEXT,  # as registered
        ts_offset_ns=_INT,
        last_duration_ns=_INT,
        sample_offset=_INT,
        sample_count=_INT,
        key_frame_count=_INT,
        size=_INT,  # bytes of the object, kept here so that sums need no join
        tags=_TEXT,
        created=_TIME,
    ),
    key=("flow_id", "start_ns"),
)

OBJECTS = Table(
    "objects",
    _schema(
        id=_TEXT,
        role=_TEXT,  # NULL until registered, then 'media' or 'init'; never both
        size=_INT,  # bytes
        content_type=_TEXT,
        timerange=_TEXT,  # on the object's own timeline, as registered
        start_ns=_INT,
        end_ns=_INT,
        init_object_id=_TEXT,
        key_frame_count=_INT,
        instances=_TEXT,  # where the bytes are: [{storage_id, key} or {url, label}]
        created=_TIME,
        registered=_TIME,
        expires=_TIME,  # end of the allocation; NULL once registered
        allocated_flow_id=_TEXT,
        first_flow_id=_TEXT,
        ref_count=_INT,  # segments, or for an initialisation object the objects, that use it
        orphaned=_TIME,  # since when nothing uses it; NULL before registration and while in use
    ),
    key=("id",),
)

STORAGE_BACKENDS = Table(
    "storage_backends",
    _schema(
        id=_TEXT, label=_TEXT, body=_TEXT, created=_TIME
    ),  # what this catalog has ever stored objects in
    key=("id",),
)

PROFILES = Table(
    "profiles",
    _schema(
        id=_TEXT,
        format=_TEXT,
        codec=_TEXT,
        label=_TEXT,
        description=_TEXT,
        tags=_TEXT,
        created_by=_TEXT,
        created=_TIME,
        body=_TEXT,  # the specification's flow_metadata
    ),
    key=("id",),
    tagged="profile",
)

COLLECTIONS = Table(
    "collections",
    _schema(
        parent_id=_TEXT,
        position=_INT,
        child_id=_TEXT,
        role=_TEXT,
        mapping=_TEXT,
        parent_source_id=_TEXT,  # kept here so that source collections are one scan
        child_source_id=_TEXT,
    ),
    key=("parent_id", "position"),
)

EVENTS = Table(
    "events",
    _schema(
        position=_TEXT,  # order of the log, made by the store
        type=_TEXT,
        created=_TIME,
        source_id=_TEXT,
        flow_id=_TEXT,
        body=_TEXT,
    ),
    key=("position",),
)

RECEIPTS = Table(
    "receipts",
    _schema(
        key=_TEXT,  # the client's idempotency key with the operation's name
        fingerprint=_TEXT,
        response=_TEXT,
        position=_TEXT,  # of the log after the change
        created=_TIME,
    ),
    key=("key",),
)

# Work that outlives the request and the process that asked for it.
JOBS = Table(
    "jobs",
    _schema(
        id=_TEXT,
        kind=_TEXT,
        state=_TEXT,  # 'waiting', 'running', 'done' or 'failed'
        object_id=_TEXT,
        body=_TEXT,  # what is to be done
        due=_TIME,  # when to begin or to try again, while running the end of the lease; NULL: never
        owner=_TEXT,  # the worker that runs it
        attempts=_INT,  # begun so far, this one included
        done_bytes=_INT,
        total_bytes=_INT,
        error=_TEXT,  # of the last attempt
        created=_TIME,
        updated=_TIME,
    ),
    key=("id",),
)

SERVICE = Table("service", _schema(name=_TEXT, value=_TEXT), key=("name",))

TABLES = (
    SOURCES,
    FLOWS,
    FLOW_COUNTERS,
    SEGMENTS,
    OBJECTS,
    STORAGE_BACKENDS,
    PROFILES,
    COLLECTIONS,
    EVENTS,
    RECEIPTS,
    JOBS,
    SERVICE,
)
