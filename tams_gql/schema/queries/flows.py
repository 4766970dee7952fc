"""Reading flows."""

from __future__ import annotations

from typing import Annotated, Any

import strawberry

from tams_gql.model.ids import parse_uuid
from tams_gql.resolvers import flows
from tams_gql.schema.connections import After, Before, Connection, First, Last, paging
from tams_gql.schema.fields import Info, arg, resolved
from tams_gql.schema.filters import FlowFilter, FlowOrder, flow_filter, flow_order
from tams_gql.schema.flows import Flow
from tams_gql.schema.nodes import Id, Search


@strawberry.type
class FlowQueries:
    """Flows at the query root."""

    @resolved("A flow by its id; null if there is none.", returns=Flow | None)
    async def flow(self, info: Info, id: Id) -> Any:
        return await info.context.loaders.flow_by_id.load(parse_uuid(id, field="id"))

    @resolved("The flows of the catalog.")
    async def flows(
        self,
        info: Info,
        filter: Annotated[FlowFilter | None, arg("Which of them; default all.")] = None,
        search: Search = None,
        order_by: Annotated[FlowOrder | None, arg("Default: newest first.")] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[Flow]:
        ctx, chosen = info.context, flow_filter(filter)
        request = paging(info, first, after, last, before)
        page = await flows.flows(ctx, chosen, request, *flow_order(order_by), search)
        return Connection(page=page, total=lambda: flows.count_flows(ctx, chosen, search))
