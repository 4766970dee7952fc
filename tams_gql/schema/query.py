"""The root of queries."""

from __future__ import annotations

from typing import Annotated, Any

import strawberry

from tams_gql.model.errors import BadInput, LimitExceeded
from tams_gql.model.ids import parse_uuid
from tams_gql.resolvers import flows, objects, sources
from tams_gql.schema.connections import After, Before, Connection, First, Last, paging
from tams_gql.schema.fields import Info, arg, resolved
from tams_gql.schema.filters import (
    FlowFilter,
    FlowOrder,
    SourceFilter,
    SourceOrder,
    flow_filter,
    flow_order,
    source_filter,
    source_order,
)
from tams_gql.schema.flows import Flow
from tams_gql.schema.nodes import Node
from tams_gql.schema.objects import MediaObject
from tams_gql.schema.service import Service, service_of
from tams_gql.schema.sources import Source

Id = Annotated[strawberry.ID, arg("The UUID.")]


@strawberry.type(description="Everything that can be read.")
class Query:
    """The query root."""

    @resolved("This service.")
    def service(self, info: Info) -> Service:
        return service_of(info.context)

    @resolved("A source or flow by its id; null if there is none.", returns=Node | None)
    async def node(self, info: Info, id: Id) -> Any:
        (found,) = await _nodes(info, [parse_uuid(id, field="id")])
        return found

    @resolved("Sources and flows by id, null for each miss.", returns=list[Node | None])
    async def nodes(
        self, info: Info, ids: Annotated[list[strawberry.ID], arg("At most 1,000 UUIDs.")]
    ) -> Any:
        most = info.context.limits.max_batch_items
        if len(ids) > most:
            raise LimitExceeded(
                f"ids: {len(ids)} ids are above the limit of {most}",
                field="ids",
                limit=most,
                requested=len(ids),
            )
        checked = [parse_uuid(value, field=f"ids.{index}") for index, value in enumerate(ids)]
        return await _nodes(info, checked)

    @resolved("A source by its id; null if there is none.", returns=Source | None)
    async def source(self, info: Info, id: Id) -> Any:
        return await info.context.loaders.source_by_id.load(parse_uuid(id, field="id"))

    @resolved("The sources of the catalog.")
    async def sources(
        self,
        info: Info,
        filter: Annotated[SourceFilter | None, arg("Which of them; default all.")] = None,
        order_by: Annotated[SourceOrder | None, arg("Default: newest first.")] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[Source]:
        ctx, chosen = info.context, source_filter(filter)
        request = paging(first, after, last, before)
        page = await sources.sources(ctx, chosen, request, *source_order(order_by))
        return Connection(page=page, total=lambda: sources.count_sources(ctx, chosen))

    @resolved("A flow by its id; null if there is none.", returns=Flow | None)
    async def flow(self, info: Info, id: Id) -> Any:
        return await info.context.loaders.flow_by_id.load(parse_uuid(id, field="id"))

    @resolved("The flows of the catalog.")
    async def flows(
        self,
        info: Info,
        filter: Annotated[FlowFilter | None, arg("Which of them; default all.")] = None,
        order_by: Annotated[FlowOrder | None, arg("Default: newest first.")] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[Flow]:
        ctx, chosen = info.context, flow_filter(filter)
        request = paging(first, after, last, before)
        page = await flows.flows(ctx, chosen, request, *flow_order(order_by))
        return Connection(page=page, total=lambda: flows.count_flows(ctx, chosen))

    @resolved("A registered media object; null if there is none.", returns=MediaObject | None)
    async def object(self, info: Info, id: Annotated[strawberry.ID, arg("The object id.")]) -> Any:
        if not id:
            raise BadInput("id: an object id is not empty", field="id")
        return await objects.media_object(info.context, id)


async def _nodes(info: Info, ids: list[str]) -> list[Any]:
    loaders = info.context.loaders
    found_flows = await loaders.flow_by_id.load_many(ids)
    missing = [i for i, row in zip(ids, found_flows, strict=True) if row is None]
    found_sources = iter(await loaders.source_by_id.load_many(missing))
    return [next(found_sources) if row is None else row for row in found_flows]
