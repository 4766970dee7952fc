"""A bound on how many operations run at once, and on how many wait for that."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress


class TooManyWaiting(Exception):
    """As many are running and waiting as may be."""


class Turns:
    """``async with turns:`` runs at most ``at_once`` at a time; others wait, first come first."""

    def __init__(self, *, at_once: int, waiting: int) -> None:
        self.at_once = at_once
        self.max_waiting = waiting
        self._free = at_once
        self._waiters: deque[asyncio.Future[None]] = deque()

    @property
    def running(self) -> int:
        """How many have their turn."""
        return self.at_once - self._free

    @property
    def waiting(self) -> int:
        """How many wait for theirs."""
        return len(self._waiters)

    async def __aenter__(self) -> None:
        """Wait for a turn. Raises TooManyWaiting at once if the queue is full."""
        if self._free:
            # Nobody waits then: a turn that ends goes to the first one waiting.
            self._free -= 1
            return
        if len(self._waiters) >= self.max_waiting:
            raise TooManyWaiting
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                with suppress(ValueError):
                    self._waiters.remove(waiter)
            else:
                self._pass_on()  # the turn had come in the same moment
            raise

    async def __aexit__(self, *_: object) -> None:
        self._pass_on()

    def _pass_on(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.cancelled():
                waiter.set_result(None)
                return
        self._free += 1
