"""Following the change log: what subscriptions deliver."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from tams_gql.context import Context
from tams_gql.events.cursor import decode_cursor
from tams_gql.events.feed import Event
from tams_gql.model.events import EventType
from tams_gql.model.time import TimeRange
from tams_gql.resolvers.documents import segments_from_columns
from tams_gql.resolvers.events import EventFilter
from tams_gql.store.records import SegmentRecord


@dataclass(frozen=True, slots=True)
class SegmentsAdded:
    """Segments of one flow that were registered together. ``event`` is where the log holds them."""

    event: Event
    flow_id: str
    segments: list[SegmentRecord]


async def position_after(ctx: Context, after: str | None) -> str:
    """Where to begin: at a client's cursor, or at what is committed now."""
    feed = ctx.services.feed
    return await feed.head() if after is None else decode_cursor(feed.log_id, after)


async def matching_events(
    ctx: Context, chosen: EventFilter, after: str | None
) -> AsyncGenerator[Event, None]:
    """Events as they are committed, in commit order, for ever.

    Raises ``BadInput`` for a cursor that is not of this log and ``CursorExpired`` for one that
    retention has passed.
    """
    start = await position_after(ctx, after)
    async with aclosing(ctx.services.feed.follow(start)) as portions:
        async for events in portions:
            for event in events:
                if chosen.matches(event):
                    yield event


async def segments_added(
    ctx: Context,
    *,
    flow_ids: frozenset[str] | None,
    source_ids: frozenset[str] | None,
    window: TimeRange | None,
    after: str | None,
) -> AsyncGenerator[SegmentsAdded, None]:
    """New segments as they are committed, per flow in commit order, for ever.

    With both ids given an event must match one of either list. Raises as ``matching_events``.
    """
    added = EventFilter(types=(EventType.SEGMENTS_ADDED,))
    async with aclosing(matching_events(ctx, added, after)) as events:
        async for event in events:
            if event.flow_id is None or not of_one(event, flow_ids, source_ids):
                continue
            segments = _overlapping(segments_of(event), window)
            if segments:
                yield SegmentsAdded(event, event.flow_id, segments)


def of_one(
    event: Event, flow_ids: frozenset[str] | None, source_ids: frozenset[str] | None
) -> bool:
    """Whether an event is about one of the flows or sources; with no lists, always."""
    if flow_ids is None and source_ids is None:
        return True
    return (flow_ids is not None and event.flow_id in flow_ids) or (
        source_ids is not None and event.source_id in source_ids
    )


def segments_of(event: Event) -> list[SegmentRecord]:
    """The segments an event tells of, decoded once for all subscribers of this process."""
    found: list[SegmentRecord] | None = event.shared.get("segments")
    if found is None:
        found = event.shared["segments"] = segments_from_columns(event.body["segments"])
    return found


def _overlapping(segments: list[SegmentRecord], window: TimeRange | None) -> list[SegmentRecord]:
    if window is None:
        return segments
    start, end = window.start_ns, window.end_ns
    return [s for s in segments if s.start_ns < end and s.end_ns > start]
