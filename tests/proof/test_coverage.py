"""Coverage, time ranges and look-ups on timelines agree with plain arithmetic over the segments."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tams_gql.model.ids import new_id
from tams_gql.model.time import MAX_NS, MIN_NS, NS, OPEN_END_NS, OPEN_START_NS
from tests import seed
from tests.catalog import Catalog, quick_settings, running
from tests.gql import Data
from tests.seed import Seed

pytestmark = pytest.mark.asyncio(loop_scope="module")

quickly = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])

Span = tuple[int, int]
"""A half-open range of nanoseconds."""

FLOW = """
query Flow($id: ID!, $window: TimeRange, $maxGap: Timestamp, $at: Timestamp!) {
  flow(id: $id) {
    coverage(window: $window, maxGap: $maxGap) { ranges gaps duration segmentCount bytes }
    timerange(window: $window)
    segmentAt(timestamp: $at) { timerange }
    segments(window: $window) { totalCount nodes { timerange } }
  }
}
"""
SOURCE = """
query Source($id: ID!, $window: TimeRange) {
  source(id: $id) {
    coverage(window: $window) { ranges gaps duration segmentCount bytes }
    timerange(window: $window)
  }
}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def maker(
    catalog_store: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Maker]:
    """Makes timelines in one catalog."""
    config = quick_settings(tmp_path_factory.mktemp("coverage"))
    async with running(config) as catalog:
        yield Maker(catalog, Seed(catalog.gql, catalog.http))


@dataclass(frozen=True)
class Piece:
    """A segment; ``size`` is 0 where the bytes are elsewhere, of unknown number."""

    span: Span
    size: int


@dataclass(frozen=True)
class Maker:
    """Makes timelines."""

    catalog: Catalog
    seed: Seed

    async def flow(self, pieces: Sequence[Piece], source_id: str) -> str:
        """A flow with these segments."""
        flow_id = await self.seed.flow(sourceId=source_id)
        for stored in (True, False):
            chosen = [piece for piece in pieces if (piece.size > 0) is stored]
            ranges = [text(piece.span) for piece in chosen]
            if not chosen:
                continue
            if stored:
                bodies = [b"x" * piece.size for piece in chosen]
                ids = await self.seed.objects(flow_id, *bodies)
                items = [{"objectId": i, "timerange": r} for i, r in zip(ids, ranges, strict=True)]
                await self.seed.register(flow_id, items)
            else:
                await self.seed.external(flow_id, *ranges)
        return flow_id


# Plain arithmetic


def text(span: Span) -> str:
    """A range as the service writes it."""
    start = "" if span[0] == OPEN_START_NS else f"[{timestamp(span[0])}"
    end = "" if span[1] == OPEN_END_NS else f"{timestamp(span[1])})"
    return f"{start}_{end}"


def timestamp(ns: int) -> str:
    """A time as the service writes it."""
    return f"{'-' if ns < 0 else ''}{abs(ns) // NS}:{abs(ns) % NS}"


def inside(pieces: Iterable[Piece], window: Span) -> list[Piece]:
    """The pieces that share a moment with the window, in order."""
    start, end = window
    found = [p for p in pieces if start < end and p.span[0] < end and p.span[1] > start]
    return sorted(found, key=lambda piece: piece.span)


def clipped(pieces: Iterable[Piece], window: Span) -> list[Span]:
    """What of the window the pieces cover."""
    found = inside(pieces, window)
    return sorted((max(p.span[0], window[0]), min(p.span[1], window[1])) for p in found)


def joined(spans: Sequence[Span], max_gap: int) -> list[Span]:
    """Ranges that touch, overlap or are no further apart than ``max_gap``, as one."""
    found: list[Span] = []
    for start, end in spans:
        if found and start - found[-1][1] <= max_gap:
            start, end = found[-1][0], max(end, found.pop()[1])
        found.append((start, end))
    return found


def between(ranges: Sequence[Span], window: Span) -> list[Span]:
    """What is not covered, an open end of the window left out."""
    start, end = window
    if start >= end:
        return []
    edges = [] if start == OPEN_START_NS else [(start, start)]
    edges += ranges
    edges += [] if end == OPEN_END_NS else [(end, end)]
    return [(a, b) for (_, a), (b, _) in pairwise(edges) if a < b]


def covered(pieces: Sequence[Piece], window: Span, max_gap: int) -> Data:
    """What ``coverage`` answers for a flow."""
    ranges = joined(clipped(pieces, window), max_gap)
    return report(pieces, window, ranges, sum(b - a for a, b in clipped(pieces, window)))


def report(pieces: Sequence[Piece], window: Span, ranges: list[Span], duration: int) -> Data:
    found = inside(pieces, window)
    return {
        "ranges": [text(span) for span in ranges],
        "gaps": [text(span) for span in between(ranges, window)],
        "duration": timestamp(duration),
        "segmentCount": len(found),
        "bytes": sum(piece.size for piece in found),
    }


def hull(pieces: Sequence[Piece], window: Span) -> str:
    """What ``timerange`` answers."""
    found = inside(pieces, window)
    if not found:
        return "()"
    return text((min(p.span[0] for p in found), max(p.span[1] for p in found)))


# Timelines and windows


_SCALES = [(1, 0), (NS, 0), (NS // 25, 0), (1, MIN_NS + 60), (1, MAX_NS - 60)]
scales = st.sampled_from(_SCALES)
moments = st.integers(-50, 50)
EVERYTHING: Span = (OPEN_START_NS, OPEN_END_NS)
NOTHING: Span = (OPEN_END_NS, OPEN_START_NS)


@st.composite
def timelines(draw: st.DrawFn) -> list[Span]:
    """Ranges that do not overlap, some of which touch, in no special order."""
    marks = sorted(draw(st.sets(moments, max_size=18)))
    spans = [span for span in pairwise(marks) if draw(st.integers(0, 2))]
    return draw(st.permutations(spans))


windows: st.SearchStrategy[Span | None] = st.one_of(
    st.none(),
    st.just(EVERYTHING),
    st.just(NOTHING),
    st.tuples(moments, moments).map(lambda ends: (min(ends), max(ends) + 1)),
    moments.map(lambda start: (start, OPEN_END_NS)),
    moments.map(lambda end: (OPEN_START_NS, end)),
)


def scaled(span: Span, scale: tuple[int, int]) -> Span:
    """A range in nanoseconds; open ends stay open."""
    unit, origin = scale
    start, end = span
    if span == NOTHING:
        return span
    return (
        start if start == OPEN_START_NS else start * unit + origin,
        end if end == OPEN_END_NS else end * unit + origin,
    )


def asked(window: Span | None) -> Any:
    """A window as a client writes it."""
    if window is None:
        return None
    return "()" if window == NOTHING else text(window)


@quickly
@given(
    spans=timelines(),
    scale=scales,
    window=windows,
    max_gap=st.none() | st.integers(0, 15),
    at=moments,
    sizes=st.lists(st.integers(0, 3), min_size=18, max_size=18),
)
async def test_a_flow(
    maker: Maker,
    spans: list[Span],
    scale: tuple[int, int],
    window: Span | None,
    max_gap: int | None,
    at: int,
    sizes: list[int],
) -> None:
    # given
    pieces = [Piece(scaled(s, scale), n) for s, n in zip(spans, sizes, strict=False)]
    flow_id = await maker.flow(pieces, new_id())
    bounds = EVERYTHING if window is None else scaled(window, scale)
    moment, gap = at * scale[0] + scale[1], (max_gap or 0) * scale[0]
    # when
    variables = {
        "id": flow_id,
        "window": None if window is None else asked(bounds),
        "maxGap": None if max_gap is None else timestamp(gap),
        "at": timestamp(moment),
    }
    found = (await maker.catalog.gql.execute(FLOW, variables))["flow"]
    # then
    held = [p for p in pieces if p.span[0] <= moment < p.span[1]]
    ranges = [{"timerange": text(piece.span)} for piece in inside(pieces, bounds)]
    assert found == {
        "coverage": covered(pieces, bounds, gap),
        "timerange": hull(pieces, bounds),
        "segmentAt": {"timerange": text(held[0].span)} if held else None,
        "segments": {"totalCount": len(ranges), "nodes": ranges},
    }
    await maker.seed.delete(flow_id)


@quickly
@given(flows=st.lists(timelines(), max_size=3), scale=scales, window=windows)
async def test_a_source_is_the_union_of_its_flows(
    maker: Maker, flows: list[list[Span]], scale: tuple[int, int], window: Span | None
) -> None:
    # given
    source_id = new_id()
    await maker.catalog.gql.execute(
        "mutation Make($input: CreateSourceInput!) { createSource(input: $input) { event } }",
        {"input": {"id": source_id, "format": "VIDEO"}},
    )
    lanes = [[Piece(scaled(span, scale), at) for span in spans] for at, spans in enumerate(flows)]
    for lane in lanes:
        await maker.flow(lane, source_id)
    bounds = EVERYTHING if window is None else scaled(window, scale)
    # when
    variables = {"id": source_id, "window": None if window is None else asked(bounds)}
    found = (await maker.catalog.gql.execute(SOURCE, variables))["source"]
    # then
    pieces = [piece for lane in lanes for piece in lane]
    union = joined(clipped(pieces, bounds), 0)
    assert found == {
        "coverage": report(pieces, bounds, union, sum(b - a for a, b in union)),
        "timerange": hull(pieces, bounds),
    }


async def test_ranges_as_clients_write_them_count_as_they_mean(maker: Maker) -> None:
    """Inclusive ends, instants and reversed ranges."""
    flow_id = await maker.seed.flow()
    await maker.seed.external(flow_id, "[0:0_1:0]", "[1:1]", "[2:0_3:0")
    data = await maker.catalog.gql.execute(
        FLOW, {"id": flow_id, "window": "(0:0_2:0]", "maxGap": "0:0", "at": "1:0"}
    )
    assert data["flow"] == {
        "coverage": {
            "ranges": ["[0:1_1:2)", "[2:0_2:1)"],
            "gaps": ["[1:2_2:0)"],
            "duration": "1:2",
            "segmentCount": 3,
            "bytes": 0,
        },
        "timerange": "[0:0_3:1)",
        "segmentAt": {"timerange": "[0:0_1:0]"},
        "segments": {
            "totalCount": 3,
            "nodes": [{"timerange": t} for t in ("[0:0_1:0]", "[1:1]", "[2:0_3:0")],
        },
    }


async def test_a_timeline_as_long_as_time_itself(maker: Maker) -> None:
    flow_id = await maker.seed.flow()
    first, last = (MIN_NS, MIN_NS + 1), (MAX_NS - 1, MAX_NS)
    await maker.seed.external(flow_id, text(first), text(last))
    variables = {"id": flow_id, "window": None, "at": timestamp(MAX_NS - 1)}
    for max_gap, ranges in ((timestamp(MAX_NS), 2), ("0:0", 2)):
        data = await maker.catalog.gql.execute(FLOW, {**variables, "maxGap": max_gap})
        assert data["flow"]["coverage"] == {
            "ranges": [text(first), text(last)][:ranges],
            "gaps": [text((MIN_NS + 1, MAX_NS - 1))],
            "duration": "0:2",
            "segmentCount": 2,
            "bytes": 0,
        }
        assert data["flow"]["timerange"] == text((MIN_NS, MAX_NS))
        assert data["flow"]["segmentAt"] == {"timerange": text(last)}


@pytest.mark.parametrize("max_gap", ["-0:1", "-1:0"])
async def test_a_negative_gap_is_refused(maker: Maker, max_gap: str) -> None:
    flow_id = await maker.seed.flow()
    (error,) = await maker.catalog.gql.errors(FLOW, {"id": flow_id, "maxGap": max_gap, "at": "0:0"})
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "field": "maxGap"}


async def test_more_ranges_than_an_answer_may_have_are_refused_not_cut(maker: Maker) -> None:
    source_id = new_id()
    flow_id = await maker.seed.flow(sourceId=source_id)
    for batch in range(11):
        starts = range(batch * 1000, batch * 1000 + 1000 - (batch == 10) * 999)
        await maker.seed.register(
            flow_id, [seed.external(f"[{2 * n}:0_{2 * n + 1}:0)") for n in starts]
        )
    variables = {"id": flow_id, "at": "0:0", "maxGap": "0:0"}
    (error,) = await maker.catalog.gql.errors(FLOW, variables)
    assert error["extensions"] == {"code": "LIMIT_EXCEEDED", "limit": 10_000}
    smaller = {**variables, "window": "[0:0_19999:0)"}
    found = (await maker.catalog.gql.execute(FLOW, smaller))["flow"]["coverage"]
    assert (len(found["ranges"]), len(found["gaps"])) == (10_000, 9_999)
    bridged = (await maker.catalog.gql.execute(FLOW, {**variables, "maxGap": "1:0"}))["flow"]
    assert bridged["coverage"]["ranges"] == ["[0:0_20001:0)"]
    assert bridged["coverage"]["duration"] == "10001:0"
    # and of a source, of whose flows none has too many of its own
    await maker.seed.delete_segments(flow_id, coveredBy="[20000:0_")
    whole = (await maker.catalog.gql.execute(SOURCE, {"id": source_id}))["source"]["coverage"]
    assert (len(whole["ranges"]), whole["segmentCount"]) == (10_000, 10_000)
    other = await maker.seed.flow(sourceId=source_id)
    await maker.seed.external(other, "[20000:0_20001:0)")
    (error,) = await maker.catalog.gql.errors(SOURCE, {"id": source_id})
    assert error["extensions"] == {"code": "LIMIT_EXCEEDED", "limit": 10_000}
