"""Queues in this process for rows that several change at once.

Changes are optimistic: whoever commits first wins, the others read again. Reading takes longer than
committing, so left to chance one of many may lose for ever. Those who lost a row therefore wait for
it in a queue, and those who come anew let the queue go first.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TypeVar

RowKey = tuple[str, tuple[object, ...]]
"""A table's name and the key of a row in it."""

K = TypeVar("K", bound=RowKey)


class TurnTooLate(Exception):
    """The queue was longer than patience."""


@dataclass(slots=True)
class _Queue:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


_queues: dict[RowKey, _Queue] = {}
_has_turn: ContextVar[bool] = ContextVar("has_turn", default=False)


@asynccontextmanager
async def turn(row: RowKey, seconds: float) -> AsyncIterator[None]:
    """Wait for one's turn with ``row``: first come, first served.

    One task may have one turn at a time, so that nobody waits in a circle. Raises ``TurnTooLate``
    after ``seconds``.
    """
    queue = _queues.setdefault(row, _Queue())
    queue.users += 1
    try:
        try:
            async with asyncio.timeout(seconds):
                await queue.lock.acquire()
        except TimeoutError:
            raise TurnTooLate from None
        token = _has_turn.set(True)
        try:
            yield
        finally:
            _has_turn.reset(token)
            queue.lock.release()
    finally:
        queue.users -= 1
        if not queue.users:
            del _queues[row]


def awaited_by_others(rows: Iterable[K]) -> K | None:
    """The first of ``rows`` that has a queue; None for one who has a turn, whatever the row."""
    if not _queues or _has_turn.get():
        return None
    return next((row for row in rows if row in _queues), None)
