"""Writing segments."""

from __future__ import annotations

from typing import Annotated

import strawberry

from tams_gql.model.ids import parse_uuid
from tams_gql.resolvers import deletion, registration
from tams_gql.resolvers.idempotency import Idempotency
from tams_gql.schema import payloads
from tams_gql.schema.documents import document_of, named_from
from tams_gql.schema.fields import Info, arg, resolved
from tams_gql.schema.nodes import window_of
from tams_gql.schema.segment_inputs import (
    DeleteSegmentsInput,
    RegisterSegmentsInput,
    segment_document,
)


@strawberry.type
class SegmentMutations:
    """Segments at the mutation root."""

    @resolved(
        "Register uploaded or external objects as segments of a flow. Each item is answered alone"
        " unless `atomic`."
    )
    async def register_segments(
        self, info: Info, input: Annotated[RegisterSegmentsInput, arg("The segments.")]
    ) -> payloads.RegisterSegmentsPayload:
        documents = [segment_document(segment) for segment in input.segments]
        asked = [input.flow_id, input.atomic, documents] if input.idempotency_key else None
        with named_from("input"):
            done = await registration.register_segments(
                info.context,
                parse_uuid(input.flow_id, field="flow_id"),
                documents,
                atomic=input.atomic,
                idempotency=Idempotency("registerSegments", input.idempotency_key, asked),
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
                idempotency=Idempotency(
                    "deleteSegments", input.idempotency_key, document_of(input)
                ),
            )
        return payloads.DeleteSegmentsPayload(deleted_count=done.count, event=done.cursor)
