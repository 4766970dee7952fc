"""Stores and media backends that count what they are asked, and pass it on."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from contextvars import ContextVar
from datetime import datetime

import pyarrow as pa

from tams_gql.media.port import (
    CopyProgress,
    ListedObject,
    MediaBackend,
    ObjectStat,
    PutRequest,
    ReadMethod,
    SignedRequest,
    StorageBackend,
)
from tams_gql.store.changes import ChangeSet, Committed
from tams_gql.store.port import CatalogStore, ChangeLog, Groups, ReadSession
from tams_gql.store.scan import CoverageWindow, Covered, Partitioned, Scan, SegmentWindow

Calls = list[str]

_watched: ContextVar[Calls | None] = ContextVar("watched", default=None)


@contextmanager
def watched() -> Iterator[Calls]:
    """The store round trips and signings of what is awaited inside, in order.

    What runs beside it, such as the program's background work, does not count.
    """
    calls: Calls = []
    token = _watched.set(calls)
    try:
        yield calls
    finally:
        _watched.reset(token)


class RecordingStore:
    """A ``CatalogStore`` that tells ``watched`` of each round trip."""

    def __init__(self, store: CatalogStore) -> None:
        self._store = store
        self.calls: Calls = []
        """All round trips since the start, whoever made them."""

    @property
    def log(self) -> ChangeLog:
        return self._store.log

    def session(self) -> AbstractAsyncContextManager[ReadSession]:
        return self._session()

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[ReadSession]:
        async with self._store.session() as session:
            yield _RecordingSession(session, self._note)

    async def commit(self, changes: ChangeSet, seen: ReadSession | None = None) -> Committed:
        self._note("commit")
        inner = seen.inner if isinstance(seen, _RecordingSession) else seen
        return await self._store.commit(changes, inner)

    async def check(self) -> None:
        await self._store.check()

    async def close(self) -> None:
        await self._store.close()

    def _note(self, call: str) -> None:
        self.calls.append(call)
        if (calls := _watched.get()) is not None:
            calls.append(call)


class _RecordingSession:
    def __init__(self, session: ReadSession, note: Callable[[str], None]) -> None:
        self.inner = session
        self._note = note

    async def scan(self, scans: Sequence[Scan]) -> list[pa.RecordBatch]:
        self._note(f"scan {' '.join(_table(scan) for scan in scans)}")
        return await self.inner.scan(scans)

    async def partitions(self, partitioned: Partitioned) -> Groups:
        self._note(f"partitions {_table(partitioned.scan)} by {partitioned.column}")
        return await self.inner.partitions(partitioned)

    async def windows(self, columns: tuple[str, ...], windows: Sequence[SegmentWindow]) -> Groups:
        self._note("windows")
        return await self.inner.windows(columns, windows)

    async def coverage(self, windows: Sequence[CoverageWindow]) -> list[Covered]:
        self._note("coverage")
        return await self.inner.coverage(windows)

    async def head(self) -> str:
        self._note("head")
        return await self.inner.head()

    async def count(self, scans: Sequence[Scan]) -> list[int]:
        self._note(f"count {' '.join(_table(scan) for scan in scans)}")
        return await self.inner.count(scans)

    async def count_partitions(self, partitioned: Partitioned) -> list[int]:
        self._note(f"count_partitions {_table(partitioned.scan)} by {partitioned.column}")
        return await self.inner.count_partitions(partitioned)

    async def count_windows(self, windows: Sequence[SegmentWindow]) -> list[int]:
        self._note("count_windows")
        return await self.inner.count_windows(windows)


def _table(scan: Scan) -> str:
    return scan.table.name


class RecordingMedia:
    """A ``MediaBackend`` that tells ``watched`` of each signing and how many URLs it made."""

    def __init__(self, media: MediaBackend) -> None:
        self._media = media

    @property
    def backend(self) -> StorageBackend:
        return self._media.backend

    @property
    def signs_slowly(self) -> bool:
        return self._media.signs_slowly

    def new_key(self, object_id: str, *, flow_id: str, now: datetime) -> str:
        return self._media.new_key(object_id, flow_id=flow_id, now=now)

    def sign_get(
        self, keys: Sequence[str], *, expires_in: int, method: ReadMethod = "GET"
    ) -> list[str]:
        _note_signing(method, len(keys))
        return self._media.sign_get(keys, expires_in=expires_in, method=method)

    def sign_put(self, items: Sequence[PutRequest], *, expires_in: int) -> list[SignedRequest]:
        _note_signing("PUT", len(items))
        return self._media.sign_put(items, expires_in=expires_in)

    async def stat(self, keys: Sequence[str]) -> list[ObjectStat | None]:
        return await self._media.stat(keys)

    async def delete(self, keys: Sequence[str]) -> None:
        await self._media.delete(keys)

    async def copy_from(
        self,
        source: MediaBackend,
        source_key: str,
        key: str,
        *,
        progress: CopyProgress | None = None,
    ) -> ObjectStat:
        return await self._media.copy_from(_inner(source), source_key, key, progress=progress)

    async def store(
        self,
        key: str,
        blocks: AsyncGenerator[bytes, None],
        *,
        size: int | None,
        content_type: str | None,
        progress: CopyProgress | None = None,
    ) -> ObjectStat:
        return await self._media.store(
            key, blocks, size=size, content_type=content_type, progress=progress
        )

    def read(self, key: str, *, etag: str | None = None) -> AsyncIterator[bytes]:
        return self._media.read(key, etag=etag)

    def list_objects(self, prefix: str = "") -> AsyncIterator[ListedObject]:
        return self._media.list_objects(prefix)

    async def check(self) -> None:
        await self._media.check()


def _inner(media: MediaBackend) -> MediaBackend:
    """A backend as others of its kind know it."""
    return media._media if isinstance(media, RecordingMedia) else media


def _note_signing(method: str, count: int) -> None:
    if (calls := _watched.get()) is not None:
        calls.append(f"sign {count} {method}")
