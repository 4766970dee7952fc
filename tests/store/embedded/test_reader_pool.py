"""The readers: a connection is never in two hands, whoever is cancelled or closed when."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from tams_gql.model.errors import Unavailable
from tams_gql.store.embedded import EmbeddedStore, migrate, store
from tams_gql.store.embedded.connection import connect
from tams_gql.store.embedded.reader import EmbeddedSession, ReaderPool
from tams_gql.store.scan import Scan
from tams_gql.store.tables import SOURCES
from tests.store import ask
from tests.waiting import PATIENCE_SECONDS

_ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
_ALL = Scan(SOURCES, ("id",))


class _Opening:
    """Opens reading connections, and counts them; fails as often as told."""

    def __init__(self, path: Path) -> None:
        self.opened: list[sqlite3.Connection] = []
        self.failures = 0
        self._path = path

    def __call__(self) -> sqlite3.Connection:
        if self.failures:
            self.failures -= 1
            raise Unavailable("no more files")
        self.opened.append(connect(self._path, write=False))
        return self.opened[-1]


@pytest.fixture
def opening(path: Path) -> _Opening:
    """Opens a new catalog."""
    migrate(path)
    return _Opening(path)


@pytest.fixture
async def pool(opening: _Opening) -> AsyncIterator[ReaderPool]:
    """A pool of one connection."""
    pool = ReaderPool(opening, 1)
    yield pool
    await asyncio.to_thread(pool.close)


class _Busy:
    """Work that lasts until it is interrupted."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.begun, self.over = threading.Event(), threading.Event()
        self._connection = connection

    def __call__(self) -> None:
        self.begun.set()
        try:
            self._connection.execute(_ENDLESS).fetchall()
        finally:
            self.over.set()


async def _until(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, PATIENCE_SECONDS)


async def test_a_cancelled_read_is_interrupted_and_waited_for(pool: ReaderPool) -> None:
    async with pool.connection() as lent:
        busy = _Busy(lent)
        task = asyncio.create_task(pool.run(busy, lent))
        await _until(busy.begun)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert busy.over.is_set()
        assert await pool.run(lambda: lent.execute("SELECT 1").fetchone(), lent) == (1,)


async def test_cancelling_again_does_not_let_go_of_the_connection(pool: ReaderPool) -> None:
    async with pool.connection() as lent:
        busy = _Busy(lent)
        task = asyncio.create_task(pool.run(busy, lent))
        await _until(busy.begun)
        while not task.done():
            task.cancel()
            await asyncio.sleep(0)
        assert task.cancelled()
        assert busy.over.is_set()


async def test_a_cancel_scope_ends_a_read(pool: ReaderPool) -> None:
    """Scopes of anyio, as web frameworks use them, cancel again and again."""
    async with pool.connection() as lent:
        busy = _Busy(lent)
        async with anyio.create_task_group() as group:
            group.start_soon(pool.run, busy, lent)
            await _until(busy.begun)
            group.cancel_scope.cancel()
        assert group.cancel_scope.cancelled_caught
        assert busy.over.is_set()


async def test_a_cancelled_read_stops_between_its_statements_too(pool: ReaderPool) -> None:
    done, total, begun = 0, 1_000_000, threading.Event()

    async with pool.connection() as lent:

        def work() -> None:
            nonlocal done
            for _ in range(total):
                lent.execute("SELECT count(*) FROM sources, service, sources").fetchall()
                done += 1
                begun.set()

        task = asyncio.create_task(pool.run(work, lent))
        await _until(begun)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert 0 < done < total


async def test_a_read_that_has_not_begun_is_dropped(pool: ReaderPool) -> None:
    async with pool.connection() as lent:
        busy = _Busy(lent)
        first = asyncio.create_task(pool.run(busy, lent))
        await _until(busy.begun)
        ran = []
        second = asyncio.create_task(pool.run(lambda: ran.append(1), lent))
        await asyncio.sleep(0.01)
        second.cancel()
        first.cancel()
        ends = await asyncio.gather(first, second, return_exceptions=True)

    assert [type(end) for end in ends] == [asyncio.CancelledError] * 2
    assert ran == []


async def test_connections_are_used_again(pool: ReaderPool, opening: _Opening) -> None:
    for _ in range(3):
        session = EmbeddedSession(pool)
        await session.count([_ALL])
        await session.close()

    (opened,) = opening.opened
    assert not opened.in_transaction


async def test_an_outage_passes(pool: ReaderPool, opening: _Opening) -> None:
    session = EmbeddedSession(pool)
    opening.failures = 2

    for _ in range(2):
        with pytest.raises(Unavailable, match="no more files"):
            await session.count([_ALL])
    assert await session.count([_ALL]) == [0]
    await session.close()


async def test_waiting_for_a_connection_can_be_cancelled(pool: ReaderPool) -> None:
    session = EmbeddedSession(pool)
    async with pool.connection():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(session.count([_ALL]), 0.01)

    assert await session.count([_ALL]) == [0]
    await session.close()


async def test_a_session_that_ends_during_a_read_gives_back_after_it(opening: _Opening) -> None:
    pool = ReaderPool(opening, 2)
    session, following = EmbeddedSession(pool), EmbeddedSession(pool)
    await session.count([_ALL])
    busy = _Busy(opening.opened[0])
    reading = asyncio.create_task(session._read(lambda _: busy()))
    await _until(busy.begun)
    waiting = asyncio.create_task(session.count([_ALL]))
    await asyncio.sleep(0)

    async with pool.connection():  # a thread is free, a connection is not
        await session.close()
        next_read = asyncio.create_task(following.count([_ALL]))
        await asyncio.sleep(0.02)
        assert not next_read.done()
        opening.opened[0].interrupt()
        with pytest.raises(Unavailable, match="interrupted"):
            await reading
        with pytest.raises(RuntimeError, match="the read session is over"):
            await waiting
        assert await next_read == [0]
    await following.close()
    await asyncio.to_thread(pool.close)


async def test_a_session_that_is_over_reads_no_more(embedded: EmbeddedStore) -> None:
    async with embedded.session() as used, embedded.session() as unused:
        await used.count([_ALL])

    for session in (used, unused):
        with pytest.raises(RuntimeError, match="the read session is over"):
            await session.count([_ALL])


async def test_a_connection_that_comes_back_late_is_closed(opening: _Opening) -> None:
    pool = ReaderPool(opening, 2)
    async with pool.connection() as early:
        async with pool.connection():
            pass
        await asyncio.to_thread(pool.close)
        assert early.execute("SELECT 1").fetchone() == (1,)

    for opened in opening.opened:
        with pytest.raises(sqlite3.ProgrammingError, match="closed database"):
            opened.execute("SELECT 1")


async def test_reads_are_not_on_the_event_loop(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read that waits for the loop ends, because the loop goes on meanwhile."""
    reading, beaten = threading.Event(), threading.Event()

    def watched(*arguments: Any, **options: Any) -> sqlite3.Connection:
        opened = connect(*arguments, **options)
        opened.set_trace_callback(lambda sql: wait() if "sources" in sql else None)
        return opened

    def wait() -> None:
        reading.set()
        assert beaten.wait(PATIENCE_SECONDS)

    migrate(path)
    monkeypatch.setattr(store, "connect", watched)
    embedded = await EmbeddedStore.open(path)
    counting = asyncio.create_task(ask.count(embedded, _ALL))
    await _until(reading)
    for _ in range(10):
        await asyncio.sleep(0)
    assert not counting.done()
    beaten.set()

    assert await counting == 0
    await embedded.close()


def _threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if "catalog" in thread.name]


async def test_a_closed_store_leaves_no_thread(path: Path) -> None:
    before = _threads()
    embedded = await EmbeddedStore.open(path, readers=3)
    await asyncio.gather(*(ask.count(embedded, _ALL) for _ in range(3)))
    assert len(_threads()) > len(before)
    await embedded.close()

    assert _threads() == before
