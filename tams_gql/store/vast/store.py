"""The store in a VAST cluster as a whole."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, suppress

from tams_gql.model.errors import Unavailable
from tams_gql.store.changes import ChangeSet, Committed
from tams_gql.store.port import ReadSession
from tams_gql.store.vast.change_log.log import VastLog
from tams_gql.store.vast.config import VastConfig
from tams_gql.store.vast.modes import Modes, modes_of
from tams_gql.store.vast.reading.session import Reads, VastSession
from tams_gql.store.vast.reading.snapshot import ReadThreads
from tams_gql.store.vast.schema import require_current
from tams_gql.store.vast.wire.client import Gone, OutcomeUnknown, RowConflict, VastClient
from tams_gql.store.vast.writing.claims import forget_expired
from tams_gql.store.vast.writing.commits import Commits
from tams_gql.store.vast.writing.guards import Guards


class VastStore:
    """A catalog in a database schema of a cluster (``CatalogStore``). Made by ``open``."""

    def __init__(self, client: VastClient, modes: Modes, guards: Guards, log: VastLog) -> None:
        self.modes = modes
        """How the cluster keeps transactions apart, as it was found or set."""
        self._client = client
        self._log = log
        self._reads = Reads(client, log.view_head)
        self._commits = Commits(client, modes, guards, log, self._reads)
        self._looks = ReadThreads(1)
        self._look: asyncio.Task[None] | None = None
        self._closed = False

    @classmethod
    async def open(cls, config: VastConfig, *, poll_seconds: float = 0.2) -> VastStore:
        """Connect to a catalog that exists.

        ``poll_seconds`` is how often the log may be asked whether others have changed something.
        Raises ``Unavailable`` if the cluster cannot be reached or the catalog does not have the
        schema of this program; then the message names the command that helps.
        """
        client = VastClient(config)
        try:
            modes, guards = await asyncio.to_thread(_prepare, client)
            log = await VastLog.open(client, poll_seconds=poll_seconds)
        except BaseException:
            client.close()
            raise
        return cls(client, modes, guards, log)

    @property
    def log(self) -> VastLog:
        return self._log

    def session(self) -> AbstractAsyncContextManager[VastSession]:
        return self._reads.session()

    async def commit(self, changes: ChangeSet, seen: ReadSession | None = None) -> Committed:
        return await self._commits.commit(changes, seen if isinstance(seen, VastSession) else None)

    async def check(self) -> None:
        if self._closed:
            raise Unavailable("the catalog store is closed")
        # All who ask meanwhile wait for one look. A cluster that keeps silent holds its thread for
        # long, and who asks for readiness gives up and comes back.
        if self._look is None or self._look.done():
            look = self._looks.run(lambda: require_current(self._client))
            self._look = self._looks.task(look)
        await asyncio.shield(self._look)

    async def close(self) -> None:
        self._closed = True
        await self._commits.close()
        await self._log.close()
        await self._looks.close()
        await self._reads.close()
        await asyncio.to_thread(self._client.close)


def _prepare(client: VastClient) -> tuple[Modes, Guards]:
    """Look at a catalog that is about to be used. Blocks."""
    require_current(client)
    try:
        modes = modes_of(client)
        return modes, _guards(client, modes)
    except (Gone, RowConflict, OutcomeUnknown) as error:
        raise Unavailable("the VAST cluster gave up a transaction; try again") from error


def _guards(client: VastClient, modes: Modes) -> Guards:
    tx = client.begin()
    try:
        guards = Guards.read(tx)
        if modes.conflicts == "none":
            # Others may be at it too, and who opens a catalog does not depend on it.
            with suppress(RowConflict, Gone, OutcomeUnknown, Unavailable):
                if forget_expired(tx, client.clock.now_us()):
                    tx.commit()
    finally:
        tx.rollback()
    return guards
