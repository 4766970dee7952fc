"""Waiting for what happens on its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

PATIENCE_SECONDS = 60.0
"""How long tests wait for what must happen. Machines are shared, so it says nothing on speed."""


async def until(condition: Callable[[], bool]) -> None:
    """Return when the condition holds; ``TimeoutError`` if that does not come."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 (nobody tells when it changes)
            await asyncio.sleep(0.002)


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """The same for a condition that has to be asked for."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await condition():  # noqa: ASYNC110 (nobody tells when it changes)
            await asyncio.sleep(0.005)
