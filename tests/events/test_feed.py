"""The feed: every subscriber gets the whole log behind its position, in order, whatever happens."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tams_gql.events.cursor import decode_cursor
from tams_gql.events.feed import EventFeed
from tams_gql.model.errors import CursorExpired, LimitExceeded, Unavailable
from tams_gql.store.embedded import EmbeddedStore
from tams_gql.store.port import CatalogStore, ChangeLog, LogPage
from tests.store.build import NOW, changes, event
from tests.waiting import PATIENCE_SECONDS, until

RING = 2048  # events that the feed keeps; more is read from the log


@pytest.fixture
async def feed(store: CatalogStore) -> AsyncIterator[EventFeed]:
    async with running(store.log) as feed:
        yield feed


@asynccontextmanager
async def running(log: ChangeLog) -> AsyncIterator[EventFeed]:
    """A feed that follows a log."""
    feed = EventFeed(log, poll_seconds=0.01)
    await feed.start()
    try:
        yield feed
    finally:
        await feed.stop()


async def commit(store: CatalogStore, *names: str, created: int = NOW) -> str:
    """Commit events that carry these names; the position after them."""
    events = [event(f'{{"name": "{name}"}}') for name in names]
    return (await store.commit(changes(events=events, now_us=created))).position


class Reader:
    """A subscriber that takes as much as it is told to."""

    def __init__(self, feed: EventFeed, after: str) -> None:
        self._portions = feed.follow(after)
        self._left: list[str] = []

    async def take(self, count: int) -> list[str]:
        """The names of the next events."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(self._left) < count:
                portion = await anext(self._portions)
                self._left += [event.body["name"] for event in portion]
        taken, self._left = self._left[:count], self._left[count:]
        return taken

    async def close(self) -> None:
        await self._portions.aclose()


@asynccontextmanager
async def reading(feed: EventFeed, after: str | None = None) -> AsyncIterator[Reader]:
    """A subscriber after a position, by default after what is committed now."""
    reader = Reader(feed, await feed.head() if after is None else after)
    try:
        yield reader
    finally:
        await reader.close()


async def settled(feed: EventFeed, count: int) -> None:
    """Wait until the feed follows the log and that many subscribers wait for it to go on."""
    await until(lambda: not feed._idle and len(feed._waiting) == count)


def names(first: int, last: int) -> list[str]:
    return [str(number) for number in range(first, last)]


async def test_what_is_committed_arrives_in_order(store: CatalogStore, feed: EventFeed) -> None:
    async with reading(feed) as reader:
        waiting = asyncio.create_task(reader.take(3))
        await commit(store, "a", "b")
        await commit(store, "c")
        assert await waiting == ["a", "b", "c"]


async def test_a_position_is_where_it_goes_on(store: CatalogStore, feed: EventFeed) -> None:
    start = await feed.head()
    await commit(store, "a", "b")
    position = await commit(store, "c")
    await commit(store, "d")
    async with reading(feed, position) as reader, reading(feed, start) as whole:
        assert await reader.take(1) == ["d"]
        assert await whole.take(4) == ["a", "b", "c", "d"]
        await commit(store, "e")
        assert (await reader.take(1), await whole.take(1)) == (["e"], ["e"])


async def test_events_carry_what_the_log_has(store: CatalogStore, feed: EventFeed) -> None:
    rows = [event('{"a": [1]}', type="flows/deleted", flow_id="f", source_id="s")]
    position = (await store.commit(changes(events=rows))).position
    (found,) = await feed.read(await feed.floor(), 10)
    assert (found.type, found.created, found.body) == ("flows/deleted", NOW, {"a": [1]})
    assert (found.flow_id, found.source_id, found.position) == ("f", "s", position)
    assert decode_cursor(store.log.log_id, found.cursor) == position
    assert found.cursor == feed.cursor(position)


async def test_subscribers_share_the_events(store: CatalogStore, feed: EventFeed) -> None:
    head = await feed.head()
    async with aclosing(feed.follow(head)) as one, aclosing(feed.follow(head)) as other:
        waiting = [asyncio.ensure_future(anext(portions)) for portions in (one, other)]
        await settled(feed, 2)
        await commit(store, "a")
        first, second = await asyncio.gather(*waiting)
        assert first[0] is second[0]


async def test_the_log_is_read_once_for_all_subscribers(store: CatalogStore) -> None:
    log = CountingLog(store.log)
    async with running(log) as feed:
        readers = [Reader(feed, await feed.head()) for _ in range(20)]
        waiting = [asyncio.create_task(reader.take(1)) for reader in readers]
        await settled(feed, 20)
        assert feed.subscribers == 20
        log.others_are_quiet = True
        before = log.reads
        await commit(store, "a")
        assert await asyncio.gather(*waiting) == [["a"]] * 20
        assert log.reads - before <= 2
        for reader in readers:
            await reader.close()


async def test_without_subscribers_the_log_is_left_alone(store: CatalogStore) -> None:
    log, start = CountingLog(store.log), await store.log.head()
    async with running(log) as feed:
        async with reading(feed) as reader:
            await commit(store, "a")
            assert await reader.take(1) == ["a"]
        assert feed.subscribers == 0
        await commit(store, "b")  # wakes the feed, which then sees that nobody listens
        await until(lambda: feed._idle)
        before = log.reads
        for number in range(5):
            await commit(store, str(number))
            await asyncio.sleep(0.005)
        assert log.reads == before
        # and it begins again where the log is now, also for one who asks for more
        async with reading(feed) as late, reading(feed, start) as whole:
            await commit(store, "c")
            assert await late.take(1) == ["c"]
            assert await whole.take(8) == ["a", "b", *names(0, 5), "c"]


async def test_a_slow_one_falls_out_of_the_ring_and_misses_nothing(
    store: CatalogStore, feed: EventFeed
) -> None:
    async with reading(feed) as slow, reading(feed) as quick:
        await commit(store, "0")
        assert await slow.take(1) == await quick.take(1) == ["0"]
        total = 2 * RING + 500
        for start in range(1, total, 1000):
            await commit(store, *names(start, min(start + 1000, total)))
            count = min(start + 1000, total) - start
            assert await quick.take(count) == names(start, start + count)
        assert await slow.take(total - 1) == names(1, total)
        await commit(store, "end")
        assert (await slow.take(1), await quick.take(1)) == (["end"], ["end"])


async def test_one_commit_larger_than_the_ring_arrives_whole(
    store: CatalogStore, feed: EventFeed
) -> None:
    async with reading(feed) as reader:
        waiting = asyncio.create_task(reader.take(3 * RING))
        await until(lambda: feed.subscribers == 1)
        await commit(store, *names(0, 3 * RING))
        assert await waiting == names(0, 3 * RING)


async def test_a_position_behind_the_retention_is_refused(
    store: CatalogStore, feed: EventFeed
) -> None:
    old = await commit(store, "a", created=NOW)
    kept = await commit(store, "b", created=NOW)
    await commit(store, "c", created=NOW + 10)
    await store.log.trim(NOW + 10)
    async with reading(feed, kept) as reader:
        assert await reader.take(1) == ["c"]
    async with reading(feed, old) as reader:
        with pytest.raises(CursorExpired) as expired:
            await reader.take(1)
    assert expired.value.details == {"oldestCursor": feed.cursor(kept)}
    assert expired.value.field == "after"


async def test_one_that_falls_behind_the_retention_is_told(
    store: CatalogStore, feed: EventFeed
) -> None:
    async with reading(feed) as slow, reading(feed) as quick:
        await commit(store, "0")
        await slow.take(1)
        last = await commit(store, *names(1, 2 * RING))
        assert await quick.take(2 * RING) == names(0, 2 * RING)
        await store.log.trim(NOW + 1)
        with pytest.raises(CursorExpired) as expired:
            await slow.take(2 * RING)
        assert expired.value.details == {"oldestCursor": feed.cursor(last)}
        # One that is up to date notices nothing.
        await commit(store, "end")
        assert await quick.take(1) == ["end"]


async def test_a_commit_of_another_process_is_found_by_looking(
    store: CatalogStore, another: CatalogStore, feed: EventFeed
) -> None:
    async with reading(feed) as reader:
        for number in range(20):
            await commit(another if number % 2 else store, str(number))
        assert await reader.take(20) == names(0, 20)
        await asyncio.sleep(0.05)
        await commit(another, "end")
        assert await reader.take(1) == ["end"]


async def test_leaving_takes_a_subscriber_off_the_count(
    store: CatalogStore, feed: EventFeed
) -> None:
    tasks = [asyncio.create_task(Reader(feed, await feed.head()).take(1)) for _ in range(3)]
    await until(lambda: feed.subscribers == 3)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await until(lambda: feed.subscribers == 0)
    await commit(store, "a")  # nobody is left who could be in the way


@pytest.fixture
def soon_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failure a feed does not rest long."""
    monkeypatch.setattr("tams_gql.events.feed._RETRY_SECONDS", 0.02)


async def test_a_log_that_does_not_answer_is_asked_again(
    store: CatalogStore, caplog: pytest.LogCaptureFixture, soon_again: None
) -> None:
    log = CountingLog(store.log)
    async with running(log) as feed, reading(feed) as reader:
        for failure in (
            Unavailable("the disk is gone"),
            RuntimeError("a defect"),
            LimitExceeded("an answer is too large"),
        ):
            waiting = asyncio.create_task(reader.take(1))
            await settled(feed, 1)
            log.failures.append(failure)
            await commit(store, "a")
            assert await waiting == ["a"]
    told = [(record.levelno, record.getMessage()) for record in caplog.records]
    assert told == [
        (logging.WARNING, "the change log cannot be read, trying again: the disk is gone"),
        (logging.ERROR, "reading the change log failed, trying again"),
        (logging.ERROR, "reading the change log failed, trying again"),
    ]


async def test_a_log_that_does_not_answer_at_first_is_asked_again(
    store: CatalogStore, soon_again: None
) -> None:
    log, start = CountingLog(store.log), await store.log.head()
    await commit(store, "a")
    log.others_are_quiet = True
    log.head_failures.append(Unavailable("the disk is gone"))
    async with running(log) as feed, reading(feed, start) as reader:
        assert await reader.take(1) == ["a"]
    assert log.head_failures == []


plans = st.lists(
    st.one_of(
        st.tuples(st.just("commit"), st.integers(1, 5)),
        st.tuples(st.just("subscribe"), st.integers(0, 30)),
        st.tuples(st.just("leave"), st.integers(0, 30)),
        st.tuples(st.just("wait"), st.just(0)),
    ),
    max_size=25,
)


# The cluster's log has its own such test, with commits that come late: ``test_frontiers``.
@pytest.mark.parametrize("backend", ["embedded"], indirect=True)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=plans)
async def test_everybody_gets_exactly_the_rest_of_the_log(
    store: CatalogStore, feed: EventFeed, plan: list[tuple[str, int]]
) -> None:
    # given
    positions, log = [await feed.head()], [""]
    readers: list[tuple[Reader, int]] = []
    # when commits, subscribers at any place of the log, and departures come in any order
    for action, number in plan:
        if action == "commit":
            for _ in range(number):
                log.append(str(len(log)))
                positions.append(await commit(store, log[-1]))
        elif action == "subscribe":
            at = number % len(positions)
            reader = Reader(feed, positions[at])
            if at + 1 < len(log):
                assert await reader.take(1) == [log[at + 1]]
            readers.append((reader, min(at + 1, len(log) - 1)))
        elif action == "leave" and readers:
            await readers.pop(number % len(readers))[0].close()
        else:
            await asyncio.sleep(0)
    # then each has what lies behind its place, once and in order
    for reader, at in readers:
        assert await reader.take(len(log) - 1 - at) == log[at + 1 :]
        await reader.close()


async def test_a_writer_and_many_readers_at_once(store: CatalogStore, feed: EventFeed) -> None:
    dice, positions = random.Random(7), [await feed.head()]
    total = 300 if isinstance(store, EmbeddedStore) else 60

    async def write() -> None:
        for number in range(total):
            positions.append(await commit(store, str(number)))
            if dice.random() < 0.2:
                await asyncio.sleep(0)

    async def read() -> None:
        await asyncio.sleep(dice.random() / 20)
        at = dice.randrange(len(positions))
        async with reading(feed, positions[at]) as reader:
            for start in range(at, total, 60):
                size = min(60, total - start)
                assert await reader.take(size) == names(start, start + size)
                await asyncio.sleep(dice.random() / 50)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(write())
        for _ in range(30):
            tasks.create_task(read())


class CountingLog:
    """A log that counts how often it is read, and fails when told to."""

    def __init__(self, log: ChangeLog) -> None:
        self._log = log
        self.reads = 0
        self.failures: list[Exception] = []
        self.head_failures: list[Exception] = []
        self.others_are_quiet = False

    @property
    def log_id(self) -> str:
        return self._log.log_id

    def covers(self, position: str, other: str) -> bool:
        return self._log.covers(position, other)

    def union(self, position: str, other: str) -> str:
        return self._log.union(position, other)

    async def head(self) -> str:
        if self.head_failures:
            raise self.head_failures.pop()
        return await self._log.head()

    async def floor(self) -> str:
        return await self._log.floor()

    async def events(self, after: str, limit: int, *rest: Any) -> pa.RecordBatch:
        self.reads += 1
        if self.failures:
            raise self.failures.pop()
        return await self._log.events(after, limit, *rest)

    async def page(self, after: str | None, limit: int, *rest: Any) -> LogPage:
        self.reads += 1
        if self.failures:
            raise self.failures.pop()
        return await self._log.page(after, limit, *rest)

    async def changed(self) -> bool:
        return not self.others_are_quiet and await self._log.changed()

    def on_commit(self, callback: Callable[[], None]) -> None:
        self._log.on_commit(callback)

    async def trim(self, before_us: int) -> int:
        return await self._log.trim(before_us)
