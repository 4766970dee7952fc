"""Reading sources."""

from __future__ import annotations

from typing import Annotated, Any

import strawberry

from tams_gql.model.ids import parse_uuid
from tams_gql.resolvers import sources
from tams_gql.schema.connections import After, Before, Connection, First, Last, paging
from tams_gql.schema.fields import Info, arg, resolved
from tams_gql.schema.filters import SourceFilter, SourceOrder, source_filter, source_order
from tams_gql.schema.nodes import Id, Search
from tams_gql.schema.sources import Source


@strawberry.type
class SourceQueries:
    """Sources at the query root."""

    @resolved("A source by its id; null if there is none.", returns=Source | None)
    async def source(self, info: Info, id: Id) -> Any:
        return await info.context.loaders.source_by_id.load(parse_uuid(id, field="id"))

    @resolved("The sources of the catalog.")
    async def sources(
        self,
        info: Info,
        filter: Annotated[SourceFilter | None, arg("Which of them; default all.")] = None,
        search: Search = None,
        order_by: Annotated[SourceOrder | None, arg("Default: newest first.")] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[Source]:
        ctx, chosen = info.context, source_filter(filter)
        request = paging(info, first, after, last, before)
        page = await sources.sources(ctx, chosen, request, *source_order(order_by), search)
        return Connection(page=page, total=lambda: sources.count_sources(ctx, chosen, search))
