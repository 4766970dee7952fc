"""What the counters and the log tell about the RPCs of the SDK."""

from __future__ import annotations

import ibis
import pyarrow as pa
import pytest
from vastdb import errors
from vastdb.config import QueryConfig

from tests.vast_emulator import Domain, Range
from tests.vast_emulator.driving import SCHEMA, Driver

COLUMNS = {
    "flow": pa.utf8(),
    "start": pa.int64(),
    "label": pa.utf8(),
    "place": pa.struct([("x", pa.int16()), ("y", pa.int32())]),
}


@pytest.fixture
def rows(driver: Driver) -> Driver:
    """A table of ten flows with a hundred rows each."""
    driver.create("t", COLUMNS)
    flows = [f"f{n}" for n in range(10) for _ in range(100)]
    with driver() as tx:
        driver.insert(tx, {"flow": flows, "start": list(range(100)) * 10, "label": flows})
    return driver


def test_a_naive_select_is_ten_rpcs(rows: Driver) -> None:
    with rows() as tx:
        tx.bucket(rows.bucket).schema(SCHEMA).table("t").select().read_all()
    with rows.emulator.counting() as rpcs:
        with rows() as tx:
            found = tx.bucket(rows.bucket).schema(SCHEMA).table("t").select().read_all()
        assert found.num_rows == 1000
    assert rpcs.counts == {
        "begin": 1, "head_bucket": 1, "list_schemas": 1, "list_tables": 1, "columns": 1,
        "stats": 3, "query": 1, "commit": 1,
    }  # fmt: skip
    assert len(rpcs) == 10


def test_static_metadata_needs_three_rpcs_and_one_more_connection(rows: Driver) -> None:
    before = rows.emulator.counts, rows.emulator.connections
    with rows.emulator.counting() as rpcs, rows() as tx:
        rows.read(tx)
    assert [rpc.kind for rpc in rpcs] == ["begin", "query", "commit"]
    assert rpcs.connections == 2
    assert rows.emulator.counts - before[0] == rpcs.counts
    assert rows.emulator.connections - before[1] == 1


def test_a_session_finds_the_listed_addresses(rows: Driver) -> None:
    with rows.emulator.counting() as rpcs:
        other = Driver(rows.emulator, rows.bucket)
        with other() as tx:
            tx.bucket(rows.bucket).schema(SCHEMA).table("t").select().read_all()
        other.close()
    assert len(rpcs) == 1 + 10 + 2
    assert rpcs["probe"] == 1
    assert rpcs["begin"] == rpcs["rollback"] + rpcs["commit"] == 2


def test_the_log_has_the_predicate_that_was_pushed_down(rows: Driver) -> None:
    predicate = (
        ibis._.flow.isin(["f1", "f2", "f3"])
        & ((ibis._.start < 10) | ibis._.start.between(20, 29) | (ibis._.start == 99))
        & ibis._.label.startswith("f2")
        & ~ibis._.label.isnull()
        & ibis._.place["y"].isnull()
    )
    with rows.emulator.counting() as rpcs, rows() as tx:
        assert rows.column(tx, "start", predicate) == [*range(10), *range(20, 30), 99]
    (query,) = rpcs.of("query")
    assert query.table_path == f"{rows.bucket}/{SCHEMA}/t"
    assert query.columns == ("start",)
    assert (query.rows, query.rows_scanned, query.status) == (21, 1000, 200)
    assert query.predicate == (
        Domain("flow", ("flow",), tuple(Range("==", (f"f{n}",)) for n in (1, 2, 3))),
        Domain(
            "start", ("start",), (Range("<", (10,)), Range("between", (20, 29)), Range("==", (99,)))
        ),
        Domain("label", ("label",), (Range("from_to", ("f2", "f3")),)),
        Domain("label", ("label",), (Range("is_valid"),)),
        Domain("place.y", ("place", "y"), (Range("is_null"),)),
    )
    assert query.ranges("label") == [Range("from_to", ("f2", "f3")), Range("is_valid")]
    assert query.pushed_columns == {"flow", "start", "label", "place.y"}
    assert query.bytes_out > 21 * 8
    assert rpcs.on("t") == [query]


def test_writes_are_logged_with_rows_and_columns(rows: Driver) -> None:
    with rows.emulator.counting(rows.bucket) as rpcs:
        with rows() as tx:
            rows.insert(tx, {"flow": ["x", "y"], "start": [1, 2]})
            rows.update(tx, [0, 5, 7], {"label": ["a", "b", "c"]})
            rows.delete(tx, [3])
        with rows() as tx, pytest.raises(errors.NotFound):
            rows.delete(tx, [3])
    assert [(r.kind, r.rows, r.columns, r.status) for r in rpcs] == [
        ("insert", 2, ("flow", "start"), 200),
        ("update", 3, ("label",), 200),
        ("delete", 1, (), 200),
        ("delete", 0, (), 404),
    ]
    assert rpcs.rpcs[-1].code == "NoSuchEntity"


def test_pages_and_splits(rows: Driver) -> None:
    config = QueryConfig(
        num_splits=2, num_sub_splits=1, data_endpoints=[rows.emulator.url],
        limit_rows_per_sub_split=400,
    )  # fmt: skip
    with rows.emulator.counting() as rpcs, rows() as tx:
        found = rows.table(tx).select(columns=["start"], config=config).read_all()
    assert found["start"].to_pylist() == list(range(100)) * 10
    queries = rpcs.of("query")
    assert [(q.split, q.rows, q.limit, q.rows_scanned) for q in queries] == [
        ((0, 2), 400, 400, 1000),
        ((0, 2), 400, 400, 0),
        ((0, 2), 200, 400, 0),
        ((1, 2), 0, 400, 0),
    ]


def test_a_limit_costs_another_page(rows: Driver) -> None:
    with rows.emulator.counting() as rpcs, rows() as tx:
        assert rows.read(tx, ibis._.start < 50, limit_rows=7).num_rows == 7
    assert {query.limit for query in rpcs.of("query")} == {7}
    assert 1 <= rpcs["query"] <= 3


def test_the_log_as_json(rows: Driver) -> None:
    with rows.emulator.counting() as rpcs, rows() as tx:
        rows.read(tx, ibis._.flow.startswith("f2"), columns=["start"])
    shown = rpcs.as_json()
    assert shown["counts"] == {"begin": 1, "query": 1, "commit": 1}
    query = shown["rpcs"][1]
    assert query["predicate"] == [{"column": "flow", "ranges": [["from_to", "f2", "f3"]]}]
    assert (query["rows"], query["rows_scanned"], query["columns"]) == (100, 1000, ("start",))
