"""A store that fails when a test says so."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any, cast

from tams_gql.context import Services
from tams_gql.media.port import CopyProgress, MediaBackend, ObjectStat, StorageBackend
from tams_gql.store.changes import ChangeSet, Committed
from tams_gql.store.port import CatalogStore, ChangeLog, ReadSession


class FailingStore:
    """A ``CatalogStore`` that raises ``on_read``, ``on_commit`` or ``on_close`` when it is set."""

    def __init__(self, store: CatalogStore) -> None:
        self._store = store
        self.on_read: BaseException | None = None
        self.on_commit: Exception | None = None
        self.on_close: Exception | None = None
        self.on_read_after_commit: BaseException | None = None
        """Becomes ``on_read`` with the next commit."""

    @property
    def log(self) -> ChangeLog:
        return self._store.log

    def session(self) -> AbstractAsyncContextManager[ReadSession]:
        return self._session()

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[ReadSession]:
        async with self._store.session() as session:
            yield cast(ReadSession, _FailingSession(session, self))
        if self.on_close is not None:
            raise self.on_close

    async def commit(self, changes: ChangeSet, seen: ReadSession | None = None) -> Committed:
        if self.on_commit is not None:
            raise self.on_commit
        if self.on_read_after_commit is not None:
            # Before it: subscribers may read of the change sooner than the writer hears of it.
            self.on_read, self.on_read_after_commit = self.on_read_after_commit, None
        inner = seen.inner if isinstance(seen, _FailingSession) else seen
        return await self._store.commit(changes, inner)

    async def check(self) -> None:
        await self._store.check()

    async def close(self) -> None:
        await self._store.close()


class _FailingSession:
    """All reads of a session, each of which may fail."""

    def __init__(self, session: ReadSession, store: FailingStore) -> None:
        self.inner = session
        self._store = store

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        read: Callable[..., Awaitable[Any]] = getattr(self.inner, name)

        async def failing(*arguments: Any) -> Any:
            if self._store.on_read is not None:
                raise self._store.on_read
            return await read(*arguments)

        return failing


class Breakable:
    """A ``Refit`` that puts a ``FailingStore`` into the services."""

    store: FailingStore

    def __call__(self, services: Services) -> Services:
        self.store = FailingStore(services.store)
        return replace(services, store=self.store)


class FailingMedia:
    """A ``MediaBackend`` that fails, waits and keeps account of deletions as a test says."""

    def __init__(self, media: MediaBackend) -> None:
        self.inner = media
        self.on_delete: Exception | None = None
        self.on_copy: Exception | None = None
        self.copying: Callable[[CopyProgress], Awaitable[None]] | None = None
        """Awaited before each copy, with what to tell of its progress."""
        self.deleted: list[str] = []

    @property
    def backend(self) -> StorageBackend:
        return self.inner.backend

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def delete(self, keys: Sequence[str]) -> None:
        if self.on_delete is not None:
            raise self.on_delete
        self.deleted += keys
        await self.inner.delete(keys)

    async def copy_from(
        self,
        source: MediaBackend,
        source_key: str,
        key: str,
        *,
        progress: CopyProgress | None = None,
    ) -> ObjectStat:
        if self.copying is not None and progress is not None:
            await self.copying(progress)
        if self.on_copy is not None:
            raise self.on_copy
        return await self.inner.copy_from(_innermost(source), source_key, key, progress=progress)


def _innermost(media: MediaBackend) -> MediaBackend:
    return media.inner if isinstance(media, FailingMedia) else media
