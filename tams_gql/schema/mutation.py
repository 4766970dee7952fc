"""The root of mutations: text to domain values, domain values to payloads."""

from __future__ import annotations

from typing import Annotated

import strawberry

from tams_gql.model.ids import parse_mime_type, parse_object_id, parse_uuid
from tams_gql.resolvers import deletion, flow_writes, registration, storage
from tams_gql.schema import payloads
from tams_gql.schema.documents import named_from
from tams_gql.schema.fields import Info, arg, resolved
from tams_gql.schema.flow_inputs import PatchFlowInput, PutFlowInput, patch_document, put_document
from tams_gql.schema.nodes import window_of
from tams_gql.schema.segment_inputs import (
    AllocateStorageInput,
    DeleteFlowInput,
    DeleteSegmentsInput,
    RegisterSegmentsInput,
    segment_document,
)


@strawberry.type(description="Everything that can be changed.")
class Mutation:
    """The mutation root."""

    @resolved("Create a flow, or replace the metadata of one; its segments stay.")
    async def put_flow(
        self, info: Info, input: Annotated[PutFlowInput, arg("The flow.")]
    ) -> payloads.PutFlowPayload:
        name, document, expected = put_document(input)
        with named_from(f"input.{name}"):
            done = await flow_writes.put_flow(info.context, document, expected_version=expected)
        return payloads.PutFlowPayload(row=done.flow, created=done.created, event=done.cursor)

    @resolved("Change some metadata of a flow.")
    async def patch_flow(
        self, info: Info, input: Annotated[PatchFlowInput, arg("The changes.")]
    ) -> payloads.PatchFlowPayload:
        document = patch_document(input)
        with named_from("input"):
            done = await flow_writes.edit_flow(
                info.context,
                parse_uuid(input.id, field="id"),
                document,
                expected_version=input.expected_version,
            )
        return payloads.PatchFlowPayload(row=done.flow, event=done.cursor)

    @resolved("Delete a flow and its segments for good. Objects stay until nothing uses them.")
    async def delete_flow(
        self, info: Info, input: Annotated[DeleteFlowInput, arg("The flow.")]
    ) -> payloads.DeleteFlowPayload:
        with named_from("input"):
            done = await flow_writes.delete_flow(
                info.context,
                parse_uuid(input.id, field="id"),
                expected_version=input.expected_version,
            )
        return payloads.DeleteFlowPayload(
            deleted_flow_id=strawberry.ID(done.flow_id),
            deleted_segment_count=done.segment_count,
            source_deleted=done.source_deleted,
            event=done.cursor,
        )

    @resolved("Reserve places for new objects of a flow and get the requests that upload them.")
    async def allocate_storage(
        self, info: Info, input: Annotated[AllocateStorageInput, arg("How many, or which.")]
    ) -> payloads.AllocateStoragePayload:
        ids, kind = input.object_ids, input.content_type
        with named_from("input"):
            done = await storage.allocate_storage(
                info.context,
                parse_uuid(input.flow_id, field="flow_id"),
                limit=input.limit,
                object_ids=None
                if ids is None
                else [parse_object_id(i, field=f"object_ids.{n}") for n, i in enumerate(ids)],
                storage_id=input.storage_id,
                content_type=None if kind is None else parse_mime_type(kind, field="content_type"),
            )
        return payloads.AllocateStoragePayload(media_objects=[payloads.allocation(d) for d in done])

    @resolved(
        "Register uploaded or external objects as segments of a flow. Each item is answered alone"
        " unless `atomic`."
    )
    async def register_segments(
        self, info: Info, input: Annotated[RegisterSegmentsInput, arg("The segments.")]
    ) -> payloads.RegisterSegmentsPayload:
        with named_from("input"):
            done = await registration.register_segments(
                info.context,
                parse_uuid(input.flow_id, field="flow_id"),
                [segment_document(segment) for segment in input.segments],
                atomic=input.atomic,
            )
        return payloads.registration(done)

    @resolved("Delete the segments that lie wholly inside a range.")
    async def delete_segments(
        self, info: Info, input: Annotated[DeleteSegmentsInput, arg("Which segments.")]
    ) -> payloads.DeleteSegmentsPayload:
        with named_from("input"):
            done = await deletion.delete_segments(
                info.context,
                parse_uuid(input.flow_id, field="flow_id"),
                window_of(input.covered_by, "covered_by"),
                input.object_id,
            )
        return payloads.DeleteSegmentsPayload(deleted_count=done.count, event=done.cursor)
