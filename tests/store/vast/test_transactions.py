"""Transactions against the emulated cluster, and what its failures become."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

import pyarrow as pa
import pytest

from tams_gql.model.errors import LimitExceeded, Unavailable
from tams_gql.store.scan import Op, compare, eq
from tams_gql.store.tables import FLOWS, SEGMENTS, SERVICE
from tams_gql.store.vast.layout import LOCK, ROW_ID, Physical, physical_of, rows_to_batch
from tams_gql.store.vast.wire.client import (
    Gone,
    Missing,
    OutcomeUnknown,
    RowConflict,
    Tx,
    VastClient,
    VastConfig,
)
from tests.store.vast.clusters import config_of
from tests.vast_emulator import Emulator

_FLOWS = physical_of(FLOWS)
_SEGMENTS = physical_of(SEGMENTS)


def _flow(*ids: str) -> pa.RecordBatch:
    return rows_to_batch(_FLOWS, ("id", "label"), [(id, f"label of {id}") for id in ids])


def _ids(tx: Tx, *ids: str) -> pa.Array:
    where = [eq("id", id) for id in ids]
    return tx.select(_FLOWS, (), where, row_ids=True).column(ROW_ID).combine_chunks()


def _touch(tx: Tx, row_ids: pa.Array, value: int = 1) -> None:
    values = pa.array([value] * len(row_ids), pa.int64())
    tx.update(_FLOWS, pa.record_batch([row_ids, values], names=[ROW_ID, LOCK]))


@pytest.fixture
def two_flows(client: VastClient) -> pa.Array:
    """The row ids of flows ``a`` and ``b``."""
    tx = client.begin()
    ids = tx.insert(_FLOWS, _flow("a", "b"))
    tx.commit()
    return ids


def test_changes_are_seen_inside_and_after_the_commit_by_all(
    client: VastClient, two_flows: pa.Array
) -> None:
    tx, before = client.begin(), client.begin()
    assert two_flows.type == _FLOWS.row_id == pa.uint64()
    assert _ids(tx, "a").to_pylist() == two_flows.to_pylist()[:1]
    _touch(tx, two_flows, 7)
    assert tx.insert(_FLOWS, _flow("c")).type == pa.uint64()
    tx.delete(_FLOWS, two_flows.slice(1))
    assert tx.select(_FLOWS, ("id", LOCK)).sort_by("id").to_pydict() == {
        "id": ["a", "c"],
        LOCK: [7, None],
    }
    assert before.count(_FLOWS) == 2
    tx.commit()
    assert before.count(_FLOWS) == 2  # its snapshot is older
    assert client.begin().count(_FLOWS, [eq("id", "c")]) == 1


def test_nothing_is_left_after_a_rollback(client: VastClient) -> None:
    tx = client.begin()
    tx.insert(_FLOWS, _flow("a"))
    tx.rollback()
    tx.rollback()
    assert client.begin().count(_FLOWS) == 0
    with pytest.raises(RuntimeError, match="has ended"):
        tx.count(_FLOWS)


def test_reads_without_a_transaction_are_one_call(
    emulator: Emulator, client: VastClient, two_flows: pa.Array
) -> None:
    direct = client.direct()
    with emulator.counting() as rpcs:
        assert direct.count(_FLOWS) == 2
        direct.commit()
        direct.rollback()
    assert dict(rpcs.counts) == {"query": 1}
    with pytest.raises(RuntimeError, match="has ended"):
        direct.count(_FLOWS)
    with pytest.raises(RuntimeError, match="outside a transaction"):
        client.direct().insert(_FLOWS, _flow("c"))


def test_rows_of_sorted_tables_have_wide_ids(client: VastClient) -> None:
    tx = client.begin()
    columns = ("flow_id", "start_ns", "end_ns", "size")
    rows = [("f", i * 10, i * 10 + 10, None) for i in reversed(range(100))]
    ids = tx.insert(_SEGMENTS, rows_to_batch(_SEGMENTS, columns, rows))
    assert ids.type == pa.decimal128(38, 0)
    where = [eq("flow_id", "f"), compare("start_ns", Op.LT, 20)]
    found = tx.select(_SEGMENTS, ("start_ns",), where, row_ids=True).sort_by("start_ns")
    assert found.column("start_ns").to_pylist() == [0, 10]
    assert found.column(ROW_ID).to_pylist() == [ids[99].as_py(), ids[98].as_py()]
    sizes = pa.array([5, 6])
    # In descending order of ids: the client sorts them.
    row_ids = found.column(ROW_ID).combine_chunks()
    tx.update(_SEGMENTS, pa.record_batch([row_ids, sizes], names=[ROW_ID, "size"]))
    assert tx.select(_SEGMENTS, ("start_ns", "size"), where).sort_by("size").to_pydict() == {
        "start_ns": [0, 10],
        "size": [5, 6],
    }
    tx.delete(_SEGMENTS, found.column(ROW_ID))
    assert tx.count(_SEGMENTS) == 98
    with pytest.raises(ValueError, match=r"segments is sorted by \['start_ns'\]"):
        tx.update(_SEGMENTS, pa.record_batch([row_ids, sizes], names=[ROW_ID, "start_ns"]))
    with pytest.raises(ValueError, match="the first column of an update is"):
        tx.update(_SEGMENTS, pa.record_batch([sizes], names=["size"]))
    with pytest.raises(ValueError, match="rows of segments must have all its columns"):
        tx.insert(_SEGMENTS, pa.record_batch([sizes], names=["size"]))


def test_no_rows_are_no_call(emulator: Emulator, client: VastClient) -> None:
    tx = client.begin()
    none = pa.array([], _FLOWS.row_id)
    with emulator.counting() as rpcs:
        assert tx.insert(_FLOWS, _flow()).to_pylist() == []
        tx.delete(_FLOWS, none)
        _touch(tx, none)
    assert len(rpcs) == 0


def test_large_changes_go_in_several_calls(emulator: Emulator, client: VastClient) -> None:
    tx = client.begin()
    rows = [(f"{i:05}", "x" * 20_000) for i in range(500)]
    with emulator.counting() as rpcs:
        ids = tx.insert(_FLOWS, rows_to_batch(_FLOWS, ("id", "body"), rows))
    assert rpcs["insert"] == 4
    assert max(rpc.bytes_in for rpc in rpcs.of("insert")) < 0.9 * 5 * 2**20
    found = tx.select(_FLOWS, ("id", "body"), row_ids=True).sort_by("id")
    assert found.column(ROW_ID).to_pylist() == ids.to_pylist()
    assert [tuple(row.values())[:2] for row in found.to_pylist()] == rows


def test_a_row_that_is_too_large_is_refused(emulator: Emulator, client: VastClient) -> None:
    tx = client.begin()
    huge = rows_to_batch(_FLOWS, ("id", "body"), [("a", ""), ("b", "x" * 5_000_000)])
    with pytest.raises(LimitExceeded, match="a row of 5000"):
        tx.insert(_FLOWS, huge)
    assert emulator.open_transactions() == []


@pytest.mark.parametrize("conflict", ["eager", "commit"])
def test_two_writers_of_a_row_conflict(
    emulator: Emulator, client: VastClient, two_flows: pa.Array, conflict: str
) -> None:
    emulator.switches.conflict = conflict
    first, second = client.begin(), client.begin()
    _touch(first, two_flows)

    def write() -> None:
        _touch(second, two_flows)
        first.commit()
        second.commit()

    with pytest.raises(RowConflict):
        write()
    second.rollback()
    if conflict == "eager":
        first.commit()
    assert emulator.open_transactions() == []


@pytest.mark.parametrize("status", [404, 400, 410])
def test_writing_a_row_that_has_gone_is_a_conflict(
    emulator: Emulator, client: VastClient, two_flows: pa.Array, status: int
) -> None:
    tx = client.begin()
    tx.delete(_FLOWS, two_flows)
    tx.commit()
    emulator.switches.lost_transaction_status = status
    for change in (_touch, lambda tx, ids: tx.delete(_FLOWS, ids)):
        late = client.begin()
        with pytest.raises(RowConflict, match="a row is gone"):
            change(late, two_flows)
    assert emulator.open_transactions() == []


def _read(tx: Tx) -> object:
    return tx.select(_FLOWS, ("id",))


def _count(tx: Tx) -> object:
    return tx.count(_FLOWS)


def _insert(tx: Tx) -> object:
    return tx.insert(_FLOWS, _flow("z"))


def _commit(tx: Tx) -> object:
    tx.commit()
    return None


_CALLS = pytest.mark.parametrize("call", [_read, _count, _insert, _commit])


@_CALLS
@pytest.mark.parametrize("status", [404, 400, 410])
def test_an_expired_transaction_is_gone(
    emulator: Emulator, client: VastClient, call: Callable[[Tx], object], status: int
) -> None:
    emulator.switches.lost_transaction_status = status
    tx = client.begin()
    emulator.expire_transactions()
    with pytest.raises(Gone):
        call(tx)
    tx.rollback()


@pytest.mark.parametrize("applied", [True, False])
def test_a_lost_answer_to_a_commit_leaves_the_outcome_open(
    emulator: Emulator, client: VastClient, applied: bool
) -> None:
    tx = client.begin()
    tx.insert(_FLOWS, _flow("a"))
    fault = emulator.faults.drop_commit(applied=applied)
    with pytest.raises(OutcomeUnknown) as unknown:
        tx.commit()
    assert unknown.value.txid == tx.txid
    assert fault.hits == 1  # it is not sent again
    tx.rollback()
    assert client.begin().count(_FLOWS) == int(applied)
    assert client.abandon(tx.txid) is not applied
    assert client.abandon(tx.txid) is False


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_failed_commit_leaves_the_outcome_open(
    emulator: Emulator, client: VastClient, status: int
) -> None:
    tx = client.begin()
    emulator.faults.fail(status, kinds=("commit",), code="Oops")
    with pytest.raises(OutcomeUnknown):
        tx.commit()
    assert client.abandon(tx.txid) is True


@pytest.mark.parametrize("applied", [True, False])
@pytest.mark.parametrize("reset", [True, False])
def test_a_lost_answer_to_a_change_undoes_the_transaction(
    emulator: Emulator, client: VastClient, applied: bool, reset: bool
) -> None:
    tx = client.begin()
    fault = emulator.faults.drop("insert", applied=applied, reset=reset)
    with pytest.raises(Unavailable, match="the connection to the VAST cluster broke"):
        tx.insert(_FLOWS, _flow("a"))
    assert fault.hits == 1
    assert emulator.open_transactions() == []
    assert client.begin().count(_FLOWS) == 0


def test_a_lost_answer_to_a_begin_is_asked_for_again(
    emulator: Emulator, client: VastClient
) -> None:
    fault = emulator.faults.drop("begin", applied=True, times=2)
    tx = client.begin()
    assert fault.hits == 2
    assert tx.count(_FLOWS) == 0
    emulator.faults.drop("begin", applied=False, times=None)
    with pytest.raises(Unavailable, match="broke"):
        client.begin()


@pytest.mark.parametrize("kind", ["begin", "query", "insert", "commit"])
def test_a_busy_cluster_is_asked_again(emulator: Emulator, client: VastClient, kind: str) -> None:
    fault = emulator.faults.slow_down(kinds=(kind,), times=2)
    tx = client.begin()
    tx.insert(_FLOWS, _flow("a"))
    assert tx.count(_FLOWS) == 1
    tx.commit()
    assert fault.hits == 2


def test_a_cluster_that_stays_busy_is_given_up(emulator: Emulator, config: VastConfig) -> None:
    emulator.faults.slow_down(kinds=("begin",), times=None)
    with (
        closing(VastClient(replace(config, timeout_seconds=0.3))) as client,
        pytest.raises(Unavailable, match="the VAST cluster answered 503 SlowDown"),
    ):
        client.begin()


@pytest.mark.parametrize("kind", ["begin", "query", "insert", "commit"])
def test_every_wait_is_bounded(emulator: Emulator, config: VastConfig, kind: str) -> None:
    calls = {"query": _read, "insert": _insert, "commit": _commit}
    quick = replace(config, timeout_seconds=0.2)
    with closing(VastClient(config)) as patient, closing(VastClient(quick)) as client:
        begun = {name: patient.begin() for name in calls}
        fault = emulator.faults.hold(kind, times=None)
        for name, call in calls.items():
            if name == kind:
                held = Tx(client, begun[name].txid, client.cluster.choose())
                with pytest.raises(OutcomeUnknown if kind == "commit" else Unavailable):
                    call(held)
            else:
                call(begun[name])
        if kind == "begin":
            with pytest.raises(Unavailable):
                client.begin()
        fault.release()
    assert fault.hits >= 1


def test_plain_queries_fail_in_the_same_ways(emulator: Emulator, config: VastConfig) -> None:
    plain = replace(config, plain_queries=True)
    quick = replace(plain, timeout_seconds=0.2)
    with closing(VastClient(plain)) as client, closing(VastClient(quick)) as hasty:
        tx = client.begin()
        assert tx.count(_FLOWS) == 0
        for status in (500, 502):
            emulator.faults.fail(status, kinds=("query",), times=None)
            with pytest.raises(Unavailable, match=r"the VAST cluster answered 500|broke"):
                tx.count(_FLOWS)
            emulator.faults.clear()
        with pytest.raises(Missing):
            tx.count(Physical("nothing", _FLOWS.schema))
        held = emulator.faults.hold("query")
        with pytest.raises(Unavailable, match="the connection to the VAST cluster broke"):
            Tx(hasty, tx.txid, hasty.cluster.choose()).count(_FLOWS)
        held.release()
        emulator.expire_transactions()
        with pytest.raises(Gone):
            tx.count(_FLOWS)


def test_a_failing_statement_ends_the_transaction(emulator: Emulator, client: VastClient) -> None:
    emulator.faults.fail(500, kinds=("insert",), code="InternalError")
    tx = client.begin()
    with pytest.raises(Unavailable, match="the VAST cluster answered 500 InternalError"):
        tx.insert(_FLOWS, _flow("a"))
    assert emulator.open_transactions() == []


def test_a_failing_read_leaves_the_transaction_open(emulator: Emulator, client: VastClient) -> None:
    tx = client.begin()
    emulator.faults.fail(500, kinds=("query",), times=1)
    with pytest.raises(Unavailable, match="the VAST cluster answered 500"):
        tx.count(_FLOWS)
    assert tx.count(_FLOWS) == 0


def test_a_missing_table_says_what_to_do(emulator: Emulator, config: VastConfig) -> None:
    with closing(VastClient(replace(config, schema="elsewhere"))) as client:
        for tx in (client.begin(), client.direct()):
            with pytest.raises(Missing, match="there is no catalog, run `tams-gql migrate`"):
                tx.count(_FLOWS)


def test_secrets_are_in_no_message(
    emulator: Emulator, config: VastConfig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = replace(config, access_key="WRONG-KEY", secret_key="TOP-SECRET")
    assert "TOP-SECRET" not in repr(wrong)
    with closing(VastClient(wrong)) as client:
        with pytest.raises(Unavailable) as refused:
            client.begin()
        assert str(refused.value) == "the VAST cluster refuses the access key"
        assert "TOP-SECRET" not in repr(client)
    emulator.faults.fail(500, kinds=("begin",), message="key AK and secret TOP-SECRET")
    with (
        closing(VastClient(replace(config, secret_key="TOP-SECRET"))) as client,
        pytest.raises(Unavailable) as failed,
    ):
        client.begin()
    assert "key ... and secret ..." in str(failed.value)
    assert "TOP-SECRET" not in caplog.text
    assert not [r for r in caplog.records if r.name.startswith("vastdb")]


def test_the_client_connects_at_the_first_call(emulator: Emulator, config: VastConfig) -> None:
    before = emulator.connections
    client = VastClient(config)
    assert emulator.connections == before
    assert client.version() == "5.5.0.0"
    for _ in range(20):
        client.begin().rollback()
    assert emulator.connections == before + 1
    client.close()
    client.close()
    with pytest.raises(Unavailable, match="the VAST store is closed"):
        client.begin()


def test_a_transaction_cannot_outlive_its_client(client: VastClient) -> None:
    tx = client.begin()
    client.close()
    with pytest.raises(Unavailable, match="the VAST store is closed"):
        tx.count(_FLOWS)
    tx.rollback()


def test_estimates_come_from_the_statistics(
    emulator: Emulator, client: VastClient, two_flows: pa.Array
) -> None:
    tx = client.begin()
    with emulator.counting() as rpcs:
        assert tx.estimate(_FLOWS) == 2
        assert tx.estimate(physical_of(SERVICE)) == 3
    assert dict(rpcs.counts) == {"stats": 2}


def test_the_age_of_a_transaction_grows(client: VastClient) -> None:
    tx = client.begin()
    first = tx.age_seconds
    assert 0 <= first < tx.age_seconds < 5


def test_the_clock_is_that_of_the_cluster(emulator: Emulator, config: VastConfig) -> None:
    emulator.switches.clock_offset_seconds = 100
    with closing(VastClient(config)) as client:
        started = time.time()
        client.begin().rollback()
        took = time.time() - started
        assert 98.99 - took < client.clock.offset_seconds < 100.01


def test_another_kind_of_server_is_told_apart(emulator: Emulator) -> None:
    # An object store answers HEAD and GET, but has no transactions.
    emulator.faults.fail(405, kinds=("begin",), code="MethodNotAllowed")
    with (
        closing(VastClient(config_of(emulator, "any"))) as client,
        pytest.raises(Unavailable, match="the VAST cluster answered 405 MethodNotAllowed"),
    ):
        client.begin()
