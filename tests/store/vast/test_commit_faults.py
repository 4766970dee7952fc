"""Failures at every step of a commit: a change set is there whole or not at all, never twice."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tams_gql.model.errors import TamsError, Unavailable
from tams_gql.store.changes import ChangeSet, Delete, Expect, Receipt, RemoveSegments, Stale, Update
from tams_gql.store.port import CatalogStore
from tams_gql.store.scan import Scan, eq
from tams_gql.store.tables import COLLECTIONS, EVENTS, FLOWS, RECEIPTS, SOURCES
from tams_gql.store.vast.config import VastConfig
from tests.store import ask, build
from tests.store.vast.physical import Rows, audit, column, stored
from tests.store.vast.rivals import open_store
from tests.vast_emulator import Emulator

CLUSTERS = {
    "new": {"isolation": "snapshot", "conflict": "eager"},
    "late": {"isolation": "snapshot", "conflict": "commit"},
    "read committed": {"isolation": "read_committed", "conflict": "eager"},
    "no conflicts": {"isolation": "read_committed", "conflict": "none"},
}


@dataclass(frozen=True)
class Place:
    """A store on a cluster of some kind."""

    store: CatalogStore
    config: VastConfig
    emulator: Emulator

    async def rows(self) -> Rows:
        """What is stored, by anybody, after everything that hangs has expired."""
        self.emulator.faults.clear()
        self.emulator.expire_transactions()
        return stored(self.config)


@pytest.fixture(params=list(CLUSTERS))
async def place(
    request: pytest.FixtureRequest, emulator: Emulator, config: VastConfig
) -> AsyncIterator[Place]:
    """A store with some of everything."""
    emulator.switches.change(**CLUSTERS[request.param])
    store = await open_store(config)
    await store.commit(
        build.changes(
            build.insert(SOURCES, build.source("s", version=1), build.source("t")),
            *build.flows("f", "g"),
            build.objects("o", "p", size=5),
            add_segments=[build.segments("f", [(0, 10), (20, 30)], object_id="o", size=5)],
            events=[build.event('"before"')],
        )
    )
    yield Place(store, config, emulator)
    await store.close()


def everything() -> ChangeSet:
    """A change set that does something of every kind."""
    return ChangeSet(
        now_us=build.NOW + 1,
        expect=[Expect(FLOWS, ("g",), {"read_only": False}), Expect(SOURCES, ("new",), None)],
        remove_segments=[RemoveSegments("f", 0, 10, event=build.event('{"removed":true}'))],
        delete=[Delete(SOURCES, (eq("id", "t"),)), Delete(COLLECTIONS, (eq("parent_id", "f"),))],
        update=[Update(SOURCES, ("version",), (("s", 2),))],
        insert=[build.insert(SOURCES, build.source("new")), build.objects("q", size=5)],
        add_segments=[
            build.segments("f", [(40, 50), (12, 14)], object_id="p", size=5),
            build.segments("g", [(0, 5)], object_id="q", size=5),
        ],
        events=[build.event('"after"')],
        receipt=Receipt("key", "fingerprint", "{}"),
    )


def is_done(rows: Rows) -> bool:
    """Whether it was done; anything between that and not at all fails the test."""
    after = {
        "sources": ["new", "s"],
        "versions": [1, 2],
        "spans": [(12, "f"), (20, "f"), (40, "f"), (0, "g")],
        "users": [1, 2, 1],
        "events": ['"after"', '"before"'],
        "receipts": ["key"],
    }
    before = {
        "sources": ["s", "t"],
        "versions": [1, 1],
        "spans": [(0, "f"), (20, "f")],
        "users": [2, 0],
        "events": ['"before"'],
        "receipts": [],
    }
    users = {row["id"]: row["ref_count"] for row in rows["objects"]}
    spans = sorted((row["flow_id"], row["start_ns"]) for row in rows["segments"])
    found = {
        "sources": column(rows, SOURCES, "id"),
        "versions": column(rows, SOURCES, "version"),
        "spans": [(start, flow_id) for flow_id, start in spans],
        "users": [users[name] for name in sorted(users)],
        "events": [body for body in column(rows, EVENTS, "body") if "removed" not in body],
        "receipts": column(rows, RECEIPTS, "key"),
    }
    assert found in (before, after)
    removals = [body for body in column(rows, EVENTS, "body") if "removed" in body]
    assert len(removals) == int(found == after)
    return found == after


async def _commit(place: Place) -> type[Exception] | None:
    try:
        await place.store.commit(everything())
    except (TamsError, Stale) as error:
        return type(error)
    return None


async def test_without_faults(place: Place) -> None:
    assert await _commit(place) is None
    assert is_done(await place.rows())
    audit(place.config)


async def test_what_changes_nothing_leaves_nothing(place: Place) -> None:
    before = await place.rows()
    removals = [RemoveSegments("f", 1, 9, event=build.event()), RemoveSegments("?", 0, 9)]
    expect = [Expect(FLOWS, ("f",), {}), Expect(SOURCES, ("new",), None)]

    done = await place.store.commit(ChangeSet(build.NOW, expect, remove_segments=removals))

    assert done.removed == (0, 0)
    after = await place.rows()
    assert after == before
    assert after["claims"] == []


@pytest.mark.parametrize("nth", range(1, 13, 2))
async def test_a_conflict_at_any_write(place: Place, nth: int) -> None:
    fault = place.emulator.faults.conflict(nth=nth, kinds=("write",))

    assert await _commit(place) is None

    assert fault.hits <= 1
    assert is_done(await place.rows())
    audit(place.config)


async def test_a_conflict_at_the_commit(place: Place) -> None:
    for nth in (1, 2):
        place.emulator.faults.conflict(nth=nth, kinds=("commit",))

    assert await _commit(place) is None

    assert is_done(await place.rows())
    audit(place.config)


async def test_conflicts_without_end(place: Place) -> None:
    place.emulator.faults.conflict(kinds=("commit",), times=None, table="sources")

    assert await _commit(place) is Stale

    assert not is_done(await place.rows())
    assert await _commit(place) is None
    assert is_done(await place.rows())


@pytest.mark.parametrize("nth", range(1, 25, 3))
async def test_a_transaction_that_expires(place: Place, nth: int) -> None:
    place.emulator.faults.expire("query", "write", "commit", nth=nth)

    assert await _commit(place) is None

    assert is_done(await place.rows())
    audit(place.config)


@pytest.mark.parametrize("applied", [True, False])
async def test_a_lost_answer_to_the_commit(place: Place, applied: bool) -> None:
    fault = place.emulator.faults.drop_commit(applied=applied, table="sources")

    with place.emulator.counting() as calls:
        assert await _commit(place) is None

    assert fault.hits == 1
    # What became of it is found by the stamp of its events, which the log is sorted by.
    looks = [call.rows_in_key_range for call in calls.on("events") if call.kind == "query"]
    assert looks == ([2] if applied else [])
    assert is_done(await place.rows())
    audit(place.config)
    done = await place.store.commit(build.changes(events=[build.event('"later"')]))
    assert done.position
    assert len(set(column(await place.rows(), EVENTS, "key"))) == 4


@pytest.mark.parametrize("applied", [True, False])
async def test_a_lost_answer_to_a_commit_with_a_receipt_alone(place: Place, applied: bool) -> None:
    place.emulator.faults.drop_commit(applied=applied, table="receipts")

    await place.store.commit(build.changes(receipt=Receipt("key", "f", "{}")))

    assert column(await place.rows(), RECEIPTS, "key") == ["key"]


@pytest.mark.parametrize("applied", [True, False])
async def test_a_lost_answer_that_nothing_can_tell(place: Place, applied: bool) -> None:
    """Without an event or a receipt a change leaves no trace that is surely its own."""
    place.emulator.faults.drop_commit(applied=applied, table="sources")
    change = build.changes(update=[Update(SOURCES, ("version",), (("s", 7),))])

    if applied:
        with pytest.raises(Unavailable, match="cannot be told whether the change was made"):
            await place.store.commit(change)
    else:
        await place.store.commit(change)

    assert column(await place.rows(), SOURCES, "version") == [1, 7]


async def test_a_lost_answer_and_then_none_at_all(place: Place) -> None:
    place.emulator.faults.drop_commit(applied=True, table="sources")
    place.emulator.faults.drop("keep_alive", applied=False, times=None)

    assert await _commit(place) is Unavailable

    assert is_done(await place.rows())
    # The numbers of the lost events are not used again, whatever has become of them.
    await place.store.commit(build.changes(events=[build.event('"later"')]))
    keys = column(await place.rows(), EVENTS, "key")
    assert len(set(keys)) == len(keys) == 4


@pytest.mark.parametrize("nth", [1, 2, 4, 7, 11])
@pytest.mark.parametrize("applied", [True, False])
async def test_a_connection_that_breaks_at_any_write(place: Place, nth: int, applied: bool) -> None:
    place.emulator.faults.drop("write", applied=applied, nth=nth)

    assert await _commit(place) is None

    assert is_done(await place.rows())
    audit(place.config)


async def test_connections_that_break_again_and_again(place: Place) -> None:
    fault = place.emulator.faults.drop("write", times=None, table="sources")

    assert await _commit(place) is Unavailable

    assert fault.hits == 3
    assert not is_done(await place.rows())
    await _retry(place)


@pytest.mark.parametrize(("nth", "status"), [(1, 500), (3, 503), (6, 507), (9, 500)])
async def test_a_cluster_that_refuses(place: Place, nth: int, status: int) -> None:
    place.emulator.faults.fail(status, kinds=("write",), nth=nth)

    failure = await _commit(place)

    rows = await place.rows()
    assert failure in (None, Unavailable)
    assert is_done(rows) == (failure is None)
    if failure is not None:
        await _retry(place)


async def _retry(place: Place) -> None:
    """Nothing is in the way of the same change set."""
    assert await _commit(place) is None
    assert is_done(await place.rows())
    audit(place.config)


async def test_a_cluster_that_is_busy(place: Place) -> None:
    place.emulator.faults.slow_down(kinds=("query", "write", "commit"), times=3)

    assert await _commit(place) is None

    assert is_done(await place.rows())


@pytest.mark.parametrize("nth", [1, 2, 5])
async def test_an_answer_that_breaks_off(place: Place, nth: int) -> None:
    place.emulator.faults.cut_query(after=20, nth=nth)

    assert await _commit(place) is None

    assert is_done(await place.rows())
    audit(place.config)


@pytest.mark.parametrize("kind", ["new", "late"])
async def test_the_transaction_of_the_reads_fails(
    kind: str, emulator: Emulator, config: VastConfig
) -> None:
    """Then the change set is tried again in one of its own: it names what it relies on."""
    emulator.switches.change(**CLUSTERS[kind])
    store, another = await open_store(config), await open_store(config)
    await store.commit(build.changes(build.insert(SOURCES, build.source("s", version=1))))
    look = Scan(SOURCES, SOURCES.columns, where=(eq("id", "s"),))

    def change(label: str, version: int) -> ChangeSet:
        return build.changes(
            expect=[Expect(SOURCES, ("s",), {"version": version})],
            update=[Update(SOURCES, ("label",), (("s", label),))],
        )

    async def commit(interfere: Callable[[], Any]) -> None:
        async with store.session() as session:
            await session.scan([look])
            await interfere()
            await store.commit(change("ours", 1), session)

    await commit(lambda: another.commit(change("theirs", 1)))
    assert await ask.rows(store, Scan(SOURCES, ("label", "version"))) == [("ours", 1)]
    step = build.changes(update=[Update(SOURCES, ("version",), (("s", 2),))])
    with pytest.raises(Stale):
        await commit(lambda: another.commit(step))
    assert not emulator.open_transactions()
    for each in (store, another):
        await each.close()
