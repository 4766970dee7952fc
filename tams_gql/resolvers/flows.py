"""Reading flows."""

from __future__ import annotations

from tams_gql.context import Context
from tams_gql.loaders.batch import Part
from tams_gql.model.time import TimeRange
from tams_gql.resolvers.filters import FlowFilter, FlowSort, matching, order_by
from tams_gql.resolvers.lists import list_page, part_page
from tams_gql.resolvers.paging import Connection, PageRequest
from tams_gql.store.records import FlowRecord
from tams_gql.store.scan import Scan, SegmentWindow
from tams_gql.store.tables import FLOWS


def _scan(chosen: FlowFilter, search: str | None = None) -> Scan:
    return Scan(
        FLOWS,
        FLOWS.columns,
        where=chosen.where(),
        tags=chosen.tags,
        matching=matching(chosen, search),
    )


async def flows(
    ctx: Context,
    chosen: FlowFilter,
    request: PageRequest,
    sort: FlowSort = FlowSort.CREATED,
    descending: bool | None = None,
    search: str | None = None,
) -> Connection[FlowRecord]:
    """One page of the flows that match."""
    return await list_page(
        ctx, FlowRecord, _scan(chosen, search), order_by(sort, descending), request
    )


async def count_flows(ctx: Context, chosen: FlowFilter, search: str | None = None) -> int:
    """How many flows match."""
    (count,) = await ctx.loaders.reads.count([_scan(chosen, search)])
    return count


async def flows_of_source(
    ctx: Context,
    source_id: str,
    chosen: FlowFilter,
    request: PageRequest,
    sort: FlowSort = FlowSort.CREATED,
    descending: bool | None = None,
) -> Connection[FlowRecord]:
    """One page of the flows of a source."""
    loader, order = ctx.loaders.flows_by_source, order_by(sort, descending)
    return await part_page(ctx, FlowRecord, loader, source_id, _scan(chosen), order, request)


async def count_flows_of_source(ctx: Context, source_id: str, chosen: FlowFilter) -> int:
    """How many flows of a source match."""
    return await ctx.loaders.flow_count_by_source.load(Part(source_id, _scan(chosen)))


async def timerange(ctx: Context, flow_id: str, window: TimeRange | None) -> TimeRange:
    """From the first to the end of the last segment, or of those that overlap ``window``.

    The range is never cut at the window (TAMS 8.2, ``timerange`` of a flow); without segments it
    is ``()``.
    """
    if window is None:
        counters = await ctx.loaders.counters_by_flow.load(flow_id)
        if counters is None or counters.min_start_ns is None or counters.max_end_ns is None:
            return TimeRange.never()
        return TimeRange.between(counters.min_start_ns, counters.max_end_ns)
    if window.is_empty:
        return TimeRange.never()
    ends = [
        SegmentWindow(flow_id, window.start_ns, window.end_ns, reverse, limit=2)
        for reverse in (False, True)
    ]
    first, last = await ctx.loaders.segments_by_window.load_many(ends)
    if not first.rows:
        return TimeRange.never()
    return TimeRange.between(first.rows[0].start_ns, last.rows[0].end_ns)
