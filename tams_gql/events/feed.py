"""Fan-out of the change log inside one process.

The log is read once per tick for all subscribers. What was read stays in a bounded ring; each
subscriber keeps only its own place and takes what comes after it. One that has fallen out of the
ring, or resumes at a position from before it, reads the log itself until it has had everything up
to the ring's start, so a slow consumer costs the server no memory and holds nobody back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace

import orjson
import pyarrow as pa

from tams_gql.events.cursor import decode_cursor, encode_cursor
from tams_gql.events.ring import Event, Ring
from tams_gql.model.errors import BadInput, CursorExpired, Unavailable
from tams_gql.store.port import ChangeLog
from tams_gql.store.records import values
from tams_gql.store.scan import Where

_READ_AT_ONCE = 256
_RING_EVENTS = 2048
_RETRY_SECONDS = 0.5
_SURELY_KEPT_SECONDS = 1.0  # what is younger is not removed between two reads

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Place:
    """How far a subscriber has come.

    ``number`` is that of the event in the ring that comes next, None for one who reads the log
    itself. One who is ``ahead`` has already had, elsewhere, some of what the ring has yet to pass:
    from then on its positions are unions of its own with those of the ring.
    """

    position: str
    number: int | None = None
    ahead: bool = False


class EventFeed:
    """Reads the change log for the subscribers of one process."""

    def __init__(self, log: ChangeLog, *, poll_seconds: float = 0.025) -> None:
        self._log = log
        self._poll_seconds = poll_seconds
        self._ring = Ring(_RING_EVENTS)
        self._waiting: set[asyncio.Future[None]] = set()
        self._subscribers = 0
        self._read_at = 0.0
        self._idle = True
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to follow the log from its present head."""
        self._log.on_commit(self._wake.set)
        self._task = asyncio.create_task(self._follow(), name="event-feed")

    async def stop(self) -> None:
        """Stop following; waiting subscribers are cancelled by their own connections."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def log_id(self) -> str:
        """Which log the cursors belong to."""
        return self._log.log_id

    @property
    def subscribers(self) -> int:
        """How many follow the log at the moment."""
        return self._subscribers

    def cursor(self, position: str) -> str:
        """The client's cursor for a position."""
        return encode_cursor(self._log.log_id, position)

    def position(self, cursor: str, *, field: str = "after") -> str:
        """The position behind a client's cursor; ``BadInput`` if it is none of this log."""
        position = decode_cursor(self._log.log_id, cursor, field=field)
        try:
            self._log.covers(position, position)
        except BadInput:
            raise BadInput(
                f"{field}: {cursor[:80]!r} is not an event cursor of this service", field=field
            ) from None
        return position

    def covers(self, position: str, other: str) -> bool:
        """Whether everything up to ``other`` is up to ``position`` too."""
        return self._log.covers(position, other)

    async def head(self) -> str:
        """Where the log ends."""
        return await self._log.head()

    async def floor(self) -> str:
        """Where the events begin that are kept."""
        return await self._log.floor()

    async def read(
        self, after: str | None, limit: int, where: tuple[Where, ...] = ()
    ) -> list[Event]:
        """Up to ``limit`` matching events after a position, from the log itself.

        None begins with the oldest event that is kept. Raises ``CursorExpired`` if retention has
        removed events after that position, ``BadInput`` if it is ahead of the log: that comes
        from before a backup was restored, and to go on from it would silently skip events.
        """
        page = await self._log.page(after, limit, where)
        if page.is_ahead:
            raise BadInput("after: the event cursor is ahead of the change log", field="after")
        if after is not None and not self._log.covers(after, page.floor):
            raise CursorExpired(
                "after: the event cursor is older than the retention of the change log",
                field="after",
                oldestCursor=self.cursor(page.floor),
            )
        return self._events(page.events)

    async def follow(self, after: str) -> AsyncGenerator[Sequence[Event], None]:
        """Everything after a position, in order, without gap or repetition, for ever.

        Yields what is there in portions and waits for more. Raises ``CursorExpired`` if the
        subscriber has fallen behind the log's retention.
        """
        self._subscribers += 1
        self._wake.set()
        place = _Place(after)
        try:
            while True:
                if self._ring.start is None:
                    # Whoever read the log now would have events of its own, that nobody shares.
                    await self._next_tick()
                    continue
                if self._is_in_ring(place):
                    portion = self._from_ring(place)
                    more = place.number != self._ring.next
                else:
                    first = self._ring.first
                    portion = await self._from_log(place)
                    more = self._ring.first != first  # it has moved on: there may be more by now
                if portion:
                    yield portion
                elif not more:
                    await self._next_tick()
        finally:
            self._subscribers -= 1

    def _is_in_ring(self, place: _Place) -> bool:
        """Whether the ring has all that the subscriber has yet to get, which then goes on in it."""
        ring = self._ring
        if place.number is not None and place.number >= ring.first:
            return True
        if ring.start is None or not self.covers(place.position, ring.start):
            return False
        place.number = ring.passed(lambda position: self.covers(place.position, position))
        place.ahead = not self.covers(ring.before(place.number), place.position)
        return True

    def _from_ring(self, place: _Place) -> list[Event]:
        """The next events that the subscriber has not had; none at the ring's end."""
        assert place.number is not None
        events = self._ring.take(place.number, _READ_AT_ONCE)
        place.number += len(events)
        if place.ahead:
            return [event for found in events if (event := self._unseen(place, found)) is not None]
        if events:
            place.position = events[-1].position
        return events

    def _unseen(self, place: _Place, event: Event) -> Event | None:
        """The ring's next event as one who was ahead gets it; None if it has had that before."""
        had = place.ahead and self.covers(place.position, event.position)
        if not place.ahead or self.covers(event.position, place.position):
            place.ahead, place.position = False, event.position
            return None if had else event
        if had:
            return None
        place.position = self._log.union(place.position, event.position)
        return replace(event, position=place.position, cursor=self.cursor(place.position))

    async def _from_log(self, place: _Place) -> list[Event]:
        events = await self.read(place.position, _READ_AT_ONCE)
        place.number = None
        if events:
            place.position = events[-1].position
        return events

    async def _next_tick(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.add(waiter)
        try:
            await waiter
        finally:
            self._waiting.discard(waiter)

    async def _follow(self) -> None:
        while True:
            try:
                await self._pause()
                if not self._subscribers:
                    self._idle = True  # nobody listens: leave the log alone
                    self._ring.begin(None)
                    continue
                if self._idle:
                    await self._begin_at_head()
                await self._read_on()
            except Unavailable as error:
                _log.warning("the change log cannot be read, trying again: %s", error)
                await self._pause_after_failure()
            except Exception:
                # Subscribers depend on this task: it must outlive any single failure.
                _log.exception("reading the change log failed, trying again")
                await self._pause_after_failure()

    async def _begin_at_head(self) -> None:
        self._read_at = asyncio.get_running_loop().time()
        self._ring.begin(await self._log.head())
        self._idle = False
        self._tick()  # whoever asked from an earlier point reads the log up to here

    async def _pause(self) -> None:
        """Wait for a commit of this process or, while somebody listens, of another one."""
        while not self._wake.is_set():
            timeout = self._poll_seconds if self._subscribers else None
            try:
                async with asyncio.timeout(timeout):
                    await self._wake.wait()
            except TimeoutError:
                if await self._log.changed():
                    break
        self._wake.clear()

    async def _pause_after_failure(self) -> None:
        await asyncio.sleep(_RETRY_SECONDS)
        self._wake.set()  # what was to be read is still there, though nothing else changes

    async def _read_on(self) -> None:
        while True:
            events = self._events(await self._log.events(self._ring.end, _READ_AT_ONCE))
            if await self._has_missed():
                return await self._begin_at_head()
            if not events:
                return None
            self._ring.extend(events)
            self._tick()
            if len(events) < _READ_AT_ONCE:
                return None

    async def _has_missed(self) -> bool:
        """Whether retention went past the ring's end before it could be read on from there."""
        now = asyncio.get_running_loop().time()
        before, self._read_at = self._read_at, now
        if now - before < _SURELY_KEPT_SECONDS:
            return False
        return not self.covers(self._ring.end, await self._log.floor())

    def _tick(self) -> None:
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)

    def _events(self, batch: pa.RecordBatch) -> list[Event]:
        columns = (values(column) for column in batch.columns)
        return [
            Event(position, self.cursor(position), kind, created, source, flow, orjson.loads(body))
            for position, kind, created, source, flow, body in zip(*columns, strict=True)
        ]
