"""Filters and orders of lists."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import strawberry

from tams_gql.model.errors import LimitExceeded
from tams_gql.model.events import EventType
from tams_gql.model.formats import ContentFormat, FlowStatus
from tams_gql.model.ids import parse_uuid
from tams_gql.model.time import TimeRange as Range
from tams_gql.resolvers import events, filters, objects, profiles
from tams_gql.resolvers.filters import FlowSort, SourceSort
from tams_gql.schema.enums import OrderDirection
from tams_gql.schema.filter_size import MAX_CONDITIONS, check_conditions
from tams_gql.schema.scalars import BigInt, DateTime, MimeType, TimeRange
from tams_gql.schema.tags import TagFilter, tag_conditions

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")

MAX_BRANCHES = 64
MAX_DEPTH = 8
MAX_IDS = 1000


def _test(description: str, name: str | None = None) -> Any:
    return strawberry.field(default=None, description=description, name=name)


COMBINES = (
    "All given conditions must hold. Conditions nest with `AND`, `OR` and `NOT`; at most"
    f" {MAX_CONDITIONS} in all."
)


@strawberry.input(description=f"Which sources. {COMBINES}")
class SourceFilter:
    """The conditions on sources."""

    ids: list[strawberry.ID] | None = _test("One of these, at most 1,000.")
    format: list[ContentFormat] | None = _test("One of these formats.")
    label: str | None = _test("Exactly this label.")
    created_after: DateTime | None = _test("Made after this moment.")
    created_before: DateTime | None = _test("Made before this moment.")
    updated_after: DateTime | None = _test("Changed after this moment.")
    collected_by_ids: list[strawberry.ID] | None = _test(
        "Collected by one of these sources, at most 1,000; an empty list: by none."
    )
    tags: list[TagFilter] | None = _test("All of these tag conditions.")
    and_: list[SourceFilter] | None = _test("All of these filters match.", "AND")
    or_: list[SourceFilter] | None = _test("At least one of these filters matches.", "OR")
    not_: SourceFilter | None = _test("This filter does not match.", "NOT")


@strawberry.input(description=f"Which flows. {COMBINES}")
class FlowFilter:
    """The conditions on flows."""

    ids: list[strawberry.ID] | None = _test("One of these, at most 1,000.")
    source_ids: list[strawberry.ID] | None = _test("Of one of these sources, at most 1,000.")
    format: list[ContentFormat] | None = _test("One of these formats.")
    codec: MimeType | None = _test("Exactly this codec.")
    container: MimeType | None = _test("Exactly this container.")
    label: str | None = _test("Exactly this label.")
    status: list[FlowStatus] | None = _test("One of these statuses.")
    read_only: bool | None = _test("Read-only or not.")
    generation: int | None = _test("Exactly this generation.")
    frame_width: int | None = _test("Pixels.")
    frame_height: int | None = _test("Pixels.")
    sample_rate: int | None = _test("Samples a second.")
    channels: int | None = _test("How many channels.")
    init_segments: bool | None = _test("With or without initialisation objects.")
    profile_id: strawberry.ID | None = _test("Made from this profile.")
    timerange: TimeRange | None = _test(
        "The flow's own time range, from first to last segment, overlaps this one; `()` asks for"
        " flows without segments."
    )
    created_after: DateTime | None = _test("Made after this moment.")
    created_before: DateTime | None = _test("Made before this moment.")
    updated_after: DateTime | None = _test("Metadata changed after this moment.")
    collected_by_ids: list[strawberry.ID] | None = _test(
        "Collected by one of these flows, at most 1,000; an empty list: by none."
    )
    tags: list[TagFilter] | None = _test("All of these tag conditions.")
    and_: list[FlowFilter] | None = _test("All of these filters match.", "AND")
    or_: list[FlowFilter] | None = _test("At least one of these filters matches.", "OR")
    not_: FlowFilter | None = _test("This filter does not match.", "NOT")


@strawberry.input(description="Which media objects: all given conditions must hold.")
class ObjectFilter:
    """The conditions on media objects."""

    ids: list[strawberry.ID] | None = _test("One of these, at most 1,000.")
    content_type: MimeType | None = _test("Exactly this type.")
    storage_id: strawberry.ID | None = _test("With a copy in this storage backend.")
    min_size: BigInt | None = _test("At least so many bytes; unknown sizes do not match.")
    max_size: BigInt | None = _test("At most so many bytes; unknown sizes do not match.")
    min_references: int | None = _test("Used by at least so many segments.")
    max_references: int | None = _test("Used by at most so many segments.")
    orphaned: bool | None = _test("Used by nothing any more (true), or in use (false).")
    created_after: DateTime | None = _test("Made after this moment.")
    created_before: DateTime | None = _test("Made before this moment.")


@strawberry.input(description="Which profiles: all given conditions must hold.")
class ProfileFilter:
    """The conditions on profiles."""

    format: list[ContentFormat] | None = _test("One of these formats.")
    codec: MimeType | None = _test("Exactly this codec.")
    label: str | None = _test("Exactly this label.")
    tags: list[TagFilter] | None = _test("All of these tag conditions.")


@strawberry.input(description="Which events: all given conditions must hold.")
class EventFilter:
    """The conditions on events."""

    types: list[EventType] | None = _test("One of these types.")
    flow_ids: list[strawberry.ID] | None = _test("About one of these flows, at most 1,000.")
    source_ids: list[strawberry.ID] | None = _test(
        "About one of these sources or their flows, at most 1,000."
    )
    collected_by: list[strawberry.ID] | None = _test(
        "About a flow that one of these flows collects now, or about a source, or a flow of it,"
        " that one of these sources collects now; at most 1,000 ids with 1,000 members. Only"
        " direct members count. Pages may be short although others follow."
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


def bounded(ids: Sequence[str] | None, field: str) -> Sequence[str] | None:
    """A list of ids that is not too long."""
    if ids is not None and len(ids) > MAX_IDS:
        raise LimitExceeded(
            f"{field}: {len(ids)} ids are above the limit of {MAX_IDS}",
            field=field,
            limit=MAX_IDS,
            requested=len(ids),
        )
    return ids


def uuids(ids: Sequence[str] | None, field: str) -> tuple[str, ...] | None:
    """A list of ids, checked; ``BadInput`` names the one that is no UUID."""
    if bounded(ids, field) is None or ids is None:
        return None
    return tuple(parse_uuid(value, field=f"{field}.{index}") for index, value in enumerate(ids))


def source_filter(chosen: SourceFilter | None) -> filters.SourceFilter:
    """A filter on sources in domain terms."""
    if chosen is None:
        return filters.SourceFilter()
    check_conditions(chosen)
    return _source_filter(chosen, "filter")


def _source_filter(chosen: SourceFilter, path: str) -> filters.SourceFilter:
    """The same; errors name the place inside ``path``."""
    return filters.SourceFilter(
        ids=uuids(chosen.ids, f"{path}.ids"),
        formats=_tuple(chosen.format),
        label=chosen.label,
        created_after=chosen.created_after,
        created_before=chosen.created_before,
        updated_after=chosen.updated_after,
        collected_by_ids=uuids(chosen.collected_by_ids, f"{path}.collectedByIds"),
        tags=tag_conditions(chosen.tags, f"{path}.tags"),
        every=_each(_source_filter, chosen.and_, path, "AND") or (),
        some=_each(_source_filter, chosen.or_, path, "OR"),
        none=None if chosen.not_ is None else _source_filter(chosen.not_, _below(path, "NOT")),
    )


def flow_filter(chosen: FlowFilter | None) -> filters.FlowFilter:
    """A filter on flows in domain terms."""
    if chosen is None:
        return filters.FlowFilter()
    check_conditions(chosen)
    return _flow_filter(chosen, "filter")


def _flow_filter(chosen: FlowFilter, path: str) -> filters.FlowFilter:
    """The same; errors name the place inside ``path``."""
    profile, timerange = chosen.profile_id, chosen.timerange
    return filters.FlowFilter(
        ids=uuids(chosen.ids, f"{path}.ids"),
        source_ids=uuids(chosen.source_ids, f"{path}.sourceIds"),
        formats=_tuple(chosen.format),
        codec=chosen.codec,
        container=chosen.container,
        label=chosen.label,
        statuses=_tuple(chosen.status),
        read_only=chosen.read_only,
        generation=chosen.generation,
        frame_width=chosen.frame_width,
        frame_height=chosen.frame_height,
        sample_rate=chosen.sample_rate,
        channels=chosen.channels,
        init_segments=chosen.init_segments,
        profile_id=None if profile is None else parse_uuid(profile, field=f"{path}.profileId"),
        timerange=None if timerange is None else Range.parse(timerange, field=f"{path}.timerange"),
        created_after=chosen.created_after,
        created_before=chosen.created_before,
        updated_after=chosen.updated_after,
        collected_by_ids=uuids(chosen.collected_by_ids, f"{path}.collectedByIds"),
        tags=tag_conditions(chosen.tags, f"{path}.tags"),
        every=_each(_flow_filter, chosen.and_, path, "AND") or (),
        some=_each(_flow_filter, chosen.or_, path, "OR"),
        none=None if chosen.not_ is None else _flow_filter(chosen.not_, _below(path, "NOT")),
    )


def object_filter(chosen: ObjectFilter | None) -> objects.ObjectFilter:
    """A filter on media objects in domain terms."""
    if chosen is None:
        return objects.ObjectFilter()
    storage = chosen.storage_id
    return objects.ObjectFilter(
        ids=_tuple(bounded(chosen.ids, "filter.ids")),
        content_type=chosen.content_type,
        storage_id=None if storage is None else parse_uuid(storage, field="filter.storageId"),
        min_size=chosen.min_size,
        max_size=chosen.max_size,
        min_references=chosen.min_references,
        max_references=chosen.max_references,
        orphaned=chosen.orphaned,
        created_after=chosen.created_after,
        created_before=chosen.created_before,
    )


def profile_filter(chosen: ProfileFilter | None) -> profiles.ProfileFilter:
    """A filter on profiles in domain terms."""
    if chosen is None:
        return profiles.ProfileFilter()
    check_conditions(chosen)
    return profiles.ProfileFilter(
        formats=_tuple(chosen.format),
        codec=chosen.codec,
        label=chosen.label,
        tags=tag_conditions(chosen.tags, "filter.tags"),
    )


def event_filter(chosen: EventFilter | None) -> events.EventFilter:
    """A filter on events in domain terms."""
    if chosen is None:
        return events.EventFilter()
    return events.EventFilter(
        types=_tuple(chosen.types),
        flow_ids=uuids(chosen.flow_ids, "filter.flowIds"),
        source_ids=uuids(chosen.source_ids, "filter.sourceIds"),
        collected_by=uuids(chosen.collected_by, "filter.collectedBy"),
    )


def _below(path: str, branch: str) -> str:
    """The path of a nested filter; ``LimitExceeded`` when it nests too deeply."""
    below = f"{path}.{branch}"
    depth = sum(part in ("AND", "OR", "NOT") for part in below.split("."))
    if depth > MAX_DEPTH:
        raise LimitExceeded(
            f"filter: conditions nest deeper than {MAX_DEPTH} levels",
            field="filter",
            limit=MAX_DEPTH,
            requested=depth,
        )
    return below


def _tuple(items: Sequence[T] | None) -> tuple[T, ...] | None:
    return None if items is None else tuple(items)


def _each(
    convert: Callable[[A, str], B], chosen: Sequence[A] | None, path: str, branch: str
) -> tuple[B, ...] | None:
    if chosen is None:
        return None
    path = _below(path, branch)
    if len(chosen) > MAX_BRANCHES:
        raise LimitExceeded(
            f"{path}: {len(chosen)} filters are above the limit of {MAX_BRANCHES}",
            field=path,
            limit=MAX_BRANCHES,
            requested=len(chosen),
        )
    return tuple(convert(item, f"{path}.{index}") for index, item in enumerate(chosen))


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
