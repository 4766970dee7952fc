"""Reading profiles."""

from __future__ import annotations

from typing import Annotated, Any

import strawberry

from tams_gql.model.ids import parse_uuid
from tams_gql.resolvers import profiles
from tams_gql.schema.connections import After, Before, Connection, First, Last, paging
from tams_gql.schema.fields import Info, arg, resolved
from tams_gql.schema.filters import ProfileFilter, profile_filter
from tams_gql.schema.nodes import Id
from tams_gql.schema.profiles import Profile


@strawberry.type
class ProfileQueries:
    """Profiles at the query root."""

    @resolved("A profile by its id; null if there is none.", returns=Profile | None)
    async def profile(self, info: Info, id: Id) -> Any:
        return await info.context.loaders.profile_by_id.load(parse_uuid(id, field="id"))

    @resolved("The profiles of the catalog, newest first.")
    async def profiles(
        self,
        info: Info,
        filter: Annotated[ProfileFilter | None, arg("Which of them; default all.")] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[Profile]:
        ctx, chosen = info.context, profile_filter(filter)
        page = await profiles.profiles(ctx, chosen, paging(info, first, after, last, before))
        return Connection(page=page, total=lambda: profiles.count_profiles(ctx, chosen))
