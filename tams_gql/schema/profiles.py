"""Profiles as GraphQL objects."""

from __future__ import annotations

from typing import Any

import orjson
import strawberry

from tams_gql.model.formats import ContentFormat
from tams_gql.schema.essence import Rational, rational
from tams_gql.schema.fields import column, resolved
from tams_gql.schema.nodes import Node
from tams_gql.schema.scalars import DateTime, Json, MimeType
from tams_gql.schema.tags import Tag, tags_of
from tams_gql.store.records import ProfileRecord


@strawberry.type(description="Technical parameters that many flows share. A profile never changes.")
class Profile(Node):
    """A TAMS profile."""

    label: str | None = column("A short name.")
    description: str | None = column("A longer text.")
    codec: MimeType | None = column("The coding of its flows.")
    created_by: str | None = column("Who made it.")
    created: DateTime = column("When it was made.")

    @classmethod
    def is_type_of(cls, obj: object, _info: object) -> bool:
        return isinstance(obj, ProfileRecord)

    @resolved("The kind of content; never MULTI.")
    def format(parent: strawberry.Parent[ProfileRecord]) -> ContentFormat:
        return ContentFormat(parent.format)

    @resolved("Its tags; flows do not take them over.")
    def tags(parent: strawberry.Parent[ProfileRecord]) -> list[Tag]:
        return tags_of(parent.tags)

    @resolved("The container of its flows' objects.")
    def container(parent: strawberry.Parent[ProfileRecord]) -> MimeType | None:
        found: MimeType | None = orjson.loads(parent.body).get("container")
        return found

    @resolved("The target duration of segments in seconds.")
    def segment_duration(parent: strawberry.Parent[ProfileRecord]) -> Rational | None:
        return rational(orjson.loads(parent.body).get("segment_duration"))

    @resolved("The specification's `flow_metadata`, as it was given.", returns=Json)
    def flow_metadata(parent: strawberry.Parent[ProfileRecord]) -> Any:
        return orjson.loads(parent.body)
