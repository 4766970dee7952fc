"""Reading a flow's timeline."""

from __future__ import annotations

from dataclasses import dataclass

from tams_gql.context import Context
from tams_gql.model.errors import BadInput
from tams_gql.model.time import OPEN_END_NS, OPEN_START_NS, TimeRange
from tams_gql.resolvers.paging import Connection, PagePlan, PageRequest, connect, plan_page
from tams_gql.store.records import SegmentRecord
from tams_gql.store.scan import SegmentWindow, Value, Where, eq


@dataclass(frozen=True, slots=True)
class SegmentFilter:
    """Which segments of a flow: those that overlap ``window``, in time order or backwards."""

    window: TimeRange | None = None
    object_id: str | None = None
    reverse: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether no segment can match, because the window is empty."""
        return self.window is not None and self.window.is_empty

    def bounds(self) -> tuple[int, int]:
        """The window as half-open nanoseconds."""
        if self.window is None:
            return OPEN_START_NS, OPEN_END_NS
        return self.window.start_ns, self.window.end_ns

    def where(self) -> tuple[Where, ...]:
        """The conditions beside the window."""
        return () if self.object_id is None else (eq("object_id", self.object_id),)


async def segments(
    ctx: Context, flow_id: str, chosen: SegmentFilter, request: PageRequest
) -> Connection[SegmentRecord]:
    """One page of a flow's segments; siblings share the round trip."""
    binding = ("segments", chosen.bounds(), chosen.object_id, chosen.reverse)
    plan = plan_page(request, ctx.limits, binding, 1)
    if chosen.is_empty or not request.rows:
        return connect([], False, plan, _position)
    page = await ctx.loaders.segments_by_window.load(_window(flow_id, chosen, plan))
    return connect(page.rows, page.more, plan, _position)


async def count_segments(ctx: Context, flow_id: str, chosen: SegmentFilter) -> int:
    """How many segments match. Without window and filter the flow's counter answers."""
    if chosen.window is None and chosen.object_id is None:
        counters = await ctx.loaders.counters_by_flow.load(flow_id)
        return 0 if counters is None else counters.segment_count
    if chosen.is_empty:
        return 0
    start, end = chosen.bounds()
    window = SegmentWindow(flow_id, start, end, where=chosen.where())
    return await ctx.loaders.segment_count_by_window.load(window)


def _window(flow_id: str, chosen: SegmentFilter, plan: PagePlan) -> SegmentWindow:
    start, end = chosen.bounds()
    after = None if plan.position is None else plan.position[0]
    if after is not None and not isinstance(after, int):
        raise BadInput("after: not a cursor of a list of segments", field="after")
    return SegmentWindow(
        flow_id,
        start,
        end,
        reverse=chosen.reverse != plan.backwards,
        limit=plan.read_limit,
        after_ns=after,
        where=chosen.where(),
    )


def _position(row: SegmentRecord) -> tuple[Value, ...]:
    return (row.start_ns,)
