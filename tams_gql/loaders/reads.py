"""The read session of one request, opened by the first read and renewed after a write."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack

import pyarrow as pa

from tams_gql.model.errors import Unavailable
from tams_gql.store.changes import ChangeSet, Committed
from tams_gql.store.port import CatalogStore, Groups, ReadSession
from tams_gql.store.scan import CoverageWindow, Covered, Partitioned, Scan, SegmentWindow


class RequestReads:
    """A ``ReadSession`` that costs nothing until it is used.

    All reads of a request see one snapshot; ``renew`` drops it, so that what follows sees the
    request's own writes.
    """

    def __init__(self, store: CatalogStore) -> None:
        self._store = store
        self._opening = asyncio.Lock()  # loaders of one tick may all be the first
        self._stack: AsyncExitStack | None = None
        self._session: ReadSession | None = None
        self._renewals = 0
        self._closed = False

    async def renew(self) -> None:
        """Give the session back; the next read opens a new one."""
        stack, _ = self._taken()
        if stack is not None:
            await stack.aclose()

    async def close(self) -> None:
        """Give the session back for good.

        An operation that ends early leaves loaders behind that may go on reading: nobody would give
        a session back that they open.
        """
        self._closed = True
        await self.renew()

    def _taken(self) -> tuple[AsyncExitStack | None, ReadSession | None]:
        """The session, which nobody else gets from now on, and what ends it."""
        taken = self._stack, self._session
        self._stack, self._session = None, None
        self._renewals += 1
        return taken

    async def commit(self, changes: ChangeSet) -> Committed:
        """Commit what was decided on these reads; the reads that follow open a new session."""
        stack, session = self._taken()
        async with stack or AsyncExitStack():
            return await self._store.commit(changes, session)

    async def _entered(self) -> ReadSession:
        async with self._opening:
            while self._session is None:
                if self._closed:
                    raise Unavailable("the operation that reads is over")
                await self._open()
            return self._session

    async def _open(self) -> None:
        renewals = self._renewals
        async with AsyncExitStack() as stack:
            session = await stack.enter_async_context(self._store.session())
            if renewals == self._renewals:  # else it may be older than what is to be seen
                self._stack, self._session = stack.pop_all(), session

    async def scan(self, scans: Sequence[Scan]) -> list[pa.RecordBatch]:
        return await (await self._entered()).scan(scans)

    async def partitions(self, partitioned: Partitioned) -> Groups:
        return await (await self._entered()).partitions(partitioned)

    async def windows(self, columns: tuple[str, ...], windows: Sequence[SegmentWindow]) -> Groups:
        return await (await self._entered()).windows(columns, windows)

    async def coverage(self, windows: Sequence[CoverageWindow]) -> list[Covered]:
        return await (await self._entered()).coverage(windows)

    async def head(self) -> str:
        return await (await self._entered()).head()

    async def count(self, scans: Sequence[Scan]) -> list[int]:
        return await (await self._entered()).count(scans)

    async def count_partitions(self, partitioned: Partitioned) -> list[int]:
        return await (await self._entered()).count_partitions(partitioned)

    async def count_windows(self, windows: Sequence[SegmentWindow]) -> list[int]:
        return await (await self._entered()).count_windows(windows)
