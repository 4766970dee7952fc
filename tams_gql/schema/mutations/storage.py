"""Allocating storage."""

from __future__ import annotations

from typing import Annotated

import strawberry

from tams_gql.model.ids import parse_mime_type, parse_object_id, parse_uuid
from tams_gql.resolvers import storage
from tams_gql.resolvers.idempotency import Idempotency
from tams_gql.schema import payloads
from tams_gql.schema.documents import document_of, named_from
from tams_gql.schema.fields import Info, arg, resolved
from tams_gql.schema.segment_inputs import AllocateStorageInput


@strawberry.type
class StorageMutations:
    """Storage at the mutation root."""

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
                idempotency=Idempotency(
                    "allocateStorage", input.idempotency_key, document_of(input)
                ),
            )
        return payloads.AllocateStoragePayload(media_objects=[payloads.allocation(d) for d in done])
