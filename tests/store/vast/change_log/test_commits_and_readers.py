"""The log in a cluster: nothing is lost or repeated, however late, slow or broken a writer is."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
import time
from contextlib import AsyncExitStack, closing
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from tams_gql.model.errors import Unavailable
from tams_gql.store.tables import EVENTS
from tams_gql.store.vast.change_log.frontier import START, parse
from tams_gql.store.vast.change_log.log import VastLog
from tams_gql.store.vast.config import VastConfig
from tams_gql.store.vast.layout import physical_of
from tams_gql.store.vast.store import VastStore
from tams_gql.store.vast.wire.client import OutcomeUnknown, VastClient
from tams_gql.store.vast.wire.clock import StoreClock
from tests.store import ask, build
from tests.store.vast.change_log.followers import Follower, feeding
from tests.store.vast.change_log.processes import (
    SECOND,
    Clock,
    Open,
    Process,
    numbers_of_lanes,
    process,
)
from tests.vast_emulator import Emulator

ROOT = Path(__file__).parents[4]


async def test_a_slow_transaction_is_late_and_not_lost(one: Process, other: Process) -> None:
    start = await one.log.head()
    async with feeding(one.log) as here, feeding(other.log) as there:
        followers = [here.follow(start), there.follow(start)]
        slow = await asyncio.to_thread(lambda: other.open("late 1", "late 2"))
        for number in range(6):
            await (one if number % 2 else other).commit(str(number))
        for follower in followers:
            assert await follower.has(6) == list("012345")
        heads = [await one.log.head(), await other.log.head()]
        cursors = {p for follower in followers for p in follower.positions}
        await asyncio.to_thread(slow.commit)
        for follower in followers:
            assert (await follower.has(8))[6:] == ["late 1", "late 2"]
        # whoever resumes anywhere in between gets what it has not had, wherever it resumes
        for position in heads:
            for feeds in (here, there):
                assert await feeds.follow(position).has(2) == ["late 1", "late 2"]
        for position in cursors:
            had = [n for n in range(6) if includes(position, followers[0], n)]
            resumed = await (here if len(had) % 2 else there).follow(position).has(8 - len(had))
            assert sorted(resumed) == sorted(
                [*map(str, set(range(6)) - set(had)), "late 1", "late 2"]
            )
            assert resumed.index("late 1") < resumed.index("late 2")


def includes(position: str, follower: Follower, number: int) -> bool:
    """Whether a position is at or after the one of a follower's event."""
    return parse(position).covers(parse(follower.positions[number + 1]))


async def test_a_commit_that_the_cluster_holds_back(
    one: Process, other: Process, emulator: Emulator
) -> None:
    start = await one.log.head()
    async with feeding(one.log) as here, feeding(other.log) as there:
        followers = [here.follow(start), there.follow(start)]
        held = emulator.faults.hold("commit", table="events")
        slow = asyncio.create_task(other.commit("held"))
        await asyncio.to_thread(held.wait_reached)
        await one.commit("a")
        await other.commit("b")
        for follower in followers:
            assert await follower.has(2) == ["a", "b"]
        held.release()
        await slow
        for follower in followers:
            assert await follower.has(3) == ["a", "b", "held"]
    assert await one.names(start) == ["held", "a", "b"]
    assert await one.log.head() == await other.log.head()


_CHILD = """
import sys, time
from tests.store.vast.change_log.processes import process
import asyncio
from tams_gql.store.vast.config import VastConfig

async def main(url, bucket, access_key, secret_key):
    config = VastConfig((url,), access_key, secret_key, bucket)
    async with process(config) as child:
        await child.commit("before")
        child.open("never")
        print("open", flush=True)
        time.sleep(600)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_process_killed_in_a_transaction_is_in_nobodys_way(
    one: Process, config: VastConfig, emulator: Emulator
) -> None:
    start = await one.log.head()
    async with feeding(one.log) as here:
        follower = here.follow(start)
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _CHILD),
            *(emulator.url, config.bucket, config.access_key, config.secret_key),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )
        assert child.stdout is not None
        assert await child.stdout.readline() == b"open\n"
        child.send_signal(signal.SIGKILL)
        await child.communicate()
        await one.commit("after")
        assert await follower.has(2) == ["before", "after"]
        emulator.expire_transactions()
        await one.commit("later")
        assert await follower.has(3) == ["before", "after", "later"]
    assert await one.names(start) == ["before", "after", "later"]


@pytest.mark.parametrize("applied", [True, False])
async def test_a_lost_answer_leaves_no_gap_and_no_duplicate(
    one: Process, config: VastConfig, emulator: Emulator, applied: bool
) -> None:
    start = await one.log.head()
    await one.commit("0")
    emulator.faults.drop_commit(applied=applied)
    with pytest.raises(OutcomeUnknown):
        await one.commit("unknown")
    for number in range(1, 4):
        await one.commit(str(number))

    names = await one.names(start)
    assert names == (["0", "unknown"] if applied else ["0"]) + ["1", "2", "3"]
    for numbers in numbers_of_lanes(config).values():
        assert numbers == list(range(1, len(numbers) + 1))


class Skewed(StoreClock):
    """The clock of a process on a machine whose time is wrong."""

    def __init__(self, hours: int) -> None:
        self._skew = hours * 3600
        super().__init__(lambda: time.time() + self._skew)

    def observe(self, date: str | None, sent: float, received: float) -> None:
        super().observe(date, sent + self._skew, received + self._skew)


async def test_the_clock_is_that_of_the_cluster(config: VastConfig, emulator: Emulator) -> None:
    emulator.switches.clock_offset_seconds = 5000
    async with AsyncExitStack() as stack:
        processes = []
        for hours in (-3, 0, 3):
            client = VastClient(config)
            client.clock = client.cluster.clock = Skewed(hours)
            processes.append(Process(client, await VastLog.open(client)))
            stack.callback(client.close)
            stack.push_async_callback(processes[-1].log.close)
        for number in range(9):
            await processes[number % 3].commit(str(number))
        for each in processes:
            assert sorted(await each.names(START.text())) == list("012345678")
        with closing(VastClient(config)) as client:
            tx = client.begin()
            stamps = tx.select(physical_of(EVENTS), ["stamped"]).column("stamped").to_pylist()
            tx.rollback()
    wanted = (time.time() + 5000) * SECOND
    assert len(stamps) == 9
    assert max(abs(stamp - wanted) for stamp in stamps) < 60 * SECOND


async def test_two_processes_write_and_both_follow(one: Process, other: Process) -> None:
    start, dice = await one.log.head(), random.Random(11)
    total = 60

    async def write(through: Process, name: str) -> None:
        for number in range(total // 2):
            await through.commit(f"{name}{number}")
            await asyncio.sleep(dice.random() / 100)

    async with feeding(one.log) as here, feeding(other.log) as there:
        live = [here.follow(start), there.follow(start)]
        writing = asyncio.gather(write(one, "a"), write(other, "b"))
        resumed = []
        while not writing.done():
            await asyncio.sleep(0.03)
            source, feeds = dice.choice(live), dice.choice([here, there])
            at = dice.randrange(len(source.positions))
            resumed.append((source.names[:at], feeds.follow(source.positions[at])))
        await writing
        everything = sorted(f"{name}{number}" for name in "ab" for number in range(total // 2))
        for before, follower in [*(([], f) for f in live), *resumed]:
            names = [*before, *await follower.has(total - len(before))]
            assert sorted(names) == everything
            for name in "ab":
                mine = [each for each in names if each[0] == name]
                assert mine == [f"{name}{number}" for number in range(total // 2)]
        assert len({follower.positions[-1] for follower in live}) == 1


async def test_a_cursor_from_before_a_restored_backup_is_ahead(
    config: VastConfig, emulator: Emulator
) -> None:
    backup = f"{config.bucket}-backup"
    async with process(config) as before:
        await before.commit("kept")
        emulator.copy_bucket(config.bucket, backup)
        lost = await before.commit("lost")
    async with process(replace(config, bucket=backup)) as after:
        head = await after.log.head()
        assert after.log.log_id == before.log.log_id
        assert not after.log.covers(head, lost)
        await after.commit("new")
        assert not after.log.covers(await after.log.head(), lost)
    emulator.drop_bucket(backup)


async def test_a_catalog_without_a_log_says_what_to_do(
    emulator: Emulator, config: VastConfig
) -> None:
    empty = emulator.create_bucket("without")
    client = VastClient(replace(config, bucket=empty))
    with pytest.raises(Unavailable, match="tams-gql migrate"):
        await VastLog.open(client)
    client.close()
    emulator.drop_bucket(empty)


async def test_a_view_shows_its_own_head(one: Process, other: Process) -> None:
    await one.commit("a")
    before = await one.log.head()
    head = one.log.view_head()
    tx = one.client.begin()
    await other.commit("b")
    assert head(tx) == before
    tx.rollback()
    tx = one.client.begin()
    assert head(tx) == await other.log.head() != before
    tx.rollback()


@pytest.mark.parametrize("isolation", ["snapshot", "read_committed"])
@pytest.mark.parametrize("seed", range(3))
async def test_any_schedule_of_commits_and_readers(
    config: VastConfig, emulator: Emulator, small_portions: None, isolation: str, seed: int
) -> None:
    """Readers go on from any position that any of them was given, in any process."""
    dice, clock = random.Random(seed), Clock()
    emulator.switches.isolation = isolation
    async with process(config, clock) as one, process(config, clock) as other:
        processes, opened, committed = [one, other], list[tuple[int, Open, list[str]]](), set[str]()
        had: dict[str, frozenset[str]] = {START.text(): frozenset()}
        for number in range(80):
            through = dice.choice(processes)
            match dice.randrange(8):
                case 0 | 1:
                    names = [f"{number}.{each}" for each in range(dice.choice([1, 2, 20]))]
                    opened.append((clock.now, through.open(*names), names))
                case 2 | 3 | 4 if opened:
                    _, transaction, names = opened.pop(dice.randrange(len(opened)))
                    if dice.random() < 0.2:
                        transaction.roll_back()
                    else:
                        transaction.commit()
                        committed.update(names)
                case 5:
                    # no transaction may become older than the third of what readers wait for
                    limit = min([at for at, *_ in opened], default=clock.now + 2**40) + 300 * SECOND
                    clock.now = min(clock.now + dice.randrange(1000 * SECOND), limit)
                case _:
                    position = dice.choice(list(had))
                    before = had[position]
                    for row in ask.plain(await through.log.events(position, dice.choice([3, 20]))):
                        name = orjson.loads(row[-1])["name"]
                        assert name in committed - before
                        before |= {name}
                        # Two readers with one position have had the same.
                        assert had.setdefault(row[0], before) == before
        head = await one.log.head()
        assert await other.log.head() == head
        assert all(one.log.covers(head, position) for position in had)
        for position in dice.sample(list(had), 10):
            rest = await other.names(position, 20)
            assert sorted([*had[position], *rest]) == sorted(committed)
        lanes = numbers_of_lanes(config).values()
        assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in lanes)
        for _, transaction, _ in opened:
            transaction.roll_back()


@pytest.mark.parametrize("applied", [True, False])
async def test_a_store_settles_a_lost_answer(
    config: VastConfig, emulator: Emulator, applied: bool
) -> None:
    """Whether or not the commit was done, its event is there once and lanes stay without gaps."""
    store, watcher = await VastStore.open(config), await VastStore.open(config)
    try:
        start = await store.log.head()
        positions = []
        async with feeding(watcher.log) as there:
            follower = there.follow(start)
            for number in range(4):
                if number == 1:
                    emulator.faults.drop_commit(applied=applied)
                event = build.event(orjson.dumps({"name": str(number)}).decode())
                positions.append((await store.commit(build.changes(events=[event]))).position)
            assert await follower.has(4) == list("0123")
        assert follower.positions[1:] == positions
        assert [orjson.loads(body)["name"] for body in await ask.bodies(watcher)] == list("0123")
    finally:
        await store.close()
        await watcher.close()
    assert list(numbers_of_lanes(config).values()) == [[1, 2, 3, 4]]
