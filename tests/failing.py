"""A store that fails when a test says so."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any

from tams_gql.context import Services
from tams_gql.store.changes import ChangeSet, Committed
from tams_gql.store.port import CatalogStore, ChangeLog, ReadSession


class FailingStore:
    """A ``CatalogStore`` that raises ``on_read``, ``on_commit`` or ``on_close`` when it is set."""

    def __init__(self, store: CatalogStore) -> None:
        self._store = store
        self.on_read: Exception | None = None
        self.on_commit: Exception | None = None
        self.on_close: Exception | None = None
        self.on_read_after_commit: Exception | None = None
        """Becomes ``on_read`` with the next commit."""

    @property
    def log(self) -> ChangeLog:
        return self._store.log

    def session(self) -> AbstractAsyncContextManager[ReadSession]:
        return self._session()

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[ReadSession]:
        async with self._store.session() as session:
            yield _FailingSession(session, self)  # type: ignore[misc]
        if self.on_close is not None:
            raise self.on_close

    async def commit(self, changes: ChangeSet) -> Committed:
        if self.on_commit is not None:
            raise self.on_commit
        if self.on_read_after_commit is not None:
            # Before it: subscribers may read of the change sooner than the writer hears of it.
            self.on_read, self.on_read_after_commit = self.on_read_after_commit, None
        return await self._store.commit(changes)

    async def check(self) -> None:
        await self._store.check()

    async def close(self) -> None:
        await self._store.close()


class _FailingSession:
    """All reads of a session, each of which may fail."""

    def __init__(self, session: ReadSession, store: FailingStore) -> None:
        self._session = session
        self._store = store

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        read: Callable[..., Awaitable[Any]] = getattr(self._session, name)

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
