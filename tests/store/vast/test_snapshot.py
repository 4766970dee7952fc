"""Snapshots: one transaction, begun by its first use, given up whatever happens."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable

import pytest

from tams_gql.model.errors import Unavailable
from tams_gql.store.scan import Scan
from tams_gql.store.tables import SOURCES
from tams_gql.store.vast.layout import physical_of
from tams_gql.store.vast.reading.reader import Reader
from tams_gql.store.vast.reading.snapshot import ReadThreads, Snapshot
from tams_gql.store.vast.wire.failures import Gone
from tests.store.vast.memory import MemoryTx
from tests.waiting import PATIENCE_SECONDS

_SOURCES = physical_of(SOURCES)
_ALL = Scan(SOURCES, ("id",))


class _Tx(MemoryTx):
    """A transaction that fails on demand and counts how often it is ended."""

    def __init__(self, txid: int = 1) -> None:
        super().__init__({})
        self.txid = txid
        self.ended = 0
        self.failures: list[Exception] = []
        self.reached = threading.Event()
        self.hold: threading.Event | None = None

    def count(self, table: object, where: object = ()) -> int:
        self.reached.set()
        if self.hold is not None:
            assert self.hold.wait(PATIENCE_SECONDS)
        if self.failures:
            raise self.failures.pop(0)
        return self.txid

    def rollback(self) -> None:
        self.ended += 1


class _Cluster:
    """Begins transactions, numbered from 1."""

    def __init__(self) -> None:
        self.begun: list[_Tx] = []
        self.prepared: Callable[[_Tx], None] = lambda tx: None

    def begin(self) -> _Tx:
        self.begun.append(_Tx(len(self.begun) + 1))
        self.prepared(self.begun[-1])
        return self.begun[-1]


@pytest.fixture
async def threads() -> AsyncIterator[ReadThreads]:
    opened = ReadThreads(4)
    yield opened
    await opened.close()


@pytest.fixture
def cluster() -> _Cluster:
    return _Cluster()


@pytest.fixture
def snapshot(cluster: _Cluster, threads: ReadThreads) -> Snapshot:
    return Snapshot(cluster.begin, threads)  # type: ignore[arg-type]


def _count(reader: Reader) -> int:
    return reader.count(_SOURCES)


async def test_without_reads_it_costs_nothing(cluster: _Cluster, snapshot: Snapshot) -> None:
    await snapshot.close()

    assert cluster.begun == []


async def test_all_reads_are_in_one_transaction_that_ends_once(
    cluster: _Cluster, snapshot: Snapshot
) -> None:
    began = []
    snapshot.before_begin = lambda: began.append(len(cluster.begun))

    assert await asyncio.gather(*(snapshot.run(_count) for _ in range(9))) == [1] * 9
    await snapshot.close()
    await snapshot.close()

    assert (began, len(cluster.begun), cluster.begun[0].ended) == ([0], 1, 1)
    with pytest.raises(RuntimeError, match="the read session is over"):
        await snapshot.run(_count)


async def test_only_one_read_at_a_time(snapshot: Snapshot) -> None:
    running = [0]
    most = [0]

    def work(reader: Reader) -> None:
        running[0] += 1
        most[0] = max(most[0], running[0])
        threading.Event().wait(0.002)
        running[0] -= 1

    await asyncio.gather(*(snapshot.run(work) for _ in range(10)))
    await snapshot.close()

    assert most == [1]


async def test_a_transaction_that_is_gone_at_first_use_is_replaced(
    cluster: _Cluster, snapshot: Snapshot
) -> None:
    cluster.prepared = lambda tx: tx.failures.extend([Gone()] if tx.txid == 1 else [])

    assert await snapshot.run(_count) == 2
    await snapshot.close()

    assert [tx.ended for tx in cluster.begun] == [0, 1]


async def test_a_transaction_that_is_gone_later_ends_the_view(
    cluster: _Cluster, snapshot: Snapshot
) -> None:
    assert await snapshot.run(_count) == 1
    cluster.begun[0].failures.append(Gone())

    for _ in range(2):
        with pytest.raises(Unavailable, match="has expired; read again"):
            await snapshot.run(_count)
    await snapshot.close()

    assert len(cluster.begun) == 1


async def test_always_gone_is_unavailable(cluster: _Cluster, snapshot: Snapshot) -> None:
    cluster.prepared = lambda tx: tx.failures.append(Gone())

    with pytest.raises(Unavailable, match="has expired"):
        await snapshot.run(_count)
    assert len(cluster.begun) == 2


async def test_a_first_read_that_fails_leaves_the_next_one_a_new_view(
    cluster: _Cluster, snapshot: Snapshot
) -> None:
    cluster.prepared = lambda tx: tx.failures.extend([Unavailable("no")] if tx.txid == 1 else [])

    with pytest.raises(Unavailable, match="no"):
        await snapshot.run(_count)
    assert await snapshot.run(_count) == 2
    cluster.begun[1].failures.append(Unavailable("no"))
    with pytest.raises(Unavailable, match="no"):
        await snapshot.run(_count)
    assert await snapshot.run(_count) == 2
    await snapshot.close()

    assert [tx.ended for tx in cluster.begun] == [1, 1]


async def _held(cluster: _Cluster, snapshot: Snapshot, calls: int) -> asyncio.Task[None]:
    """A read of several calls of which the first is under way and held."""
    assert await snapshot.run(_count) == 1
    tx = cluster.begun[0]
    tx.hold = threading.Event()
    tx.reached.clear()

    def work(reader: Reader) -> None:
        for _ in range(calls):
            reader.count(_SOURCES)

    task = asyncio.create_task(snapshot.run(work))
    assert await asyncio.to_thread(tx.reached.wait, PATIENCE_SECONDS)
    return task


async def test_a_cancelled_read_ends_with_the_call_that_is_under_way(
    cluster: _Cluster, snapshot: Snapshot
) -> None:
    task = await _held(cluster, snapshot, 1_000_000_000)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    again = asyncio.create_task(snapshot.run(_count))
    await asyncio.sleep(0.01)
    assert not again.done()

    hold, cluster.begun[0].hold = cluster.begun[0].hold, None
    assert hold is not None
    hold.set()

    assert await asyncio.wait_for(again, PATIENCE_SECONDS) == 1
    await snapshot.close()
    assert cluster.begun[0].ended == 1


async def test_closed_while_a_read_is_under_way(
    cluster: _Cluster, snapshot: Snapshot, threads: ReadThreads
) -> None:
    task = await _held(cluster, snapshot, 1)
    waiting = asyncio.create_task(snapshot.run(_count))
    await asyncio.sleep(0)

    await asyncio.wait_for(snapshot.close(), PATIENCE_SECONDS / 2)  # the read is held for longer
    assert cluster.begun[0].ended == 0
    hold = cluster.begun[0].hold
    assert hold is not None
    hold.set()

    await task
    with pytest.raises(RuntimeError, match="the read session is over"):
        await waiting
    await threads.close()
    assert cluster.begun[0].ended == 1


async def test_a_cancelled_read_that_has_not_begun_costs_nothing(
    cluster: _Cluster, snapshot: Snapshot
) -> None:
    task = asyncio.create_task(snapshot.run(_count))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await snapshot.close()

    assert [tx.ended for tx in cluster.begun] in ([], [1])


async def test_a_commit_takes_the_transaction_over(cluster: _Cluster, snapshot: Snapshot) -> None:
    assert await snapshot.run(_count) == 1
    rows = snapshot.rows

    taken = await snapshot.take()

    assert taken is not None
    assert (taken.tx.txid, taken.rows) == (1, rows)
    with pytest.raises(RuntimeError, match="the read session is over"):
        await snapshot.run(_count)
    await snapshot.close()
    assert cluster.begun[0].ended == 0


async def test_there_may_be_nothing_to_take_over(
    cluster: _Cluster, snapshot: Snapshot, threads: ReadThreads
) -> None:
    assert await snapshot.take() is None
    direct = Snapshot(lambda: _Tx(0), threads)  # type: ignore[arg-type,return-value]
    assert await direct.run(_count) == 0
    assert await direct.take() is None


async def test_closed_threads_are_unavailable(cluster: _Cluster, snapshot: Snapshot) -> None:
    threads = ReadThreads(1)
    late = Snapshot(cluster.begin, threads)  # type: ignore[arg-type]
    await threads.close()

    with pytest.raises(Unavailable, match="the catalog store is closed"):
        await late.run(_count)
