"""Reading the log in a cluster: what it costs, and how a long rest of it is read."""

from __future__ import annotations

import random
from dataclasses import replace

import orjson

from tams_gql.store.scan import eq, is_in
from tams_gql.store.vast.change_log.frontier import START
from tams_gql.store.vast.config import VastConfig
from tests.store import ask
from tests.store.vast.change_log.processes import (
    SECOND,
    Clock,
    Process,
    process,
)
from tests.vast_emulator import Emulator


async def test_looking_for_events_costs_three_calls(one: Process, emulator: Emulator) -> None:
    start = await one.log.head()
    for expected in (0, 1, 0):
        if expected:
            await one.commit("a", "b")
        with emulator.counting() as rpcs:
            batch = await one.log.events(start, 100)
        assert batch.num_rows == 2 * expected
        assert rpcs.counts == {"begin": 1, "query": 1, "rollback": 1}
        start = batch.column("position")[-1].as_py() if expected else start
    with emulator.counting() as rpcs:
        assert await one.log.head() == start
    assert rpcs.counts == {"begin": 1, "query": 1, "rollback": 1}


async def test_direct_reads_cost_one_call(config: VastConfig, emulator: Emulator) -> None:
    async with process(replace(config, reads="direct")) as direct:
        start = await direct.log.head()
        await direct.commit("a")
        with emulator.counting() as rpcs:
            assert await direct.names(start) == ["a"]
            await direct.log.floor()
        assert rpcs.counts == {"query": 2}


async def test_what_was_had_is_not_sent_again(
    one: Process, other: Process, emulator: Emulator
) -> None:
    for number in range(10):
        await (one if number % 2 else other).commit(str(number))
    head = await one.log.head()
    await one.commit("new")
    with emulator.counting() as rpcs:
        assert await one.names(head) == ["new"]
    (query,) = rpcs.of("query")
    assert query.rows == 1
    assert query.pushed_columns >= {"key", "stamped"}


async def test_a_long_rest_is_read_in_portions(
    config: VastConfig, emulator: Emulator, small_portions: None
) -> None:
    dice, clock = random.Random(3), Clock()
    async with process(config, clock) as one, process(config, clock) as other:
        names: list[str] = []
        for number in range(40):
            clock.now += dice.choice([1, SECOND, 20 * SECOND, 400 * SECOND, 4000 * SECOND])
            count = dice.choice([1, 2, 30])
            names += [f"{number}-{each}" for each in range(count)]
            await dice.choice([one, other]).commit(*names[-count:])
        async with process(config, clock) as late:
            assert await late.log.head() == await one.log.head() == await other.log.head()
            for limit in (7, 15):
                with emulator.counting() as rpcs:
                    assert await late.names(START.text(), limit) == names
                bodies = [q for q in rpcs.of("query") if "body" in q.columns]
                assert max(query.rows for query in bodies) <= limit
                keys = [q for q in rpcs.of("query") if set(q.columns) == {"lane", "seq", "stamped"}]
                assert max(query.rows for query in keys) <= 50
            middle = ask.plain(await late.log.events(START.text(), 100))[-1][0]
            assert await late.names(middle, 9) == names[100:]


async def test_filtered_pages_of_a_long_rest(config: VastConfig, small_portions: None) -> None:
    clock = Clock()
    async with process(config, clock) as one:
        for number in range(150):
            clock.now += 30 * SECOND
            await one.commit(str(number))
        for where in ((eq("flow_id", "f"),), (is_in("flow_id", ["f", "g"]), eq("type", "x"))):
            position, found = START.text(), []
            while rows := ask.plain(await one.log.events(position, 11, where)):
                found += [orjson.loads(row[-1])["name"] for row in rows]
                position = rows[-1][0]
            assert found == [str(number) for number in range(150)]
        assert (await one.log.events(START.text(), 9, (eq("flow_id", "g"),))).num_rows == 0


async def test_an_event_that_comes_while_pages_are_read_is_not_lost(
    one: Process, other: Process
) -> None:
    slow = other.open("late")
    for number in range(30):
        await one.commit(str(number))
    async with process(one.client.config) as reader:
        found, position = [], START.text()
        for page in range(7):
            rows = ask.plain(await reader.log.events(position, 5))
            found += [orjson.loads(row[-1])["name"] for row in rows]
            position = rows[-1][0]
            if page == 2:
                slow.commit()
        assert sorted(found) == sorted([*map(str, range(30)), "late"])
        assert await reader.names(position) == []
