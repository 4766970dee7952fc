"""Filters and orders of lists."""

from __future__ import annotations

from collections.abc import Sequence

import strawberry

from tams_gql.model.errors import LimitExceeded
from tams_gql.model.formats import ContentFormat, FlowStatus
from tams_gql.model.ids import parse_uuid
from tams_gql.resolvers import filters
from tams_gql.resolvers.filters import FlowSort, SourceSort
from tams_gql.schema.enums import OrderDirection
from tams_gql.schema.scalars import MimeType
from tams_gql.schema.tags import TagFilter, tag_conditions

MAX_IDS = 1000


@strawberry.input(description="Which sources: all given conditions must hold.")
class SourceFilter:
    """The conditions on sources."""

    ids: list[strawberry.ID] | None = strawberry.field(
        default=None, description="One of these, at most 1,000."
    )
    format: list[ContentFormat] | None = strawberry.field(
        default=None, description="One of these formats."
    )
    label: str | None = strawberry.field(default=None, description="Exactly this label.")
    tags: list[TagFilter] | None = strawberry.field(
        default=None, description="All of these tag conditions."
    )


@strawberry.input(description="Which flows: all given conditions must hold.")
class FlowFilter:
    """The conditions on flows."""

    ids: list[strawberry.ID] | None = strawberry.field(
        default=None, description="One of these, at most 1,000."
    )
    source_ids: list[strawberry.ID] | None = strawberry.field(
        default=None, description="Of one of these sources, at most 1,000."
    )
    format: list[ContentFormat] | None = strawberry.field(
        default=None, description="One of these formats."
    )
    codec: MimeType | None = strawberry.field(default=None, description="Exactly this codec.")
    container: MimeType | None = strawberry.field(
        default=None, description="Exactly this container."
    )
    label: str | None = strawberry.field(default=None, description="Exactly this label.")
    status: list[FlowStatus] | None = strawberry.field(
        default=None, description="One of these statuses."
    )
    read_only: bool | None = strawberry.field(default=None, description="Read-only or not.")
    frame_width: int | None = strawberry.field(default=None, description="Pixels.")
    frame_height: int | None = strawberry.field(default=None, description="Pixels.")
    tags: list[TagFilter] | None = strawberry.field(
        default=None, description="All of these tag conditions."
    )


@strawberry.input(description="How sources are ordered.")
class SourceOrder:
    """An order of sources."""

    field: SourceSort = strawberry.field(
        default=SourceSort.CREATED, description="By what; equals are ordered by id."
    )
    direction: OrderDirection | None = strawberry.field(
        default=None, description="Default: times newest first, labels alphabetically."
    )


@strawberry.input(description="How flows are ordered.")
class FlowOrder:
    """An order of flows."""

    field: FlowSort = strawberry.field(
        default=FlowSort.CREATED, description="By what; equals are ordered by id."
    )
    direction: OrderDirection | None = strawberry.field(
        default=None, description="Default: times newest first, labels alphabetically."
    )


def uuids(ids: Sequence[str] | None, field: str) -> tuple[str, ...] | None:
    """A list of ids, checked; ``BadInput`` names the one that is no UUID."""
    if ids is None:
        return None
    if len(ids) > MAX_IDS:
        raise LimitExceeded(
            f"{field}: {len(ids)} ids are above the limit of {MAX_IDS}",
            field=field,
            limit=MAX_IDS,
            requested=len(ids),
        )
    return tuple(parse_uuid(value, field=f"{field}.{index}") for index, value in enumerate(ids))


def source_filter(chosen: SourceFilter | None) -> filters.SourceFilter:
    """A filter on sources in domain terms."""
    if chosen is None:
        return filters.SourceFilter()
    return filters.SourceFilter(
        ids=uuids(chosen.ids, "filter.ids"),
        formats=None if chosen.format is None else tuple(chosen.format),
        label=chosen.label,
        tags=tag_conditions(chosen.tags),
    )


def flow_filter(chosen: FlowFilter | None) -> filters.FlowFilter:
    """A filter on flows in domain terms."""
    if chosen is None:
        return filters.FlowFilter()
    return filters.FlowFilter(
        ids=uuids(chosen.ids, "filter.ids"),
        source_ids=uuids(chosen.source_ids, "filter.sourceIds"),
        formats=None if chosen.format is None else tuple(chosen.format),
        codec=chosen.codec,
        container=chosen.container,
        label=chosen.label,
        statuses=None if chosen.status is None else tuple(chosen.status),
        read_only=chosen.read_only,
        frame_width=chosen.frame_width,
        frame_height=chosen.frame_height,
        tags=tag_conditions(chosen.tags),
    )


def descending(direction: OrderDirection | None) -> bool | None:
    """A direction in domain terms; None leaves it to the sort key."""
    return None if direction is None else direction is OrderDirection.DESC


def source_order(order: SourceOrder | None) -> tuple[SourceSort, bool | None]:
    """An order of sources in domain terms."""
    order = order or SourceOrder()
    return order.field, descending(order.direction)


def flow_order(order: FlowOrder | None) -> tuple[FlowSort, bool | None]:
    """An order of flows in domain terms."""
    order = order or FlowOrder()
    return order.field, descending(order.direction)
