"""What of a timeline is covered by segments."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from tams_gql.context import Context
from tams_gql.model.errors import BadInput, LimitExceeded
from tams_gql.model.time import OPEN_END_NS, OPEN_START_NS, TimeRange
from tams_gql.resolvers.flows import timerange
from tams_gql.store.records import SegmentRecord
from tams_gql.store.scan import CoverageWindow, Covered, SegmentWindow

MAX_STRETCHES = 10_000
_MAX_SOURCE_FLOWS = 1_000

Stretches = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Coverage:
    """The covered stretches of a window, half-open nanoseconds in order, and what fills them.

    ``covered_ns`` leaves bridged gaps out. Gaps are those inside the window or, where that is open,
    between the first and the last stretch.
    """

    stretches: Stretches
    gaps: Stretches
    covered_ns: int
    segment_count: int
    bytes: int


async def flow_coverage(
    ctx: Context, flow_id: str, window: TimeRange | None, max_gap_ns: int = 0
) -> Coverage:
    """What of a flow's timeline is covered; gaps of up to ``max_gap_ns`` are bridged."""
    if max_gap_ns < 0:
        raise BadInput("maxGap: a gap is not negative", field="maxGap")
    bounds = window or TimeRange.everything()
    found = await ctx.loaders.coverage_by_window.load(_asked(flow_id, bounds, max_gap_ns))
    return _coverage(_bounded(found.stretches), found, bounds)


async def source_coverage(ctx: Context, source_id: str, window: TimeRange | None) -> Coverage:
    """What of a source is covered by any of its flows; count and bytes are sums over them."""
    bounds = window or TimeRange.everything()
    flow_ids = await ctx.loaders.flow_ids_by_source.load(source_id)
    if len(flow_ids) > _MAX_SOURCE_FLOWS:
        raise LimitExceeded(
            f"coverage: the source has {len(flow_ids)} flows, the limit is {_MAX_SOURCE_FLOWS}",
            limit=_MAX_SOURCE_FLOWS,
            requested=len(flow_ids),
        )
    asked = [_asked(flow_id, bounds, 0) for flow_id in flow_ids]
    found = await ctx.loaders.coverage_by_window.load_many(asked)
    stretches = _bounded(_union(s for each in found for s in _bounded(each.stretches)))
    total = Covered(
        stretches,
        sum(end - start for start, end in stretches),
        sum(covered.segment_count for covered in found),
        sum(covered.bytes for covered in found),
    )
    return _coverage(stretches, total, bounds)


async def segment_at(ctx: Context, flow_id: str, at_ns: int) -> SegmentRecord | None:
    """The segment that holds a moment of a flow's timeline."""
    if at_ns >= OPEN_END_NS:
        return None
    window = SegmentWindow(flow_id, at_ns, at_ns + 1, limit=2)
    rows = (await ctx.loaders.segments_by_window.load(window)).rows
    return rows[0] if rows else None


async def source_timerange(ctx: Context, source_id: str, window: TimeRange | None) -> TimeRange:
    """From the earliest to the latest segment of the source's flows that overlaps ``window``."""
    flow_ids = await ctx.loaders.flow_ids_by_source.load(source_id)
    hull = TimeRange.never()
    for found in await asyncio.gather(*(timerange(ctx, f, window) for f in flow_ids)):
        hull = hull.hull(found)
    return hull


def _asked(flow_id: str, bounds: TimeRange, max_gap_ns: int) -> CoverageWindow:
    return CoverageWindow(flow_id, bounds.start_ns, bounds.end_ns, max_gap_ns, MAX_STRETCHES)


def _bounded(stretches: Stretches) -> Stretches:
    if len(stretches) > MAX_STRETCHES:
        raise LimitExceeded(
            f"coverage: there are more than {MAX_STRETCHES} separate ranges; ask for a smaller"
            " window or a larger maxGap",
            limit=MAX_STRETCHES,
        )
    return stretches


def _union(stretches: Iterable[tuple[int, int]]) -> Stretches:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(stretches):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return tuple(merged)


def _coverage(stretches: Stretches, found: Covered, bounds: TimeRange) -> Coverage:
    return Coverage(
        stretches, _gaps(stretches, bounds), found.covered_ns, found.segment_count, found.bytes
    )


def _gaps(stretches: Stretches, bounds: TimeRange) -> Stretches:
    if bounds.is_empty:
        return ()
    edges = [edge for stretch in stretches for edge in stretch]
    # An open end of the window is no gap: nothing says that there should be more.
    head = [] if bounds.start_ns == OPEN_START_NS else [bounds.start_ns]
    tail = [] if bounds.end_ns == OPEN_END_NS else [bounds.end_ns]
    if not head:
        edges = edges[1:]
    if not tail:
        edges = edges[:-1] if edges else edges
    points = [*head, *edges, *tail]
    pairs = zip(points[::2], points[1::2], strict=False)
    return tuple((start, end) for start, end in pairs if start < end)
