"""Windows on a flow's timeline against the definition of overlap."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tams_gql.store.changes import AddSegments
from tams_gql.store.port import CatalogStore
from tams_gql.store.scan import Op, Range, SegmentWindow, Where, compare, eq, is_in
from tams_gql.store.tables import FLOWS, OBJECTS, SEGMENTS
from tests.store import ask, build, naive
from tests.store.given import MAX_NS, MIN_NS, conditions, examples, integers, spans, texts

# Touching, a gap from 30 to 50, and one long segment.
_SPANS = [(0, 10), (10, 20), (20, 30), (50, 60), (60, 100)]


@pytest.fixture
async def flow(store: CatalogStore) -> CatalogStore:
    """A store with flow ``f``, and its neighbours ``e`` and ``g`` full of segments."""
    neighbours = [(i, i + 5) for i in range(-50, 150, 5)]
    await store.commit(
        build.changes(
            *build.flows("e", "f", "g"),
            build.objects("object"),
            add_segments=[
                build.segments("e", neighbours),
                build.segments("f", _SPANS),
                build.segments("g", neighbours),
            ],
        )
    )
    return store


async def _starts(store: CatalogStore, start_ns: int, end_ns: int, **parts: Any) -> list[int]:
    window = SegmentWindow("f", start_ns, end_ns, **parts)
    (found,) = await ask.windows(store, ("start_ns",), window)
    return [start for (start,) in found]


@pytest.mark.parametrize(
    ("start_ns", "end_ns", "expected"),
    [
        (0, 10, [0]),
        (0, 11, [0, 10]),
        (9, 10, [0]),
        (10, 11, [10]),
        (5, 25, [0, 10, 20]),
        (30, 50, []),
        (29, 50, [20]),
        (30, 51, [50]),
        (35, 40, []),
        (70, 71, [60]),
        (99, 1_000, [60]),
        (100, 1_000, []),
        (-1_000, 0, []),
        (-1_000, 1, [0]),
        (MIN_NS, MAX_NS, [0, 10, 20, 50, 60]),
        (MIN_NS, 20, [0, 10]),
        (55, MAX_NS, [50, 60]),
        (15, 15, []),
        (10, 10, []),
        (25, 5, []),
        (MAX_NS, MIN_NS, []),
    ],
)
async def test_a_window_holds_what_overlaps_it(
    flow: CatalogStore, start_ns: int, end_ns: int, expected: list[int]
) -> None:
    assert await _starts(flow, start_ns, end_ns) == expected
    assert await _starts(flow, start_ns, end_ns, reverse=True) == expected[::-1]
    assert await ask.count_windows(flow, SegmentWindow("f", start_ns, end_ns)) == [len(expected)]


async def test_pages_of_a_window(flow: CatalogStore) -> None:
    assert await _starts(flow, 5, 70, limit=2) == [0, 10]
    assert await _starts(flow, 5, 70, limit=2, after_ns=10) == [20, 50]
    assert await _starts(flow, 5, 70, limit=2, after_ns=50) == [60]
    assert await _starts(flow, 5, 70, limit=2, after_ns=60) == []
    assert await _starts(flow, 5, 70, limit=2, reverse=True) == [60, 50]
    assert await _starts(flow, 5, 70, limit=2, reverse=True, after_ns=50) == [20, 10]
    assert await _starts(flow, 5, 70, limit=9, reverse=True, after_ns=10) == [0]
    assert await _starts(flow, 5, 70, limit=0) == []


async def test_a_position_outside_the_window_does_not_widen_it(flow: CatalogStore) -> None:
    assert await _starts(flow, 25, 55, after_ns=MIN_NS) == [20, 50]
    assert await _starts(flow, 25, 55, after_ns=MAX_NS) == []
    assert await _starts(flow, 25, 55, after_ns=MAX_NS, reverse=True) == [50, 20]
    assert await _starts(flow, 25, 55, after_ns=MIN_NS, reverse=True) == []


async def test_counting_ignores_limit_and_position(flow: CatalogStore) -> None:
    window = SegmentWindow("f", 5, 70, limit=1, after_ns=20)

    assert await ask.count_windows(flow, window) == [5]


async def test_windows_are_answered_in_turn(flow: CatalogStore) -> None:
    asked = [
        SegmentWindow("f", 0, 15),
        SegmentWindow("nobody", 0, 100),
        SegmentWindow("f", 55, 56, reverse=True),
        SegmentWindow("f", 5, 5),
        SegmentWindow("f", 0, 15),
    ]

    found = await ask.windows(flow, ("flow_id", "end_ns"), *asked)

    assert found == [[("f", 10), ("f", 20)], [], [("f", 60)], [], [("f", 10), ("f", 20)]]
    assert await ask.count_windows(flow, *asked) == [2, 0, 1, 0, 2]
    assert await ask.windows(flow, ("start_ns",)) == []
    assert await ask.count_windows(flow) == []


async def test_segments_come_back_as_they_were_written(store: CatalogStore) -> None:
    row = build.segment(
        *("f", MIN_NS, MIN_NS + 1),
        id="a",
        object_id="o",
        timerange="as sent",
        ts_offset_ns=MAX_NS,
        last_duration_ns=1,
        sample_offset=2,
        sample_count=3,
        key_frame_count=4,
        tags='{"a":"b"}',
        created=5,
    )
    bare = build.segment("f", MAX_NS - 1, MAX_NS, object_id="o")
    await store.commit(
        build.changes(
            *build.flows("f"), build.objects("o"), add_segments=[AddSegments("f", (row, bare))]
        )
    )

    async with store.session() as session:
        groups = await session.windows(SEGMENTS.columns, [SegmentWindow("f", MIN_NS, MAX_NS)])

    assert groups.batch.schema == SEGMENTS.schema
    assert ask.split(groups) == [[row, bare]]


async def test_conditions_within_a_window(store: CatalogStore) -> None:
    objects = ["a", "b", "a", "c", "b"]
    rows = tuple(
        build.segment("f", i * 10, i * 10 + 10, object_id=o, key_frame_count=i or None)
        for i, o in enumerate(objects)
    )
    await store.commit(
        build.changes(
            *build.flows("f"), build.objects("a", "b", "c"), add_segments=[AddSegments("f", rows)]
        )
    )
    either = (
        is_in("object_id", ["a", "c"]),
        Where("key_frame_count", (Range(Op.IS_NULL), Range(Op.GE, 3))),
    )

    assert await _starts(store, 5, 45, where=(eq("object_id", "b"),)) == [10, 40]
    assert await _starts(store, 5, 45, where=either) == [0, 30]
    assert await _starts(store, 5, 45, where=either, after_ns=0, limit=1) == [30]
    assert await _starts(store, 5, 45, where=(compare("object_id", Op.PREFIX, "z"),)) == []
    window = SegmentWindow("f", 5, 45, where=either)
    assert await ask.count_windows(store, window) == [2]


_INTERESTING = st.integers(-45, 45) | st.sampled_from([MIN_NS, MIN_NS + 1, MAX_NS - 1, MAX_NS])


@st.composite
def _windows(draw: st.DrawFn, base: int) -> SegmentWindow:
    moments = _INTERESTING | st.integers(max(MIN_NS, base - 45), min(MAX_NS, base + 45))
    return SegmentWindow(
        flow_id=draw(st.sampled_from(["f", "f", "f", "g"])),
        start_ns=draw(moments),
        end_ns=draw(moments),
        reverse=draw(st.booleans()),
        limit=draw(st.none() | st.integers(0, 5)),
        after_ns=draw(st.none() | moments),
        where=draw(conditions({"object_id": texts, "key_frame_count": integers}, max_size=2)),
    )


@examples(80)
@given(data=st.data(), stored=spans(), others=spans())
async def test_any_windows(
    store: CatalogStore,
    data: st.DataObject,
    stored: list[tuple[int, int]],
    others: list[tuple[int, int]],
) -> None:
    await ask.wipe(store, FLOWS, OBJECTS, SEGMENTS)
    drawn = st.tuples(texts, st.none() | integers)
    rows = {
        flow_id: tuple(
            build.segment(flow_id, *span, object_id=object_id, key_frame_count=frames)
            for span in ranges
            for object_id, frames in [data.draw(drawn)]
        )
        for flow_id, ranges in (("f", stored), ("g", others))
    }
    await store.commit(
        build.changes(
            *build.flows("f", "g"), add_segments=[AddSegments(f, r) for f, r in rows.items()]
        )
    )
    base = stored[0][0] if stored else 0
    asked = data.draw(st.lists(_windows(base), min_size=1, max_size=4))

    named = {
        flow_id: [dict(zip(SEGMENTS.columns, row, strict=True)) for row in found]
        for flow_id, found in rows.items()
    }
    whole = [SegmentWindow(w.flow_id, w.start_ns, w.end_ns, where=w.where) for w in asked]

    found = await ask.windows(store, ("start_ns",), *asked)
    counts = await ask.count_windows(store, *asked)

    assert [[start for (start,) in group] for group in found] == [
        [s["start_ns"] for s in naive.overlapping(named[w.flow_id], w)][: w.limit] for w in asked
    ]
    assert counts == [len(naive.overlapping(named[w.flow_id], w)) for w in whole]
