"""What the mutations on sources, tags, objects, profiles and the service answer."""

from __future__ import annotations

from typing import Any

import strawberry

from tams_gql.schema.fields import column, resolved
from tams_gql.schema.nodes import MEDIA_OBJECT, SOURCE, Node
from tams_gql.schema.payloads import EVENT
from tams_gql.schema.profiles import Profile
from tams_gql.schema.service import Service
from tams_gql.store.records import FlowRecord, ObjectRecord, ProfileRecord, SourceRecord


@strawberry.type(description="A written source.")
class SourcePayload:
    """The answer of ``createSource`` and ``updateSource``."""

    row: strawberry.Private[SourceRecord]
    event: str = column(EVENT)

    @resolved("The source as it is now.", returns=SOURCE)
    def source(self) -> Any:
        return self.row


@strawberry.type(description="A deleted source.")
class DeleteSourcePayload:
    """The answer of ``deleteSource``."""

    deleted_source_id: strawberry.ID = column("The source that went.")
    event: str = column(EVENT)


@strawberry.type(description="A flow or source with changed tags.")
class SetTagsPayload:
    """The answer of ``setTags``."""

    row: strawberry.Private[FlowRecord | SourceRecord]
    event: str = column(EVENT)

    @resolved("The flow or source as it is now.", returns=Node)
    def node(self) -> Any:
        return self.row


@strawberry.type(description="A media object with changed copies.")
class ObjectPayload:
    """The answer of ``addObjectInstance`` and ``removeObjectInstance``."""

    row: strawberry.Private[ObjectRecord]

    @resolved("The object as it is now.", returns=MEDIA_OBJECT)
    def object(self) -> Any:
        return self.row


@strawberry.type(description="A new profile.")
class ProfilePayload:
    """The answer of ``createProfile``."""

    row: strawberry.Private[ProfileRecord]

    @resolved("The profile.", returns=Profile)
    def profile(self) -> Any:
        return self.row


@strawberry.type(description="The service after a change.")
class ServicePayload:
    """The answer of ``updateService``."""

    service: Service = column("The service as it is now.")
