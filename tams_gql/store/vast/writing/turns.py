"""Turns within a process: change sets that share a lock are applied one after the other.

Their transactions would conflict for certain; waiting costs less than trying again.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from tams_gql.model.errors import LimitExceeded
from tams_gql.store.vast.writing.locks import Lock

_Turn = asyncio.Future[None]

_MAX_WAITING = 1024
_REMEMBERED = 10_000


class Turns:
    """First come, first served, for each lock."""

    def __init__(self) -> None:
        self._last: dict[Lock, _Turn] = {}
        self._waiting = 0
        self._written: OrderedDict[Lock, float] = OrderedDict()

    @asynccontextmanager
    async def taken(self, locks: Collection[Lock]) -> AsyncIterator[None]:
        """Wait until nobody who came before needs one of the locks.

        The place in the queue is taken at once, so the order is that of the calls. Raises
        ``LimitExceeded`` if too many are waiting. Who is cancelled while it waits leaves those
        behind it waiting for those before it.
        """
        if self._waiting >= _MAX_WAITING:
            raise LimitExceeded(
                f"{_MAX_WAITING} writes are already waiting for the catalog; try again later"
            )
        before = {f for lock in locks if (f := self._last.get(lock)) is not None}
        mine: _Turn = asyncio.get_running_loop().create_future()
        self._last |= dict.fromkeys(locks, mine)
        self._waiting += 1
        try:
            if before:
                await asyncio.wait(before)  # which, unlike awaiting them, never cancels them
            yield
        finally:
            self._waiting -= 1
            self._leave(locks, mine, {future for future in before if not future.done()})

    def _leave(self, locks: Collection[Lock], mine: _Turn, before: set[_Turn]) -> None:
        """End a turn, once those ``before`` it have ended."""
        if before:
            (one, *_) = before
            one.add_done_callback(lambda one: self._leave(locks, mine, before - {one}))
            return
        mine.set_result(None)
        for lock in locks:
            if self._last[lock] is mine:
                del self._last[lock]

    def note(self, locks: Collection[Lock], when: float) -> None:
        """Remember that a change set with these locks was committed (monotonic seconds)."""
        for lock in locks:
            self._written[lock] = when
            self._written.move_to_end(lock)
        while len(self._written) > _REMEMBERED:
            self._written.popitem(last=False)

    def written_since(self, locks: Collection[Lock], begun: float) -> bool:
        """Whether this process is known to have committed under one of the locks since then."""
        return any(self._written.get(lock, begun) > begun for lock in locks)
