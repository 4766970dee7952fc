"""Read sessions: the reading half of the store contract on one snapshot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

import pyarrow as pa

from tams_gql.store.port import Groups
from tams_gql.store.scan import CoverageWindow, Covered, Partitioned, Scan, SegmentWindow
from tams_gql.store.vast.reading.coverage import coverage
from tams_gql.store.vast.reading.partitions import partition_counts, partitioned_rows
from tams_gql.store.vast.reading.reader import Reader, Sizes, Tally, View
from tams_gql.store.vast.reading.row_cache import RowCache
from tams_gql.store.vast.reading.scanning import counted, scanned
from tams_gql.store.vast.reading.snapshot import ReadThreads, Snapshot
from tams_gql.store.vast.reading.windows import window_counts, window_rows
from tams_gql.store.vast.wire.client import VastClient

T = TypeVar("T")

_SIDE_BY_SIDE = 4  # selects of one store that parts of reads are made of

ViewHead = Callable[[Reader], str]
"""Finds the position of the newest event of a view."""

Heads = Callable[[], ViewHead]
"""Called just before a view begins: what is known of the log by then belongs to it."""


class Reads:
    """What the read sessions of one store share: threads, table sizes, and counts of oddities."""

    def __init__(self, client: VastClient, heads: Heads) -> None:
        self.sizes = Sizes()
        self.tally = Tally()
        self._client = client
        self._heads = heads
        self._threads = ReadThreads(client.config.read_threads)
        self._helpers = ThreadPoolExecutor(_SIDE_BY_SIDE, thread_name_prefix="catalog-part")

    @asynccontextmanager
    async def session(self) -> AsyncIterator[VastSession]:
        """A consistent view, opened by the first read of it."""
        session = self.open()
        try:
            yield session
        finally:
            await session.snapshot.close()

    def open(self) -> VastSession:
        """A session that its user closes by its snapshot."""
        direct = self._client.config.reads == "direct"
        begin = self._client.direct if direct else self._client.begin
        return VastSession(Snapshot(begin, self._threads), self._heads, self.view)

    def view(self, reader: Reader, rows: RowCache) -> View:
        """What a read works with, given its transaction and what is known of that."""
        return View(reader, rows, self.sizes, self.tally, self._helpers)

    async def close(self) -> None:
        """Wait for the reads that are under way and end the threads."""
        await self._threads.close()
        await asyncio.to_thread(self._helpers.shutdown)


class VastSession:
    """One view of the catalog. Each call is, as a rule, one round trip."""

    def __init__(
        self, snapshot: Snapshot, heads: Heads, view: Callable[[Reader, RowCache], View]
    ) -> None:
        self.snapshot = snapshot
        self._heads = heads
        self._view = view
        self._head: ViewHead | None = None
        snapshot.before_begin = self._note_head

    async def scan(self, scans: Sequence[Scan]) -> list[pa.RecordBatch]:
        if not scans:
            return []
        return await self._read(lambda view: [scanned(view, scan) for scan in scans])

    async def partitions(self, partitioned: Partitioned) -> Groups:
        return await self._read(lambda view: partitioned_rows(view, partitioned))

    async def windows(self, columns: tuple[str, ...], windows: Sequence[SegmentWindow]) -> Groups:
        return await self._read(lambda view: window_rows(view, columns, windows))

    async def coverage(self, windows: Sequence[CoverageWindow]) -> list[Covered]:
        if not windows:
            return []
        return await self._read(lambda view: coverage(view, windows))

    async def count(self, scans: Sequence[Scan]) -> list[int]:
        if not scans:
            return []
        return await self._read(lambda view: [counted(view, scan) for scan in scans])

    async def count_partitions(self, partitioned: Partitioned) -> list[int]:
        return await self._read(lambda view: partition_counts(view, partitioned))

    async def count_windows(self, windows: Sequence[SegmentWindow]) -> list[int]:
        if not windows:
            return []
        return await self._read(lambda view: window_counts(view, windows))

    async def head(self) -> str:
        def read(view: View) -> str:
            assert self._head is not None, "a read has begun the view"
            return self._head(view.reader)

        return await self._read(read)

    def _note_head(self) -> None:
        self._head = self._heads()

    async def _read(self, work: Callable[[View], T]) -> T:
        def in_view(reader: Reader) -> T:
            return work(self._view(reader, self.snapshot.rows))

        return await self.snapshot.run(in_view)
