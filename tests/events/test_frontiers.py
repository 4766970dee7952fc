"""The feed of a log whose positions are frontiers: late commits, several lanes, several feeds."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest
from hypothesis import event as note
from hypothesis import given, settings
from hypothesis import strategies as st

from tams_gql.events.feed import EventFeed
from tests.events.lane_log import LaneLog
from tests.waiting import until

Cursor = tuple[str, frozenset[str]]  # a position, and what a reader there has had


@pytest.fixture(autouse=True, scope="module")
def small_ring() -> Iterator[None]:
    """So that a few events are enough to fall out of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tams_gql.events.feed._RING_EVENTS", 6)
        patch.setattr("tams_gql.events.feed._READ_AT_ONCE", 4)
        yield


class Subscriber:
    """Follows a feed from a cursor and checks each event as it comes."""

    def __init__(self, feed: EventFeed, cursor: Cursor, given: list[Cursor]) -> None:
        self.had = set(cursor[1])
        self._given = given  # the cursors handed out to anybody
        self._events = feed.follow(cursor[0])
        self.task = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        async for portion in self._events:
            for event in portion:
                name = event.body["name"]
                lane, seq = name.split("-")
                assert name not in self.had
                assert seq == "1" or f"{lane}-{int(seq) - 1}" in self.had
                self.had.add(name)
                self._given.append((event.position, frozenset(self.had)))

    async def leave(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self._events.aclose()


LANES = [f"{number:012x}" for number in (1, 2, 3, 4)]

steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 3), st.integers(1, 3)),
        st.tuples(st.just("write and commit"), st.integers(0, 3), st.integers(1, 3)),
        st.tuples(st.just("commit"), st.integers(0, 3), st.just(0)),
        st.tuples(st.just("roll back"), st.integers(0, 3), st.just(0)),
        st.tuples(st.just("pass time"), st.integers(0, 1200), st.just(0)),
        st.tuples(st.just("subscribe"), st.integers(0, 1), st.integers(0, 100)),
        st.tuples(st.just("subscribe at head"), st.integers(0, 1), st.just(0)),
        st.tuples(st.just("fall asleep or wake up"), st.integers(0, 1), st.just(0)),
        st.tuples(st.just("leave"), st.integers(0, 30), st.just(0)),
        st.tuples(st.just("let run"), st.integers(1, 20), st.just(0)),
    ),
    min_size=30,
    max_size=90,
)


@settings(max_examples=100)
@given(plan=steps)
async def test_everything_once_and_each_lane_in_order(plan: list[tuple[str, int, int]]) -> None:
    log = LaneLog()
    processes = [log.process(), log.process()]
    cursors: list[Cursor] = [(await processes[0].head(), frozenset())]
    subscribers: list[Subscriber] = []
    async with AsyncExitStack() as stack:
        feeds = [EventFeed(process, poll_seconds=0.001) for process in processes]
        for feed in feeds:
            await feed.start()
            stack.push_async_callback(feed.stop)
        # when
        for action, one, other in plan:
            match action:
                case "write":
                    log.write(LANES[one], other)
                case "write and commit":
                    log.write(LANES[one], other)
                    log.commit(LANES[one])
                case "commit":
                    log.commit(LANES[one])
                case "roll back":
                    log.roll_back(LANES[one])
                case "pass time":
                    log.pass_time(one)
                case "subscribe":
                    cursor = cursors[other % len(cursors)]
                    subscribers.append(Subscriber(feeds[one], cursor, cursors))
                case "subscribe at head":
                    names = frozenset(written.name for written in log.visible)
                    cursors.append((await processes[one].head(), names))
                    subscribers.append(Subscriber(feeds[one], cursors[-1], cursors))
                case "fall asleep or wake up":
                    processes[one].asleep ^= True
                case "leave" if subscribers:
                    await subscribers.pop(one % len(subscribers)).leave()
                case "let run":
                    for _ in range(one):
                        await asyncio.sleep(0)
        for lane in LANES:
            log.commit(lane)
        for process in processes:
            process.asleep = False
        # then
        everything = {written.name for written in log.visible}
        for subscriber in subscribers:
            await until(lambda s=subscriber: s.had == everything or s.task.done())  # type: ignore[misc]
            assert not subscriber.task.done()
            await subscriber.leave()
    note(f"{len(everything) // 10 * 10} events")


async def test_a_late_commit_arrives_everywhere_once() -> None:
    log, given = LaneLog(), list[Cursor]()
    processes = [log.process(), log.process()]
    start = (await processes[0].head(), frozenset[str]())
    async with AsyncExitStack() as stack:
        feeds = [EventFeed(process, poll_seconds=0.001) for process in processes]
        for feed in feeds:
            await feed.start()
            stack.push_async_callback(feed.stop)
        live = [Subscriber(feed, start, given) for feed in feeds]
        log.write(LANES[3], 2)
        for _ in range(10):
            log.pass_time(25)
            log.write(LANES[0], 1)
            log.commit(LANES[0])
        await until(lambda: all(len(one.had) == 10 for one in live))
        before = list(given)
        log.commit(LANES[3])
        await until(lambda: all(len(one.had) == 12 for one in live))
        resumed = [Subscriber(feed, cursor, []) for cursor in before for feed in feeds]
        await until(lambda: all(len(one.had) == 12 for one in [*live, *resumed]))
        for one in [*live, *resumed]:
            assert not one.task.done()
            await one.leave()


async def test_a_resumed_reader_may_be_ahead_of_the_feed_and_behind_it() -> None:
    log, elsewhere, given = LaneLog(), list[Cursor](), list[Cursor]()
    here, there = log.process(), log.process()
    async with AsyncExitStack() as stack:
        feeds = [EventFeed(process, poll_seconds=0.001) for process in (here, there)]
        for feed in feeds:
            await feed.start()
            stack.push_async_callback(feed.stop)
        start = (await here.head(), frozenset[str]())
        live = [Subscriber(feeds[0], start, []), Subscriber(feeds[1], start, elsewhere)]
        await until(lambda: not feeds[0]._idle)
        # given a reader that has had, in another process, the first of two events of the same time
        here.asleep = True
        for lane in (LANES[1], LANES[2]):
            log.write(lane, 1)
            log.commit(lane)
            await until(lambda lane=lane: f"{lane}-1" in live[1].had)  # type: ignore[misc]
        # when it resumes here, where neither is known yet, and a third comes that sorts first
        live.append(Subscriber(feeds[0], elsewhere[0], given))
        log.write(LANES[0], 1)
        log.commit(LANES[0])
        here.asleep = False
        await until(lambda: all(len(one.had) == 3 for one in live))
        # then it gets the other two, at positions that include what it had before
        had = [f"{lane}-1" for lane in LANES[:3]]
        assert [names for _, names in given] == [frozenset(had[:2]), frozenset(had)]
        assert here.covers(given[0][0], elsewhere[0][0])
        assert given[1][0] == await here.head()
        for one in live:
            assert not one.task.done()
            await one.leave()
