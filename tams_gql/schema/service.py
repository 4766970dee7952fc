"""What the service says of itself."""

from __future__ import annotations

import strawberry

from tams_gql.context import Context
from tams_gql.model.time import NS, format_timestamp
from tams_gql.resolvers.service import service_description, service_name
from tams_gql.schema.fields import Info, column, resolved
from tams_gql.schema.scalars import Timestamp
from tams_gql.schema.tags import Tag

API_VERSION = "8.2"


@strawberry.type(description="A place where media objects can be stored.")
class StorageBackend:
    """The specification's storage backend."""

    id: strawberry.ID = column("Its UUID.")
    label: str = column("Its label, which its URLs carry too.")
    store_type: str = column("How it is used; always `http_object_store`.")
    provider: str | None = column("Who runs it.")
    region: str | None = column("Where it is.")
    availability_zone: str | None = column("Where in the region it is.")
    store_product: str | None = column("What product it is.")
    default: bool = column("Whether objects go here when no backend is named.")
    presigned: bool = column("Whether its URLs carry their own authorisation.")
    tags: list[Tag] = column("Its tags.")


@strawberry.type(description="This service and what it promises.")
class Service:
    """The specification's ``/service``."""

    type: str = column("The URN of its type.")
    api_version: str = column("The version of the TAMS specification it follows.")
    service_version: str = column("The version of this program.")
    min_object_timeout: Timestamp = column("How long an allocated object waits for registration.")
    min_presigned_url_timeout: Timestamp = column("How long presigned URLs work at least.")

    @resolved("Its name.")
    async def name(self, info: Info) -> str | None:
        return await service_name(info.context)

    @resolved("A longer text.")
    async def description(self, info: Info) -> str | None:
        return await service_description(info.context)

    @resolved(
        "Where the event log ends: `after` of a subscription that continues exactly behind what"
        " the same request shows."
    )
    async def event_cursor(self, info: Info) -> str:
        # From the request's own view: a later end would skip what the request does not show.
        head = await info.context.loaders.reads.head()
        return info.context.services.feed.cursor(head)

    @resolved("Where media objects can be stored.")
    def storage_backends(self, info: Info) -> list[StorageBackend]:
        return [
            StorageBackend(
                id=strawberry.ID(b.id),
                label=b.label,
                store_type=b.store_type,
                provider=b.provider,
                region=b.region,
                availability_zone=b.availability_zone,
                store_product=b.store_product,
                default=b.default,
                presigned=b.presigned,
                tags=[
                    Tag(name=name, values=[value] if isinstance(value, str) else list(value))
                    for name, value in b.tags.items()
                ],
            )
            for b in (media.backend for media in info.context.services.media)
        ]


def service_of(ctx: Context) -> Service:
    """The service of a context."""
    info, limits = ctx.services.info, ctx.limits
    return Service(
        type="urn:x-tams:service.tams-gql",
        api_version=API_VERSION,
        service_version=f"tams-gql.{info.version}",
        min_object_timeout=Timestamp(format_timestamp(limits.min_object_timeout * NS)),
        min_presigned_url_timeout=Timestamp(format_timestamp(limits.min_url_lifetime * NS)),
    )
