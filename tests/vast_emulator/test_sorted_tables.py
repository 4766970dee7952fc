"""Sorted tables: row ids, limits of updates, and what the key saves."""

from __future__ import annotations

import ibis
import numpy as np
import pyarrow as pa
import pytest
from vastdb import errors

from tests.vast_emulator import Emulator
from tests.vast_emulator.driving import ROW_ID, SCHEMA, Driver

COLUMNS = {"flow": pa.utf8(), "start": pa.int64(), "end": pa.int64()}
GROUP = 65_536
FLOWS, PER_FLOW = 8, 32_768


@pytest.fixture(scope="module")
def filled(shared_emulator: Emulator) -> str:
    """Eight flows of 32,768 rows, inserted in turn: four row groups, each of two flows."""
    driver = Driver(shared_emulator, shared_emulator.create_bucket("filled"))
    driver.create("t", COLUMNS, ("flow", "start"))
    total = FLOWS * PER_FLOW
    flow = pa.array([f"f{n}" for n in range(FLOWS)]).take(pa.array(np.arange(total) % FLOWS))
    start = pa.array(np.arange(total) // FLOWS)
    table = pa.table({"flow": flow, "start": start, "end": start}, schema=pa.schema(COLUMNS))
    with driver() as tx:
        driver.table(tx).insert(table)
    driver.close()
    return "filled"


@pytest.fixture
def big(driver: Driver, filled: str) -> Driver:
    """A copy of the filled bucket."""
    driver.emulator.copy_bucket(filled, driver.bucket)
    driver.know("t", pa.schema(COLUMNS), sorted_table=True)
    return driver


@pytest.mark.parametrize(
    ("predicate", "rows", "in_range", "groups"),
    [
        (ibis._.flow == "f2", 32_768, 32_768, 1),
        (ibis._.flow.isin(["f0", "f7"]), 65_536, 65_536, 2),
        ((ibis._.flow == "f2") & (ibis._.start < 100), 100, 100, 1),
        ((ibis._.flow == "f2") & (ibis._.start < 100) & (ibis._.end > 90), 9, 100, 1),
        ((ibis._.flow == "f2") & (ibis._.end > 32_760), 7, 32_768, 1),
        ((ibis._.flow == "f3") & ibis._.start.between(0, 4), 5, 5, 1),
        (ibis._.flow >= "f6", 65_536, 65_536, 1),
        (ibis._.flow > "f5", 65_536, 65_536, 1),
        (ibis._.flow < "f2", 65_536, 65_536, 1),
        (ibis._.flow <= "f2", 98_304, 98_304, 2),
        (ibis._.flow == "f2x", 0, 0, 1),
        (ibis._.flow == "g", 0, 0, 0),
        ((ibis._.flow > "f3") & (ibis._.flow < "f3"), 0, 0, 0),
        (ibis._.start < 10, 80, 262_144, 4),
        (ibis._.flow.contains("2"), 32_768, 32_768, 4),
        (None, 262_144, 262_144, 4),
    ],
    ids=str,
)
def test_pruning_by_the_sorting_key(
    big: Driver, predicate: object, rows: int, in_range: int, groups: int
) -> None:
    with big.emulator.counting() as rpcs, big() as tx:
        assert big.read(tx, predicate, columns=[]).num_rows == rows
    scans = [query.scan for query in rpcs.of("query")]
    assert sum(scan.row_groups for scan in scans) == groups
    assert sum(scan.rows for scan in scans) == groups * GROUP
    assert sum(scan.rows_in_key_range for scan in scans) == in_range


def test_rows_come_in_the_order_of_their_ids(big: Driver) -> None:
    with big() as tx:
        found = big.read(tx, ibis._.start < 3, columns=["flow", "start"], internal_row_id=True)
    assert found["start"].to_pylist() == [n // FLOWS for n in range(3 * FLOWS)]
    ids = [int(value) for value in found[ROW_ID].to_pylist()]
    assert found.schema.field(ROW_ID).type == pa.decimal128(38, 0)
    assert [value & (1 << 56) - 1 for value in ids] == list(range(3 * FLOWS))
    assert min(ids) >= 1 << 64


def test_the_split_estimate_is_made_of_matching_row_groups(big: Driver) -> None:
    with big.emulator.counting() as rpcs, big() as tx:
        table = tx.bucket(big.bucket).schema(SCHEMA).table("t")
        assert (
            table._get_elysium_row_estimate(
                ["start"], table["flow"].isin(["f0", "f7"]), table.arrow_schema
            )
            == 2 * GROUP
        )
    assert rpcs["estimate"] == 1
    assert rpcs["query"] == 0


def test_updates_and_deletions_by_128_bit_ids(driver: Driver) -> None:
    driver.create("t", COLUMNS, ("flow", "start"))
    with driver() as tx:
        driver.insert(tx, {"flow": ["b", "a", "c"], "start": [1, 2, 3], "end": [1, 2, 3]})
        found = driver.read(tx, columns=["end"], internal_row_id=True)
        ids = found[ROW_ID]
        driver.table(tx).update(pa.table({ROW_ID: ids.take([0, 2]), "end": [10, 30]}))
        driver.table(tx).delete(pa.table({ROW_ID: ids.take([1])}))
        assert driver.read(tx).to_pydict() == {"flow": ["b", "c"], "start": [1, 3], "end": [10, 30]}
        with pytest.raises(errors.BadRequest, match="cannot be updated"):
            driver.table(tx).update(pa.table({ROW_ID: ids.take([0]), "start": [9]}))
        with pytest.raises(errors.BadRequest, match="not of the type"):
            driver.session.api.delete_rows(
                driver.bucket, SCHEMA, "t", _stream({ROW_ID: pa.array([0], pa.uint64())}), tx.txid
            )


def test_null_keys_are_the_greatest(driver: Driver) -> None:
    driver.create("t", COLUMNS, ("flow",))
    with driver() as tx:
        driver.insert(tx, {"flow": ["a", None, "b"], "start": [1, 2, 3]})
    with driver.emulator.counting() as rpcs, driver() as tx:
        assert driver.column(tx, "start", ibis._.flow.isnull()) == [2]
        assert driver.column(tx, "start", ibis._.flow > "b") == []
        assert driver.column(tx, "start", ibis._.flow < "a") == []
    assert [query.rows_scanned for query in rpcs.of("query")] == [3, 3, 0]


def test_a_sorting_key_can_be_given_once_later(driver: Driver) -> None:
    driver.create("t", COLUMNS)
    with driver() as tx:
        driver.insert(tx, {"flow": ["b"], "start": [1]})
        table = tx.bucket(driver.bucket).schema(SCHEMA).table("t")
        table.add_sorting_key(["start", "flow"])
        with pytest.raises(errors.BadRequest):
            table.add_sorting_key(["end"])
    with driver() as tx:
        table = tx.bucket(driver.bucket).schema(SCHEMA).table("t")
        assert table.sorted_table
        assert [item.name for item in table._metadata.sorted_columns] == ["start", "flow"]


def _stream(columns: dict[str, object]) -> object:
    batch = pa.record_batch(columns)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()
