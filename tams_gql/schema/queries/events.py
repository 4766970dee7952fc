"""Reading the change log."""

from __future__ import annotations

from typing import Annotated, Any

import strawberry

from tams_gql.events.ring import Event as LogEvent
from tams_gql.resolvers import events
from tams_gql.schema.connections import First, PageInfo
from tams_gql.schema.events import Event
from tams_gql.schema.fields import Info, arg, column, resolved
from tams_gql.schema.filters import EventFilter, event_filter


@strawberry.type(description="An event of a page with its cursor.")
class EventEdge:
    """Unlike those of other lists, an event's cursor is good everywhere."""

    cursor: str = column("Where the event is in the log.")

    @resolved("The event.", returns=Event)
    def node(parent: strawberry.Parent[LogEvent]) -> Any:
        return parent


@strawberry.type(description="A page of the change log, in commit order.")
class EventConnection:
    """Events have no total: the log grows while it is read."""

    rows: strawberry.Private[list[LogEvent]]
    page_info: PageInfo = column("Where this page lies in the log.")

    @resolved("The events of this page with their cursors.", returns=list[EventEdge])
    def edges(self) -> Any:
        return self.rows

    @resolved("The events of this page.", returns=list[Event])
    def nodes(self) -> Any:
        return self.rows


@strawberry.type
class EventQueries:
    """Events at the query root."""

    @resolved(
        "The change log, oldest first. Subscriptions continue behind any of its cursors; a cursor"
        " that retention has passed is refused with CURSOR_EXPIRED."
    )
    async def events(
        self,
        info: Info,
        filter: Annotated[EventFilter | None, arg("Which of them; default all.")] = None,
        after: Annotated[str | None, arg("Only events after this event cursor.")] = None,
        first: First = None,
    ) -> EventConnection:
        page = await events.events(info.context, event_filter(filter), first, after)
        rows = page.rows
        return EventConnection(
            rows=rows,
            page_info=PageInfo(
                has_next_page=page.has_next,
                has_previous_page=page.has_previous,
                start_cursor=rows[0].cursor if rows else None,
                end_cursor=page.end,
            ),
        )
