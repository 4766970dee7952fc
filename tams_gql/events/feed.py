"""Fan-out of the change log inside one process.

The log is read once per tick for all subscribers. What was read stays in a bounded ring; each
subscriber keeps only its own position and takes what lies behind it. One that has fallen out of
the ring reads the log itself, so a slow consumer costs the server no memory and holds nobody back.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import pyarrow as pa

from tams_gql.events.cursor import encode_cursor
from tams_gql.model.errors import CursorExpired, TamsError, Unavailable
from tams_gql.store.port import ChangeLog
from tams_gql.store.records import values
from tams_gql.store.scan import Where

_READ_AT_ONCE = 256
_RING_EVENTS = 2048
_RETRY_SECONDS = 0.5

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Event:
    """One committed change. ``created`` is microseconds UTC, ``body`` the decoded JSON."""

    position: str
    cursor: str
    type: str
    created: int
    source_id: str | None
    flow_id: str | None
    body: dict[str, Any]
    shared: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)
    """Work done once for all subscribers that see this event in the same process."""


class EventFeed:
    """Reads the change log for the subscribers of one process."""

    def __init__(self, log: ChangeLog, *, poll_seconds: float = 0.025) -> None:
        self._log = log
        self._poll_seconds = poll_seconds
        self._ring: deque[Event] = deque(maxlen=_RING_EVENTS)
        self._ring_start = ""  # everything after this position, up to _seen, is in the ring
        self._seen = ""
        self._waiting: set[asyncio.Future[None]] = set()
        self._subscribers = 0
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

    async def head(self) -> str:
        """The position of the newest committed event."""
        return await self._log.head()

    async def floor(self) -> str:
        """The position before the oldest event that is kept."""
        return await self._log.floor()

    async def read(self, after: str, limit: int, where: tuple[Where, ...] = ()) -> list[Event]:
        """Up to ``limit`` matching events after a position, from the log itself.

        Raises ``CursorExpired`` if retention has removed events after that position.
        """
        batch = await self._log.events(after, limit, where)
        # Looked at after the read: what was trimmed before it is then surely noticed.
        floor = await self._log.floor()
        if after < floor:
            raise CursorExpired(
                "after: the event cursor is older than the retention of the change log",
                field="after",
                oldestCursor=self.cursor(floor),
            )
        return self._events(batch)

    async def follow(self, after: str) -> AsyncGenerator[Sequence[Event], None]:
        """Everything after a position, in order, without gap or repetition, for ever.

        Yields what is there in portions and waits for more. Raises ``CursorExpired`` if the
        subscriber has fallen behind the log's retention.
        """
        self._subscribers += 1
        self._wake.set()
        try:
            while True:
                portion = self._from_ring(after)
                if portion is None:
                    portion = await self.read(after, _READ_AT_ONCE)
                    if not portion and after <= self._seen:
                        continue  # the ring has caught up meanwhile
                if not portion:
                    await self._next_tick()
                    continue
                after = portion[-1].position
                yield portion
        finally:
            self._subscribers -= 1

    def _from_ring(self, after: str) -> Sequence[Event] | None:
        """What the ring holds after a position; None if it does not reach back so far."""
        if after < self._ring_start or after > self._seen:
            return None
        if after == self._seen:
            return ()
        newer: list[Event] = []
        for event in reversed(self._ring):
            if event.position <= after or len(newer) == _RING_EVENTS:
                break
            newer.append(event)
        newer.reverse()
        return newer[:_READ_AT_ONCE]

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
                    continue
                if self._idle:
                    await self._begin_at_head()
                await self._read_on()
            except Unavailable as error:
                _log.warning("the change log cannot be read, trying again: %s", error)
                await asyncio.sleep(_RETRY_SECONDS)
            except TamsError:
                raise
            except Exception:
                # Subscribers depend on this task: it must outlive any single failure.
                _log.exception("reading the change log failed, trying again")
                await asyncio.sleep(_RETRY_SECONDS)

    async def _begin_at_head(self) -> None:
        self._ring.clear()
        self._seen = self._ring_start = await self._log.head()
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

    async def _read_on(self) -> None:
        while True:
            events = self._events(await self._log.events(self._seen, _READ_AT_ONCE))
            if not events:
                return
            overflow = len(self._ring) + len(events) - _RING_EVENTS
            for _ in range(max(0, overflow)):
                self._ring_start = self._ring.popleft().position
            self._ring.extend(events)
            self._seen = events[-1].position
            self._tick()
            if len(events) < _READ_AT_ONCE:
                return

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
