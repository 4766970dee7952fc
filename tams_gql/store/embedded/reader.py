"""Consistent reads: a bounded pool of connections, each session on one snapshot."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from itertools import accumulate
from typing import Any, TypeVar

import pyarrow as pa

from tams_gql.store.embedded import select, windows
from tams_gql.store.embedded.arrow import schema_of, to_batch
from tams_gql.store.embedded.connection import translated
from tams_gql.store.port import Groups
from tams_gql.store.scan import Partitioned, Scan, SegmentWindow
from tams_gql.store.tables import SEGMENTS, Table

T = TypeVar("T")


class ReaderPool:
    """Worker threads and connections for reads; one of each per concurrent session at most."""

    def __init__(self, open_connection: Callable[[], sqlite3.Connection], size: int) -> None:
        self._open = open_connection
        self._size = size
        self._idle: list[sqlite3.Connection] = []
        self._slots = asyncio.Semaphore(size)
        self._threads = ThreadPoolExecutor(size, thread_name_prefix="catalog-read")

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[sqlite3.Connection]:
        """Lend a connection without an open transaction."""
        async with self._slots:
            lent = self._idle.pop() if self._idle else await self.run(self._open)
            try:
                yield lent
            finally:
                # Ending a read transaction touches only shared memory, so it is not worth a thread.
                if lent.in_transaction:
                    lent.rollback()
                self._idle.append(lent)

    async def run(self, work: Callable[[], T], lent: sqlite3.Connection | None = None) -> T:
        """Run blocking work in a thread.

        When the caller is cancelled the statement is interrupted and waited for, so that a
        connection never goes back to the pool while a thread still uses it.
        """
        future: Future[T] = self._threads.submit(work)
        waiter = asyncio.wrap_future(future)
        try:
            with translated():
                return await asyncio.shield(waiter)
        except asyncio.CancelledError:
            if not future.cancel():
                if lent is not None:
                    lent.interrupt()
                await asyncio.wait([waiter])
                if not waiter.cancelled():
                    waiter.exception()  # retrieved: an interrupted statement is no news
            raise

    def close(self) -> None:
        """Close the connections and end the threads."""
        self._threads.shutdown(wait=True)
        while self._idle:
            self._idle.pop().close()


class EmbeddedSession:
    """One snapshot of the catalog; the first read opens it."""

    def __init__(self, pool: ReaderPool) -> None:
        self._pool = pool
        self._lender = pool.connection()
        self._lent: sqlite3.Connection | None = None
        self._lock = asyncio.Lock()  # a connection serves one statement at a time

    async def close(self) -> None:
        """Give the connection back."""
        if self._lent is not None:
            self._lent = None
            await self._lender.__aexit__(None, None, None)

    async def scan(self, scans: Sequence[Scan]) -> list[pa.RecordBatch]:
        return await self._read(lambda c: [_batch(c, scan) for scan in scans])

    async def partitions(self, partitioned: Partitioned) -> Groups:
        scan, column = partitioned.scan, partitioned.column
        text, parameters = select.select_partition(scan, column)

        def read(connection: sqlite3.Connection) -> Groups:
            found = (
                connection.execute(text, [key, *parameters]).fetchall() for key in partitioned.keys
            )
            return _groups(scan.table, scan.columns, found)

        return await self._read(read)

    async def windows(self, columns: tuple[str, ...], windows: Sequence[SegmentWindow]) -> Groups:
        def read(connection: sqlite3.Connection) -> Groups:
            found = (connection.execute(*_window(window, columns)).fetchall() for window in windows)
            return _groups(SEGMENTS, columns, found)

        return await self._read(read)

    async def count(self, scans: Sequence[Scan]) -> list[int]:
        return await self._read(
            lambda c: [c.execute(*select.count(scan)).fetchone()[0] for scan in scans]
        )

    async def count_partitions(self, partitioned: Partitioned) -> list[int]:
        def read(connection: sqlite3.Connection) -> list[int]:
            counts = dict(connection.execute(*select.count_partitions(partitioned)).fetchall())
            return [counts.get(key, 0) for key in partitioned.keys]

        return await self._read(read)

    async def count_windows(self, windows: Sequence[SegmentWindow]) -> list[int]:
        return await self._read(
            lambda c: [c.execute(*_window_count(window)).fetchone()[0] for window in windows]
        )

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        async with self._lock:
            lent = self._lent
            if lent is None:
                lent = self._lent = await self._lender.__aenter__()

            def in_snapshot() -> T:
                if not lent.in_transaction:
                    lent.execute("BEGIN")
                return work(lent)

            return await self._pool.run(in_snapshot, lent)


def _batch(connection: sqlite3.Connection, scan: Scan) -> pa.RecordBatch:
    rows = connection.execute(*select.select(scan)).fetchall()
    return to_batch(schema_of(scan.table, scan.columns), rows)


def _window(window: SegmentWindow, columns: tuple[str, ...]) -> tuple[str, list[Any]]:
    return windows.select_window(window, columns)


def _window_count(window: SegmentWindow) -> tuple[str, list[Any]]:
    return windows.count_window(window)


def _groups(table: Table, columns: tuple[str, ...], found: Iterable[list[Any]]) -> Groups:
    groups = list(found)
    offsets = [0, *accumulate(len(rows) for rows in groups)]
    rows = [row for group in groups for row in group]
    return Groups(to_batch(schema_of(table, columns), rows), offsets)
