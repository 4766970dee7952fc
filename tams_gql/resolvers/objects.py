"""Reading media objects and minting their URLs."""

from __future__ import annotations

from collections.abc import Sequence

from tams_gql.context import Context
from tams_gql.loaders.urls import AccessUrl, UrlChoice
from tams_gql.media.port import ReadMethod
from tams_gql.model.errors import BadInput
from tams_gql.store.records import ObjectRecord


async def media_object(ctx: Context, object_id: str) -> ObjectRecord | None:
    """A registered object; one that is only allocated does not exist yet (TAMS 8.2, objects)."""
    row = await ctx.loaders.object_by_id.load(object_id)
    return None if row is None or row.role is None else row


def url_choice(
    ctx: Context,
    *,
    labels: Sequence[str] | None = None,
    storage_ids: Sequence[str] | None = None,
    presigned: bool | None = None,
    expires_in: int | None = None,
    method: ReadMethod = "GET",
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
    )


async def urls(ctx: Context, object_id: str, choice: UrlChoice) -> list[AccessUrl]:
    """The URLs of an object, the preferred one first."""
    return await ctx.loaders.urls_by_object.load((object_id, choice))
