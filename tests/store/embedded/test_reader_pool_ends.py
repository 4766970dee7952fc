"""No connection of the readers is lost or used when opening is cancelled or the store closes."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from tams_gql.model.errors import Unavailable
from tams_gql.store.embedded import migrate
from tams_gql.store.embedded.connection import connect
from tams_gql.store.embedded.reader import ReaderPool

_ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"


class _Opening:
    """Opens reading connections, each when it is let."""

    def __init__(self, path: Path) -> None:
        migrate(path)
        self.opened: list[sqlite3.Connection] = []
        self.begun, self.let = threading.Event(), threading.Event()
        self._path = path

    def __call__(self) -> sqlite3.Connection:
        self.begun.set()
        assert self.let.wait(10)
        self.opened.append(connect(self._path, write=False))
        return self.opened[-1]


def _is_closed(connection: sqlite3.Connection) -> bool:
    try:
        connection.execute("SELECT 1")
    except sqlite3.ProgrammingError:
        return True
    return False


async def _lend(pool: ReaderPool) -> sqlite3.Connection:
    async with pool.connection() as lent:
        return lent


async def _cancel_while_it_opens(pool: ReaderPool, opening: _Opening) -> None:
    task = asyncio.create_task(_lend(pool))
    assert await asyncio.to_thread(opening.begun.wait, 10)
    task.cancel()
    asyncio.get_running_loop().call_later(0.02, opening.let.set)
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_connection_that_nobody_waited_for_serves_the_next(path: Path) -> None:
    opening = _Opening(path)
    pool = ReaderPool(opening, 1)
    await _cancel_while_it_opens(pool, opening)

    assert [await _lend(pool)] == opening.opened

    await asyncio.to_thread(pool.close)
    assert list(map(_is_closed, opening.opened)) == [True]


class _Overtaken(list[sqlite3.Connection]):
    """Idle connections; the pool is closed just before one is put among them."""

    def __init__(self, pool: ReaderPool) -> None:
        self._pool = pool

    def append(self, connection: sqlite3.Connection) -> None:
        self._pool.close()
        super().append(connection)


async def test_a_connection_that_comes_back_while_the_pool_closes_is_closed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening = _Opening(path)
    opening.let.set()
    pool = ReaderPool(opening, 1)
    monkeypatch.setattr(pool, "_idle", _Overtaken(pool))

    await _lend(pool)

    assert list(map(_is_closed, opening.opened)) == [True]


class _Emptied(list[sqlite3.Connection]):
    """Idle connections that are there when asked for, and gone when taken."""

    def __bool__(self) -> bool:
        return True


async def test_a_pool_that_is_emptied_by_its_end_says_so(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = ReaderPool(_Opening(path), 1)
    pool.close()
    monkeypatch.setattr(pool, "_idle", _Emptied())

    with pytest.raises(Unavailable, match="the catalog store is closed"):
        await _lend(pool)


class _ClosedMeanwhile(sqlite3.Connection):
    """Its read ends, and it is closed, just before it can be interrupted."""

    def interrupt(self) -> None:
        super().interrupt()
        raise sqlite3.ProgrammingError("Cannot operate on a closed database.")


async def test_a_read_cancelled_while_the_store_closes_is_just_cancelled(path: Path) -> None:
    pool = ReaderPool(lambda: connect(path, write=False), 1)
    watcher = sqlite3.connect(path, check_same_thread=False, factory=_ClosedMeanwhile)
    with closing(watcher):
        begun = threading.Event()

        def work() -> None:
            begun.set()
            watcher.execute(_ENDLESS).fetchall()

        task = asyncio.create_task(pool.run(work, watcher))
        assert await asyncio.to_thread(begun.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await asyncio.to_thread(pool.close)
