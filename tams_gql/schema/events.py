"""Events of the change log as GraphQL objects."""

from __future__ import annotations

from typing import Any

import strawberry

from tams_gql.events.ring import Event as LogEvent
from tams_gql.model.events import EventType
from tams_gql.model.time import TimeRange as Range
from tams_gql.resolvers.live import segments_of
from tams_gql.schema.fields import Info, column, resolved
from tams_gql.schema.nodes import FLOW, SOURCE
from tams_gql.schema.scalars import DateTime, Json, TimeRange
from tams_gql.schema.segments import Segment


@strawberry.type(description="A committed change.")
class Event:
    """An entry of the change log."""

    cursor: str = column("Where it is in the log; `after` continues behind it.")
    created: DateTime = column("When it was committed.")
    flow_id: strawberry.ID | None = column("The flow it is about.")
    source_id: strawberry.ID | None = column("The source it is about, or the flow's source.")

    @resolved("The kind of change.")
    def type(parent: strawberry.Parent[LogEvent]) -> EventType:
        return EventType(parent.type)

    @resolved("The flow as it is now; null if it is gone.", returns=FLOW | None)
    async def flow(parent: strawberry.Parent[LogEvent], info: Info) -> Any:
        if parent.flow_id is None:
            return None
        return await info.context.loaders.flow_by_id.load(parent.flow_id)

    @resolved("The source as it is now; null if it is gone.", returns=SOURCE | None)
    async def source(parent: strawberry.Parent[LogEvent], info: Info) -> Any:
        if parent.source_id is None:
            return None
        return await info.context.loaders.source_by_id.load(parent.source_id)

    @resolved(
        "The added segments, as they were registered; empty for other events.",
        returns=list[Segment],
    )
    def segments(parent: strawberry.Parent[LogEvent]) -> Any:
        return segments_of(parent) if parent.type == EventType.SEGMENTS_ADDED else []

    @resolved("From the first to the last added or removed segment; null for other events.")
    def timerange(parent: strawberry.Parent[LogEvent]) -> TimeRange | None:
        bounds = _bounds(parent)
        return None if bounds is None else TimeRange(Range.between(*bounds).text)

    @resolved("How many segments were added or removed; null for other events.")
    def segment_count(parent: strawberry.Parent[LogEvent]) -> int | None:
        if parent.type == EventType.SEGMENTS_ADDED:
            return len(segments_of(parent))
        count: int | None = parent.body.get("segment_count")
        return count

    @resolved("The changed flow or source at that moment, as the specification's JSON.")
    def document(parent: strawberry.Parent[LogEvent]) -> Json | None:
        found = parent.body.get("flow") or parent.body.get("source")
        return None if found is None else Json(found)


def _bounds(event: LogEvent) -> tuple[int, int] | None:
    if event.type == EventType.SEGMENTS_ADDED:
        rows = segments_of(event)
        return min(row.start_ns for row in rows), max(row.end_ns for row in rows)
    if event.type == EventType.SEGMENTS_DELETED:
        return event.body["start_ns"], event.body["end_ns"]
    return None
