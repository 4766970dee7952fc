"""Reading media objects, what uses them, and minting their URLs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tams_gql.context import Context
from tams_gql.loaders.urls import AccessUrl, UrlChoice
from tams_gql.media.port import ReadMethod
from tams_gql.model.errors import BadInput
from tams_gql.resolvers.filters import FlowFilter, FlowSort, matching, order_by
from tams_gql.resolvers.lists import list_page, scan_page
from tams_gql.resolvers.paging import Connection, PageRequest
from tams_gql.store.records import FlowRecord, ObjectRecord, SegmentRecord
from tams_gql.store.scan import (
    AllOf,
    Among,
    Condition,
    Op,
    OrderBy,
    Scan,
    Tagged,
    Where,
    compare,
    eq,
    is_in,
)
from tams_gql.store.tables import FLOWS, OBJECTS, SEGMENTS

_NEWEST_FIRST = (OrderBy("created", True), OrderBy("id", True))
_BY_TIMELINE = (OrderBy("flow_id"), OrderBy("start_ns"))


@dataclass(frozen=True, slots=True)
class ObjectFilter:
    """Conditions on registered objects; None leaves one out. Sizes in bytes, times in µs UTC."""

    ids: tuple[str, ...] | None = None
    content_type: str | None = None
    storage_id: str | None = None
    min_size: int | None = None
    max_size: int | None = None
    min_references: int | None = None
    max_references: int | None = None
    orphaned: bool | None = None
    created_after: int | None = None
    created_before: int | None = None

    def where(self) -> tuple[Where, ...]:
        """The conditions on columns. An object exists once it is registered (TAMS 8.2)."""
        found = [compare("role", Op.NOT_NULL)]
        if self.ids is not None:
            found.append(is_in("id", self.ids))
        if self.content_type is not None:
            found.append(eq("content_type", self.content_type))
        if self.storage_id is not None:
            # The canonical JSON of an instance; ids are UUIDs and need no escaping.
            found.append(compare("instances", Op.CONTAINS, f'"storage_id":"{self.storage_id}"'))
        if self.orphaned is not None:
            found.append(compare("orphaned", Op.NOT_NULL if self.orphaned else Op.IS_NULL))
        bounds = (
            ("size", Op.GE, self.min_size),
            ("size", Op.LE, self.max_size),
            ("ref_count", Op.GE, self.min_references),
            ("ref_count", Op.LE, self.max_references),
            ("created", Op.GT, self.created_after),
            ("created", Op.LT, self.created_before),
        )
        found += [compare(name, op, value) for name, op, value in bounds if value is not None]
        return tuple(found)


async def media_object(ctx: Context, object_id: str) -> ObjectRecord | None:
    """A registered object; one that is only allocated does not exist yet (TAMS 8.2, objects)."""
    row = await ctx.loaders.object_by_id.load(object_id)
    return None if row is None or row.role is None else row


async def media_objects(
    ctx: Context, chosen: ObjectFilter, request: PageRequest
) -> Connection[ObjectRecord]:
    """One page of the registered objects that match, newest first."""
    scan = Scan(OBJECTS, OBJECTS.columns, where=chosen.where())
    return await list_page(ctx, ObjectRecord, scan, _NEWEST_FIRST, request)


async def count_objects(ctx: Context, chosen: ObjectFilter) -> int:
    """How many registered objects match."""
    return await ctx.loaders.count_by_scan.load(Scan(OBJECTS, (), where=chosen.where()))


async def references(
    ctx: Context, row: ObjectRecord, request: PageRequest
) -> Connection[SegmentRecord]:
    """One page of the segments that use an object, by flow and time.

    Those of an initialisation object use it through their media objects (TAMS 8.2, objects).
    """
    loader = ctx.loaders.segments_by_scan
    return await scan_page(ctx, SegmentRecord, loader, _references(row), _BY_TIMELINE, request)


async def count_references(ctx: Context, row: ObjectRecord) -> int:
    """How many segments use an object."""
    if row.role == "media":
        return row.ref_count
    return await ctx.loaders.count_by_scan.load(_references(row))


def _references(row: ObjectRecord) -> Scan:
    if row.role != "init":
        return Scan(SEGMENTS, SEGMENTS.columns, where=(eq("object_id", row.id),))
    return Scan(SEGMENTS, SEGMENTS.columns, matching=_through_objects(row))


def _through_objects(init: ObjectRecord) -> Among:
    """Of segments: those whose media object needs the initialisation object."""
    return Among("object_id", OBJECTS, "id", (eq("init_object_id", init.id),))


async def flows_of_object(
    ctx: Context,
    row: ObjectRecord,
    chosen: FlowFilter,
    request: PageRequest,
    sort: FlowSort = FlowSort.CREATED,
    descending: bool | None = None,
) -> Connection[FlowRecord]:
    """One page of the flows that use an object."""
    scan, order = _flows(row, chosen), order_by(sort, descending)
    return await scan_page(ctx, FlowRecord, ctx.loaders.flows_by_scan, scan, order, request)


async def count_flows_of_object(ctx: Context, row: ObjectRecord, chosen: FlowFilter) -> int:
    """How many flows use an object."""
    return await ctx.loaders.count_by_scan.load(_flows(row, chosen))


def _flows(row: ObjectRecord, chosen: FlowFilter) -> Scan:
    conditions: list[Condition] = []
    if (others := matching(chosen)) is not None:
        conditions.append(others)
    where = chosen.where()
    if row.role == "init":
        conditions.append(Among("id", SEGMENTS, "flow_id", (), _through_objects(row)))
    else:
        conditions.append(Among("id", SEGMENTS, "flow_id", (eq("object_id", row.id),)))
    return Scan(FLOWS, FLOWS.columns, where, chosen.tags, matching=AllOf(tuple(conditions)))


def url_choice(
    ctx: Context,
    *,
    labels: Sequence[str] | None = None,
    storage_ids: Sequence[str] | None = None,
    presigned: bool | None = None,
    storage_tags: tuple[Tagged, ...] = (),
    expires_in: int | None = None,
    method: ReadMethod = "GET",
    prefer_region: str | None = None,
) -> UrlChoice:
    """The wanted URLs. An empty list of labels asks for none, of storage ids for all (TAMS 8.2).

    Raises ``BadInput`` for a life span outside the limits of the service.
    """
    least, most = ctx.limits.min_url_lifetime, ctx.limits.url_lifetime
    if expires_in is not None and not least <= expires_in <= most:
        raise BadInput(
            f"expiresIn: {expires_in} is not allowed; {least} to {most} seconds", field="expiresIn"
        )
    return UrlChoice(
        expires_in=most if expires_in is None else expires_in,
        labels=None if labels is None else frozenset(labels),
        storage_ids=frozenset(storage_ids) if storage_ids else None,
        presigned=presigned,
        method=method,
        storage_tags=storage_tags,
        prefer_region=prefer_region,
    )


async def urls(ctx: Context, object_id: str, choice: UrlChoice) -> list[AccessUrl]:
    """The URLs of an object, the preferred one first.

    Those of a storage backend that cannot sign now are left out; CannotSign if no others are left.
    """
    return await ctx.loaders.urls_by_object.load((object_id, choice))
