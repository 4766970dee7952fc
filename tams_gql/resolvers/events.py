"""Reading the change log by cursor."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tams_gql.context import Context
from tams_gql.events.ring import Event
from tams_gql.model.errors import BadInput, LimitExceeded
from tams_gql.model.events import EventType
from tams_gql.resolvers.events_collected import Collected, read_members
from tams_gql.store.records import MemberRecord
from tams_gql.store.scan import Where, is_in

_PORTIONS = 8  # read at most for one page, if only some of what is read belongs on it


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Conditions on events; None leaves one out."""

    types: tuple[EventType, ...] | None = None
    flow_ids: tuple[str, ...] | None = None
    source_ids: tuple[str, ...] | None = None
    collected_by: tuple[str, ...] | None = None

    def where(self) -> tuple[Where, ...]:
        """The conditions on columns, which are all but ``collected_by``."""
        found = []
        if self.types is not None:
            found.append(is_in("type", [str(kind) for kind in self.types]))
        if self.flow_ids is not None:
            found.append(is_in("flow_id", self.flow_ids))
        if self.source_ids is not None:
            found.append(is_in("source_id", self.source_ids))
        return tuple(found)

    def matches(self, event: Event) -> bool:
        """Whether an event meets the conditions, ``collected_by`` apart."""
        return (
            (self.types is None or event.type in self.types)
            and (self.flow_ids is None or event.flow_id in self.flow_ids)
            and (self.source_ids is None or event.source_id in self.source_ids)
        )


def checked_position(ctx: Context, after: str, head: str) -> str:
    """The position behind a client's cursor; ``BadInput`` if it is none of this log.

    A cursor ahead of the log comes from before a backup was restored: waiting behind it would
    silently skip the events in between.
    """
    feed = ctx.services.feed
    position = feed.position(after)
    if not feed.covers(head, position):
        raise BadInput("after: the event cursor is ahead of the change log", field="after")
    return position


@dataclass(frozen=True, slots=True)
class EventPage:
    """Events in the order of the log. ``end`` is the cursor behind which the next page begins."""

    rows: list[Event]
    has_next: bool
    has_previous: bool
    end: str | None


async def events(
    ctx: Context, chosen: EventFilter, first: int | None, after: str | None
) -> EventPage:
    """One page of the log in commit order, from the oldest event that is kept or after a cursor.

    A page may be short, even empty, although others follow: so many events are read for it, and
    no more. Raises ``BadInput`` for a foreign cursor, ``CursorExpired`` for one that retention has
    passed, ``LimitExceeded`` for too large a page or collection.
    """
    size = _page_size(ctx, first)
    feed = ctx.services.feed
    position = None if after is None else feed.position(after)
    if chosen.collected_by is None:
        found, end = await feed.read(position, size + 1, chosen.where()), None
    else:
        found, end = await _of_members(ctx, chosen, frozenset(chosen.collected_by), position, size)
    rows = found[:size]
    if len(found) > size or end is None:
        end = rows[-1].cursor if rows else after
        return EventPage(rows, len(found) > size, after is not None, end)
    return EventPage(rows, True, after is not None, end)


async def _of_members(
    ctx: Context, chosen: EventFilter, ids: frozenset[str], position: str | None, size: int
) -> tuple[list[Event], str | None]:
    """Events about members, one more than ``size`` if there are so many.

    With them comes where reading has stopped, if that was before the end of the log.
    """
    rows = await read_members(ctx, ids, "filter.collectedBy")
    members = Collected(ids, rows, "filter.collectedBy")
    where = _narrowed(chosen, members, rows)
    found: list[Event] = []
    for _ in range(_PORTIONS):
        portion = await ctx.services.feed.read(position, size + 1, where)
        found += filter(members.holds, portion)
        if len(portion) <= size or len(found) > size:
            return found, None
        position = portion[-1].position
    return found, portion[-1].cursor


def _narrowed(
    chosen: EventFilter, members: Collected, rows: Iterable[MemberRecord]
) -> tuple[Where, ...]:
    """Conditions on columns that all wanted events meet, and only few others.

    A store cannot be asked for one column *or* another, but each flow has its source.
    """
    if not members.sources:
        return (is_in("flow_id", sorted(members.flows)), *chosen.where())
    sources = {row.child_source_id for row in rows}
    return (is_in("source_id", sorted(sources)), *chosen.where())


def _page_size(ctx: Context, first: int | None) -> int:
    limits = ctx.limits
    size = limits.default_page_size if first is None else first
    if size < 0:
        raise BadInput(f"first: {size} is not allowed; it must be 0 or more", field="first")
    if size > limits.max_page_size:
        raise LimitExceeded(
            f"first: {size} is above the page size limit of {limits.max_page_size}",
            field="first",
            limit=limits.max_page_size,
            requested=size,
        )
    return size
