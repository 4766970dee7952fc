"""Reading media objects."""

from __future__ import annotations

from typing import Annotated, Any

import strawberry

from tams_gql.model.errors import BadInput
from tams_gql.resolvers import objects
from tams_gql.schema.fields import Info, arg, resolved
from tams_gql.schema.objects import MediaObject


@strawberry.type
class ObjectQueries:
    """Media objects at the query root."""

    @resolved("A registered media object; null if there is none.", returns=MediaObject | None)
    async def object(self, info: Info, id: Annotated[strawberry.ID, arg("The object id.")]) -> Any:
        if not id:
            raise BadInput("id: an object id is not empty", field="id")
        return await objects.media_object(info.context, id)
