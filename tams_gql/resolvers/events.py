"""Reading the change log by cursor."""

from __future__ import annotations

from dataclasses import dataclass

from tams_gql.context import Context
from tams_gql.events.ring import Event
from tams_gql.model.errors import BadInput, LimitExceeded
from tams_gql.model.events import EventType
from tams_gql.resolvers.paging import Connection
from tams_gql.store.scan import Where, is_in


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Conditions on events; None leaves one out."""

    types: tuple[EventType, ...] | None = None
    flow_ids: tuple[str, ...] | None = None
    source_ids: tuple[str, ...] | None = None

    def where(self) -> tuple[Where, ...]:
        """The conditions on columns."""
        found = []
        if self.types is not None:
            found.append(is_in("type", [str(kind) for kind in self.types]))
        if self.flow_ids is not None:
            found.append(is_in("flow_id", self.flow_ids))
        if self.source_ids is not None:
            found.append(is_in("source_id", self.source_ids))
        return tuple(found)

    def matches(self, event: Event) -> bool:
        """Whether an event meets the conditions."""
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


async def events(
    ctx: Context, chosen: EventFilter, first: int | None, after: str | None
) -> Connection[Event]:
    """One page of the log in commit order, from the oldest event that is kept or after a cursor.

    Raises ``BadInput`` for a foreign cursor, ``CursorExpired`` for one that retention has passed.
    """
    feed, limits = ctx.services.feed, ctx.limits
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
    if after is None:
        position = await feed.floor()
    else:
        position = checked_position(ctx, after, await feed.head())
    found = await feed.read(position, size + 1, chosen.where())
    return Connection(
        found[:size], len(found) > size, after is not None, lambda event: event.cursor
    )
