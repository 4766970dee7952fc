"""Isolation, conflicts and replay at commit."""

from __future__ import annotations

import pyarrow as pa
import pytest
from vastdb import errors

from tests.vast_emulator import Emulator
from tests.vast_emulator.driving import SCHEMA, Driver

COLUMNS = {"id": pa.utf8(), "n": pa.int64(), "m": pa.int64()}


@pytest.fixture
def rows(driver: Driver) -> Driver:
    """A table with the rows a, b, c that have the ids 0, 1, 2."""
    driver.create("t", COLUMNS)
    with driver() as tx:
        assert driver.insert(tx, {"id": ["a", "b", "c"], "n": [1, 2, 3], "m": [0, 0, 0]}) == [
            0,
            1,
            2,
        ]
    return driver


def state(driver: Driver) -> list[tuple[object, ...]]:
    with driver() as tx:
        table = driver.read(tx)
        return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


def test_a_snapshot_does_not_see_later_commits(rows: Driver) -> None:
    with rows() as reader:
        with rows() as writer:
            rows.insert(writer, {"id": ["d"]})
            rows.update(writer, [0], {"n": [10]})
            rows.delete(writer, [1])
            assert rows.column(writer, "id") == ["a", "c", "d"]
        assert rows.column(reader, "n") == [1, 2, 3]
        rows.insert(reader, {"id": ["e"]})
        assert rows.column(reader, "id") == ["a", "b", "c", "e"]
    assert state(rows) == [("a", 10, 0), ("c", 3, 0), ("d", None, None), ("e", None, None)]


def test_read_committed_sees_later_commits_and_keeps_own_writes(rows: Driver) -> None:
    with rows.emulator.switched(isolation="read_committed"), rows() as reader:
        rows.update(reader, [2], {"n": [30]})
        with rows() as writer:
            rows.update(writer, [0], {"n": [10]})
            assert rows.column(reader, "n") == [1, 2, 30]
        assert rows.column(reader, "n") == [10, 2, 30]
        rows.update(reader, [0], {"m": [7]})
    assert state(rows) == [("a", 10, 7), ("b", 2, 0), ("c", 30, 0)]


def test_the_second_writer_of_a_row_gets_409_at_once(rows: Driver) -> None:
    with rows() as first, rows() as second:
        rows.update(first, [1], {"n": [20]})
        rows.update(second, [0], {"n": [10]})
        with pytest.raises(errors.Conflict):
            rows.update(second, [1], {"n": [21]})
        with pytest.raises(errors.Conflict):
            rows.delete(second, [1])
    assert state(rows) == [("a", 10, 0), ("b", 20, 0), ("c", 3, 0)]


def test_a_row_changed_after_begin_is_a_conflict(rows: Driver) -> None:
    with rows() as late:
        with rows() as early:
            rows.delete(early, [1])
        with pytest.raises(errors.Conflict):
            rows.update(late, [1], {"n": [21]})
    assert state(rows) == [("a", 1, 0), ("c", 3, 0)]


def test_claims_end_with_their_transaction(rows: Driver) -> None:
    first = rows.begin()
    rows.update(first, [1], {"n": [20]})
    rows.session.api.rollback_transaction(first.txid)
    with rows() as second:
        rows.update(second, [1], {"n": [21]})
    assert state(rows)[1] == ("b", 21, 0)


def test_different_rows_do_not_conflict(rows: Driver) -> None:
    with rows() as first, rows() as second:
        rows.update(first, [0], {"n": [10]})
        rows.update(second, [1], {"n": [20]})
        rows.insert(first, {"id": ["x"], "n": [0], "m": [0]})
        rows.insert(second, {"id": ["y"], "n": [0], "m": [0]})
    assert state(rows) == [("a", 10, 0), ("b", 20, 0), ("c", 3, 0), ("x", 0, 0), ("y", 0, 0)]


def test_conflicts_at_commit(rows: Driver) -> None:
    with rows.emulator.switched(conflict="commit"):
        second = rows.begin()
        with rows() as first:
            rows.update(first, [1], {"n": [20]})
            rows.update(second, [1], {"n": [21]})
            rows.insert(second, {"id": ["lost"]})
        with pytest.raises(errors.Conflict):
            rows.commit(second)
        assert rows.emulator.open_transactions() == []
    assert state(rows) == [("a", 1, 0), ("b", 20, 0), ("c", 3, 0)]


def test_without_conflicts_the_last_commit_wins(rows: Driver) -> None:
    with rows.emulator.switched(conflict="none"), rows() as second, rows() as first:
        rows.update(first, [1], {"n": [20], "m": [5]})
        rows.delete(first, [0])
        rows.update(second, [0, 1], {"n": [9, 21]})
    assert state(rows) == [("b", 21, 5), ("c", 3, 0)]


@pytest.mark.parametrize("conflict", ["eager", "commit"])
def test_cells_of_a_row_conflict_only_with_themselves(rows: Driver, conflict: str) -> None:
    switched = rows.emulator.switched(granularity="cell", conflict=conflict)
    with switched, rows() as second, rows() as first:
        rows.update(first, [1], {"n": [20]})
        rows.update(second, [1], {"m": [5]})
    assert state(rows)[1] == ("b", 20, 5)


def test_a_deletion_conflicts_with_every_cell(rows: Driver) -> None:
    with rows.emulator.switched(granularity="cell"), rows() as first, rows() as second:
        rows.update(first, [1], {"n": [20]})
        with pytest.raises(errors.Conflict):
            rows.delete(second, [1])
        rows.delete(second, [2])
        with pytest.raises(errors.Conflict):
            rows.update(first, [2], {"m": [5]})
    assert state(rows) == [("a", 1, 0), ("b", 20, 0)]


def test_a_vanished_row_is_404(rows: Driver) -> None:
    with rows() as tx:
        rows.delete(tx, [1])
        with pytest.raises(errors.NotFound):
            rows.update(tx, [1], {"n": [5]})
        with pytest.raises(errors.NotFound):
            rows.delete(tx, [99])
    assert state(rows) == [("a", 1, 0), ("c", 3, 0)]


def test_row_ids_are_allocated_at_insert_and_shown_in_order(rows: Driver) -> None:
    with rows() as late:
        assert rows.insert(late, {"id": ["d", "e"]}) == [3, 4]
        with rows() as early:
            assert rows.insert(early, {"id": ["f"]}) == [5]
        assert [row[0] for row in state(rows)] == ["a", "b", "c", "f"]
        with rows() as early:
            assert rows.insert(early, {"id": ["g"]}) == [6]
    assert [row[0] for row in state(rows)] == ["a", "b", "c", "d", "e", "f", "g"]
    lost = rows.begin()
    assert rows.insert(lost, {"id": ["h"]}) == [7]
    rows.session.api.rollback_transaction(lost.txid)
    with rows() as tx:
        assert rows.insert(tx, {"id": ["i"]}) == [8]


def test_creating_the_same_table_twice_conflicts(driver: Driver) -> None:
    driver.create("other", COLUMNS)
    api, place = driver.session.api, (driver.bucket, SCHEMA, "new")
    with driver() as first, driver() as second:
        api.create_table(*place, pa.schema(COLUMNS), txid=first.txid)
        with pytest.raises(errors.Conflict):
            api.create_table(*place, pa.schema(COLUMNS), txid=second.txid)
    with driver() as tx:
        assert tx.bucket(driver.bucket).schema(SCHEMA).tablenames() == ["new", "other"]


def test_a_dropped_table_takes_uncommitted_rows_with_it(rows: Driver) -> None:
    late = rows.begin()
    rows.insert(late, {"id": ["d"]})
    with rows() as early:
        rows.session.api.drop_table(rows.bucket, SCHEMA, "t", txid=early.txid)
    with pytest.raises(errors.Conflict):
        rows.commit(late)


def test_writes_go_on_after_a_table_was_renamed(rows: Driver) -> None:
    with rows() as late:
        rows.update(late, [0], {"n": [10]})
        with rows() as early:
            rows.session.api.alter_table(rows.bucket, SCHEMA, "t", txid=early.txid, new_name="u")
    rows.know("u", pa.schema(COLUMNS))
    with rows() as tx:
        assert rows.column(tx, "n", name="u") == [10, 2, 3]


def test_ended_transactions_are_unknown(rows: Driver) -> None:
    api = rows.session.api
    with rows() as tx:
        txid = tx.txid
    for call in (api.commit_transaction, api.rollback_transaction, api.get_transaction):
        with pytest.raises(errors.NotFound):
            call(txid)
    with rows.emulator.switched(lost_transaction_status=400), pytest.raises(errors.BadRequest):
        api.get_transaction(txid)
    with pytest.raises(errors.BadRequest):
        api.get_transaction(None)


def test_transactions_expire(rows: Driver, emulator: Emulator) -> None:
    lost = rows.begin()
    rows.update(lost, [0], {"n": [10]})
    assert emulator.open_transactions() == [lost.txid]
    assert emulator.expire_transactions() == 1
    with pytest.raises(errors.NotFound):
        rows.session.api.commit_transaction(lost.txid)
    with rows() as tx:
        rows.update(tx, [0], {"n": [11]})
    assert state(rows)[0] == ("a", 11, 0)


def test_idle_transactions_expire_and_pings_keep_them(
    rows: Driver, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(emulator._server.engine, "clock", lambda: now)
    with emulator.switched(transaction_idle_seconds=60.0):
        idle, pinged = rows.begin(), rows.begin()
        rows.update(idle, [0], {"n": [10]})
        now += 45
        rows.session.api.get_transaction(pinged.txid)
        now += 45
        rows.update(pinged, [0], {"n": [11]})
        assert emulator.open_transactions() == [pinged.txid]
        with pytest.raises(errors.NotFound):
            rows.session.api.commit_transaction(idle.txid)
        rows.commit(pinged)
    assert state(rows)[0] == ("a", 11, 0)


def test_without_a_transaction_reads_and_inserts_commit_at_once(rows: Driver) -> None:
    batch = pa.record_batch({"id": pa.array(["d"])})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    api, place = rows.session.api, (rows.bucket, SCHEMA, "t")
    api.insert_rows(*place, record_batch=sink.getvalue())
    assert state(rows)[3] == ("d", None, None)
    with pytest.raises(errors.BadRequest):
        api.delete_rows(*place, record_batch=sink.getvalue())
