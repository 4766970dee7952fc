"""Writing flows."""

from __future__ import annotations

from typing import Annotated

import strawberry

from tams_gql.model.ids import parse_uuid
from tams_gql.resolvers import flow_writes
from tams_gql.resolvers.idempotency import Idempotency
from tams_gql.schema import payloads
from tams_gql.schema.documents import named_from
from tams_gql.schema.fields import Info, arg, resolved
from tams_gql.schema.flow_inputs import PatchFlowInput, PutFlowInput, patch_document, put_document
from tams_gql.schema.segment_inputs import DeleteFlowInput


@strawberry.type
class FlowMutations:
    """Flows at the mutation root."""

    @resolved("Create a flow, or replace the metadata of one; its segments stay.")
    async def put_flow(
        self, info: Info, input: Annotated[PutFlowInput, arg("The flow.")]
    ) -> payloads.PutFlowPayload:
        put = put_document(input)
        with named_from(f"input.{put.name}"):
            done = await flow_writes.put_flow(
                info.context,
                put.document,
                expected_version=put.expected_version,
                idempotency=Idempotency("putFlow", put.idempotency_key, put.document),
            )
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
                idempotency=Idempotency("patchFlow", input.idempotency_key, [input.id, document]),
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
                idempotency=Idempotency("deleteFlow", input.idempotency_key, input.id),
            )
        return payloads.DeleteFlowPayload(
            deleted_flow_id=strawberry.ID(done.flow_id),
            deleted_segment_count=done.segment_count,
            source_deleted=done.source_deleted,
            event=done.cursor,
        )
