"""Consistent reads: a bounded pool of connections, each session on one snapshot."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from itertools import accumulate
from typing import Any, TypeVar

import pyarrow as pa

from tams_gql.model.errors import Unavailable
from tams_gql.store.embedded import select, windows
from tams_gql.store.embedded.arrow import layout_of, to_batch
from tams_gql.store.embedded.connection import translated
from tams_gql.store.embedded.coverage import coverage
from tams_gql.store.embedded.positions import last_seq, position_text
from tams_gql.store.embedded.select import Statement
from tams_gql.store.port import Groups
from tams_gql.store.scan import CoverageWindow, Covered, Partitioned, Scan, SegmentWindow
from tams_gql.store.tables import SEGMENTS, Table

T = TypeVar("T")

_Rows = list[tuple[Any, ...]]

# How soon a cancelled read that has gone on to its next statement is interrupted again.
_INTERRUPT_SECONDS = 0.01


class ReaderPool:
    """Worker threads and connections for reads; one of each per concurrent session at most."""

    def __init__(self, open_connection: Callable[[], sqlite3.Connection], size: int) -> None:
        self._open = open_connection
        self._idle: list[sqlite3.Connection] = []
        self._slots = asyncio.Semaphore(size)
        self._threads = ThreadPoolExecutor(size, thread_name_prefix="catalog-read")
        self._closed = False

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[sqlite3.Connection]:
        """Lend a connection without an open transaction."""
        async with self._slots:
            lent = self._take() or await self._new()
            try:
                yield lent
            finally:
                # Ending a read transaction touches only shared memory, so it is not worth a thread.
                if lent.in_transaction:
                    with translated():
                        lent.rollback()
                self._put(lent)

    async def run(self, work: Callable[[], T], lent: sqlite3.Connection | None = None) -> T:
        """Run blocking work in a thread.

        When the caller is cancelled the statement is interrupted and waited for, so that a
        connection never goes back to the pool while a thread still uses it.
        """
        try:
            future = self._threads.submit(work)
        except RuntimeError as error:
            reason = "is closed" if self._closed else f"has no thread to read with: {error}"
            raise Unavailable(f"the catalog store {reason}") from error
        try:
            with translated():
                return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            await _abandon(future, lent)
            raise

    def close(self) -> None:
        """Close the connections and end the threads. Blocks."""
        self._closed = True
        self._threads.shutdown(wait=True)
        self._close_idle()

    async def _new(self) -> sqlite3.Connection:
        made: list[sqlite3.Connection] = []
        try:
            await self.run(lambda: made.append(self._open()))
        except asyncio.CancelledError:
            for connection in made:
                self._put(connection)
            raise
        return made.pop()

    def _take(self) -> sqlite3.Connection | None:
        with suppress(IndexError):  # asking first would be no use: ``close`` runs in a thread
            return self._idle.pop()
        return None

    def _put(self, connection: sqlite3.Connection) -> None:
        self._idle.append(connection)
        # Looked at afterwards: either this or ``close`` finds the connection then.
        if self._closed:
            self._close_idle()

    def _close_idle(self) -> None:
        while (connection := self._take()) is not None:
            connection.close()


async def _abandon(future: Future[Any], lent: sqlite3.Connection | None) -> None:
    """Wait until the thread has let go of the connection, however often we are cancelled."""
    while not (future.cancel() or future.done()):
        if lent is not None:
            with suppress(sqlite3.ProgrammingError):  # the store has just closed it
                lent.interrupt()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(_INTERRUPT_SECONDS)


class EmbeddedSession:
    """One snapshot of the catalog; the first read opens it."""

    def __init__(self, pool: ReaderPool) -> None:
        self._pool = pool
        self._lender: AbstractAsyncContextManager[sqlite3.Connection] | None = None
        self._lent: sqlite3.Connection | None = None
        self._lock = asyncio.Lock()  # a connection serves one statement at a time
        self._closed = False

    async def close(self) -> None:
        """Give the connection back; a read that is still running does so when it ends."""
        self._closed = True
        if not self._lock.locked():
            await self._give_back()

    async def scan(self, scans: Sequence[Scan]) -> list[pa.RecordBatch]:
        return await self._read(lambda c: [_batch(c, scan) for scan in scans])

    async def partitions(self, partitioned: Partitioned) -> Groups:
        scan = partitioned.scan

        def read(connection: sqlite3.Connection) -> Groups:
            statements = select.select_partition(scan, partitioned.column)
            found = (_rows(connection, statements, scan.limit, key) for key in partitioned.keys)
            return _groups(scan.table, scan.columns, found)

        return await self._read(read)

    async def windows(self, columns: tuple[str, ...], windows: Sequence[SegmentWindow]) -> Groups:
        return await self._read(
            lambda c: _groups(
                SEGMENTS, columns, (_window(c, window, columns) for window in windows)
            )
        )

    async def coverage(self, windows: Sequence[CoverageWindow]) -> list[Covered]:
        return await self._read(lambda c: [coverage(c, window) for window in windows])

    async def count(self, scans: Sequence[Scan]) -> list[int]:
        return await self._read(lambda c: [_count(c, scan) for scan in scans])

    async def count_partitions(self, partitioned: Partitioned) -> list[int]:
        def read(connection: sqlite3.Connection) -> list[int]:
            counts = dict(connection.execute(*select.count_partitions(partitioned)).fetchall())
            return [counts.get(key, 0) for key in partitioned.keys]

        return await self._read(read)

    async def count_windows(self, windows: Sequence[SegmentWindow]) -> list[int]:
        return await self._read(lambda c: [_window_count(c, window) for window in windows])

    async def head(self) -> str:
        return await self._read(lambda c: position_text(last_seq(c)))

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        async with self._lock:
            try:
                lent = self._lent or await self._borrow()

                def in_snapshot() -> T:
                    if not lent.in_transaction:
                        lent.execute("BEGIN")
                    return work(lent)

                return await self._pool.run(in_snapshot, lent)
            finally:
                if self._closed:
                    await self._give_back()

    async def _borrow(self) -> sqlite3.Connection:
        if self._closed:
            raise RuntimeError("the read session is over")
        lender = self._pool.connection()
        self._lent = await lender.__aenter__()
        self._lender = lender
        return self._lent

    async def _give_back(self) -> None:
        lender, self._lender, self._lent = self._lender, None, None
        if lender is not None:
            await lender.__aexit__(None, None, None)


def _batch(connection: sqlite3.Connection, scan: Scan) -> pa.RecordBatch:
    rows = _rows(
        connection, select.select(scan, few=_few(connection, select.look(scan))), scan.limit
    )
    return to_batch(layout_of(scan.table, scan.columns), rows)


def _count(connection: sqlite3.Connection, scan: Scan) -> int:
    few = _few(connection, select.look(scan, counting=True))
    return int(connection.execute(*select.count(scan, few=few)).fetchone()[0])


def _few(connection: sqlite3.Connection, look: Statement | None) -> bool:
    """Whether it is known, where it matters, that few rows match."""
    return look is not None and connection.execute(*look).fetchone() is None


def _rows(
    connection: sqlite3.Connection, statements: list[Statement], limit: int | None, *first: str
) -> _Rows:
    """The rows of the statements one after the other, up to ``limit`` in all."""
    rows: _Rows = []
    for text, parameters in statements:
        values = [*first, *parameters]
        if limit is not None:
            values[-1] = limit - len(rows)
        rows += connection.execute(text, values).fetchall()
        if limit is not None and len(rows) >= limit:
            break
    return rows


def _window(
    connection: sqlite3.Connection, window: SegmentWindow, columns: tuple[str, ...]
) -> _Rows:
    if windows.is_empty(window):
        return []
    return connection.execute(*windows.select_window(window, columns)).fetchall()


def _window_count(connection: sqlite3.Connection, window: SegmentWindow) -> int:
    if windows.is_empty(window):
        return 0
    return int(connection.execute(*windows.count_window(window)).fetchone()[0])


def _groups(table: Table, columns: tuple[str, ...], found: Iterable[_Rows]) -> Groups:
    groups = list(found)
    offsets = [0, *accumulate(len(rows) for rows in groups)]
    rows = [row for group in groups for row in group]
    return Groups(to_batch(layout_of(table, columns), rows), offsets)
