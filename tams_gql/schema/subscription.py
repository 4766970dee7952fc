"""The root of subscriptions: what the change log delivers as it grows."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any

import strawberry

from tams_gql.events.ring import Event as LogEvent
from tams_gql.model.events import EventType
from tams_gql.model.time import TimeRange as Range
from tams_gql.resolvers import live
from tams_gql.resolvers.events import EventFilter
from tams_gql.schema.events import Event
from tams_gql.schema.fields import Info, arg, column, resolved
from tams_gql.schema.filters import uuids
from tams_gql.schema.nodes import FLOW, window_of
from tams_gql.schema.scalars import DateTime, TimeRange
from tams_gql.schema.segments import Segment

AfterCursor = Annotated[
    str | None,
    arg("Replay everything later than this event cursor first; default: begin now."),
]


@strawberry.type(description="Segments that were registered together on one flow.")
class SegmentsAdded:
    """An event of the change log."""

    added: strawberry.Private[live.SegmentsAdded]
    cursor: str = column("Where the event is in the log; resume with `after`.")
    created: DateTime = column("When it was committed.")

    @resolved("The flow; null if it has been deleted since.", returns=FLOW | None)
    async def flow(self, info: Info) -> Any:
        return await info.context.loaders.flow_by_id.load(self.added.flow_id)

    @resolved("The new segments, as they were registered.", returns=list[Segment])
    def segments(self) -> Any:
        return self.added.segments


@strawberry.type(description="Segments of one flow that were deleted together.")
class SegmentsDeleted:
    """An event of the change log."""

    cursor: str = column("Where the event is in the log; resume with `after`.")
    created: DateTime = column("When it was committed.")
    flow_id: strawberry.ID = column("The flow they were on.")
    timerange: TimeRange = column("From the first to the last deleted segment.")
    deleted_count: int = column("How many segments went.")

    @resolved("The flow; null if it has been deleted too.", returns=FLOW | None)
    async def flow(self, info: Info) -> Any:
        return await info.context.loaders.flow_by_id.load(self.flow_id)


FlowIds = Annotated[
    list[strawberry.ID] | None, arg("Of these flows; with `sourceIds` either may match.")
]
SourceIds = Annotated[
    list[strawberry.ID] | None, arg("Of these sources and their flows; default: of all.")
]
CollectedBy = Annotated[
    list[strawberry.ID] | None,
    arg(
        "Of the flows that any of these flows collects, and of the sources, with their flows, that"
        " any of these sources collects; with `flowIds` or `sourceIds` any may match. Direct"
        " members only; at most 1,000 ids with 1,000 members. The members are those when the"
        " subscription begins, also for what is replayed before that; from then on they change as"
        " the collections do, in the order of the log. The deletion of a flow, and of the source"
        " that goes with it, is told if it was a member until then."
    ),
]


@strawberry.type(description="Everything that can be followed live.")
class Subscription:
    """The subscription root."""

    @strawberry.subscription(
        description="New segments as they are committed, per flow in commit order, none lost."
    )
    async def segments_added(
        self,
        info: Info,
        flow_ids: FlowIds = None,
        source_ids: SourceIds = None,
        window: Annotated[TimeRange | None, arg("Only segments that overlap this range.")] = None,
        after: AfterCursor = None,
    ) -> AsyncGenerator[SegmentsAdded, None]:
        ctx, topic = info.context, _topic(flow_ids, source_ids)
        async with aclosing(live.segments_added(ctx, topic, window_of(window), after)) as stream:
            async for added in stream:
                await ctx.begin_event(added.event)
                yield SegmentsAdded(
                    added=added, cursor=added.event.cursor, created=DateTime(added.event.created)
                )

    @strawberry.subscription(description="Deleted segments, per flow in commit order.")
    async def segments_deleted(
        self,
        info: Info,
        flow_ids: FlowIds = None,
        source_ids: SourceIds = None,
        after: AfterCursor = None,
    ) -> AsyncGenerator[SegmentsDeleted, None]:
        ctx, topic = info.context, _topic(flow_ids, source_ids)
        chosen = EventFilter(types=(EventType.SEGMENTS_DELETED,))
        async with aclosing(live.matching_events(ctx, chosen, topic, after)) as stream:
            async for event in stream:
                await ctx.begin_event(event)
                yield _deleted(event)

    @strawberry.subscription(
        description="Every committed change, in commit order.", graphql_type=Event
    )
    async def events(
        self,
        info: Info,
        types: Annotated[list[EventType] | None, arg("Only these kinds of change.")] = None,
        flow_ids: FlowIds = None,
        source_ids: SourceIds = None,
        collected_by: CollectedBy = None,
        after: AfterCursor = None,
    ) -> AsyncGenerator[Any, None]:
        ctx, topic = info.context, _topic(flow_ids, source_ids, collected_by)
        chosen = EventFilter(types=None if types is None else tuple(types))
        async with aclosing(live.matching_events(ctx, chosen, topic, after)) as stream:
            async for event in stream:
                await ctx.begin_event(event)
                yield event


def _topic(
    flow_ids: list[strawberry.ID] | None,
    source_ids: list[strawberry.ID] | None,
    collected_by: list[strawberry.ID] | None = None,
) -> live.Topic:
    return live.Topic(
        _ids(flow_ids, "flowIds"), _ids(source_ids, "sourceIds"), _ids(collected_by, "collectedBy")
    )


def _ids(given: list[strawberry.ID] | None, field: str) -> frozenset[str] | None:
    ids = uuids(given, field)
    return None if ids is None else frozenset(ids)


def _deleted(event: LogEvent) -> SegmentsDeleted:
    bounds = Range.between(event.body["start_ns"], event.body["end_ns"])
    return SegmentsDeleted(
        cursor=event.cursor,
        created=DateTime(event.created),
        flow_id=strawberry.ID(event.flow_id or ""),
        timerange=TimeRange(bounds.text),
        deleted_count=event.body["segment_count"],
    )
