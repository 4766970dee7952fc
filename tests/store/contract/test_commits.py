"""Commits side by side: all of them arrive, each once, and a closed store takes no more."""

from __future__ import annotations

import asyncio

import pytest

from tams_gql.model.errors import Unavailable
from tams_gql.store.changes import Expect, Stale, Update
from tams_gql.store.port import CatalogStore
from tams_gql.store.scan import Scan
from tams_gql.store.tables import SOURCES
from tests.store import ask, build
from tests.store.backends import Backend


async def test_a_thousand_commits_at_once(store: CatalogStore) -> None:
    start = await store.log.head()

    async def commit(number: int) -> tuple[str, str]:
        body = f'{{"n":{number}}}'
        source = build.insert(SOURCES, build.source(f"s{number:04}"))
        done = await store.commit(build.changes(source, events=[build.event(body)]))
        return body, done.position

    committed = dict(await asyncio.gather(*(commit(i) for i in range(1_000))))

    events = [(position, body) for position, *_, body in await ask.events(store, start)]
    assert sorted(body for _, body in events) == sorted(committed)
    before, log = start, store.log
    for position, body in events:
        assert log.covers(position, before)
        assert not log.covers(before, position)
        assert log.covers(log.union(before, committed[body]), position)  # which has its event
        before = position
    found = await ask.rows(store, Scan(SOURCES, ("id",)))
    assert sorted(found) == [(f"s{i:04}",) for i in range(1_000)]


async def test_commits_that_fail_do_not_touch_their_neighbours(store: CatalogStore) -> None:
    await store.commit(build.changes(build.insert(SOURCES, build.source("taken"))))

    async def commit(number: int) -> bool:
        name = "taken" if number % 3 == 0 else f"s{number:03}"
        source = build.insert(SOURCES, build.source(name))
        try:
            await store.commit(build.changes(source, events=[build.event(f"{number}")]))
        except Stale:
            return False
        return True

    done = await asyncio.gather(*(commit(i) for i in range(300)))

    good = [i for i in range(300) if i % 3]
    assert [i for i, ok in enumerate(done) if ok] == good
    assert sorted(map(int, await ask.bodies(store))) == good
    found = await ask.rows(store, Scan(SOURCES, ("id",)))
    assert sorted(found) == [*((f"s{i:03}",) for i in good), ("taken",)]


async def test_expectations_make_read_and_write_one_step(
    store: CatalogStore, another: CatalogStore
) -> None:
    await store.commit(build.changes(build.insert(SOURCES, build.source("s", version=0))))

    async def increment(through: CatalogStore) -> None:
        while True:
            ((version,),) = await ask.rows(through, Scan(SOURCES, ("version",)))
            changes = build.changes(
                expect=[Expect(SOURCES, ("s",), {"version": version})],
                update=[Update(SOURCES, ("version",), (("s", version + 1),))],
            )
            try:
                await through.commit(changes)
            except Stale:
                continue
            return

    await asyncio.gather(*(increment(through) for through in [store, another] * 15))

    assert await ask.rows(store, Scan(SOURCES, ("version",))) == [(30,)]


async def test_a_cancelled_commit_is_applied_whole_or_not_at_all(store: CatalogStore) -> None:
    async def commit(number: int) -> None:
        source = build.insert(SOURCES, build.source(f"{number}"))
        await store.commit(build.changes(source, events=[build.event(f"{number}")]))

    tasks = [asyncio.create_task(commit(i)) for i in range(200)]
    await asyncio.sleep(0.005)
    for task in tasks[::2]:
        task.cancel()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    await store.commit(build.changes())  # whatever was queued is done after this

    assert all(end is None for end in ends[1::2])
    found = {int(i) for (i,) in await ask.rows(store, Scan(SOURCES, ("id",)))}
    bodies = [int(body) for body in await ask.bodies(store)]
    assert found.issuperset(range(1, 200, 2))
    assert found == set(bodies)
    assert len(bodies) == len(found)


async def test_a_closed_store_finishes_what_it_was_given(backend: Backend) -> None:
    store = await backend.open()
    commits = [
        asyncio.create_task(store.commit(build.changes(events=[build.event(f"{i}")])))
        for i in range(50)
    ]
    await asyncio.sleep(0)
    await store.close()
    await asyncio.gather(*commits)

    again = await backend.open()
    assert sorted(await ask.bodies(again)) == sorted(f"{i}" for i in range(50))
    await again.close()


async def test_a_closed_store_takes_no_more(backend: Backend) -> None:
    store = await backend.open()
    await store.commit(build.changes(events=[build.event()]))
    await store.close()

    with pytest.raises(Unavailable, match="closed"):
        await store.commit(build.changes(events=[build.event()]))
    with pytest.raises(Unavailable, match="closed"):
        await ask.rows(store, Scan(SOURCES, ("id",)))
    with pytest.raises(Unavailable, match="closed"):
        await store.log.head()
    with pytest.raises(Unavailable, match="closed"):
        await store.check()
    await store.close()

    again = await backend.open()
    assert await ask.bodies(again) == ["{}"]
    await again.close()


async def test_a_store_that_answers_passes_its_check(store: CatalogStore) -> None:
    await store.check()
