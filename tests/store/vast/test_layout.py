"""The physical tables hold what the contract's tables say."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tams_gql.store.tables import (
    EVENTS,
    FLOW_COUNTERS,
    FLOWS,
    OBJECTS,
    PROFILES,
    SEGMENTS,
    SERVICE,
    SOURCES,
    STORAGE_BACKENDS,
    TABLES,
    Table,
)
from tams_gql.store.vast.layout import (
    CLAIMS,
    GUARDS,
    LOCK,
    PHYSICAL,
    physical_of,
    rows_to_batch,
    stored_name,
    to_logical,
)

_TIME = pa.timestamp("us", tz="UTC")


@pytest.mark.parametrize("table", TABLES, ids=repr)
def test_every_column_of_the_contract_is_stored(table: Table) -> None:
    physical = physical_of(table)
    made = {"position"} if table is EVENTS else set()
    for field in table.schema:
        if field.name in made:
            continue
        stored = physical.schema.field(stored_name(table, field.name)).type
        assert stored == (pa.int64() if field.type == _TIME else field.type)


def test_a_flow_and_its_counters_are_one_row() -> None:
    flows = physical_of(FLOWS)
    assert physical_of(FLOW_COUNTERS) is flows
    assert stored_name(FLOW_COUNTERS, "flow_id") == "id"
    assert stored_name(SEGMENTS, "flow_id") == "flow_id"
    names = flows.schema.names
    assert names == [*FLOWS.columns, *FLOW_COUNTERS.columns[1:], LOCK]


def test_names_are_unique_and_no_column_repeats() -> None:
    assert len({physical.name for physical in PHYSICAL}) == len(PHYSICAL)
    for physical in PHYSICAL:
        assert len(set(physical.schema.names)) == len(physical.schema.names)
        assert physical.lock is (LOCK in physical.schema.names)
        assert set(physical.sorted_by) <= set(physical.schema.names)
        assert all(field.nullable for field in physical.schema)


def test_rows_that_change_have_a_lock_and_are_not_sorted_by_what_changes() -> None:
    changing = (SOURCES, FLOWS, OBJECTS, PROFILES, STORAGE_BACKENDS, SERVICE)
    assert all(physical_of(table).lock for table in changing)
    assert GUARDS.lock
    assert not CLAIMS.lock
    assert physical_of(SOURCES).row_id == pa.uint64()
    assert physical_of(SEGMENTS).row_id == pa.decimal128(38, 0)


def test_times_are_read_back_without_copying() -> None:
    stored = pa.table({"name": ["a"], "created": pa.array([1_700_000_000_000_001], pa.int64())})
    table = Table("t", pa.schema([("created", _TIME), ("name", pa.string())]), ("name",))
    batch = to_logical(table, ("created", "name"), stored)
    assert batch.schema == table.schema
    assert batch.column("created").cast(pa.int64()).to_pylist() == [1_700_000_000_000_001]
    origin = stored.column("created").chunk(0).buffers()[1].address
    assert batch.column("created").buffers()[1].address == origin


def test_what_came_in_pieces_becomes_one_batch() -> None:
    pieces = pa.table({"name": pa.chunked_array([["a"], [], ["b"]]), "value": ["1", "2"]})
    assert to_logical(SERVICE, ("value", "name"), pieces).to_pylist() == [
        {"value": "1", "name": "a"},
        {"value": "2", "name": "b"},
    ]
    none = pa.table({"name": pa.chunked_array([], pa.string())})
    assert to_logical(SERVICE, ("name",), none).num_rows == 0


def test_counters_are_read_under_their_own_names() -> None:
    flows = physical_of(FLOWS)
    stored = rows_to_batch(flows, ("id", "segment_count"), [("f", 3)])
    found = to_logical(FLOW_COUNTERS, ("flow_id", "segment_count"), pa.table(stored))
    assert found.to_pylist() == [{"flow_id": "f", "segment_count": 3}]


def test_rows_are_sent_in_full_width() -> None:
    objects = physical_of(OBJECTS)
    batch = rows_to_batch(objects, ("id", "created"), [("a", 5), ("b", None)])
    assert batch.schema == objects.schema
    assert batch.column("created").to_pylist() == [5, None]
    assert batch.column(LOCK).null_count == 2
    assert rows_to_batch(objects, ("id", "created"), []).num_rows == 0


def test_rows_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"rows of service have 3 values, not 2"):
        rows_to_batch(physical_of(SERVICE), ("name", "value"), [("a", "b", 1)])
    with pytest.raises(ValueError, match=r"service has no column \['nom'\]"):
        rows_to_batch(physical_of(SERVICE), ("nom",), [("a",)])
