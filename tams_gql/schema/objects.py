"""Media objects as GraphQL objects."""

from __future__ import annotations

from typing import Annotated, Any

import strawberry

from tams_gql.resolvers import copies, objects
from tams_gql.schema.access import (
    ExpiresIn,
    GetUrl,
    Labels,
    ObjectInstance,
    PreferRegion,
    Presigned,
    StorageIds,
    StorageTags,
    access_urls,
    instances,
)
from tams_gql.schema.connections import After, Connection, First, paging
from tams_gql.schema.copies import CopyRequest
from tams_gql.schema.fields import Info, arg, column, resolved
from tams_gql.schema.filters import FlowFilter, FlowOrder, flow_filter, flow_order
from tams_gql.schema.nodes import FLOW, MEDIA_OBJECT
from tams_gql.schema.scalars import BigInt, DateTime, MimeType, TimeRange
from tams_gql.schema.segments import Segment
from tams_gql.schema.tags import tag_conditions
from tams_gql.store.records import ObjectRecord


@strawberry.type(description="Stored bytes: media, or what is needed to decode media.")
class MediaObject:
    """A TAMS object."""

    id: strawberry.ID = column("The object id.")
    size: BigInt | None = column("Bytes; null where the service has not seen them.")
    content_type: MimeType | None = column("The MIME type of the bytes.")
    timerange: TimeRange | None = column(
        "The samples in it, on its own timeline; null for an initialisation object."
    )
    key_frame_count: int | None = column("How many key frames it has.")
    created: DateTime = column("When it was allocated or first registered.")

    @resolved("Its copies, the preferred one first.")
    def instances(parent: strawberry.Parent[ObjectRecord], info: Info) -> list[ObjectInstance]:
        return instances(info.context, parent)

    @resolved(
        "Copies to storage backends that were asked for, for a day after they are done.",
        returns=list[CopyRequest],
    )
    async def copy_requests(parent: strawberry.Parent[ObjectRecord], info: Info) -> Any:
        return await copies.copy_jobs(info.context, parent)

    @resolved("Its URLs, the preferred one first; minted when selected.")
    async def get_urls(
        parent: strawberry.Parent[ObjectRecord],
        info: Info,
        labels: Labels = None,
        storage_ids: StorageIds = None,
        presigned: Presigned = None,
        storage_tags: StorageTags = None,
        expires_in: ExpiresIn = None,
        prefer_region: PreferRegion = None,
    ) -> list[GetUrl]:
        choice = objects.url_choice(
            info.context,
            labels=labels,
            storage_ids=storage_ids,
            presigned=presigned,
            storage_tags=tag_conditions(storage_tags, "storageTags"),
            expires_in=expires_in,
            prefer_region=prefer_region,
        )
        return await access_urls(info, parent.id, choice)

    @resolved("What is needed to decode it; null where nothing is.", returns=MEDIA_OBJECT | None)
    async def init_object(parent: strawberry.Parent[ObjectRecord], info: Info) -> Any:
        if parent.init_object_id is None:
            return None
        return await info.context.loaders.object_by_id.load(parent.init_object_id)

    @resolved("The flow that used it first, if that still exists.", returns=FLOW | None)
    async def first_referenced_by_flow(parent: strawberry.Parent[ObjectRecord], info: Info) -> Any:
        if parent.first_flow_id is None:
            return None
        return await info.context.loaders.flow_by_id.load(parent.first_flow_id)

    @resolved("How many segments, or for an initialisation object how many objects, use it.")
    def reference_count(parent: strawberry.Parent[ObjectRecord]) -> int:
        return parent.ref_count

    @resolved("Since when nothing uses it; null while in use. Orphans are deleted after a while.")
    def orphaned(parent: strawberry.Parent[ObjectRecord]) -> DateTime | None:
        return None if parent.orphaned is None else DateTime(parent.orphaned)

    @resolved("The segments that use it, by flow and time.")
    async def references(
        parent: strawberry.Parent[ObjectRecord],
        info: Info,
        first: First = None,
        after: After = None,
    ) -> Connection[Segment]:
        ctx = info.context
        page = await objects.references(ctx, parent, paging(info, first, after, None, None))
        return Connection(page=page, total=lambda: objects.count_references(ctx, parent))

    @resolved("The flows that use it.")
    async def flows(
        parent: strawberry.Parent[ObjectRecord],
        info: Info,
        filter: Annotated[FlowFilter | None, arg("Which of them; default all.")] = None,
        order_by: Annotated[FlowOrder | None, arg("Default: newest first.")] = None,
        first: First = None,
        after: After = None,
    ) -> Connection[FLOW]:
        ctx, chosen = info.context, flow_filter(filter)
        request = paging(info, first, after, None, None)
        page = await objects.flows_of_object(ctx, parent, chosen, request, *flow_order(order_by))
        return Connection(
            page=page, total=lambda: objects.count_flows_of_object(ctx, parent, chosen)
        )
