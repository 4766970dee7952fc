"""Retention of the log in a cluster: what goes, and which positions that ends."""

from __future__ import annotations

import asyncio

import pytest

from tams_gql.events.feed import EventFeed
from tams_gql.model.errors import CursorExpired, Unavailable
from tams_gql.store.vast.change_log import log as log_module
from tams_gql.store.vast.change_log.frontier import LATENESS_SECONDS, START, parse
from tams_gql.store.vast.config import VastConfig
from tests.store import ask, build
from tests.store.vast.change_log.processes import (
    SECOND,
    Clock,
    Process,
    process,
)
from tests.vast_emulator import Emulator


async def test_retention_removes_the_old_end_of_every_lane(one: Process, other: Process) -> None:
    positions = [await one.log.head()]
    for number in range(6):
        through = one if number % 2 else other
        await through.commit(str(number), now_us=build.NOW + number)
        positions.append(await one.log.head())

    assert await other.log.trim(build.NOW + 3) == 3

    for each in (one, other):
        assert await each.log.floor() == positions[3]
        assert await each.names(positions[3]) == ["3", "4", "5"]
        feed = EventFeed(each.log)
        for position in positions[:3]:
            with pytest.raises(CursorExpired) as expired:
                await feed.read(position, 10)
            assert expired.value.details == {"oldestCursor": feed.cursor(positions[3])}
        for number, position in enumerate(positions[3:], 3):
            found = [event.body["name"] for event in await feed.read(position, 10)]
            assert found == list("012345")[number:]


async def test_positions_survive_when_all_is_removed_and_long_after(
    config: VastConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    async with process(config, clock) as one, process(config, clock) as other:
        for number in range(4):
            await (one if number % 2 else other).commit(str(number))
            clock.now += 40 * SECOND
        end = await one.log.head()
        assert await one.log.trim(build.NOW + 1) == 4
        monkeypatch.setattr(log_module, "_SURELY_KEPT_SECONDS", 0)
        assert await one.log.floor() == await other.log.head() == end
        clock.now += 100 * LATENESS_SECONDS * SECOND
        async with process(config, clock) as late:
            assert await late.log.head() == await late.log.floor() == end
            feed = EventFeed(late.log)
            assert await feed.read(end, 10) == []
            position = await late.commit("new")
            assert late.log.covers(position, end)
            for each in (one, other, late):
                assert await each.names(end) == ["new"]
            # the silent lanes are not named any more
            assert len(parse(position).lanes) == 1
            assert [e.body["name"] for e in await EventFeed(one.log).read(end, 10)] == ["new"]


async def test_trimming_from_two_processes_at_once(one: Process, other: Process) -> None:
    for number in range(20):
        await (one if number % 2 else other).commit(str(number), now_us=build.NOW + number)
    end = await one.log.head()

    counts = await asyncio.gather(
        one.log.trim(build.NOW + 5), other.log.trim(build.NOW + 9), one.log.trim(build.NOW + 7)
    )
    removed = sum(counts) + await one.log.trim(build.NOW + 9)

    assert removed == 9
    floor = await one.log.floor()
    assert await one.names(floor) == [str(number) for number in range(9, 20)]
    assert one.log.covers(end, floor)


async def test_records_of_removals_add_up(
    config: VastConfig, emulator: Emulator, one: Process, other: Process
) -> None:
    """Where a cluster does not keep writers apart, the record of neither is lost."""
    for number in range(6):
        await one.commit(str(number), now_us=build.NOW + number)
    with emulator.switched(conflict="none"):
        held = emulator.faults.hold("commit", table="service")
        first = asyncio.create_task(one.log.trim(build.NOW + 5))
        await asyncio.to_thread(held.wait_reached)
        await other.log.trim(build.NOW + 2)
        held.release()
        await first
    assert await one.names(await one.log.floor()) == ["5"]
    with pytest.raises(CursorExpired):
        await EventFeed(other.log).read(START.text(), 1)


@pytest.mark.parametrize("applied", [True, False])
async def test_a_lost_answer_is_in_nobodys_way(
    one: Process, emulator: Emulator, applied: bool
) -> None:
    for number in range(4):
        await one.commit(str(number), now_us=build.NOW + number)
    emulator.faults.drop_commit(applied=applied, table="service")

    with pytest.raises(Unavailable, match="could not be trimmed"):
        await one.log.trim(build.NOW + 2)

    assert not emulator.open_transactions()
    assert await one.log.trim(build.NOW + 2) == (0 if applied else 2)
    assert await one.names(await one.log.floor()) == ["2", "3"]


async def test_pages_from_which_retention_removes(one: Process) -> None:
    for number in range(30):
        await one.commit(str(number), now_us=build.NOW + number)
    async with process(one.client.config) as reader:
        first = ask.plain(await reader.log.events(START.text(), 5))
        await one.log.trim(build.NOW + 12)
        feed = EventFeed(reader.log)
        with pytest.raises(CursorExpired) as expired:
            await feed.read(first[-1][0], 5)
        oldest = feed.position(str(expired.value.details["oldestCursor"]))
        assert await reader.names(oldest) == [str(number) for number in range(12, 30)]
