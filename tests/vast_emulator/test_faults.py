"""Injected faults, as the SDK meets them."""

from __future__ import annotations

import threading

import ibis
import pyarrow as pa
import pytest
from vastdb import errors

from tests.vast_emulator.driving import SCHEMA, Driver

COLUMNS = {"id": pa.utf8(), "n": pa.int64()}


@pytest.fixture
def rows(driver: Driver) -> Driver:
    """A table of 5,000 rows."""
    driver.create("t", COLUMNS)
    driver.create("u", COLUMNS)
    with driver() as tx:
        driver.insert(tx, {"id": [f"row {n}" for n in range(5000)], "n": list(range(5000))})
    return driver


def count(driver: Driver, name: str = "t") -> int:
    with driver() as tx:
        return int(driver.read(tx, name=name, columns=[]).num_rows)


def test_409_on_the_nth_write(rows: Driver) -> None:
    fault = rows.emulator.faults.conflict(nth=2, table="u")
    with rows() as tx:
        rows.insert(tx, {"id": ["a"]}, "t")
        rows.insert(tx, {"id": ["a"]}, "u")
        with pytest.raises(errors.Conflict):
            rows.insert(tx, {"id": ["b"]}, "u")
        rows.insert(tx, {"id": ["c"]}, "u")
    assert fault.hits == 1
    assert count(rows, "u") == 2


def test_slow_down_is_retried_by_the_sdk(rows: Driver) -> None:
    fault = rows.emulator.faults.slow_down(kinds=("insert", "query"), times=3)
    with rows.emulator.counting() as rpcs, rows() as tx:
        rows.insert(tx, {"id": ["a"]})
    assert fault.hits == 3
    assert [rpc.status for rpc in rpcs.of("insert")] == [503, 503, 503, 200]
    assert {rpc.code for rpc in rpcs.of("insert")} == {"SlowDown", ""}
    assert count(rows) == 5001


def test_slow_down_for_ever_is_raised(rows: Driver) -> None:
    rows.emulator.faults.slow_down(kinds=("insert",), times=None)
    with rows() as tx, pytest.raises(errors.Slowdown):
        rows.insert(tx, {"id": ["a"]})


def test_a_probability_is_repeatable(rows: Driver) -> None:
    hits = []
    for _ in range(2):
        fault = rows.emulator.faults.conflict(times=None, probability=0.5, seed=7)
        with rows() as tx:
            for _ in range(20):
                try:
                    rows.insert(tx, {"id": ["a"]})
                except errors.Conflict:
                    continue
        hits.append(fault.hits)
        rows.emulator.faults.remove(fault)
    assert hits[0] == hits[1]
    assert 4 < hits[0] < 16


@pytest.mark.parametrize("applied", [True, False])
def test_a_lost_commit_reply_leaves_the_outcome_open(rows: Driver, applied: bool) -> None:
    rows.emulator.faults.drop_commit(applied=applied, table="t")
    tx = rows.begin()
    txid = tx.txid
    rows.insert(tx, {"id": ["a"]})
    with pytest.raises(errors.ConnectionError) as raised:
        rows.commit(tx)
    assert raised.value.may_retry is False
    assert count(rows) == (5001 if applied else 5000)
    if applied:
        with pytest.raises(errors.NotFound):
            rows.session.api.commit_transaction(txid)
    else:
        rows.session.api.commit_transaction(txid)
        assert count(rows) == 5001


@pytest.mark.parametrize("reset", [False, True])
def test_a_dropped_write_is_not_repeated_by_the_sdk(rows: Driver, reset: bool) -> None:
    rows.emulator.faults.drop("insert", applied=True, reset=reset)
    with rows() as tx, pytest.raises(errors.ConnectionError):
        rows.insert(tx, {"id": ["a"]})
    assert count(rows) == 5001


@pytest.mark.parametrize("after", [0, 1, 100, 20_000])
def test_a_cut_chunked_reply_is_read_again_without_loss(rows: Driver, after: int) -> None:
    fault = rows.emulator.faults.cut_query(after, times=2)
    with rows.emulator.counting() as rpcs, rows() as tx:
        assert rows.column(tx, "n") == list(range(5000))
    assert fault.hits == 2
    assert rpcs["query"] == 3


@pytest.mark.parametrize(("after", "error"), [(100, pa.ArrowInvalid), (20_000, OSError)])
def test_a_cut_reply_with_a_length_is_an_error(
    rows: Driver, after: int, error: type[Exception]
) -> None:
    fault = rows.emulator.faults.cut_query(after)
    with rows.emulator.switched(content_length_queries=True), rows() as tx:
        with pytest.raises(error, match=r"xpected to .* bytes"):
            rows.read(tx)
        assert rows.read(tx).num_rows == 5000
    assert fault.hits == 1


def test_permissions(rows: Driver) -> None:
    fault = rows.emulator.faults.forbid("write", table=f"{SCHEMA}/t")
    with rows() as tx:
        rows.insert(tx, {"id": ["a"]}, "u")
        assert rows.read(tx).num_rows == 5000
        for _ in range(2):
            with pytest.raises(errors.Forbidden):
                rows.insert(tx, {"id": ["a"]}, "t")
    rows.emulator.faults.remove(fault)
    with rows() as tx:
        rows.insert(tx, {"id": ["a"]}, "t")


def test_an_unknown_access_key_is_refused(rows: Driver) -> None:
    rows.session.api.access_key = "BAD"
    stranger = rows.session.api.with_endpoint(rows.emulator.url)
    with pytest.raises(errors.Forbidden):
        stranger.begin_transaction()
    with rows.emulator.switched(check_access_key=False):
        stranger.begin_transaction()
    stranger.__exit__()


def test_any_status(rows: Driver) -> None:
    rows.emulator.faults.fail(500, ("query",))
    rows.emulator.faults.fail(507, ("insert",), message="<full> & closed")
    with rows() as tx:
        with pytest.raises(errors.InternalServerError):
            rows.read(tx, ibis._.n == 1)
        with pytest.raises(errors.InsufficientCapacity) as raised:
            rows.insert(tx, {"id": ["a"]})
    assert raised.value.message == "<full> & closed"


def test_a_transaction_expires_under_the_client(rows: Driver) -> None:
    rows.emulator.faults.expire("insert", nth=2)
    tx = rows.begin()
    rows.insert(tx, {"id": ["a"]})
    with pytest.raises(errors.NotFound):
        rows.insert(tx, {"id": ["b"]})
    assert count(rows) == 5000


def test_a_held_commit_lands_late(rows: Driver) -> None:
    held = rows.emulator.faults.hold("commit", table="t")

    def slow() -> None:
        with rows() as tx:
            assert rows.insert(tx, {"id": ["slow"], "n": [-1]}) == [5000]

    thread = threading.Thread(target=slow)
    thread.start()
    held.wait_reached()
    with rows() as tx:
        assert rows.insert(tx, {"id": ["elsewhere"]}, "u") == [0]
    other = Driver(rows.emulator, rows.bucket)
    other.know("t", pa.schema(COLUMNS))
    with other() as tx:
        assert other.column(tx, "id", ibis._.n < 0) == []
    held.release()
    thread.join()
    with other() as tx:
        assert other.column(tx, "id", ibis._.n < 0) == ["slow"]
    other.close()
    assert held.hits == 1


def test_delays(rows: Driver) -> None:
    fault = rows.emulator.faults.delay(0.2, "insert", times=1)
    with rows.emulator.counting() as rpcs, rows() as tx:
        rows.insert(tx, {"id": ["a"]})
        rows.insert(tx, {"id": ["b"]})
    slow, _ = rpcs.of("insert")
    assert slow.seconds > 0.2
    assert fault.hits == 1
    with rows.emulator.switched(latency_ms=50, jitter_ms=10), rows.emulator.counting() as rpcs:
        assert count(rows) == 5002
    assert all(rpc.seconds > 0.05 for rpc in rpcs)
    assert len(rpcs) == 3
