"""Writers side by side on clusters of every kind: nothing twice, nothing lost or half done."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest

from tams_gql.store.port import CatalogStore
from tams_gql.store.tables import EVENTS, FLOWS, SEGMENTS, SOURCES
from tams_gql.store.vast.config import VastConfig
from tams_gql.store.vast.modes import Modes, modes_of
from tams_gql.store.vast.wire.client import VastClient
from tests.store.vast.physical import Rows, audit, column
from tests.store.vast.rivals import Acts, Rival, open_store, run_elsewhere, world
from tests.vast_emulator import Emulator

CLUSTERS = [
    {"isolation": isolation, "conflict": conflict, "granularity": granularity}
    for isolation in ("snapshot", "read_committed")
    for conflict in ("eager", "commit", "none")
    for granularity in ("row", "cell")
]


@pytest.fixture(params=CLUSTERS, ids=lambda c: "-".join(c.values()))
def kind(request: pytest.FixtureRequest, emulator: Emulator) -> dict[str, str]:
    """How the emulated cluster behaves."""
    chosen: dict[str, str] = request.param
    emulator.switches.change(**chosen)
    return chosen


@pytest.fixture
async def stores(config: VastConfig, kind: dict[str, str]) -> AsyncIterator[list[CatalogStore]]:
    """Three stores on one catalog, as three processes have them."""
    assert kind
    async with AsyncExitStack() as stack:
        opened = []
        for _ in range(3):
            store = await open_store(config)
            stack.push_async_callback(store.close)
            opened.append(store)
        await opened[0].commit(world())
        yield opened


def test_what_a_cluster_does_is_found_out(client: VastClient, kind: dict[str, str]) -> None:
    conflicts = "none" if kind["conflict"] == "none" else "row"

    assert modes_of(client) == Modes(kind["isolation"], conflicts)  # type: ignore[arg-type]


def test_finding_out_leaves_nothing_behind(client: VastClient, config: VastConfig) -> None:
    modes_of(client)

    audit(config)


def check(rows: Rows, done: Acts) -> None:
    """That the catalog is sound, and has all that was acknowledged, once."""
    events = Counter(row["body"] for row in rows[EVENTS.name])
    told = Counter(act[-1] for act in done)
    assert {name: events[name] for name in told} == dict(told)
    others = {name for name in events if name not in told}
    assert others <= {name for name in others if "removed" in name}
    increments = sum(act[0] == "increment" for act in done)
    (source,) = (row for row in rows[SOURCES.name] if row["id"] == "s")
    assert source["version"] == increments
    counts = {"create": Counter[str](), "renew": Counter[str]()}
    for act in done:
        if act[0] in counts:
            counts[act[0]][act[1]] += 1
    left = {name for name, n in counts["create"].items() if n > counts["renew"][name]}
    assert {n for n in column(rows, SOURCES, "id") if n != "s"} == left
    if not any(act[0] == "remove" for act in done):
        spans = sorted((a[1], *s) for a in done if a[0] == "add" for s in map(tuple, a[2]))
        found = [(r["flow_id"], r["start_ns"], r["end_ns"]) for r in rows[SEGMENTS.name]]
        assert sorted(found) == spans


async def test_rivals_in_several_stores(stores: list[CatalogStore], config: VastConfig) -> None:
    rivals = [Rival(store, number) for number, store in enumerate(stores * 2)]

    await asyncio.gather(*(rival.act_until(lambda r=rival: len(r.done) >= 8) for rival in rivals))  # type: ignore[misc]

    done = [act for rival in rivals for act in rival.done]
    assert {act[0] for act in done} >= {"add", "remove", "create"}
    assert sum(rival.refused for rival in rivals) > 0
    check(audit(config), done)


async def test_rivals_for_one_stretch_of_time(
    stores: list[CatalogStore], config: VastConfig
) -> None:
    rivals = [Rival(store, number) for number, store in enumerate(stores)]

    async def only_add(rival: Rival) -> None:
        over: Callable[[], bool] = lambda: len(rival.done) + rival.refused >= 10  # noqa: E731
        rival.remove = rival.increment = rival.create = rival.renew = rival.add  # type: ignore[method-assign]
        await rival.act_until(over)

    await asyncio.gather(*map(only_add, rivals))

    done = [act for rival in rivals for act in rival.done]
    rows = audit(config)
    check(rows, done)
    assert sum(column(rows, FLOWS, "segment_count")) == 3 * len(done)


# What starts many processes is done on the usual kind of cluster, on the others by `make soak`.
IN_PROCESSES = [
    pytest.param(cluster, id="-".join(cluster.values()), marks=marks)
    for cluster, marks in (
        (CLUSTERS[0], ()),
        (CLUSTERS[8], pytest.mark.soak),
        (CLUSTERS[10], pytest.mark.soak),
    )
]


@pytest.mark.parametrize("kind", IN_PROCESSES, indirect=True)
async def test_rivals_in_several_processes(
    config: VastConfig, kind: dict[str, str], emulator: Emulator
) -> None:
    assert kind
    store = await open_store(config)
    await store.commit(world())
    await store.close()

    done = await run_elsewhere(config, 3, 1.5)

    assert {json.loads(act[-1])[0] % 1_000 for act in done} == {0, 1, 2}
    check(audit(config), done)
    assert not emulator.open_transactions()


@pytest.mark.parametrize("kind", IN_PROCESSES, indirect=True)
async def test_rivals_that_are_killed(
    config: VastConfig, kind: dict[str, str], emulator: Emulator
) -> None:
    store = await open_store(config)
    await store.commit(world())
    await store.close()

    done = await run_elsewhere(config, 3, 60, kill=True)

    emulator.expire_transactions()
    rows = audit(config, claims=kind["conflict"] == "none")
    events = Counter(row["body"] for row in rows[EVENTS.name])
    assert {events[act[-1]] for act in done} == {1}
    if kind["conflict"] != "none":  # otherwise their claims have to expire first
        store = await open_store(config)
        rival = Rival(store, 99)
        await rival.act_until(lambda: len(rival.done) >= 3)
        await store.close()
        audit(config)
