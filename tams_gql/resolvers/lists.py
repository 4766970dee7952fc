"""Pages of whole tables and of one parent's rows, for resources that have an id."""

from __future__ import annotations

from typing import Any

from tams_gql.context import Context
from tams_gql.loaders.batch import Page, PageLoader, Part, page_of
from tams_gql.resolvers.paging import Connection, PagePlan, PageRequest, connect, ordered, plan_page
from tams_gql.store.records import RECORD_TABLES, R, records
from tams_gql.store.scan import OrderBy, Scan, Value

_UNREAD: Page[Any] = Page([], False)


async def list_page(
    ctx: Context, kind: type[R], scan: Scan, order: tuple[OrderBy, ...], request: PageRequest
) -> Connection[R]:
    """One page of a scan's rows in a total order; one store round trip."""
    plan, paged = _paged(ctx, scan, order, request)
    if not request.rows:
        return _connected(kind, _UNREAD, plan, order)
    (batch,) = await ctx.loaders.reads.scan([paged])
    return _connected(kind, page_of(records(batch, kind), plan.read_limit), plan, order)


async def part_page(
    ctx: Context,
    kind: type[R],
    loader: PageLoader[Part, R],
    key: str,
    scan: Scan,
    order: tuple[OrderBy, ...],
    request: PageRequest,
) -> Connection[R]:
    """One page of the rows of one parent; siblings share the round trip."""
    plan, paged = _paged(ctx, scan, order, request)
    page = await loader.load(Part(key, paged)) if request.rows else _UNREAD
    return _connected(kind, page, plan, order)


async def scan_page(
    ctx: Context,
    kind: type[R],
    loader: PageLoader[Scan, R],
    scan: Scan,
    order: tuple[OrderBy, ...],
    request: PageRequest,
) -> Connection[R]:
    """One page of a scan of one parent's own; siblings share the round trip."""
    plan, paged = _paged(ctx, scan, order, request)
    page = await loader.load(paged) if request.rows else _UNREAD
    return _connected(kind, page, plan, order)


def _paged(
    ctx: Context, scan: Scan, order: tuple[OrderBy, ...], request: PageRequest
) -> tuple[PagePlan, Scan]:
    binding = (scan.table.name, scan.where, scan.tags, scan.matching, order)
    plan = plan_page(request, ctx.limits, binding, len(order))
    paged = Scan(
        scan.table,
        scan.columns,
        scan.where,
        scan.tags,
        ordered(order, plan),
        plan.read_limit,
        plan.position,
        scan.matching,
    )
    return plan, paged


def _connected(
    kind: type[R], page: Page[R], plan: PagePlan, order: tuple[OrderBy, ...]
) -> Connection[R]:
    columns = RECORD_TABLES[kind].columns
    at = [columns.index(term.column) for term in order]

    def position(row: R) -> tuple[Value, ...]:
        return tuple(row[i] for i in at)

    return connect(page.rows, page.more, plan, position)
