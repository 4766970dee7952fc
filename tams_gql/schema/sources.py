"""Sources as GraphQL objects."""

from __future__ import annotations

from typing import Annotated, Any

import strawberry

from tams_gql.model.formats import ContentFormat
from tams_gql.resolvers import coverage, flows, sources
from tams_gql.schema.connections import After, Before, Connection, First, Last, paging
from tams_gql.schema.coverage import Coverage, coverage_of
from tams_gql.schema.fields import Info, arg, column, resolved
from tams_gql.schema.filters import FlowFilter, FlowOrder, flow_filter, flow_order
from tams_gql.schema.flows import Flow
from tams_gql.schema.nodes import SOURCE, Node, TagName, Window, window_of
from tams_gql.schema.scalars import DateTime, TimeRange
from tams_gql.schema.tags import Tag, tag_of, tags_of
from tams_gql.store.records import SourceRecord


@strawberry.type(description="A piece of content, whatever technical forms it has.")
class Source(Node):
    """A TAMS source."""

    label: str | None = column("A short name.")
    description: str | None = column("A longer text.")
    created_by: str | None = column("Who made it.")
    updated_by: str | None = column("Who changed it last.")
    created: DateTime = column("When it was made.")
    updated: DateTime = column("When its metadata changed last.")
    version: int = column("Counts the changes of its metadata, from 1.")

    @classmethod
    def is_type_of(cls, obj: object, _info: object) -> bool:
        return isinstance(obj, SourceRecord)

    @resolved("The kind of content.")
    def format(parent: strawberry.Parent[SourceRecord]) -> ContentFormat:
        return ContentFormat(parent.format)

    @resolved("Its tags, in the order they were set.")
    def tags(parent: strawberry.Parent[SourceRecord]) -> list[Tag]:
        return tags_of(parent.tags)

    @resolved("One tag; null if it is not set.")
    def tag(parent: strawberry.Parent[SourceRecord], name: TagName) -> Tag | None:
        return tag_of(parent.tags, name)

    @resolved("The technical forms of this content.")
    async def flows(
        parent: strawberry.Parent[SourceRecord],
        info: Info,
        filter: Annotated[FlowFilter | None, arg("Which of them; default all.")] = None,
        order_by: Annotated[FlowOrder | None, arg("Default: newest first.")] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[Flow]:
        ctx, chosen = info.context, flow_filter(filter)
        page = await flows.flows_of_source(
            ctx, parent.id, chosen, paging(info, first, after, last, before), *flow_order(order_by)
        )
        return Connection(
            page=page, total=lambda: flows.count_flows_of_source(ctx, parent.id, chosen)
        )

    @resolved(
        "From the earliest to the latest segment of its flows (that overlaps the window); `()`"
        " without segments."
    )
    async def timerange(
        parent: strawberry.Parent[SourceRecord], info: Info, window: Window = None
    ) -> TimeRange:
        found = await coverage.source_timerange(info.context, parent.id, window_of(window))
        return TimeRange(found.text)

    @resolved("Which parts of its timeline any of its flows covers.")
    async def coverage(
        parent: strawberry.Parent[SourceRecord], info: Info, window: Window = None
    ) -> Coverage:
        found = await coverage.source_coverage(info.context, parent.id, window_of(window))
        return coverage_of(found)

    @resolved("The sources that this one collects, in order; derived from its flows' collections.")
    async def collects(parent: strawberry.Parent[SourceRecord], info: Info) -> list[SourceMember]:
        members = await sources.members(info.context, parent.id)
        return [SourceMember(source_id=member.source_id, role=member.role) for member in members]

    @resolved("The sources that collect this one.", returns=list[SOURCE])
    async def collected_by(parent: strawberry.Parent[SourceRecord], info: Info) -> Any:
        ids = await sources.collected_by(info.context, parent.id)
        found = await info.context.loaders.source_by_id.load_many(ids)
        return [row for row in found if row is not None]


@strawberry.type(description="A source inside another one.")
class SourceMember:
    """An item of the specification's ``source_collection``."""

    source_id: strawberry.Private[str]
    role: str | None = column("What it is to the collecting source.")

    @resolved("The collected source.", returns=SOURCE)
    async def source(self, info: Info) -> Any:
        return await info.context.loaders.source_by_id.load(self.source_id)
