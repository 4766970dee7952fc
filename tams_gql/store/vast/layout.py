"""The physical tables of the catalog in a VAST database.

VAST has no keys, no constraints and no sequences, and finds conflicts of writers only where they
write the same row. The layout follows from that: counters live in the flow's own row, an object's
row says where its users are, rows that a decision may rely on have a column ``lock`` to write, and
``guards`` holds rows on which creators of one key meet. Record times are ``int64`` microseconds,
because time literals lose precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from tams_gql.model.errors import LimitExceeded
from tams_gql.store.changes import Row
from tams_gql.store.tables import (
    COLLECTIONS,
    EVENTS,
    FLOW_COUNTERS,
    FLOWS,
    JOBS,
    OBJECTS,
    PROFILES,
    RECEIPTS,
    SEGMENTS,
    SERVICE,
    SOURCES,
    STORAGE_BACKENDS,
    Table,
)

ROW_ID = "$row_id"
LOCK = "lock"
USES = "uses"  # of an object: where segments that use it are, see ``store.vast.uses``
GUARD_ROWS = 65_536  # few enough to read at once, enough that strangers seldom share one

_TEXT = pa.string()
_INT = pa.int64()


@dataclass(frozen=True, slots=True, eq=False)
class Physical:
    """A table of the database. ``sorted_by`` columns can never be updated.

    ``lock`` says that the table has an int64 column of that name, which every update and touch of
    a row writes, so that two writers of one row write one cell.
    """

    name: str
    schema: pa.Schema
    sorted_by: tuple[str, ...] = ()
    lock: bool = False

    def __repr__(self) -> str:
        return f"Physical({self.name})"

    @property
    def row_id(self) -> pa.DataType:
        """The type of the pseudo column ``$row_id``; sorted tables have 128 bit ids."""
        return pa.decimal128(38, 0) if self.sorted_by else pa.uint64()


def _stored(kind: pa.DataType) -> pa.DataType:
    return _INT if pa.types.is_timestamp(kind) else kind


def _columns(table: Table, leave_out: tuple[str, ...] = ()) -> list[pa.Field]:
    return [pa.field(f.name, _stored(f.type)) for f in table.schema if f.name not in leave_out]


def _like(table: Table, sorted_by: tuple[str, ...] = (), *, lock: bool = False) -> Physical:
    fields = _columns(table) + ([pa.field(LOCK, _INT)] if lock else [])
    return Physical(table.name, pa.schema(fields), sorted_by, lock)


_SOURCES = _like(SOURCES, lock=True)
# A flow and its counters are one row: reading the flow brings them, and registering segments
# writes the row, which keeps the writers of one flow apart.
_FLOWS = Physical(
    FLOWS.name,
    pa.schema([*_columns(FLOWS), *_columns(FLOW_COUNTERS, ("flow_id",)), pa.field(LOCK, _INT)]),
    lock=True,
)
_SEGMENTS = _like(SEGMENTS, ("flow_id", "start_ns"))
_OBJECTS = Physical(
    OBJECTS.name,
    pa.schema([*_columns(OBJECTS), pa.field(LOCK, _INT), pa.field(USES, _TEXT)]),
    ("id",),
    lock=True,
)
_BACKENDS = _like(STORAGE_BACKENDS, lock=True)
_PROFILES = _like(PROFILES, lock=True)
_COLLECTIONS = _like(COLLECTIONS, ("parent_id",))
_EVENTS = Physical(
    EVENTS.name,
    pa.schema(
        [
            pa.field("lane", _TEXT),  # who numbered the event
            pa.field("seq", _INT),  # 1, 2, 3, ... within the lane
            pa.field("stamped", _INT),  # microseconds UTC by the cluster's clock
            pa.field("key", _TEXT),  # lane and seq in 16 hex digits, for ranges
            *_columns(EVENTS, ("position",)),
        ]
    ),
    ("stamped",),
)
_RECEIPTS = _like(RECEIPTS, ("key",))
_JOBS = _like(JOBS, lock=True)
_SERVICE = _like(SERVICE, lock=True)

GUARDS = Physical("guards", pa.schema([pa.field("slot", _INT), pa.field(LOCK, _INT)]), lock=True)
CLAIMS = Physical(
    "claims",
    pa.schema([pa.field("key", _TEXT), pa.field("owner", _TEXT), pa.field("expires", _INT)]),
)

PHYSICAL: tuple[Physical, ...] = (
    _SOURCES,
    _FLOWS,
    _SEGMENTS,
    _OBJECTS,
    _BACKENDS,
    _PROFILES,
    _COLLECTIONS,
    _EVENTS,
    _RECEIPTS,
    _JOBS,
    _SERVICE,
    GUARDS,
    CLAIMS,
)

_BY_NAME = {physical.name: physical for physical in PHYSICAL} | {FLOW_COUNTERS.name: _FLOWS}


def physical_of(table: Table) -> Physical:
    """Where the rows of a contract table are; flows and their counters share one table."""
    return _BY_NAME[table.name]


def stored_name(table: Table, column: str) -> str:
    """The physical column behind a contract column."""
    if table is FLOW_COUNTERS and column == "flow_id":
        return "id"
    return column


def to_logical(table: Table, columns: Sequence[str], found: pa.Table) -> pa.RecordBatch:
    """What was read as one batch with the contract's schema.

    ``found`` has the physical columns behind ``columns``, and perhaps more. Raises
    ``LimitExceeded`` if the text of one column does not fit into an Arrow array (2 GiB).
    """
    fields = [table.schema.field(name) for name in columns]
    arrays = [_array(found.column(stored_name(table, f.name)), f) for f in fields]
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


def _array(column: pa.ChunkedArray, field: pa.Field) -> pa.Array:
    array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        raise LimitExceeded(f"the values of {field.name} that were asked for exceed 2 GiB")
    # int64 microseconds and timestamps share their layout: the cast copies nothing.
    return array if array.type == field.type else array.cast(field.type)


def rows_to_batch(
    physical: Physical, columns: Sequence[str], rows: Sequence[Row]
) -> pa.RecordBatch:
    """Rows of plain values (times in microseconds) in full width, NULL in all other columns."""
    width, count = len(columns), len(rows)
    values = list(zip(*rows, strict=True)) if rows else [()] * width
    if len(values) != width:
        raise ValueError(f"rows of {physical.name} have {len(values)} values, not {width}")
    given = dict(zip(columns, values, strict=True))
    unknown = given.keys() - set(physical.schema.names)
    if unknown:
        raise ValueError(f"{physical.name} has no column {sorted(unknown)}")
    arrays = [
        pa.array(given[f.name], f.type) if f.name in given else pa.nulls(count, f.type)
        for f in physical.schema
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=physical.schema)
