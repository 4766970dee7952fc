"""The embedded store as a whole."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

from tams_gql.model.errors import Unavailable
from tams_gql.store.changes import ChangeSet, Committed
from tams_gql.store.embedded.checkpoint import LogKeeper
from tams_gql.store.embedded.connection import Synchronous, connect, translated
from tams_gql.store.embedded.log import EmbeddedLog
from tams_gql.store.embedded.migrate import migrate, require_current
from tams_gql.store.embedded.reader import EmbeddedSession, ReaderPool
from tams_gql.store.embedded.writer import Writer
from tams_gql.store.port import ReadSession

_READERS_ASIDE = 2  # for the change log and probes, which never hold one while they wait


class EmbeddedStore:
    """A catalog in one SQLite file (``CatalogStore``). Made by ``open``."""

    def __init__(self, path: Path, synchronous: Synchronous, readers: int, log_id: str) -> None:
        def reading() -> sqlite3.Connection:
            return connect(path, synchronous=synchronous, write=False)

        def writing() -> sqlite3.Connection:
            return connect(path, synchronous=synchronous, write=True)

        self._pool = ReaderPool(reading, readers)
        # An operation that holds a reader may read the log as well. Were that to wait for another
        # reader, as many of them as there are readers would wait for each other.
        self._aside = ReaderPool(reading, _READERS_ASIDE)
        self._watcher = reading()
        self._log = EmbeddedLog(log_id, self._aside, lambda: self._writer, self._watcher)
        self._writer = Writer(writing, self._log.committed, LogKeeper(path).look)

    @classmethod
    async def open(
        cls, path: Path, *, synchronous: Synchronous = "full", readers: int = 4
    ) -> EmbeddedStore:
        """Open the catalog file, creating or upgrading it first.

        Raises ``Unavailable`` if it cannot be opened or was written by a newer release.
        """

        def prepare() -> EmbeddedStore:
            return cls(path, synchronous, readers, _prepare(path))

        return await asyncio.to_thread(prepare)

    @property
    def log(self) -> EmbeddedLog:
        return self._log

    @asynccontextmanager
    async def session(self) -> AsyncIterator[EmbeddedSession]:
        session = EmbeddedSession(self._pool)
        try:
            yield session
        finally:
            await session.close()

    async def commit(self, changes: ChangeSet, seen: ReadSession | None = None) -> Committed:
        if isinstance(seen, EmbeddedSession):
            # Whoever waits for the disk must not occupy one of the few readers.
            await seen.close()
        return await self._writer.commit(changes)

    async def check(self) -> None:
        # A store whose readers are all taken still answers.
        async with self._aside.connection() as lent:
            await self._aside.run(lambda: require_current(lent), lent)

    async def close(self) -> None:
        def finish() -> None:
            self._writer.close()
            self._pool.close()
            self._aside.close()
            with translated():
                self._watcher.close()

        await asyncio.to_thread(finish)


def _prepare(path: Path) -> str:
    """Create or upgrade the catalog file; the id of its change log."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(f"the directory of the catalog cannot be made: {error}") from error
    migrate(path)
    with closing(connect(path, write=False)) as connection, translated():
        found = connection.execute("SELECT value FROM service WHERE name = 'log_id'").fetchone()
    if found is None:
        raise Unavailable("the catalog file has no change log; is it a catalog?")
    return str(found[0])
