"""Profiles: technical parameters that many flows share. They never change (TAMS 8.2, profiles)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from tams_gql.context import Context
from tams_gql.model.errors import Conflict
from tams_gql.model.formats import ContentFormat
from tams_gql.model.profile import parse_profile
from tams_gql.model.technical import Technical
from tams_gql.resolvers.attempts import until_fresh
from tams_gql.resolvers.documents import tags_text, to_json_text
from tams_gql.resolvers.lists import list_page
from tams_gql.resolvers.paging import Connection, PageRequest
from tams_gql.store.changes import ChangeSet, Expect, Insert
from tams_gql.store.records import ProfileRecord
from tams_gql.store.scan import OrderBy, Scan, Tagged, Where, eq, is_in
from tams_gql.store.tables import PROFILES

_NEWEST_FIRST = (OrderBy("created", True), OrderBy("id", True))


@dataclass(frozen=True, slots=True)
class ProfileFilter:
    """Conditions on profiles; None leaves one out."""

    formats: tuple[ContentFormat, ...] | None = None
    codec: str | None = None
    label: str | None = None
    tags: tuple[Tagged, ...] = ()

    def where(self) -> tuple[Where, ...]:
        """The conditions on columns."""
        found = []
        if self.formats is not None:
            found.append(is_in("format", [format.value for format in self.formats]))
        if self.codec is not None:
            found.append(eq("codec", self.codec))
        if self.label is not None:
            found.append(eq("label", self.label))
        return tuple(found)


async def profiles(
    ctx: Context, chosen: ProfileFilter, request: PageRequest
) -> Connection[ProfileRecord]:
    """One page of the profiles that match, newest first."""
    return await list_page(ctx, ProfileRecord, _scan(chosen), _NEWEST_FIRST, request)


async def count_profiles(ctx: Context, chosen: ProfileFilter) -> int:
    """How many profiles match."""
    return await ctx.loaders.count_by_scan.load(_scan(chosen))


def _scan(chosen: ProfileFilter) -> Scan:
    return Scan(PROFILES, PROFILES.columns, where=chosen.where(), tags=chosen.tags)


def technical_of(row: ProfileRecord) -> Technical:
    """The technical part that flows take from a profile."""
    return parse_profile({"id": row.id, "flow_metadata": orjson.loads(row.body)}).flow_metadata


async def create_profile(ctx: Context, document: Mapping[str, object]) -> ProfileRecord:
    """Make a profile. ``Conflict`` if the id is taken: flows rely on profiles as they are."""
    profile = parse_profile(document)
    stored = profile.to_json()
    row = ProfileRecord(
        id=profile.id,
        format=profile.flow_metadata.format.value,
        codec=profile.flow_metadata.codec,
        label=profile.label,
        description=profile.description,
        tags=tags_text(stored.get("tags")),
        created_by=profile.created_by or ctx.principal,
        created=ctx.services.now_us(),
        body=to_json_text(stored["flow_metadata"]),
    )

    async def attempt() -> ProfileRecord:
        if await ctx.loaders.profile_by_id.load(row.id) is not None:
            raise Conflict(f"id: profile {row.id} exists and cannot be changed", field="id")
        changes = ChangeSet(row.created, expect=[Expect(PROFILES, (row.id,), None)])
        changes.insert.append(Insert(PROFILES, PROFILES.columns, (row,)))
        await ctx.commit(changes)
        return row

    return await until_fresh(attempt)
