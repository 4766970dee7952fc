"""Setting and removing single tags, without replacing the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tams_gql.context import Context
from tams_gql.model.errors import BadInput, Conflict, NotFound
from tams_gql.resolvers.attempts import until_fresh
from tams_gql.resolvers.documents import stored_tags
from tams_gql.resolvers.flow_writes import FlowWritten, edit_flow
from tams_gql.resolvers.source_writes import SourceWritten, update_source
from tams_gql.store.changes import Stale


async def set_tags(
    ctx: Context, resource_id: str, tags: Mapping[str, object], removed: Sequence[str]
) -> FlowWritten | SourceWritten:
    """Set some tags of a flow or source and remove others; the rest stay.

    Raises ``NotFound``, ``ReadOnly``, ``BadInput`` for a name that is both set and removed.
    """
    both = [name for name in removed if name in tags]
    if both:
        raise BadInput(f"remove: the tag {both[0][:80]!r} is also set", field="remove")

    def changed(stored: str | None) -> dict[str, object]:
        kept = {k: v for k, v in stored_tags(stored).items() if k not in removed}
        return {"tags": {**kept, **tags}}

    async def attempt() -> FlowWritten | SourceWritten:
        try:
            return await _write(ctx, resource_id, changed)
        except Conflict as refused:
            if refused.field != "expectedVersion":
                raise
            await ctx.renew()  # somebody else changed the resource: merge with what is there now
            row = ("tags", (resource_id,))
            raise Stale("the resource has been changed meanwhile", row) from refused

    return await until_fresh(attempt)


async def _write(
    ctx: Context, resource_id: str, changed: Callable[[str | None], dict[str, object]]
) -> FlowWritten | SourceWritten:
    flow = await ctx.loaders.flow_by_id.load(resource_id)
    if flow is not None:
        return await edit_flow(ctx, resource_id, changed(flow.tags), expected_version=flow.version)
    source = await ctx.loaders.source_by_id.load(resource_id)
    if source is None:
        raise NotFound(f"there is no flow or source {resource_id}", field="id")
    return await update_source(
        ctx, resource_id, changed(source.tags), expected_version=source.version
    )
