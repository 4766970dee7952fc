"""Reading the change log."""

from __future__ import annotations

from typing import Annotated

import strawberry

from tams_gql.resolvers import events
from tams_gql.schema.connections import Edge, First, PageInfo
from tams_gql.schema.events import Event
from tams_gql.schema.fields import Info, arg, column, resolved
from tams_gql.schema.filters import EventFilter, event_filter


@strawberry.type(description="A page of the change log, in commit order.")
class EventConnection:
    """Events have no total: the log grows while it is read."""

    edges: list[Edge[Event]] = column("The events of this page with their cursors.")
    nodes: list[Event] = column("The events of this page.")
    page_info: PageInfo = column("Where this page lies in the log.")


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
        # The rows stand for the objects, as everywhere; only their types differ.
        edges: list[Edge[Event]] = [Edge(cursor=row.cursor, node=row) for row in rows]  # type: ignore[arg-type]
        return EventConnection(
            edges=edges,
            nodes=rows,  # type: ignore[arg-type]
            page_info=PageInfo(
                has_next_page=page.has_next,
                has_previous_page=page.has_previous,
                start_cursor=rows[0].cursor if rows else None,
                end_cursor=rows[-1].cursor if rows else after,
            ),
        )
