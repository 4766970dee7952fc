"""URLs of media objects, minted only where they are selected."""

from __future__ import annotations

from typing import Annotated

import strawberry

from tams_gql.context import Context
from tams_gql.loaders.urls import AccessUrl, Instance, UrlChoice, by_preference, instances_of
from tams_gql.media.port import ReadMethod
from tams_gql.media.registry import CannotSign
from tams_gql.resolvers import objects
from tams_gql.schema.fields import Info, arg, column
from tams_gql.schema.tags import TagFilter
from tams_gql.store.records import ObjectRecord

Labels = Annotated[
    list[str] | None, arg("Only URLs with one of these labels; an empty list gives none.")
]
StorageIds = Annotated[
    list[strawberry.ID] | None, arg("Only URLs in one of these storage backends.")
]
Presigned = Annotated[bool | None, arg("Only presigned URLs (true) or only others (false).")]
StorageTags = Annotated[
    list[TagFilter] | None, arg("Only URLs in storage backends that meet all these tag conditions.")
]
ExpiresIn = Annotated[
    int | None, arg("Seconds that a presigned URL must live; default and maximum are settings.")
]
PreferRegion = Annotated[
    str | None, arg("URLs in storage backends of this region come first; the others follow.")
]


@strawberry.type(description="A URL that gives out an object's bytes.")
class GetUrl:
    """An entry of the specification's ``get_urls``."""

    url: str = column("Use it with GET. All URLs of an object give the same bytes.")
    label: str | None = column("The storage backend's label, or the one a client registered.")
    presigned: bool = column("Whether the URL carries its own authorisation.")
    controlled: bool = column("Whether this service manages the copy behind it.")
    storage_id: strawberry.ID | None = column("The storage backend, where it is controlled.")


@strawberry.type(description="A digest of the bytes.")
class Checksum:
    """A checksum that a storage backend keeps."""

    algorithm: str = column("Such as `sha256`, `crc32c` or `md5`, in lower case.")
    value: str = column("The digest in base64.")


@strawberry.type(description="One copy of an object.")
class ObjectInstance:
    """Where an object's bytes are."""

    choice: strawberry.Private[tuple[str, Instance]]
    label: str | None = column("The storage backend's label, or the one a client registered.")
    storage_id: strawberry.ID | None = column("The storage backend; null for an external URL.")
    controlled: bool = column("Whether this service manages the copy.")

    @strawberry.field(description="A URL for GET; null when the backend is not configured.")
    async def get_url(self, info: Info, expires_in: ExpiresIn = None) -> str | None:
        return await self._url(info.context, "GET", expires_in)

    @strawberry.field(description="A URL that answers HEAD only, without giving out the bytes.")
    async def head_url(self, info: Info, expires_in: ExpiresIn = None) -> str | None:
        return await self._url(info.context, "HEAD", expires_in)

    @strawberry.field(
        description="What the storage backend had when the copy was registered or made."
    )
    def checksums(self) -> list[Checksum]:
        _, instance = self.choice
        return [Checksum(algorithm=name, value=v) for name, v in instance.checksums.items()]

    async def _url(self, ctx: Context, method: ReadMethod, expires_in: int | None) -> str | None:
        object_id, instance = self.choice
        if instance.url is not None:
            return instance.url
        choice = objects.url_choice(
            ctx, storage_ids=[instance.storage_id or ""], expires_in=expires_in, method=method
        )
        found = await objects.urls(ctx, object_id, choice)
        return found[0].url if found else None


def to_get_url(access: AccessUrl) -> GetUrl:
    """A minted URL as a GraphQL object."""
    return GetUrl(
        url=access.url,
        label=access.label,
        presigned=access.presigned,
        controlled=access.backend is not None,
        storage_id=None if access.backend is None else strawberry.ID(access.backend.id),
    )


async def access_urls(info: Info, object_id: str, choice: UrlChoice) -> list[GetUrl]:
    """The chosen URLs of an object; none, and an error beside, if no storage can sign one now.

    An error in their place would take the segment with it, and so the whole page.
    """
    try:
        found = await objects.urls(info.context, object_id, choice)
    except CannotSign as error:
        info.context.report(tuple(info.path.as_list()), error)
        return []
    return [to_get_url(access) for access in found]


def instances(ctx: Context, row: ObjectRecord) -> list[ObjectInstance]:
    """The copies of an object, the preferred one first."""
    found = []
    for instance in by_preference(instances_of(row), ctx.services.media):
        media = None if instance.storage_id is None else ctx.services.media.get(instance.storage_id)
        found.append(
            ObjectInstance(
                choice=(row.id, instance),
                label=instance.label if media is None else media.backend.label,
                storage_id=None
                if instance.storage_id is None
                else strawberry.ID(instance.storage_id),
                controlled=instance.storage_id is not None,
            )
        )
    return found
