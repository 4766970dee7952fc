"""Whoever waits for a commit may leave at any moment: it is done whole or not at all."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from tams_gql.store.changes import ChangeSet, Expect, Receipt, Update
from tams_gql.store.scan import Scan, eq
from tams_gql.store.tables import EVENTS, RECEIPTS, SOURCES
from tams_gql.store.vast.config import VastConfig
from tams_gql.store.vast.store import VastStore
from tests.store import ask, build
from tests.store.vast.change_log.processes import numbers_of_lanes
from tests.store.vast.physical import audit, column, stored
from tests.vast_emulator import Emulator
from tests.waiting import until

CLUSTERS = {
    "new": {"isolation": "snapshot", "conflict": "eager"},
    "read committed": {"isolation": "read_committed", "conflict": "eager"},
    "no conflicts": {"isolation": "read_committed", "conflict": "none"},
}


@pytest.fixture(params=list(CLUSTERS))
async def store(
    request: pytest.FixtureRequest, emulator: Emulator, config: VastConfig
) -> AsyncIterator[VastStore]:
    """A store with a source, on a cluster of each kind."""
    emulator.switches.change(**CLUSTERS[request.param])
    opened = await VastStore.open(config)
    await opened.commit(build.changes(build.insert(SOURCES, build.source("s", version=0))))
    yield opened
    await opened.close()


def step(version: int, name: str) -> ChangeSet:
    """Change the source, tell of it and keep a receipt."""
    return build.changes(
        expect=[Expect(SOURCES, ("s",), {"version": version})],
        update=[Update(SOURCES, ("version",), (("s", version + 1),))],
        events=[build.event(f'"{name}"', source_id="s")],
        receipt=Receipt(name, "f", "{}"),
    )


async def read_and_commit(store: VastStore, version: int, name: str) -> None:
    async with store.session() as session:
        await session.scan([Scan(SOURCES, SOURCES.columns, (eq("id", "s"),))])
        await store.commit(step(version, name), session)


@pytest.mark.parametrize("kind", ["query", "update", "insert", "commit", "rollback"])
@pytest.mark.parametrize("nth", [1, 2])
async def test_leaving_at_any_call(
    store: VastStore, config: VastConfig, emulator: Emulator, kind: str, nth: int
) -> None:
    held = emulator.faults.hold(kind, nth=nth)
    task = asyncio.create_task(read_and_commit(store, 0, "a"))
    await until(lambda: held.reached or task.done())
    task.cancel()
    (end,) = await asyncio.gather(task, return_exceptions=True)
    assert end is None or isinstance(end, asyncio.CancelledError)
    held.release()
    await store.commit(build.changes(update=[Update(SOURCES, ("label",), (("s", "after"),))]))
    await until(lambda: not emulator.open_transactions())

    rows = stored(config)
    done = column(rows, SOURCES, "version") == [1]
    assert column(rows, EVENTS, "body") == (['"a"'] if done else [])
    assert column(rows, RECEIPTS, "key") == (["a"] if done else [])
    assert rows["claims"] == []
    if not done:
        await read_and_commit(store, 0, "b")
        assert [version for (version,) in await ask.rows(store, Scan(SOURCES, ("version",)))] == [1]
    audit(config)


async def test_many_who_leave_and_many_who_stay(
    store: VastStore, config: VastConfig, emulator: Emulator
) -> None:
    """With everything going wrong now and then."""
    dice = random.Random(5)
    faults = emulator.faults
    faults.conflict(kinds=("commit",), times=None, probability=0.05, seed=1)
    faults.drop("write", times=None, probability=0.03, seed=2)
    faults.drop_commit(applied=True, times=None, probability=0.1, seed=3)
    faults.drop_commit(applied=False, times=None, probability=0.1, seed=4)
    faults.expire("update", "commit", times=None, probability=0.05, seed=5)
    stayed: list[str] = []

    async def work(number: int) -> None:
        event = build.event(f'"{number}"')
        source = build.insert(SOURCES, build.source(f"new-{number}"))
        await store.commit(build.changes(source, events=[event]))
        stayed.append(f'"{number}"')

    tasks = [asyncio.create_task(work(number)) for number in range(60)]
    for task in dice.sample(tasks, 20):
        await asyncio.sleep(dice.random() / 20)
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    faults.clear()
    await store.commit(build.changes())

    await until(lambda: not emulator.open_transactions())
    rows = stored(config)
    told = column(rows, EVENTS, "body")
    assert len(told) == len(set(told))
    assert set(stayed) <= set(told)
    assert len(stayed) >= 30
    made = [name for name in column(rows, SOURCES, "id") if name != "s"]
    assert sorted(f'"{name[4:]}"' for name in made) == sorted(told)
    for numbers in numbers_of_lanes(config).values():
        assert numbers == list(range(1, len(numbers) + 1))
