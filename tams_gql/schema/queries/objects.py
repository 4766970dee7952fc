"""Reading media objects."""

from __future__ import annotations

from typing import Annotated, Any

import strawberry

from tams_gql.model.errors import BadInput
from tams_gql.resolvers import objects
from tams_gql.schema.connections import After, Before, Connection, First, Last, paging
from tams_gql.schema.fields import Info, arg, resolved
from tams_gql.schema.filters import ObjectFilter, object_filter
from tams_gql.schema.objects import MediaObject


@strawberry.type
class ObjectQueries:
    """Media objects at the query root."""

    @resolved("A registered media object; null if there is none.", returns=MediaObject | None)
    async def object(self, info: Info, id: Annotated[strawberry.ID, arg("The object id.")]) -> Any:
        if not id:
            raise BadInput("id: an object id is not empty", field="id")
        return await objects.media_object(info.context, id)

    @resolved("The registered media objects of the catalog, newest first.")
    async def objects(
        self,
        info: Info,
        filter: Annotated[ObjectFilter | None, arg("Which of them; default all.")] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[MediaObject]:
        ctx, chosen = info.context, object_filter(filter)
        page = await objects.media_objects(ctx, chosen, paging(info, first, after, last, before))
        return Connection(page=page, total=lambda: objects.count_objects(ctx, chosen))
