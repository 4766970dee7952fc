"""What of a flow's timeline is covered, against a walk over all its segments."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tams_gql.store.changes import AddSegments
from tams_gql.store.port import CatalogStore
from tams_gql.store.scan import CoverageWindow, Covered
from tams_gql.store.tables import FLOWS, OBJECTS, SEGMENTS
from tests.store import ask, build, naive
from tests.store.given import MAX_NS, MIN_NS, examples, spans

_NOTHING = Covered((), 0, 0, 0)


async def _coverage(store: CatalogStore, *windows: CoverageWindow) -> list[Covered]:
    async with store.session() as session:
        return await session.coverage(windows)


@pytest.fixture
async def flow(store: CatalogStore) -> CatalogStore:
    """A store with flow ``f``: touching segments, gaps of 5 and of 20; each of 7 bytes."""
    ranges = [(0, 10), (10, 20), (25, 30), (50, 60)]
    rows = tuple(build.segment("f", *span, size=7) for span in ranges)
    unknown = (build.segment("f", 100, 110),)
    await store.commit(
        build.changes(
            *build.flows("f", "g"),
            build.objects("object"),
            add_segments=[AddSegments("f", rows + unknown), build.segments("g", [(-99, 99)])],
        )
    )
    return store


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        (
            CoverageWindow("f", MIN_NS, MAX_NS),
            Covered(((0, 20), (25, 30), (50, 60), (100, 110)), 45, 5, 28),
        ),
        (
            CoverageWindow("f", MIN_NS, MAX_NS, max_gap_ns=4),
            Covered(((0, 20), (25, 30), (50, 60), (100, 110)), 45, 5, 28),
        ),
        (
            CoverageWindow("f", MIN_NS, MAX_NS, max_gap_ns=5),
            Covered(((0, 30), (50, 60), (100, 110)), 45, 5, 28),
        ),
        (
            CoverageWindow("f", MIN_NS, MAX_NS, max_gap_ns=MAX_NS),
            Covered(((0, 110),), 45, 5, 28),
        ),
        (CoverageWindow("f", 5, 27), Covered(((5, 20), (25, 27)), 17, 3, 21)),
        (CoverageWindow("f", 12, 15), Covered(((12, 15),), 3, 1, 7)),
        (CoverageWindow("f", 20, 25), _NOTHING),
        (CoverageWindow("f", 22, 52), Covered(((25, 30), (50, 52)), 7, 2, 14)),
        (CoverageWindow("f", 105, MAX_NS), Covered(((105, 110),), 5, 1, 0)),
        (CoverageWindow("f", 110, MAX_NS), _NOTHING),
        (CoverageWindow("f", 15, 15), _NOTHING),
        (CoverageWindow("f", 15, 5), _NOTHING),
        (CoverageWindow("nobody", MIN_NS, MAX_NS), _NOTHING),
    ],
)
async def test_a_window(flow: CatalogStore, window: CoverageWindow, expected: Covered) -> None:
    assert await _coverage(flow, window) == [expected]


async def test_windows_are_answered_in_turn(flow: CatalogStore) -> None:
    asked = [CoverageWindow(name, 0, 10) for name in ("g", "nobody", "f", "g")]

    found = await _coverage(flow, *asked)

    assert [c.segment_count for c in found] == [1, 0, 1, 1]
    assert await _coverage(flow) == []


@pytest.mark.parametrize("number", [0, 1, 2, 3])
async def test_one_stretch_more_than_asked_for_tells_of_others(
    flow: CatalogStore, number: int
) -> None:
    window = CoverageWindow("f", MIN_NS, MAX_NS, max_stretches=number)
    whole = ((0, 20), (25, 30), (50, 60), (100, 110))

    assert await _coverage(flow, window) == [Covered(whole[: number + 1], 45, 5, 28)]


@examples(80)
@given(data=st.data(), stored=spans())
async def test_any_window(
    store: CatalogStore, data: st.DataObject, stored: list[tuple[int, int]]
) -> None:
    await ask.wipe(store, FLOWS, OBJECTS, SEGMENTS)
    sizes = st.none() | st.integers(0, 9)
    rows = tuple(build.segment("f", *span, size=data.draw(sizes)) for span in stored)
    await store.commit(build.changes(*build.flows("f"), add_segments=[AddSegments("f", rows)]))
    base = stored[0][0] if stored else 0
    moments = st.integers(max(MIN_NS, base - 45), min(MAX_NS, base + 90)) | st.sampled_from(
        [MIN_NS, MAX_NS]
    )
    window = CoverageWindow(
        "f",
        data.draw(moments),
        data.draw(moments),
        max_gap_ns=data.draw(st.integers(0, 20)),
        max_stretches=data.draw(st.integers(0, 4)),
    )

    (found,) = await _coverage(store, window)

    named = [dict(zip(SEGMENTS.columns, row, strict=True)) for row in rows]
    expected = naive.coverage(named, window)
    assert found == replace(expected, stretches=expected.stretches[: window.max_stretches + 1])
