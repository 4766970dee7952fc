"""Deleting segments."""

from __future__ import annotations

from dataclasses import dataclass

from tams_gql.context import Context
from tams_gql.model.errors import NotFound, ReadOnly
from tams_gql.model.events import EventType
from tams_gql.model.time import TimeRange
from tams_gql.resolvers.documents import to_json_text
from tams_gql.resolvers.idempotency import NO_KEY, Earlier, Idempotency, once
from tams_gql.store.changes import ChangeSet, Expect, NewEvent, RemoveSegments
from tams_gql.store.records import FlowRecord
from tams_gql.store.tables import FLOWS


@dataclass(frozen=True, slots=True)
class SegmentsDeleted:
    """How many segments went, and the cursor after the change."""

    count: int
    cursor: str


def removal_of(
    flow: FlowRecord, covered_by: TimeRange, object_id: str | None = None
) -> RemoveSegments:
    """The removal of the segments wholly inside a range, with its event."""
    body = {"flow_id": flow.id, "timerange": covered_by.text}
    if object_id is not None:
        body["object_id"] = object_id
    return RemoveSegments(
        flow.id,
        covered_by.start_ns,
        covered_by.end_ns,
        object_id,
        NewEvent(EventType.SEGMENTS_DELETED, flow.source_id, flow.id, to_json_text(body)),
    )


async def delete_segments(
    ctx: Context,
    flow_id: str,
    covered_by: TimeRange | None,
    object_id: str | None,
    *,
    idempotency: Idempotency = NO_KEY,
) -> SegmentsDeleted:
    """Delete the segments lying wholly inside ``covered_by``, not those it only touches.

    Without a range all of the flow's segments; with ``object_id`` only those that use the object
    (TAMS 8.2, DELETE segments). Raises ``NotFound`` or ``ReadOnly``, and then nothing has gone.
    """
    window = TimeRange.everything() if covered_by is None else covered_by

    async def attempt() -> SegmentsDeleted:
        flow = await ctx.loaders.flow_by_id.load(flow_id)
        if flow is None:
            raise NotFound(f"there is no flow {flow_id}", field="flowId")
        if flow.read_only:
            raise ReadOnly(f"flow {flow_id} is read-only", field="flowId")
        changes = ChangeSet(ctx.services.now_us())
        changes.expect.append(Expect(FLOWS, (flow_id,), {"read_only": False}))
        changes.remove_segments.append(removal_of(flow, window, object_id))
        idempotency.remember(changes, {})
        committed = await ctx.commit(changes)
        cursor = ctx.services.feed.cursor(committed.position)
        return SegmentsDeleted(committed.removed[0], cursor)

    async def replay(earlier: Earlier) -> SegmentsDeleted:
        (count,) = earlier.response["removed"]
        return SegmentsDeleted(count, earlier.cursor)

    return await once(ctx, idempotency, replay, attempt)
