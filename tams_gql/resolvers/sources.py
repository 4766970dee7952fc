"""Reading sources."""

from __future__ import annotations

from dataclasses import dataclass

from tams_gql.context import Context
from tams_gql.resolvers.filters import SourceFilter, SourceSort, matching, order_by
from tams_gql.resolvers.lists import list_page
from tams_gql.resolvers.paging import Connection, PageRequest
from tams_gql.store.records import SourceRecord
from tams_gql.store.scan import Scan
from tams_gql.store.tables import SOURCES


@dataclass(frozen=True, slots=True)
class SourceMember:
    """A source inside another one, derived from the collections of their flows."""

    source_id: str
    role: str | None


def _scan(chosen: SourceFilter, search: str | None = None) -> Scan:
    return Scan(
        SOURCES,
        SOURCES.columns,
        where=chosen.where(),
        tags=chosen.tags,
        matching=matching(chosen, search),
    )


async def sources(
    ctx: Context,
    chosen: SourceFilter,
    request: PageRequest,
    sort: SourceSort = SourceSort.CREATED,
    descending: bool | None = None,
    search: str | None = None,
) -> Connection[SourceRecord]:
    """One page of the sources that match."""
    return await list_page(
        ctx, SourceRecord, _scan(chosen, search), order_by(sort, descending), request
    )


async def count_sources(ctx: Context, chosen: SourceFilter, search: str | None = None) -> int:
    """How many sources match."""
    (count,) = await ctx.loaders.reads.count([_scan(chosen, search)])
    return count


async def members(ctx: Context, source_id: str) -> list[SourceMember]:
    """The sources that this one collects, each once, in the order of its flows' collections."""
    found: dict[str, SourceMember] = {}
    for row in await ctx.loaders.members_by_source.load(source_id):
        found.setdefault(row.child_source_id, SourceMember(row.child_source_id, row.role))
    return list(found.values())


async def collected_by(ctx: Context, source_id: str) -> list[str]:
    """The ids of the sources that collect this one."""
    rows = await ctx.loaders.parents_by_source.load(source_id)
    return list(dict.fromkeys(row.parent_source_id for row in rows))
