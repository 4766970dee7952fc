"""The change log: every event once, in the order of commits, under positions that never return."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from tams_gql.model.errors import BadInput
from tams_gql.store.changes import ChangeSet, NewEvent
from tams_gql.store.port import CatalogStore
from tams_gql.store.scan import Where, eq, is_in
from tams_gql.store.tables import EVENTS
from tests.store import ask, build
from tests.store.backends import Backend
from tests.store.elsewhere import commit_elsewhere
from tests.waiting import PATIENCE_SECONDS


async def _commit(store: CatalogStore, *bodies: str, now_us: int = build.NOW) -> str:
    events = [build.event(body) for body in bodies]
    return (await store.commit(ChangeSet(now_us=now_us, events=events))).position


def _ascend(store: CatalogStore, positions: list[str]) -> bool:
    """Whether each position is beyond the one before it."""
    covers = store.log.covers
    return all(covers(b, a) and not covers(a, b) for a, b in pairwise(positions))


async def _until_changed(store: CatalogStore) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await store.log.changed():  # noqa: ASYNC110 (nobody tells when it does)
            await asyncio.sleep(0.01)


async def _after(store: CatalogStore, position: str, limit: int = 100) -> list[str]:
    return [body for *_, body in await ask.events(store, position, limit)]


async def test_an_empty_log(store: CatalogStore) -> None:
    head = await store.log.head()

    batch = await store.log.events(head, 10)

    assert (batch.num_rows, batch.schema) == (0, EVENTS.schema)
    assert await store.log.floor() == head


async def test_events_are_kept_as_given(store: CatalogStore) -> None:
    given = [
        NewEvent("sources/created", "s", None, '{"é":"\U0001f3ac"}'),
        NewEvent("flows/deleted", None, "f", "[]"),
        NewEvent("service/updated", None, None, "null"),
    ]
    start = await store.log.head()
    await store.commit(build.changes(events=given))

    batch = await store.log.events(start, 10)

    assert batch.schema == EVENTS.schema
    assert [row[1:] for row in ask.plain(batch)] == [
        (e.type, build.NOW, e.source_id, e.flow_id, e.body) for e in given
    ]


async def test_a_commit_tells_the_position_of_its_last_event(store: CatalogStore) -> None:
    start = await store.log.head()
    first = await _commit(store, "1", "2")
    without = await _commit(store)
    second = await _commit(store, "3")

    events = await ask.events(store, start)
    positions = [position for position, *_ in events]
    assert [body for *_, body in events] == ["1", "2", "3"]
    assert _ascend(store, [start, *positions])
    assert (first, without, second) == (positions[1], positions[1], positions[2])
    assert await store.log.head() == second


async def test_positions_form_a_lattice(store: CatalogStore) -> None:
    log = store.log
    one, two, three = [await _commit(store, *bodies) for bodies in ("1", "23", "4")]

    assert log.covers(two, one)
    assert log.covers(two, two)
    assert not log.covers(one, two)
    assert log.union(one, three) == log.union(three, one) == three
    assert log.union(two, two) == two
    assert re.fullmatch("[0-9a-z.-]{1,4096}", three)


async def test_reading_on_from_any_position(store: CatalogStore) -> None:
    start = await store.log.head()
    positions = [await _commit(store, str(i)) for i in range(7)]

    assert await _after(store, start) == list("0123456")
    assert await _after(store, start, 3) == list("012")
    assert await _after(store, positions[2], 3) == list("345")
    assert await _after(store, positions[5], 3) == list("6")
    assert await _after(store, positions[6], 3) == []
    assert await _after(store, start, 0) == []


async def test_events_that_match(store: CatalogStore) -> None:
    start = await store.log.head()
    events = [
        build.event(f"{i}", flow_id="fg"[i % 2], type=f"flows/{['created', 'deleted'][i // 4]}")
        for i in range(8)
    ]
    await store.commit(build.changes(events=events))

    async def found(limit: int, *where: Where) -> list[str]:
        rows = ask.plain(await store.log.events(start, limit, where))
        return [row[-1] for row in rows]

    assert await found(9, eq("flow_id", "f")) == list("0246")
    assert await found(2, eq("flow_id", "g")) == list("13")
    assert await found(9, eq("flow_id", "g"), eq("type", "flows/deleted")) == list("57")
    assert await found(9, is_in("flow_id", ["f", "x"]), eq("source_id", None)) == list("0246")
    assert await found(9, eq("flow_id", "x")) == []


@pytest.mark.parametrize("position", ["", "x", "-1", "8000000000000000", "f" * 100, "1.0"])
async def test_a_position_of_something_else_is_refused(store: CatalogStore, position: str) -> None:
    head = await store.log.head()
    with pytest.raises(BadInput, match="not a position of this change log"):
        await store.log.events(position, 1)
    for one, other in ((position, head), (head, position)):
        with pytest.raises(BadInput, match="not a position of this change log"):
            store.log.covers(one, other)
        with pytest.raises(BadInput, match="not a position of this change log"):
            store.log.union(one, other)


async def test_trimming_removes_the_old_end(store: CatalogStore) -> None:
    start = await store.log.head()
    positions = [await _commit(store, str(i), now_us=build.NOW + i) for i in range(5)]

    assert await store.log.trim(build.NOW) == 0
    assert await store.log.floor() == start
    assert await store.log.trim(build.NOW + 2) == 2
    assert await store.log.floor() == positions[1]
    assert await _after(store, positions[1]) == list("234")
    assert await store.log.trim(build.NOW + 2) == 0
    assert await store.log.floor() == positions[1]
    assert await store.log.head() == positions[4]


async def test_trimming_keeps_what_follows_a_younger_event(store: CatalogStore) -> None:
    """Clocks differ; the log is a prefix-free order of commits, not of times."""
    first = await _commit(store, "0", now_us=build.NOW)
    await _commit(store, "1", now_us=build.NOW + 10)
    await _commit(store, "2", now_us=build.NOW)

    assert await store.log.trim(build.NOW + 5) == 1
    assert await store.log.floor() == first
    assert await ask.bodies(store) == ["1", "2"]


async def test_positions_never_return(backend: Backend, store: CatalogStore) -> None:
    positions = [await _commit(store, str(i)) for i in range(3)]
    assert await store.log.trim(build.NOW + 1) == 3
    floor, head = await store.log.floor(), await store.log.head()
    assert floor == head == positions[-1]
    assert await ask.bodies(store) == []

    again = await backend.open()
    assert await again.log.head() == await again.log.floor() == floor
    position = await _commit(again, "3")
    assert _ascend(again, [*positions, position])
    assert await _after(again, floor) == ["3"]
    assert await again.log.trim(build.NOW + 1) == 1
    assert await again.log.head() == position
    await again.close()


async def test_trimming_more_than_one_portion(store: CatalogStore) -> None:
    bodies = [str(i) for i in range(25_000)]
    await _commit(store, *bodies[:20_000])
    await _commit(store, *bodies[20_000:], now_us=build.NOW + 1)

    assert await store.log.trim(build.NOW + 1) == 20_000
    assert await ask.bodies(store) == bodies[20_000:]
    assert await store.log.trim(build.NOW + 2) == 5_000
    assert await store.log.floor() == await store.log.head()


async def test_the_log_has_one_identity(
    new_backend: Callable[[], Backend], backend: Backend, store: CatalogStore
) -> None:
    others: list[CatalogStore] = [await backend.open(), await new_backend().open()]

    same, different = (other.log.log_id for other in others)
    for other in others:
        await other.close()
    again = await backend.open()
    await again.close()

    assert store.log.log_id == same == again.log.log_id != different


async def test_commits_wake_the_readers_of_this_process(store: CatalogStore) -> None:
    loop, woken = asyncio.get_running_loop(), asyncio.Event()
    seen: list[Any] = []

    def wake() -> None:
        seen.append(asyncio.get_running_loop())
        woken.set()

    store.log.on_commit(wake)
    start = await store.log.head()
    for body in ("1", "2"):
        woken.clear()
        await _commit(store, body)
        await asyncio.wait_for(woken.wait(), PATIENCE_SECONDS)
        assert (await _after(store, start))[-1] == body
    assert set(seen) == {loop}


async def test_commits_of_another_store_are_noticed(
    store: CatalogStore, another: CatalogStore
) -> None:
    start = await store.log.head()
    for body in ("1", "2"):
        while await store.log.changed():  # not always, or the log would be read all the time
            pass
        await _commit(another, body)
        await _until_changed(store)
        assert (await _after(store, start))[-1] == body


async def test_commits_of_another_process_are_noticed(
    backend_name: str, backend: Backend, store: CatalogStore
) -> None:
    start = await _commit(store, "ours")
    while await store.log.changed():
        pass

    position = await commit_elsewhere(backend_name, backend, '"theirs"')

    await _until_changed(store)
    assert await _after(store, start) == ['"theirs"']
    assert await store.log.head() == store.log.union(start, position)
    again = await _commit(store, "ours again")
    assert _ascend(store, [start, position, again])


async def test_two_stores_share_one_order(store: CatalogStore, another: CatalogStore) -> None:
    start, covers = await store.log.head(), store.log.covers

    async def write(through: CatalogStore, name: str) -> list[str]:
        return [await _commit(through, f"{name}{i}") for i in range(50)]

    committed = dict(
        zip("ab", await asyncio.gather(write(store, "a"), write(another, "b")), strict=True)
    )

    ours, theirs = [await ask.events(through, start) for through in (store, another)]
    assert ours == theirs
    positions, bodies = [position for position, *_ in ours], [body for *_, body in ours]
    assert _ascend(store, [start, *positions])
    for name, mine in committed.items():
        assert [body for body in bodies if body[0] == name] == [f"{name}{i}" for i in range(50)]
        # What a commit says includes its event, and what it does not include is still to be read.
        for i, position in enumerate(mine):
            assert not covers(mine[i - 1], position) or i == 0
            rest = await _after(another, position)
            assert [body for body in rest if body[0] == name] == [
                f"{name}{later}" for later in range(i + 1, 50)
            ]
    assert await store.log.head() == await another.log.head() == positions[-1]


async def test_a_reader_that_follows_misses_nothing(
    store: CatalogStore, another: CatalogStore
) -> None:
    position, seen = await store.log.head(), list[str]()

    async def write(through: CatalogStore, name: str) -> None:
        for i in range(100):
            await _commit(through, f"{name}{i}")

    writing = asyncio.gather(write(store, "a"), write(another, "b"))
    while len(seen) < 200:
        done = writing.done()
        events = await ask.events(store, position, 7)
        seen += [body for *_, body in events]
        position = events[-1][0] if events else position
        assert events or not done
    await writing

    assert sorted(seen) == sorted(f"{name}{i}" for name in "ab" for i in range(100))
    for name in "ab":
        mine = [body for body in seen if body[0] == name]
        assert mine == [f"{name}{i}" for i in range(100)]
