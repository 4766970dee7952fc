"""Finding by id alone."""

from __future__ import annotations

from typing import Annotated, Any

import strawberry

from tams_gql.model.errors import LimitExceeded
from tams_gql.model.ids import parse_uuid
from tams_gql.schema.fields import Info, arg, resolved
from tams_gql.schema.nodes import Id, Node


@strawberry.type
class NodeQueries:
    """Nodes at the query root."""

    @resolved("A source, flow or profile by its id; null if there is none.", returns=Node | None)
    async def node(self, info: Info, id: Id) -> Any:
        (found,) = await _nodes(info, [parse_uuid(id, field="id")])
        return found

    @resolved("Sources, flows and profiles by id, null for each miss.", returns=list[Node | None])
    async def nodes(
        self, info: Info, ids: Annotated[list[strawberry.ID], arg("At most 1,000 UUIDs.")]
    ) -> Any:
        most = info.context.limits.max_batch_items
        if len(ids) > most:
            raise LimitExceeded(
                f"ids: {len(ids)} ids are above the limit of {most}",
                field="ids",
                limit=most,
                requested=len(ids),
            )
        checked = [parse_uuid(value, field=f"ids.{index}") for index, value in enumerate(ids)]
        return await _nodes(info, checked)


async def _nodes(info: Info, ids: list[str]) -> list[Any]:
    """One batch per kind, each only for what the one before it did not find."""
    loaders = info.context.loaders
    found: dict[str, Any] = {}
    for loader in (loaders.flow_by_id, loaders.source_by_id, loaders.profile_by_id):
        missing = [key for key in ids if found.get(key) is None]
        if missing:
            rows: list[Any] = await loader.load_many(missing)
            found |= dict(zip(missing, rows, strict=True))
    return [found[key] for key in ids]
