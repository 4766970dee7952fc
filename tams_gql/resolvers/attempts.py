"""Optimistic writes: read, decide, commit; look again when something changed meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from itertools import count
from typing import TypeVar

from tams_gql.model.errors import Conflict
from tams_gql.model.jitter import CHANCE
from tams_gql.row_queues import RowKey, TurnTooLate, turn
from tams_gql.store.changes import Stale

T = TypeVar("T")

# Many writers of one resource win one after the other, so each of them only needs patience.
_PATIENCE_SECONDS = 10.0
_FIRST_PAUSE_SECONDS = 0.002
_DOUBLINGS = 6


async def until_fresh(attempt: Callable[[], Awaitable[T]]) -> T:
    """Run ``attempt`` until what it read still holds when it commits.

    Each attempt reads anew, so it either succeeds or finds and raises the reason it cannot. Who
    loses a row queues for it, as far as this process goes. Raises ``Conflict`` when others keep
    changing the same resource for ten seconds.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
    lost: RowKey | None = None
    for number in count():
        try:
            if lost is None:
                return await attempt()
            async with turn(lost, deadline - time.monotonic()):
                return await attempt()
        except Stale as stale:
            if time.monotonic() > deadline:
                break
            lost = stale.row or lost
        except TurnTooLate:
            break
        if number or lost is None:  # in a queue at last, only other processes are left to lose to
            pause = _FIRST_PAUSE_SECONDS * 2 ** min(number, _DOUBLINGS)
            await asyncio.sleep(pause * CHANCE.uniform(0.5, 1.0))
    raise Conflict("others keep changing the same resource; try again later")
