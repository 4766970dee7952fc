"""What one operation works with: the services of the program and its own batched reads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tams_gql.events.feed import EventFeed
from tams_gql.events.ring import Event
from tams_gql.loaders import Loaders
from tams_gql.loaders.reads import RequestReads
from tams_gql.media.external.rules import ExternalRules
from tams_gql.media.registry import MediaRegistry
from tams_gql.model.errors import TamsError
from tams_gql.row_queues import awaited_by_others
from tams_gql.store.changes import ChangeSet, Committed, Stale
from tams_gql.store.port import CatalogStore


def utc_now_us() -> int:
    """Now, in microseconds UTC."""
    return time.time_ns() // 1000


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that resolvers keep. Times in seconds."""

    default_page_size: int = 50
    max_page_size: int = 1000
    max_batch_items: int = 1000
    url_lifetime: int = 3600
    min_url_lifetime: int = 30
    min_object_timeout: int = 600
    allocation_grace: int = 60
    job_lease: int = 60


@dataclass(frozen=True, slots=True)
class ServiceInfo:
    """What the service says of itself (TAMS 8.2, ``/service``)."""

    name: str | None
    description: str | None
    version: str


class Bell:
    """Tells the workers of this process that there is something to do."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def next_ring(self) -> asyncio.Event:
        """Is set by the next ring after this call."""
        return self._next

    def ring(self) -> None:
        """Wake all who wait."""
        self._next.set()
        self._next = asyncio.Event()


@dataclass(frozen=True, slots=True)
class Services:
    """What lives as long as the program."""

    store: CatalogStore
    media: MediaRegistry
    feed: EventFeed
    limits: Limits
    info: ServiceInfo
    verify_uploads: bool = True
    now_us: Callable[[], int] = utc_now_us
    jobs_bell: Bell = field(default_factory=Bell)
    external: ExternalRules = field(default_factory=ExternalRules)
    """Which copies outside the storage may be read to make copies inside; none by default."""


@dataclass(slots=True)
class _EventReads:
    """The reads that all subscribers make for one event, kept until the last one is done."""

    reads: RequestReads
    loaders: Loaders
    users: int = 0


@dataclass(frozen=True, slots=True)
class Shortfall:
    """Something is missing from the answer at ``path``, which is good without it."""

    path: tuple[str | int, ...]
    error: TamsError


_MAX_SHORTFALLS = 100


class Context:
    """One operation. Reads share a snapshot and are batched; a commit renews both."""

    def __init__(
        self, services: Services, *, principal: str | None = None, report_cost: bool = False
    ) -> None:
        self.services = services
        self.principal = principal
        self.report_cost = report_cost
        self._reads = RequestReads(services.store)
        self._event: Event | None = None
        self.loaders = Loaders(self._reads, services.media)
        self._shortfalls: list[Shortfall] = []

    def report(self, path: tuple[str | int, ...], error: TamsError) -> None:
        """Have the answer tell what is missing from it; no more than it takes to be noticed."""
        if len(self._shortfalls) < _MAX_SHORTFALLS:
            self._shortfalls.append(Shortfall(path, error))

    def take_shortfalls(self) -> list[Shortfall]:
        """What was reported since the last answer."""
        taken, self._shortfalls = self._shortfalls, []
        return taken

    @property
    def limits(self) -> Limits:
        """The bounds of this service."""
        return self.services.limits

    def fork(self) -> Context:
        """A context for another operation of the same client."""
        return Context(self.services, principal=self.principal, report_cost=self.report_cost)

    async def renew(self) -> None:
        """Let the following reads see the present state."""
        await self.end_event()
        await self._reads.renew()
        self.loaders = Loaders(self._reads, self.services.media)

    async def begin_event(self, event: Event) -> None:
        """Read anew for an event of a subscription.

        Subscribers that receive the same event at the same time share its loaders, so that what
        they all select is read once. The snapshot is opened after the commit, so it includes the
        event. Call ``end_event`` when the event is answered.
        """
        await self.end_event()
        shared: _EventReads | None = event.shared.get(_EventReads)
        if shared is None:
            reads = RequestReads(self.services.store)
            shared = _EventReads(reads, Loaders(reads, self.services.media))
            event.shared[_EventReads] = shared
        shared.users += 1
        self._event = event
        self.loaders = shared.loaders

    async def end_event(self) -> None:
        """Let go of the event's snapshot; the last of its subscribers gives it back.

        Until then it occupies one of the store's few readers.
        """
        event, self._event = self._event, None
        if event is None:
            return
        self.loaders = Loaders(self._reads, self.services.media)
        shared: _EventReads = event.shared[_EventReads]
        shared.users -= 1
        if shared.users == 0:
            del event.shared[_EventReads]
            await shared.reads.close()

    async def commit(self, changes: ChangeSet) -> Committed:
        """Apply a change set; what is read afterwards includes it.

        Raises ``Stale`` when something the change set relied on has changed, or is about to be by
        one who has waited longer; the reads are renewed then as well, so that the caller can look
        again.
        """
        await self.end_event()
        try:
            expected = ((expect.table.name, expect.key) for expect in changes.expect)
            if (row := awaited_by_others(expected)) is not None:
                raise Stale("others have waited longer for the same row", row)
            return await self._reads.commit(changes)
        finally:
            await self.renew()

    async def close(self) -> None:
        """Release the snapshot; nothing is read after this."""
        await self.end_event()
        await self._reads.close()
