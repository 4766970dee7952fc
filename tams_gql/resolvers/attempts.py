"""Optimistic writes: read, decide, commit; look again when something changed meanwhile."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tams_gql.model.errors import Conflict
from tams_gql.store.changes import Stale

T = TypeVar("T")

_ATTEMPTS = 12
_FIRST_PAUSE_SECONDS = 0.002
_LONGEST_PAUSE_SECONDS = 0.25


async def until_fresh(attempt: Callable[[], Awaitable[T]]) -> T:
    """Run ``attempt`` until what it read still holds when it commits.

    Each attempt reads anew, so it either succeeds or finds and raises the reason it cannot. Raises
    ``Conflict`` when others keep changing the same resource.
    """
    for number in range(_ATTEMPTS):
        try:
            return await attempt()
        except Stale:
            pause = min(_FIRST_PAUSE_SECONDS * 2**number, _LONGEST_PAUSE_SECONDS)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
    raise Conflict("others keep changing the same resource; try again later")
