"""Writing sources, tags, object instances, profiles and the service."""

from __future__ import annotations

from typing import Annotated

import strawberry

from tams_gql.context import Context
from tams_gql.model.errors import BadInput
from tams_gql.model.ids import parse_uuid
from tams_gql.model.media_object import parse_external_url
from tams_gql.resolvers import copies, instances, profiles, service, source_writes, tagging
from tams_gql.resolvers.flow_writes import FlowWritten
from tams_gql.resolvers.idempotency import Idempotency
from tams_gql.schema import catalog_payloads as payloads
from tams_gql.schema.catalog_inputs import (
    AddObjectInstanceInput,
    CreateProfileInput,
    CreateSourceInput,
    DeleteSourceInput,
    RemoveObjectInstanceInput,
    SetTagsInput,
    UpdateServiceInput,
    UpdateSourceInput,
    profile_document,
    service_changes,
    source_document,
)
from tams_gql.schema.documents import named_from
from tams_gql.schema.fields import Info, arg, resolved
from tams_gql.schema.service import service_of
from tams_gql.schema.tags import tags_document
from tams_gql.store.records import ObjectRecord


@strawberry.type
class CatalogMutations:
    """Everything but flows and segments at the mutation root."""

    @resolved("Make a source without a flow; it stays when its last flow goes.")
    async def create_source(
        self, info: Info, input: Annotated[CreateSourceInput, arg("The source.")]
    ) -> payloads.SourcePayload:
        document = source_document(input)
        asked = [input.id, input.format.value, document]
        with named_from("input"):
            done = await source_writes.create_source(
                info.context,
                parse_uuid(input.id, field="id"),
                input.format,
                document,
                idempotency=Idempotency("createSource", input.idempotency_key, asked),
            )
        return payloads.SourcePayload(row=done.source, event=done.cursor)

    @resolved("Change label, description or tags of a source.")
    async def update_source(
        self, info: Info, input: Annotated[UpdateSourceInput, arg("The changes.")]
    ) -> payloads.SourcePayload:
        document = source_document(input)
        with named_from("input"):
            done = await source_writes.update_source(
                info.context,
                parse_uuid(input.id, field="id"),
                document,
                expected_version=input.expected_version,
                idempotency=Idempotency(
                    "updateSource", input.idempotency_key, [input.id, document]
                ),
            )
        return payloads.SourcePayload(row=done.source, event=done.cursor)

    @resolved("Delete a source that has no flows.")
    async def delete_source(
        self, info: Info, input: Annotated[DeleteSourceInput, arg("The source.")]
    ) -> payloads.DeleteSourcePayload:
        with named_from("input"):
            source_id = parse_uuid(input.id, field="id")
            cursor = await source_writes.delete_source(
                info.context,
                source_id,
                expected_version=input.expected_version,
                idempotency=Idempotency("deleteSource", input.idempotency_key, source_id),
            )
        return payloads.DeleteSourcePayload(
            deleted_source_id=strawberry.ID(source_id), event=cursor
        )

    @resolved("Set and remove single tags of a flow or source.")
    async def set_tags(
        self, info: Info, input: Annotated[SetTagsInput, arg("The tags.")]
    ) -> payloads.SetTagsPayload:
        tags = tags_document(input.set, "input.set") or {}
        with named_from("input"):
            done = await tagging.set_tags(
                info.context, parse_uuid(input.id, field="id"), tags, input.remove or []
            )
        row = done.flow if isinstance(done, FlowWritten) else done.source
        return payloads.SetTagsPayload(row=row, event=done.cursor)

    @resolved("Have an object copied to a storage backend, or register a copy elsewhere.")
    async def add_object_instance(
        self, info: Info, input: Annotated[AddObjectInstanceInput, arg("The copy.")]
    ) -> payloads.ObjectPayload:
        with named_from("input"):
            row = await _add_instance(info.context, input)
        return payloads.ObjectPayload(row=row)

    @resolved("Remove a copy of an object, never the last one.")
    async def remove_object_instance(
        self, info: Info, input: Annotated[RemoveObjectInstanceInput, arg("The copy.")]
    ) -> payloads.ObjectPayload:
        with named_from("input"):
            row = await instances.remove_instance(
                info.context, input.object_id, storage_id=input.storage_id, label=input.label
            )
        return payloads.ObjectPayload(row=row)

    @resolved("Make a profile. It can never be changed.")
    async def create_profile(
        self, info: Info, input: Annotated[CreateProfileInput, arg("The profile.")]
    ) -> payloads.ProfilePayload:
        with named_from("input"):
            row = await profiles.create_profile(info.context, profile_document(input))
        return payloads.ProfilePayload(row=row)

    @resolved("Change what the service says of itself.")
    async def update_service(
        self, info: Info, input: Annotated[UpdateServiceInput, arg("The changes.")]
    ) -> payloads.ServicePayload:
        with named_from("input"):
            await service.update_service(info.context, service_changes(input))
        return payloads.ServicePayload(service=service_of(info.context))


async def _add_instance(ctx: Context, input: AddObjectInstanceInput) -> ObjectRecord:
    if input.storage_id is not None:
        if input.url is not None or input.label is not None:
            raise BadInput("give either storageId, or url and label", field="storageId")
        return await copies.copy_object(ctx, input.object_id, input.storage_id)
    url = parse_external_url({"url": input.url, "label": input.label}, field="")
    return await instances.add_external_instance(ctx, input.object_id, url)
