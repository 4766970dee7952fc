"""Read sessions: one snapshot each, any number at once, and none spoilt by a cancelled one."""

from __future__ import annotations

import asyncio

import pytest

from tams_gql.store.changes import ChangeSet, Delete, Expect, NewEvent, Stale, Update
from tams_gql.store.port import CatalogStore, ReadSession
from tams_gql.store.scan import Op, OrderBy, Partitioned, Scan, SegmentWindow, compare, eq
from tams_gql.store.tables import FLOWS, SOURCES
from tests.store import ask, build
from tests.store.given import MAX_NS, MIN_NS
from tests.waiting import PATIENCE_SECONDS

_ALL = Scan(SOURCES, ("id", "label"), order=(OrderBy("id"),))
_FLOWS = Scan(FLOWS, ("id",), order=(OrderBy("id"),))
_WINDOW = SegmentWindow("f", MIN_NS, MAX_NS)


async def _see(session: ReadSession) -> list[object]:
    """What every kind of read says about the catalog."""
    scans = await session.scan([_ALL, _FLOWS])
    partitions = await session.partitions(Partitioned(_FLOWS, "source_id", ("source",)))
    windows = await session.windows(("start_ns",), [_WINDOW])
    return [
        *(ask.plain(batch) for batch in scans),
        ask.split(partitions),
        ask.split(windows),
        await session.count([_ALL]),
        await session.count_partitions(Partitioned(_FLOWS, "source_id", ("source",))),
        await session.count_windows([_WINDOW]),
        await session.head(),
    ]


async def test_a_session_sees_one_snapshot(store: CatalogStore, another: CatalogStore) -> None:
    await store.commit(build.changes(build.insert(SOURCES, build.source("s1"), build.source("s2"))))
    at_first = await store.log.head()
    async with store.session() as session, another.session() as unopened:
        before = await _see(session)
        await store.commit(
            build.changes(
                *build.flows("f"),
                build.objects("object"),
                delete=[Delete(SOURCES, (eq("id", "s1"),))],
                update=[Update(SOURCES, ("label",), (("s2", "new"),))],
                add_segments=[build.segments("f", [(0, 10)])],
                events=[NewEvent("flows/created", None, "f", "{}")],
            )
        )
        assert await _see(session) == before
        # The first read opens the snapshot, not the session.
        after = await _see(unopened)

    now = await store.log.head()
    assert before == [[("s1", None), ("s2", None)], [], [[]], [[]], [2], [0], [0], at_first]
    assert after == [[("s2", "new")], [("f",)], [[("f",)]], [[(0,)]], [1], [1], [1], now]
    assert store.log.covers(now, at_first)
    assert not store.log.covers(at_first, now)
    async with store.session() as session:
        assert await _see(session) == after


async def test_reads_of_one_session_at_once(store: CatalogStore) -> None:
    rows = [build.source(f"s{i}", label=f"{i}") for i in range(50)]
    await store.commit(build.changes(build.insert(SOURCES, *rows)))

    async with store.session() as session:
        found = await asyncio.gather(
            *(session.scan([Scan(SOURCES, ("label",), (eq("id", f"s{i}"),))]) for i in range(50))
        )

    assert [ask.plain(batch) for (batch,) in found] == [[(f"{i}",)] for i in range(50)]


async def test_many_sessions_at_once(store: CatalogStore) -> None:
    await store.commit(build.changes(build.insert(SOURCES, build.source("s", version=0))))

    async def read(number: int) -> tuple[int, int]:
        async with store.session() as session:
            first = ask.plain((await session.scan([Scan(SOURCES, ("version",))]))[0])
            await asyncio.sleep(0.001 * (number % 3))
            again = ask.plain((await session.scan([Scan(SOURCES, ("version",))]))[0])
        return first[0][0], again[0][0]

    async def write() -> None:
        for version in range(1, 20):
            rows = (("s", version),)
            await store.commit(build.changes(update=[Update(SOURCES, ("version",), rows)]))

    reads = asyncio.gather(*(read(i) for i in range(60)))
    seen, _ = await asyncio.gather(reads, write())

    assert all(first == again for first, again in seen)
    assert await ask.rows(store, Scan(SOURCES, ("version",))) == [(19,)]


async def test_a_session_that_is_not_used_costs_nothing(store: CatalogStore) -> None:
    sessions = [store.session() for _ in range(100)]
    for session in sessions:
        await session.__aenter__()

    assert await asyncio.wait_for(ask.rows(store, _ALL), PATIENCE_SECONDS) == []

    for session in sessions:
        await session.__aexit__(None, None, None)


async def test_a_change_set_based_on_a_session_ends_it(
    store: CatalogStore, another: CatalogStore
) -> None:
    rows = (build.source("s", version=1), build.source("t", version=1))
    await store.commit(build.changes(build.insert(SOURCES, *rows)))
    look = Scan(SOURCES, ("id", "version"), order=(OrderBy("id"),))

    def step(name: str, version: int) -> ChangeSet:
        return build.changes(
            expect=[Expect(SOURCES, (name,), {"version": version})],
            update=[Update(SOURCES, ("version",), ((name, version + 1),))],
            events=[build.event(name)],
        )

    async with store.session() as session:
        (found,) = await session.scan([look])
        await another.commit(step("t", 1))
        await store.commit(step("s", 1), session)
        with pytest.raises(RuntimeError, match="the read session is over"):
            await session.scan([look])
    assert ask.plain(found) == [("s", 1), ("t", 1)]
    assert await ask.rows(store, look) == [("s", 2), ("t", 2)]

    async with store.session() as session:
        await session.scan([look])
        await another.commit(step("s", 2))
        with pytest.raises(Stale):
            await store.commit(step("s", 2), session)
        with pytest.raises(RuntimeError, match="the read session is over"):
            await session.scan([look])
    async with store.session() as session:
        await store.commit(step("t", 2), session)
    assert await ask.rows(store, look) == [("s", 3), ("t", 3)]
    assert await ask.bodies(store) == ["t", "s", "s", "t"]


async def _slow(store: CatalogStore) -> None:
    """Seconds of reading, in one call."""
    look = Scan(SOURCES, ("id",), where=(compare("description", Op.CONTAINS, "zzzz"),))
    async with store.session() as session:
        await session.scan([look] * 3_000)


async def test_a_cancelled_read_leaves_the_others_alone(store: CatalogStore) -> None:
    rows = [build.source(f"s{i:04}", description="z" * 500 + "y") for i in range(1_000)]
    await store.commit(build.changes(build.insert(SOURCES, *rows)))
    expected = await ask.rows(store, _ALL)

    for wait in (0.0, 0.001, 0.05):
        slow = [asyncio.create_task(_slow(store)) for _ in range(12)]
        await asyncio.sleep(wait)
        for task in slow:
            task.cancel()
        ends = await asyncio.gather(*slow, return_exceptions=True)
        assert {type(end) for end in ends} == {asyncio.CancelledError}

    reads = [ask.rows(store, _ALL) for _ in range(12)]
    assert await asyncio.wait_for(asyncio.gather(*reads), PATIENCE_SECONDS) == [expected] * 12


async def test_a_session_survives_a_cancelled_read(store: CatalogStore) -> None:
    rows = [build.source(f"s{i:04}", description="z" * 500 + "y") for i in range(1_000)]
    await store.commit(build.changes(build.insert(SOURCES, *rows)))
    look = Scan(SOURCES, ("id",), where=(compare("description", Op.CONTAINS, "zzzz"),))

    async with store.session() as session:
        before = await session.count([_ALL])
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await session.scan([look] * 3_000)
        await ask.wipe(store, SOURCES)
        assert await session.count([_ALL]) == before == [1_000]
