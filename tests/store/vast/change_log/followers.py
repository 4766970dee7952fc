"""Subscribers of a feed on a log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from tams_gql.events.feed import EventFeed
from tams_gql.store.vast.change_log.log import VastLog
from tests.waiting import until


class Follower:
    """A subscriber, and the cursor that each event gave it."""

    def __init__(self, feed: EventFeed, after: str) -> None:
        self._portions = feed.follow(after)
        self.names: list[str] = []
        self.positions = [after]
        self.task = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        async for events in self._portions:
            self.names += [event.body["name"] for event in events]
            self.positions += [event.position for event in events]

    async def has(self, count: int) -> list[str]:
        """Wait for that many events in all."""
        await until(lambda: len(self.names) >= count or self.task.done())
        return self.names

    async def leave(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self._portions.aclose()


class Feeds:
    """Followers of one process."""

    def __init__(self, feed: EventFeed, stack: AsyncExitStack) -> None:
        self.feed = feed
        self._stack = stack

    def follow(self, after: str) -> Follower:
        follower = Follower(self.feed, after)
        self._stack.push_async_callback(follower.leave)
        return follower


@asynccontextmanager
async def feeding(log: VastLog) -> AsyncIterator[Feeds]:
    async with AsyncExitStack() as stack:
        feed = EventFeed(log, poll_seconds=0.01)
        await feed.start()
        stack.push_async_callback(feed.stop)
        yield Feeds(feed, stack)
