"""Relay connections over pages of rows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Generic, TypeVar

import strawberry

from tams_gql.resolvers.paging import Connection as Page
from tams_gql.resolvers.paging import PageRequest
from tams_gql.schema.fields import Info, arg, column
from tams_gql.schema.selection import selects_rows

T = TypeVar("T")

First = Annotated[
    int | None,
    arg("How many items from the start; default 50, at most 1,000 unless configured otherwise."),
]
After = Annotated[str | None, arg("Only items after this cursor.")]
Last = Annotated[int | None, arg("How many items from the end, instead of `first`.")]
Before = Annotated[str | None, arg("Only items before this cursor.")]


@strawberry.type(description="Where a page lies in its list.")
class PageInfo:
    """Relay's page information."""

    has_next_page: bool = column("Whether items follow this page.")
    has_previous_page: bool = column(
        "Whether items precede this page; paging forwards, whether it began at a cursor."
    )
    start_cursor: str | None = column("The cursor of the first item.")
    end_cursor: str | None = column("The cursor of the last item.")


@strawberry.type(description="An item of a list with its cursor.")
class Edge(Generic[T]):
    """Relay's edge."""

    cursor: str = column("Opaque; bound to the filter and order of the list it came from.")
    node: T = column("The item.")


@strawberry.type(description="A page of a list.")
class Connection(Generic[T]):
    """Relay's connection. Edges, cursors and the total are made only when asked for."""

    page: strawberry.Private[Page[Any]]
    total: strawberry.Private[Callable[[], Awaitable[int]]]

    @strawberry.field(description="The items of this page with their cursors.")
    def edges(self) -> list[Edge[T]]:
        cursor_of = self.page.cursor_of
        return [Edge(cursor=cursor_of(row), node=row) for row in self.page.rows]

    @strawberry.field(description="The items of this page.")
    def nodes(self) -> list[T]:
        return self.page.rows

    @strawberry.field(description="Where this page lies in the list.")
    def page_info(self) -> PageInfo:
        page, rows = self.page, self.page.rows
        return PageInfo(
            has_next_page=page.has_next,
            has_previous_page=page.has_previous,
            start_cursor=page.cursor_of(rows[0]) if rows else None,
            end_cursor=page.cursor_of(rows[-1]) if rows else None,
        )

    @strawberry.field(description="How many items the whole list has; counted only when selected.")
    async def total_count(self) -> int:
        return await self.total()


def paging(
    info: Info, first: int | None, after: str | None, last: int | None, before: str | None
) -> PageRequest:
    """The paging arguments of a field, and whether its rows are selected at all."""
    return PageRequest(first, after, last, before, rows=selects_rows(info))
