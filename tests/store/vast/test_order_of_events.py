"""Events of one flow are told in the order of their commits, whatever the processes' clocks say."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial

import orjson
import pyarrow as pa
import pytest

from tams_gql.store.changes import (
    ChangeSet,
    Delete,
    Expect,
    NewEvent,
    RemoveSegments,
    Stale,
    Update,
)
from tams_gql.store.scan import Scan, eq
from tams_gql.store.tables import EVENTS, FLOWS, SOURCES
from tams_gql.store.vast.change_log import lanes as lanes_module
from tams_gql.store.vast.config import VastConfig
from tams_gql.store.vast.layout import LOCK, ROW_ID, physical_of
from tams_gql.store.vast.lock_values import lock_at, stamp_of
from tams_gql.store.vast.store import VastStore
from tams_gql.store.vast.wire import cluster as cluster_module
from tams_gql.store.vast.wire.client import VastClient
from tams_gql.store.vast.wire.clock import StoreClock
from tests.store import ask, build
from tests.store.vast.change_log.followers import feeding
from tests.vast_emulator import Emulator

CLUSTERS = {
    "snapshot": {"isolation": "snapshot", "conflict": "eager"},
    "late conflicts": {"isolation": "snapshot", "conflict": "commit"},
    "read committed": {"isolation": "read_committed", "conflict": "eager"},
    "no conflicts": {"isolation": "read_committed", "conflict": "none"},
    "no conflicts of snapshots": {"isolation": "snapshot", "conflict": "none"},
}
_SECOND = 1_000_000


@pytest.fixture(params=list(CLUSTERS))
def place(request: pytest.FixtureRequest, emulator: Emulator, config: VastConfig) -> VastConfig:
    """A catalog on a cluster of each kind."""
    emulator.switches.change(**CLUSTERS[request.param])
    return config


@asynccontextmanager
async def skewed(config: VastConfig, seconds: float) -> AsyncIterator[VastStore]:
    """A store of a process whose idea of the cluster's time is wrong."""
    with pytest.MonkeyPatch.context() as patch:
        clock = partial(StoreClock, lambda: time.time() + seconds)
        patch.setattr(cluster_module, "StoreClock", clock)
        store = await VastStore.open(config)
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def ahead_and_behind(config: VastConfig) -> AsyncIterator[tuple[VastStore, VastStore]]:
    """Two processes whose clocks are half a minute apart."""
    async with AsyncExitStack() as stack:
        ahead = await stack.enter_async_context(skewed(config, 20.0))
        yield ahead, await stack.enter_async_context(skewed(config, -10.0))


def told(name: str) -> NewEvent:
    """An event of the flow that all of this is about."""
    return build.event(orjson.dumps({"name": name}).decode(), flow_id="f")


def added(at: int) -> ChangeSet:
    """One more segment, with the event that tells of it."""
    return build.changes(
        add_segments=[build.segments("f", [(at, at + 1)], object_id="o", size=1)],
        events=[told(f"added {at}")],
    )


def labelled(label: str) -> ChangeSet:
    return build.changes(
        update=[Update(FLOWS, ("label",), (("f", label),))],
        events=[told(label)],
    )


async def names_of(store: VastStore) -> list[str]:
    return [orjson.loads(body)["name"] for body in await ask.bodies(store)]


async def test_changes_through_two_processes(place: VastConfig) -> None:
    wanted = []
    async with ahead_and_behind(place) as stores, skewed(place, 0.0) as reader:
        await stores[0].commit(build.changes(*build.flows("f"), build.objects("o", size=1)))
        start = await reader.log.head()
        async with feeding(reader.log) as feeds:
            follower = feeds.follow(start)
            for number in range(6):
                changes = added(number) if number % 3 else labelled(f"label {number}")
                wanted.append(orjson.loads(changes.events[0].body)["name"])
                await stores[number % 2].commit(changes)
            assert await follower.has(6) == wanted
        for store in (*stores, reader):
            assert await names_of(store) == wanted


async def test_a_change_based_on_reads_of_its_process(place: VastConfig) -> None:
    """What was read before the change set was made need not be read again, and says enough."""
    async with ahead_and_behind(place) as (ahead, behind):
        await ahead.commit(build.changes(*build.flows("f"), events=[told("made")]))
        async with behind.session() as session:
            (found,) = await session.scan([Scan(FLOWS, FLOWS.columns, (eq("id", "f"),))])
            assert found.num_rows == 1
            await behind.commit(labelled("changed"), session)
        assert await names_of(behind) == ["made", "changed"]


async def test_a_flow_is_made_changed_and_removed(place: VastConfig) -> None:
    wanted = []
    async with ahead_and_behind(place) as stores:
        for turn in range(2):  # a flow that has gone may be made again
            acts = (
                build.changes(build.objects(f"o{turn}", size=1), *build.flows("f")),
                labelled(f"label {turn}"),
                build.changes(
                    remove_segments=[RemoveSegments("f", 0, 9)],
                    delete=[Delete(FLOWS, (eq("id", "f"),))],
                ),
            )
            for number, (name, changes) in enumerate(zip("abc", acts, strict=True)):
                changes.events[:] = [told(f"{name}{turn}")]
                wanted.append(f"{name}{turn}")
                await stores[number % 2].commit(changes)
        for store in stores:
            assert await names_of(store) == wanted


async def test_changes_of_a_source(place: VastConfig) -> None:
    async with ahead_and_behind(place) as stores:
        await stores[0].commit(build.changes(build.insert(SOURCES, build.source("s", version=0))))
        for number in range(4):
            event = told(str(number))
            update = Update(SOURCES, ("version",), (("s", number + 1),))
            expect = Expect(SOURCES, ("s",), {"version": number})
            changes = build.changes(expect=[expect], update=[update], events=[event])
            await stores[number % 2].commit(changes)
        assert await names_of(stores[0]) == list("0123")


async def test_a_source_that_is_made_again(place: VastConfig) -> None:
    """With another flow, so that only the source itself has been told of before."""
    wanted = []
    async with ahead_and_behind(place) as stores:
        for number in range(4):
            flow_id = f"f{number // 2}"
            flow, source = (eq("id", flow_id),), (eq("id", "s"),)
            made = build.changes(build.insert(SOURCES, build.source("s")), *build.flows(flow_id))
            gone = build.changes(delete=[Delete(FLOWS, flow), Delete(SOURCES, source)])
            changes = gone if number % 2 else made
            wanted.append(str(number))
            body = orjson.dumps({"name": wanted[-1]}).decode()
            changes.events.append(build.event(body, source_id="s", flow_id=flow_id))
            await stores[number // 2].commit(changes)
        for store in stores:
            assert await names_of(store) == wanted


async def test_a_change_that_tells_nothing_passes_the_order_on(place: VastConfig) -> None:
    async with (
        ahead_and_behind(place) as (ahead, behind),
        skewed(place, -20.0) as last,
    ):
        await ahead.commit(build.changes(*build.flows("f"), events=[told("first")]))
        silent = labelled("silent")
        silent.events.clear()
        await behind.commit(silent)
        await last.commit(labelled("second"))
        assert await names_of(last) == ["first", "second"]


async def test_who_only_tells_of_a_flow_is_in_order(place: VastConfig) -> None:
    """An event of a flow that the change set relied on and left as it was."""
    async with ahead_and_behind(place) as stores:
        await stores[0].commit(build.changes(*build.flows("f")))
        for number in range(4):
            event = told(str(number))
            await stores[number % 2].commit(
                build.changes(expect=[Expect(FLOWS, ("f",), {})], events=[event])
            )
        assert await names_of(stores[0]) == list("0123")


async def test_removed_as_what_was_searched_for(place: VastConfig) -> None:
    async with ahead_and_behind(place) as (ahead, behind):
        await ahead.commit(build.changes(*build.flows("f"), events=[told("made")]))
        event = told("removed")
        delete = Delete(FLOWS, (eq("format", build.VIDEO),), count=1)
        await behind.commit(build.changes(delete=[delete], events=[event]))
        assert await names_of(behind) == ["made", "removed"]


def test_locks_sort_as_their_stamps() -> None:
    stamps = [0, 1, 2, 1_700_000_000_000_000, 1_700_000_000_000_001, 2**52 - 1]
    for stamp in stamps:
        for lock in {lock_at(stamp) for _ in range(50)}:
            assert 2**62 <= lock < 2**63
            assert stamp_of(lock) == stamp
    assert len({lock_at(5) for _ in range(200)}) > 100  # rivals hardly ever write the same
    for nothing in (None, 0, 12345, 2**62 - 1):  # written by an older release, or never
        assert stamp_of(nothing) == 0


async def test_a_stamp_far_ahead_is_not_followed(
    config: VastConfig, caplog: pytest.LogCaptureFixture
) -> None:
    """Readers would pass over what others write meanwhile."""
    client = VastClient(config)
    async with skewed(config, 0.0) as store:
        await store.commit(build.changes(*build.flows("f")))
        flows = physical_of(FLOWS)
        tx = client.begin()
        found = tx.select(flows, ("id",), row_ids=True)
        wrong = lock_at(client.clock.now_us() + 3600 * _SECOND)
        ids = found.column(ROW_ID).combine_chunks()
        tx.update(flows, pa.record_batch([ids, pa.array([wrong])], names=[ROW_ID, LOCK]))
        tx.commit()

        for number in range(2):
            await store.commit(labelled(str(number)))

        tx = client.begin()
        stamps = tx.select(physical_of(EVENTS), ("stamped",)).column("stamped").to_pylist()
        locks = tx.select(flows, (LOCK,)).column(LOCK).to_pylist()
        tx.rollback()
        now = client.clock.now_us()
        assert all(abs(stamp - now) < 60 * _SECOND for stamp in stamps)
        assert stamp_of(locks[0]) == max(stamps)  # it is right again
    client.close()
    (warning,) = [r for r in caplog.records if r.name == lanes_module.__name__]
    assert "3599 s ahead" in warning.getMessage() or "3600 s ahead" in warning.getMessage()


async def test_rivals_of_one_flow(place: VastConfig) -> None:
    """Whoever gets on, readers anywhere are told of it in the order in which they got on."""
    total = 24
    async with ahead_and_behind(place) as stores, skewed(place, 5.0) as reader:
        await stores[0].commit(build.changes(*build.flows("f", version=0)))
        start = await reader.log.head()

        async def write(store: VastStore) -> None:
            while True:
                row = await ask.row(store, FLOWS, "f")
                assert row is not None
                version = row["version"]
                if version >= total:
                    return
                with suppress(Stale):
                    await store.commit(
                        build.changes(
                            expect=[Expect(FLOWS, ("f",), {"version": version})],
                            update=[Update(FLOWS, ("version",), (("f", version + 1),))],
                            events=[told(str(version + 1))],
                        )
                    )

        async with feeding(reader.log) as here, feeding(stores[1].log) as there:
            followers = [here.follow(start), there.follow(start)]
            await asyncio.gather(*(write(store) for store in stores for _ in range(2)))
            wanted = [str(version + 1) for version in range(total)]
            for follower in followers:
                assert await follower.has(total) == wanted
        for store in (*stores, reader):
            assert await names_of(store) == wanted
