"""A page of the log with what its cursor needs: in one transaction, and right in any process."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from tams_gql.context import Context, Limits, ServiceInfo, Services
from tams_gql.events.feed import EventFeed
from tams_gql.media.local import LocalMedia
from tams_gql.media.port import StorageBackend
from tams_gql.media.registry import MediaRegistry
from tams_gql.model.errors import BadInput, CursorExpired
from tams_gql.resolvers.events import EventFilter, events
from tams_gql.store.port import LogPage
from tams_gql.store.vast.change_log import log as log_module
from tams_gql.store.vast.change_log.frontier import MAX_LANES, START, parse
from tams_gql.store.vast.change_log.log import VastLog
from tams_gql.store.vast.config import VastConfig
from tams_gql.store.vast.store import VastStore
from tams_gql.store.vast.wire.client import VastClient
from tests.store import ask, build
from tests.store.vast.change_log.processes import SECOND, Clock, Process, process
from tests.vast_emulator import Emulator

_ENDS = {"begin": 1, "rollback": 1}


@pytest.fixture
async def ten(one: Process) -> list[str]:
    """A log with ten events; the positions before and after them."""
    start = await one.log.head()
    return [start, *[await one.commit(str(number)) for number in range(10)]]


@pytest.fixture
def unknown_age(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knows how much has been committed meanwhile, as in a server without subscribers."""
    monkeypatch.setattr(log_module, "_FEW_ROWS_SECONDS", 0)


def count_of(page: LogPage) -> int:
    return int(page.events.num_rows)


async def test_a_page_is_one_transaction(
    ten: list[str], one: Process, emulator: Emulator, unknown_age: None
) -> None:
    with emulator.counting() as rpcs:
        page = await one.log.page(None, 5)
    # the oldest that is kept, how many there are, the keys, the events
    assert rpcs.counts == {**_ENDS, "query": 4}
    assert (count_of(page), page.floor, page.is_ahead) == (5, START.text(), False)
    middle = page.events.column("position")[-1].as_py()
    with emulator.counting() as rpcs:
        page = await one.log.page(middle, 5)
    assert rpcs.counts == {**_ENDS, "query": 2}  # the keys are known
    assert (count_of(page), page.floor, page.is_ahead) == (5, START.text(), False)

    for after, left in ((None, 10), (ten[3], 7), (ten[10], 0)):
        with emulator.counting() as rpcs:
            page = await one.log.page(after, 20)
        assert rpcs.counts == {**_ENDS, "query": 3}  # how many, these, what was removed
        assert (count_of(page), page.is_ahead) == (left, False)


async def test_a_page_of_nothing(ten: list[str], one: Process) -> None:
    assert count_of(await one.log.page(ten[2], 3)) == 3  # what follows is known from now on
    for after in (None, ten[0], ten[5], ten[10]):
        page = await one.log.page(after, 0)
        assert (count_of(page), page.floor, page.is_ahead) == (0, START.text(), False)


async def test_the_end_of_the_log_costs_two_queries(
    ten: list[str], one: Process, emulator: Emulator
) -> None:
    head = await one.log.head()
    with emulator.counting() as rpcs:
        assert count_of(await one.log.page(head, 5)) == 0
    assert rpcs.counts == {**_ENDS, "query": 2}


async def test_a_cursor_of_another_process_is_looked_up_once(
    other: Process, ten: list[str], emulator: Emulator, unknown_age: None
) -> None:
    with emulator.counting() as rpcs:
        page = await other.log.page(ten[9], 5)
    assert rpcs.counts == {**_ENDS, "query": 4}  # how many, these, what was removed, the cursor
    assert (count_of(page), page.is_ahead) == (1, False)
    with emulator.counting() as rpcs:
        assert not (await other.log.page(ten[9], 5)).is_ahead
    assert rpcs["query"] == 3


async def test_a_cursor_ahead_of_the_log_is_refused(
    ten: list[str], config: VastConfig, one: Process, emulator: Emulator
) -> None:
    backup = f"{config.bucket}-backup"
    emulator.copy_bucket(config.bucket, backup)
    lost = [await one.commit("lost"), await one.commit("lost too")]
    async with process(config) as fresh:
        lost.append(await fresh.commit("of another lane"))
    async with process(replace(config, bucket=backup)) as restored:
        for commits in range(2):
            feed = EventFeed(restored.log)
            for position in lost:
                page = await restored.log.page(position, 5)
                assert page.is_ahead
                with pytest.raises(BadInput, match="ahead of the change log"):
                    await feed.read(position, 5)
            assert not (await restored.log.page(ten[10], 5)).is_ahead
            assert [e.body["name"] for e in await feed.read(ten[10], 5)] == ["new"] * commits
            await restored.commit("new")
    emulator.drop_bucket(backup)


async def test_the_cursor_of_removed_events(ten: list[str], config: VastConfig) -> None:
    """What retention removed is behind everybody, though no event is left to tell."""
    async with process(config) as here:
        await here.log.trim(build.NOW + 1)
    async with process(config) as late:
        feed = EventFeed(late.log)
        for position in ten[:10]:
            with pytest.raises(CursorExpired):
                await feed.read(position, 5)
        assert await feed.read(ten[10], 5) == []
        assert await feed.read(None, 5) == []


async def test_a_cursor_that_could_not_name_all_lanes(config: VastConfig) -> None:
    clock = Clock()
    async with process(config, clock) as writer, process(config, clock) as reader:
        opened = [writer.open(str(number)) for number in range(MAX_LANES + 3)]
        for transaction in opened:
            clock.now += SECOND
            transaction.commit()
        # One event after the other, each in a lane of its own and in a second of its own.
        rows = ask.plain(await writer.log.events(START.text(), 1000))
        assert len(rows) == MAX_LANES + 3
        for position in (rows[-1][0], rows[-2][0], rows[10][0]):
            async with process(config, clock) as fresh:
                page = await fresh.log.page(position, 1000)
                assert not page.is_ahead
        assert len(parse(rows[-1][0]).lanes) <= MAX_LANES
        assert not (await reader.log.page(rows[-1][0], 1000)).is_ahead


async def test_a_page_from_the_start_survives_retention(
    ten: list[str], config: VastConfig, one: Process, emulator: Emulator
) -> None:
    """Who has no cursor cannot have lost it."""
    emulator.switches.isolation = "read_committed"
    async with process(config) as reader:
        held = emulator.faults.hold("query", table="events")
        reading = asyncio.create_task(EventFeed(reader.log).read(None, 20))
        await asyncio.to_thread(held.wait_reached)
        assert await one.log.trim(build.NOW + 1) == 10
        await one.commit("left")
        held.release()
        assert [event.body["name"] for event in await reading] == ["left"]


async def test_who_reads_what_is_old_keeps_nobody_from_looking(config: VastConfig) -> None:
    client = VastClient(config)
    log = await VastLog.open(client, poll_seconds=60)
    await log.page(None, 5)
    assert await log.changed()
    assert not await log.changed()
    await log.close()
    client.close()


async def test_the_events_query_is_one_transaction(
    ten: list[str], config: VastConfig, emulator: Emulator, unknown_age: None, tmp_path: Path
) -> None:
    """As the API asks it: begin, how many, these, what was removed, end."""
    store = await VastStore.open(config)
    backend = StorageBackend(id="8f4a5d1e-5d0c-4a52-9a5e-1f2e8f6c0d11", label="x", default=True)
    media = MediaRegistry([LocalMedia(tmp_path, backend=backend, public_url="http://a")])
    feed = EventFeed(store.log)
    ctx = Context(Services(store, media, feed, Limits(), ServiceInfo(None, None, "0")))
    try:
        for after, left in ((None, 10), (feed.cursor(ten[4]), 6)):
            with emulator.counting() as rpcs:
                found = await events(ctx, EventFilter(), 20, after)
            assert [each.body["name"] for each in found.rows] == list("0123456789")[-left:]
            assert rpcs.counts == {**_ENDS, "query": 3}
    finally:
        await ctx.close()
        await store.close()
