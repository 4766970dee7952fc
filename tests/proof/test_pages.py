"""Pages laid together are the whole list: filtered, ordered, in both directions, under writes."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tams_gql.model.ids import new_id
from tests import seed
from tests.catalog import Catalog, quick_settings, running
from tests.gql import Data
from tests.proof import filters, lists
from tests.proof.lists import Listing
from tests.proof.world import Maker, World, seen
from tests.seed import Seed

pytestmark = pytest.mark.asyncio(loop_scope="module")

quickly = settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
sizes = st.integers(1, 12)
seeds = st.integers(0, 2**32)

Full = tuple[Catalog, World]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def full(catalog_store: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Full]:
    """A catalog full of everything."""
    async with running(quick_settings(tmp_path_factory.mktemp("full"))) as catalog:
        await Maker(catalog, random.Random(2)).fill(flows=30)
        yield catalog, await seen(catalog.gql)


async def check_pages(
    catalog: Catalog, listing: Listing, variables: Data, size: int, *, backwards: bool = True
) -> None:
    whole = await listing.whole(catalog.gql, variables)
    assert len(set(whole)) == len(whole)
    assert await listing.forwards(catalog.gql, variables, size) == whole
    if backwards:
        assert await listing.backwards(catalog.gql, variables, size) == whole


# Lists that nobody changes


@quickly
@given(data=st.data(), search=filters.searches, order=filters.flow_orders, size=sizes)
async def test_flows(
    full: Full, data: st.DataObject, search: str | None, order: Data, size: int
) -> None:
    catalog, world = full
    chosen = data.draw(filters.flow_filters(world), "filter")
    variables = {"filter": chosen, "search": search, "order": order}
    await check_pages(catalog, lists.FLOWS, variables, size)


@quickly
@given(data=st.data(), search=filters.searches, order=filters.source_orders, size=sizes)
async def test_sources(
    full: Full, data: st.DataObject, search: str | None, order: Data, size: int
) -> None:
    catalog, world = full
    chosen = data.draw(filters.source_filters(world), "filter")
    variables = {"filter": chosen, "search": search, "order": order}
    await check_pages(catalog, lists.SOURCES, variables, size)


@quickly
@given(data=st.data(), order=filters.flow_orders, size=sizes)
async def test_flows_of_a_source(full: Full, data: st.DataObject, order: Data, size: int) -> None:
    catalog, world = full
    chosen = data.draw(filters.flow_filters(world), "filter")
    source = data.draw(st.sampled_from(world.sources), "source")
    variables = {"id": source["id"], "filter": chosen, "order": order}
    await check_pages(catalog, lists.FLOWS_OF_SOURCE, variables, size)


@quickly
@given(data=st.data(), order=filters.flow_orders, size=sizes)
async def test_flows_of_an_object(full: Full, data: st.DataObject, order: Data, size: int) -> None:
    catalog, world = full
    chosen = data.draw(filters.flow_filters(world), "filter")
    row = data.draw(st.sampled_from(world.objects), "object")
    variables = {"id": row["id"], "filter": chosen, "order": order}
    await check_pages(catalog, lists.FLOWS_OF_OBJECT, variables, size, backwards=False)


@quickly
@given(data=st.data(), size=sizes)
async def test_objects(full: Full, data: st.DataObject, size: int) -> None:
    catalog, world = full
    chosen = data.draw(filters.object_filters(world), "filter")
    await check_pages(catalog, lists.OBJECTS, {"filter": chosen}, size)


@quickly
@given(data=st.data(), size=sizes)
async def test_profiles(full: Full, data: st.DataObject, size: int) -> None:
    catalog, world = full
    chosen = data.draw(filters.profile_filters(world), "filter")
    await check_pages(catalog, lists.PROFILES, {"filter": chosen}, size)


@quickly
@given(data=st.data(), size=st.integers(3, 40))
async def test_events(full: Full, data: st.DataObject, size: int) -> None:
    catalog, world = full
    chosen = data.draw(filters.event_filters(world), "filter")
    await check_pages(catalog, lists.EVENTS, {"filter": chosen}, size, backwards=False)


windows = st.none() | st.builds(
    lambda start, length, closed: f"[{start}:0_{start + length}:0{']' if closed else ')'}",
    st.integers(-3, 70),
    st.integers(0, 40),
    st.booleans(),
)


@quickly
@given(
    starts=st.sets(st.integers(0, 60), max_size=25),
    window=windows,
    reverse=st.booleans(),
    shared=st.booleans(),
    size=sizes,
)
async def test_segments(
    full: Full, starts: set[int], window: str | None, reverse: bool, shared: bool, size: int
) -> None:
    """Of a flow with gaps, some of whose segments use the same object."""
    catalog, _ = full
    maker, object_id = Seed(catalog.gql, catalog.http), new_id()
    flow_id = await maker.flow()
    items = [
        seed.external(
            f"[{start}:0_{start}:{900_000_000 if start % 3 else 999_999_999}]",
            object_id if start % 2 else None,
            tsOffset=f"{start}:0",
            objectTimerange="[0:0_1:0)",
        )
        for start in starts
    ]
    if items:
        await maker.register(flow_id, items)
    chosen = object_id if shared else None
    variables = {"id": flow_id, "window": window, "objectId": chosen, "reverse": reverse}
    await check_pages(catalog, lists.SEGMENTS, variables, size)
    await maker.delete(flow_id)


@quickly
@given(uses=st.lists(st.sets(st.integers(0, 40), max_size=8), min_size=1, max_size=4), size=sizes)
async def test_references(full: Full, uses: list[set[int]], size: int) -> None:
    """Of an object that several flows use, each several times: by flow and time."""
    catalog, _ = full
    maker, object_id = Seed(catalog.gql, catalog.http), new_id()
    flows = sorted([await maker.flow() for _ in uses])
    expected = []
    first = seed.external("[0:0_1:0)", object_id)
    await maker.register(await maker.flow(), [first])
    for flow_id, starts in zip(flows, uses, strict=True):
        items = [
            {"objectId": object_id, "timerange": seed.seconds(s, s + 1), "tsOffset": f"{s}:0"}
            for s in sorted(starts)
        ]
        done = await maker.register(flow_id, items) if items else {"results": []}
        expected += [result["segment"]["id"] for result in done["results"]]
    variables = {"id": object_id}
    whole = await lists.REFERENCES.whole(catalog.gql, variables)
    assert [key for key in whole if key in expected] == expected
    assert len(whole) == len(expected) + 1
    await check_pages(catalog, lists.REFERENCES, variables, size, backwards=False)


# Lists that change while they are read


class Churn:
    """Makes, changes and deletes things beside those that stay as they are."""

    def __init__(self, catalog: Catalog, chance: random.Random) -> None:
        self.fixed: list[str] = []
        self.passing: list[str] = []
        self.moved: set[str] = set()
        self._chance = chance
        self._seed = Seed(catalog.gql, catalog.http)
        self._source_id = new_id()

    @property
    def filter(self) -> Data:
        """What finds all of them, and nothing else."""
        return {"sourceIds": [self._source_id]}

    async def begin(self, fixed: int) -> None:
        """Make what stays, and as much of what does not, mixed."""
        for _ in range(fixed):
            self.fixed.append(await self._flow())
            self.passing.append(await self._flow())

    async def go_on(self) -> None:
        """Do one to three things to what does not stay."""
        for _ in range(self._chance.randint(1, 3)):
            act = self._chance.choice([self._make, self._change, self._delete])
            await act()

    async def end(self) -> None:
        """Leave nothing behind."""
        for flow_id in self.fixed + self.passing:
            await self._seed.delete(flow_id)

    async def _make(self) -> None:
        self.passing.append(await self._flow())

    async def _change(self) -> None:
        if self.passing:
            flow_id = self._chance.choice(self.passing)
            self.moved.add(flow_id)
            await self._seed.patch(flow_id, label=self._label())

    async def _delete(self) -> None:
        if self.passing:
            at = self._chance.randrange(len(self.passing))
            await self._seed.delete(self.passing.pop(at))

    async def _flow(self) -> str:
        return await self._seed.flow("data", sourceId=self._source_id, label=self._label())

    def _label(self) -> str | None:
        return self._chance.choice([None, "a", "b", "c", "d"])


@quickly
@given(order=filters.flow_orders, size=st.integers(1, 4), number=seeds, backwards=st.booleans())
async def test_flows_that_stay_are_read_once_whatever_happens_to_others(
    full: Full, order: Data, size: int, number: int, backwards: bool
) -> None:
    catalog, _ = full
    churn = Churn(catalog, random.Random(number))
    await churn.begin(fixed=5)
    variables = {"filter": churn.filter, "order": order}
    before = await lists.FLOWS.whole(catalog.gql, variables)
    # when
    read = lists.FLOWS.backwards if backwards else lists.FLOWS.forwards
    found = await read(catalog.gql, variables, size, churn.go_on)
    # then
    counts = Counter(found)
    assert all(counts[flow_id] == 1 for flow_id in churn.fixed)
    assert all(n == 1 for flow_id, n in counts.items() if flow_id not in churn.moved)
    stayed = set(churn.fixed)
    assert [i for i in found if i in stayed] == [i for i in before if i in stayed]
    await churn.end()


@quickly
@given(
    stay=st.sets(st.integers(0, 30), min_size=3, max_size=10),
    size=st.integers(1, 4),
    reverse=st.booleans(),
    backwards=st.booleans(),
    number=seeds,
)
async def test_segments_that_stay_are_read_once_whatever_happens_to_others(
    full: Full, stay: set[int], size: int, reverse: bool, backwards: bool, number: int
) -> None:
    catalog, _ = full
    chance, maker = random.Random(number), Seed(catalog.gql, catalog.http)
    flow_id = await maker.flow()
    await maker.external(flow_id, *(seed.seconds(start, start + 1) for start in stay))
    there: set[int] = set()
    variables = {"id": flow_id, "window": None, "objectId": None, "reverse": reverse}
    before = await lists.SEGMENTS.whole(catalog.gql, variables)

    async def change() -> None:
        start = chance.choice([start for start in range(31) if start not in stay])
        timerange = seed.seconds(start, start + 1)
        if start in there:
            await maker.delete_segments(flow_id, coveredBy=timerange)
        else:
            await maker.external(flow_id, timerange)
        there.symmetric_difference_update({start})

    # when
    read = lists.SEGMENTS.backwards if backwards else lists.SEGMENTS.forwards
    found = await read(catalog.gql, variables, size, change)
    # then
    stayed = set(before)
    assert [segment_id for segment_id in found if segment_id in stayed] == before
    assert len(set(found)) == len(found)
    await maker.delete(flow_id)


@quickly
@given(size=st.integers(1, 9), number=seeds)
async def test_events_are_read_once_while_more_are_written(
    full: Full, size: int, number: int
) -> None:
    catalog, _ = full
    churn = Churn(catalog, random.Random(number))
    await churn.begin(fixed=2)
    variables = {"filter": churn.filter}
    before = await lists.EVENTS.whole(catalog.gql, variables)
    left = 6

    async def change() -> None:
        nonlocal left
        left -= 1
        if left > 0:
            await churn.go_on()

    # when
    found = await lists.EVENTS.forwards(catalog.gql, variables, size, change)
    # then
    assert found[: len(before)] == before
    assert found == (await lists.EVENTS.whole(catalog.gql, variables))[: len(found)]
    await churn.end()


@quickly
@given(size=st.integers(1, 4), number=seeds, backwards=st.booleans())
async def test_objects_and_references_that_stay_are_read_once(
    full: Full, size: int, number: int, backwards: bool
) -> None:
    catalog, _ = full
    chance, maker = random.Random(number), Seed(catalog.gql, catalog.http)
    flows = [await maker.flow() for _ in range(3)]
    object_id, made = new_id(), list[str]()
    await maker.register(flows[0], [seed.external("[0:0_1:0)", object_id)])
    for start in range(1, 7):
        made += await maker.external(chance.choice(flows), seed.seconds(start, start + 1))
    at = 100

    async def change() -> None:
        nonlocal at
        at += 1
        again = {"objectId": object_id, "tsOffset": f"{at}:0"}
        await maker.register(flows[1], [{**again, "timerange": seed.seconds(at, at + 1)}])
        made.extend(await maker.external(flows[2], seed.seconds(at, at + 1)))
        await maker.delete_segments(flows[2], coveredBy=f"[{at - 1}:0_{at}:0)")

    # when
    stayed = [object_id, *made]
    chosen = {"filter": {"ids": stayed}}
    read = lists.OBJECTS.backwards if backwards else lists.OBJECTS.forwards
    found = await read(catalog.gql, chosen, size, change)
    used = await lists.REFERENCES.forwards(catalog.gql, {"id": object_id}, size)
    # then
    assert sorted(found) == sorted(stayed)
    assert used == await lists.REFERENCES.whole(catalog.gql, {"id": object_id})
    for flow_id in flows:
        await maker.delete(flow_id)


# Cursors after a restart


@pytest.mark.parametrize("backwards", [False, True])
async def test_cursors_survive_a_restart(tmp_path: Path, backwards: bool) -> None:
    """Each page is read from a server of its own."""
    config = quick_settings(tmp_path)
    async with running(config) as catalog:
        await Maker(catalog, random.Random(3)).fill(flows=16)
        world = await seen(catalog.gql)
        source_id = max(world.sources, key=lambda s: flows_of(world, s["id"]))["id"]
        flow_id = await Seed(catalog.gql, catalog.http).flow()
        ranges = [seed.seconds(start, start + 1) for start in range(9)]
        await Seed(catalog.gql, catalog.http).external(flow_id, *ranges)
    several = {"label": "a", "tags": [{"name": "genre", "exists": True}]}
    order = {"field": "LABEL"}
    read: Sequence[tuple[Listing, Data]] = [
        (lists.FLOWS, {"filter": {"OR": [{"readOnly": False}, several]}, "order": order}),
        (lists.SOURCES, {"filter": {"NOT": several}, "search": None, "order": None}),
        (lists.FLOWS_OF_SOURCE, {"id": source_id, "filter": None, "order": order}),
        (lists.SEGMENTS, {"id": flow_id, "window": "[2:0_", "objectId": None, "reverse": True}),
        (lists.OBJECTS, {"filter": {"minReferences": 0}}),
        (lists.EVENTS, {"filter": None}),
    ]
    if backwards:
        read = read[:-1]  # the log is only read forwards
    async with running(config) as catalog:
        whole = [await listing.whole(catalog.gql, variables) for listing, variables in read]
    size, cursor, end, more = _BACKWARDS if backwards else _FORWARDS
    found: list[list[str]] = [[] for _ in read]
    cursors: dict[int, str | None] = dict.fromkeys(range(len(read)))
    while cursors:
        async with running(config) as catalog:
            for at, asked in [*cursors.items()]:
                listing, variables = read[at]
                variables = {**variables, size: (len(whole[at]) + 2) // 3, cursor: asked}
                page = await listing.page(catalog.gql, variables)
                keys, info = listing.keys(page), page["pageInfo"]
                found[at] = keys + found[at] if backwards else found[at] + keys
                cursors[at] = info[end]
                if not info[more]:
                    del cursors[at]
    assert found == whole
    assert min(map(len, whole)) >= 3


_FORWARDS = ("first", "after", "endCursor", "hasNextPage")
_BACKWARDS = ("last", "before", "startCursor", "hasPreviousPage")


def flows_of(world: World, source_id: str) -> int:
    return sum(flow["source"]["id"] == source_id for flow in world.flows)
