"""Following the change log: what subscriptions deliver."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from tams_gql.context import Context
from tams_gql.events.ring import Event
from tams_gql.model.events import EventType
from tams_gql.model.time import TimeRange
from tams_gql.resolvers.documents import segments_from_columns
from tams_gql.resolvers.events import EventFilter, checked_position
from tams_gql.resolvers.events_collected import Collected, followed
from tams_gql.store.records import SegmentRecord


@dataclass(frozen=True, slots=True)
class SegmentsAdded:
    """Segments of one flow that were registered together. ``event`` is where the log holds them."""

    event: Event
    flow_id: str
    segments: list[SegmentRecord]


@dataclass(frozen=True, slots=True)
class Topic:
    """What a subscriber follows; None for everything.

    That is any of the flows, flows of any of the sources, or what any of the collections holds.
    """

    flow_ids: frozenset[str] | None = None
    source_ids: frozenset[str] | None = None
    collected_by: frozenset[str] | None = None

    @property
    def is_everything(self) -> bool:
        """Whether nothing is chosen."""
        return self.flow_ids is None and self.source_ids is None and self.collected_by is None

    def matches(self, event: Event) -> bool:
        """Whether an event is about a chosen flow or source."""
        return (self.flow_ids is not None and event.flow_id in self.flow_ids) or (
            self.source_ids is not None and event.source_id in self.source_ids
        )


async def _begin(ctx: Context, topic: Topic, after: str | None) -> tuple[str, Collected | None]:
    """Where to begin, at a client's cursor or at what is committed now, and with which members."""
    if topic.collected_by is None:
        head, members = await ctx.services.feed.head(), None
    else:
        members = await followed(ctx, topic.collected_by)
        head = members.position
    return head if after is None else checked_position(ctx, after, head), members


async def matching_events(
    ctx: Context, chosen: EventFilter, topic: Topic, after: str | None
) -> AsyncGenerator[Event, None]:
    """Events as they are committed, in commit order, for ever.

    Raises ``BadInput`` for a cursor that is not of this log, ``CursorExpired`` for one that
    retention has passed, and ``LimitExceeded`` if the collections have too many members.
    """
    feed = ctx.services.feed
    start, members = await _begin(ctx, topic, after)
    async with aclosing(feed.follow(start)) as portions:
        async for events in portions:
            for event in events:
                wanted = topic.is_everything or topic.matches(event)
                if members is not None:
                    wanted = wanted or members.matches(event)
                if wanted and chosen.matches(event):
                    yield event
                if members is not None:
                    members.follow(event, feed)


async def segments_added(
    ctx: Context, topic: Topic, window: TimeRange | None, after: str | None
) -> AsyncGenerator[SegmentsAdded, None]:
    """New segments as they are committed, per flow in commit order, for ever.

    Raises as ``matching_events``.
    """
    added = EventFilter(types=(EventType.SEGMENTS_ADDED,))
    async with aclosing(matching_events(ctx, added, topic, after)) as events:
        async for event in events:
            segments = _overlapping(segments_of(event), window)
            if event.flow_id is not None and segments:
                yield SegmentsAdded(event, event.flow_id, segments)


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
