"""Adding and removing segments: no overlaps, and counters that say what is stored."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tams_gql.model.errors import BadInput
from tams_gql.store.changes import AddSegments, ChangeSet, Refer, RemoveSegments, Stale
from tams_gql.store.port import CatalogStore
from tams_gql.store.scan import OrderBy, Scan
from tams_gql.store.tables import FLOW_COUNTERS, FLOWS, OBJECTS, SEGMENTS
from tests.store import ask, build, naive
from tests.store.given import MAX_NS, MIN_NS, examples

_EVENT = build.event('{"flow_id":"f"}', type="flows/segments_deleted", source_id="s", flow_id="f")


@pytest.fixture
async def flow(store: CatalogStore) -> CatalogStore:
    """A store with flow ``f`` and five segments of two objects, 100 and 7 bytes large."""
    spans = [(0, 10), (10, 20), (20, 30), (50, 60), (60, 100)]
    rows = tuple(
        build.segment("f", *span, object_id=o, size={"a": 100, "b": 7}[o])
        for span, o in zip(spans, "abaab", strict=True)
    )
    objects = build.objects("a", "b", "unknown size", orphaned=build.NOW - 1)
    await store.commit(
        build.changes(*build.flows("f", "g"), objects, add_segments=[AddSegments("f", rows)])
    )
    return store


async def _counters(store: CatalogStore, flow_id: str = "f") -> dict[str, Any]:
    found = await ask.row(store, FLOW_COUNTERS, flow_id)
    assert found is not None
    return found


async def _references(store: CatalogStore) -> dict[str, int]:
    scan = Scan(OBJECTS, ("id", "ref_count"), order=(OrderBy("id"),))
    return dict(await ask.rows(store, scan))


async def _orphaned(store: CatalogStore) -> dict[str, int | None]:
    scan = Scan(OBJECTS, ("id", "orphaned"), order=(OrderBy("id"),))
    return dict(await ask.rows(store, scan))


async def _spans(store: CatalogStore, flow_id: str = "f") -> list[tuple[int, int]]:
    rows = await ask.everything_of(store, SEGMENTS)
    return [(start, end) for found, start, end, *_ in rows if found == flow_id]


async def _remove(store: CatalogStore, *removals: RemoveSegments) -> tuple[int, ...]:
    changes = ChangeSet(now_us=build.NOW + 1, remove_segments=list(removals))
    return (await store.commit(changes)).removed


async def test_counters_and_references_follow(flow: CatalogStore) -> None:
    assert await _counters(flow) == {
        "flow_id": "f",
        "segment_count": 5,
        "duration_ns": 80,
        "bytes": 314,
        "min_start_ns": 0,
        "max_end_ns": 100,
        "longest_ns": 40,
        "segments_updated": build.NOW,
    }
    assert await _references(flow) == {"a": 3, "b": 2, "unknown size": 0}
    assert (await _counters(flow, "g"))["segments_updated"] is None


async def test_an_object_is_orphaned_when_its_last_user_goes(flow: CatalogStore) -> None:
    used, before = None, build.NOW - 1
    assert await _orphaned(flow) == {"a": used, "b": used, "unknown size": before}

    await _remove(flow, RemoveSegments("f", 0, 30))
    assert await _orphaned(flow) == {"a": used, "b": used, "unknown size": before}
    await _remove(flow, RemoveSegments("f", 0, 60))
    assert await _orphaned(flow) == {"a": build.NOW + 1, "b": used, "unknown size": before}
    await flow.commit(build.changes(add_segments=[build.segments("f", [(0, 1)], object_id="a")]))
    assert await _orphaned(flow) == {"a": used, "b": used, "unknown size": before}


async def test_users_other_than_segments_count_too(flow: CatalogStore) -> None:
    refer = [Refer("a", 1), Refer("b", -2), Refer("unknown size", 2), Refer("unknown size", -1)]

    await flow.commit(ChangeSet(now_us=build.NOW + 1, refer=refer))

    assert await _references(flow) == {"a": 4, "b": 0, "unknown size": 1}
    assert await _orphaned(flow) == {"a": None, "b": build.NOW + 1, "unknown size": None}


async def test_an_earlier_segment_moves_the_lower_bound(flow: CatalogStore) -> None:
    earlier = build.segments("f", [(-5, -3), (30, 31)], object_id="unknown size")
    await flow.commit(ChangeSet(now_us=build.NOW + 1, add_segments=[earlier]))

    found = await _counters(flow)
    assert (found["min_start_ns"], found["max_end_ns"], found["segment_count"]) == (-5, 100, 7)
    assert (found["duration_ns"], found["bytes"]) == (83, 314)
    assert found["segments_updated"] == build.NOW + 1
    assert await _references(flow) == {"a": 3, "b": 2, "unknown size": 2}


@pytest.mark.parametrize(
    ("span", "fits"),
    [
        ((30, 50), True),
        ((29, 50), False),
        ((30, 51), False),
        ((35, 40), True),
        ((-10, 0), True),
        ((-10, 1), False),
        ((100, 110), True),
        ((99, 110), False),
        ((70, 80), False),
        ((-10, 200), False),
        ((0, 10), False),
        ((3, 4), False),
        ((MIN_NS, 0), True),
        ((100, MAX_NS), True),
    ],
)
async def test_a_segment_fits_where_nothing_is(
    flow: CatalogStore, span: tuple[int, int], fits: bool
) -> None:
    before = await _spans(flow)
    # At the ends of time the sum of durations is what does not fit: see the test of that.
    start, end = max(span[0], MIN_NS + 100), min(span[1], MAX_NS - 100)
    changes = build.changes(add_segments=[build.segments("f", [(start, end)], object_id="a")])

    if fits:
        await flow.commit(changes)
        assert await _spans(flow) == sorted([*before, (start, end)])
    else:
        with pytest.raises(Stale):
            await flow.commit(changes)
        assert await _spans(flow) == before


async def test_no_segments_to_add_is_nothing(flow: CatalogStore) -> None:
    before = await ask.everything(flow)

    await flow.commit(
        ChangeSet(now_us=build.NOW + 1, add_segments=[AddSegments("f", ()), AddSegments("?", ())])
    )

    assert await ask.everything(flow) == before


async def test_the_same_moments_are_free_in_another_flow(flow: CatalogStore) -> None:
    await flow.commit(build.changes(add_segments=[build.segments("g", [(0, 100)], object_id="a")]))

    assert await _spans(flow, "g") == [(0, 100)]
    assert (await _counters(flow, "g"))["longest_ns"] == 100
    assert (await _references(flow))["a"] == 4


@pytest.mark.parametrize(
    ("start_ns", "end_ns", "object_id", "gone"),
    [
        (0, 10, None, [0]),
        (0, 19, None, [0]),
        (1, 20, None, [10]),
        (0, 30, None, [0, 10, 20]),
        (1, 9, None, []),
        (30, 50, None, []),
        (20, 30, None, [20]),
        (25, 75, None, [50]),
        (50, 100, None, [50, 60]),
        (50, 99, None, [50]),
        (10, 10, None, []),
        (30, 0, None, []),
        (MIN_NS, MAX_NS, None, [0, 10, 20, 50, 60]),
        (MIN_NS, 20, None, [0, 10]),
        (20, MAX_NS, None, [20, 50, 60]),
        (MAX_NS, MIN_NS, None, []),
        (MIN_NS, MAX_NS, "b", [10, 60]),
        (0, 50, "b", [10]),
        (20, 30, "b", []),
        (MIN_NS, MAX_NS, "unknown size", []),
        (MIN_NS, MAX_NS, "no such object", []),
    ],
)
async def test_removal_takes_what_lies_wholly_inside(
    flow: CatalogStore, start_ns: int, end_ns: int, object_id: str | None, gone: list[int]
) -> None:
    before = await _spans(flow)

    removed = await _remove(flow, RemoveSegments("f", start_ns, end_ns, object_id, _EVENT))

    taken = [span for span in before if span[0] in gone]
    assert removed == (len(gone),)
    assert await _spans(flow) == [span for span in before if span not in taken]
    events = await ask.events(flow)
    if not gone:
        assert events == []
        return
    ((_, kind, created, source_id, flow_id, body),) = events
    assert (kind, created, source_id, flow_id) == (_EVENT.type, build.NOW + 1, "s", "f")
    assert orjson.loads(body) == {
        "flow_id": "f",
        "segment_count": len(gone),
        "start_ns": taken[0][0],
        "end_ns": taken[-1][1],
    }


async def test_counters_after_a_removal(flow: CatalogStore) -> None:
    await _remove(flow, RemoveSegments("f", 5, 60))

    assert await _counters(flow) == {
        "flow_id": "f",
        "segment_count": 2,
        "duration_ns": 50,
        "bytes": 107,
        "min_start_ns": 0,
        "max_end_ns": 100,
        "longest_ns": 40,
        "segments_updated": build.NOW + 1,
    }
    assert await _references(flow) == {"a": 1, "b": 1, "unknown size": 0}


async def test_the_longest_segment_is_remembered_while_any_is_left(flow: CatalogStore) -> None:
    await _remove(flow, RemoveSegments("f", 50, 100))
    partly = await _counters(flow)
    await _remove(flow, RemoveSegments("f", MIN_NS, MAX_NS))

    assert (partly["longest_ns"], partly["max_end_ns"]) == (40, 30)
    assert await _counters(flow) == {
        "flow_id": "f",
        "segment_count": 0,
        "duration_ns": 0,
        "bytes": 0,
        "min_start_ns": None,
        "max_end_ns": None,
        "longest_ns": 0,
        "segments_updated": build.NOW + 1,
    }
    assert await _references(flow) == {"a": 0, "b": 0, "unknown size": 0}


async def test_a_removal_of_nothing_changes_nothing(flow: CatalogStore) -> None:
    before = await ask.everything(flow)

    assert await _remove(flow, RemoveSegments("f", 1, 9), RemoveSegments("?", 0, 9)) == (0, 0)
    assert await ask.everything(flow) == before


async def test_removals_are_counted_and_told_one_by_one(flow: CatalogStore) -> None:
    removals = [
        RemoveSegments("f", 0, 20, event=build.event('{"n":1}')),
        RemoveSegments("f", 0, 30),
        RemoveSegments("f", 0, 30, event=build.event('{"n":3}')),
        RemoveSegments("f", 0, 100, "b", event=build.event('{"n":4}')),
    ]

    assert await _remove(flow, *removals) == (2, 1, 0, 1)
    assert [orjson.loads(body) for body in await ask.bodies(flow)] == [
        {"n": 1, "segment_count": 2, "start_ns": 0, "end_ns": 20},
        {"n": 4, "segment_count": 1, "start_ns": 60, "end_ns": 100},
    ]


async def test_segments_are_replaced_in_one_change_set(flow: CatalogStore) -> None:
    await flow.commit(
        build.changes(
            remove_segments=[RemoveSegments("f", 0, 30)],
            add_segments=[build.segments("f", [(5, 25), (25, 50)], object_id="unknown size")],
        )
    )

    found = await _counters(flow)
    assert await _spans(flow) == [(5, 25), (25, 50), (50, 60), (60, 100)]
    assert (found["segment_count"], found["duration_ns"], found["bytes"]) == (4, 95, 107)
    assert await _references(flow) == {"a": 1, "b": 1, "unknown size": 2}


async def test_segments_at_the_ends_of_time(store: CatalogStore) -> None:
    spans = [(MIN_NS, MIN_NS + 5), (MIN_NS + 5, 0), (MAX_NS - 1, MAX_NS)]
    await store.commit(build.changes(*build.flows("f"), build.objects("object")))

    with pytest.raises(BadInput, match="292 years"):
        await store.commit(build.changes(add_segments=[build.segments("f", spans)]))
    assert await _spans(store) == []
    assert (await _counters(store))["segment_count"] == 0

    spans[1] = (MIN_NS + 7, 0)
    await store.commit(build.changes(add_segments=[build.segments("f", spans)]))
    assert await _spans(store) == spans
    found = await _counters(store)
    assert (found["min_start_ns"], found["max_end_ns"]) == (MIN_NS, MAX_NS)
    assert found["duration_ns"] == MAX_NS
    with pytest.raises(BadInput, match="292 years"):
        await store.commit(build.changes(add_segments=[build.segments("f", [(0, 1)])]))

    assert await _remove(store, RemoveSegments("f", MIN_NS, MAX_NS)) == (3,)
    assert (await _counters(store))["duration_ns"] == 0


async def test_a_segment_may_be_as_long_as_time(store: CatalogStore) -> None:
    await store.commit(build.changes(*build.flows("f"), build.objects("object")))

    with pytest.raises(BadInput, match="292 years"):
        await store.commit(build.changes(add_segments=[build.segments("f", [(MIN_NS, MAX_NS)])]))
    await store.commit(build.changes(add_segments=[build.segments("f", [(0, MAX_NS)])]))

    assert (await _counters(store))["longest_ns"] == MAX_NS


async def test_more_bytes_than_can_be_counted_are_refused(flow: CatalogStore) -> None:

    def large(size: int) -> ChangeSet:
        return build.changes(
            add_segments=[build.segments("f", [(200, 201)], object_id="a", size=size)]
        )

    with pytest.raises(BadInput, match="bytes"):
        await flow.commit(large(MAX_NS - 313))
    await flow.commit(large(MAX_NS - 314))

    assert (await _counters(flow))["bytes"] == MAX_NS


_span = st.tuples(st.integers(-20, 20), st.integers(1, 12)).map(lambda s: (s[0], s[0] + s[1]))
_batch = st.lists(_span, min_size=1, max_size=4)


@examples(90)
@given(batches=st.lists(_batch, min_size=1, max_size=8))
async def test_exactly_what_overlaps_is_refused(
    store: CatalogStore, batches: list[list[tuple[int, int]]]
) -> None:
    await ask.wipe(store, FLOWS, OBJECTS, SEGMENTS)
    await store.commit(build.changes(*build.flows("f"), build.objects("object")))
    stored: list[tuple[int, int]] = []
    for batch in batches:
        added = build.changes(add_segments=[build.segments("f", batch)])
        if any(naive.overlap(a, b) for a, b in combinations([*stored, *batch], 2)):
            with pytest.raises(Stale):
                await store.commit(added)
        else:
            await store.commit(added)
            stored += batch

    assert await _spans(store) == sorted(stored)
    assert (await _counters(store))["segment_count"] == len(stored)
    assert await _references(store) == {"object": len(stored)}
