"""Segments as GraphQL objects."""

from __future__ import annotations

from typing import Any

import strawberry

from tams_gql.model.time import format_timestamp
from tams_gql.resolvers import objects
from tams_gql.schema.access import (
    ExpiresIn,
    GetUrl,
    Labels,
    PreferRegion,
    Presigned,
    StorageIds,
    StorageTags,
    access_urls,
)
from tams_gql.schema.fields import Info, column, resolved
from tams_gql.schema.nodes import FLOW, MEDIA_OBJECT
from tams_gql.schema.scalars import DateTime, TimeRange, Timestamp
from tams_gql.schema.tags import Tag, tag_conditions, tags_of
from tams_gql.store.records import SegmentRecord


@strawberry.type(description="A piece of a flow's timeline and the object that holds its samples.")
class Segment:
    """A TAMS flow segment."""

    id: strawberry.ID = column("Made by the server; stable until the segment is deleted.")
    object_id: strawberry.ID = column("The media object.")
    timerange: TimeRange = column("Where it lies on the flow's timeline, as registered.")
    sample_offset: int | None = column("Samples from the object's start (deprecated by TAMS).")
    sample_count: int | None = column("How many samples (deprecated by TAMS).")
    key_frame_count: int | None = column("Key frames in the media object.")
    created: DateTime = column("When it was registered.")

    @resolved("Segment time minus object time.")
    def ts_offset(parent: strawberry.Parent[SegmentRecord]) -> Timestamp:
        return Timestamp(format_timestamp(parent.ts_offset_ns))

    @resolved("From the last sample to the end of the time range.")
    def last_duration(parent: strawberry.Parent[SegmentRecord]) -> Timestamp | None:
        duration = parent.last_duration_ns
        return None if duration is None else Timestamp(format_timestamp(duration))

    @resolved("Its tags; they belong to the segment, not to the object.")
    def tags(parent: strawberry.Parent[SegmentRecord]) -> list[Tag]:
        return tags_of(parent.tags)

    @resolved(
        "The flow it is a piece of; null only in a replayed event or repeated answer, if it has"
        " been deleted since.",
        returns=FLOW | None,
    )
    async def flow(parent: strawberry.Parent[SegmentRecord], info: Info) -> Any:
        return await info.context.loaders.flow_by_id.load(parent.flow_id)

    @resolved(
        "The media object; null only in a replayed event or repeated answer, if it has been"
        " deleted since.",
        returns=MEDIA_OBJECT | None,
    )
    async def object(parent: strawberry.Parent[SegmentRecord], info: Info) -> Any:
        return await info.context.loaders.object_by_id.load(parent.object_id)

    @resolved("The samples of the whole object, on the object's own timeline.")
    async def object_timerange(
        parent: strawberry.Parent[SegmentRecord], info: Info
    ) -> TimeRange | None:
        row = await info.context.loaders.object_by_id.load(parent.object_id)
        return None if row is None or row.timerange is None else TimeRange(row.timerange)

    @resolved("URLs of the media object, the preferred one first; minted when selected.")
    async def get_urls(
        parent: strawberry.Parent[SegmentRecord],
        info: Info,
        labels: Labels = None,
        storage_ids: StorageIds = None,
        presigned: Presigned = None,
        storage_tags: StorageTags = None,
        expires_in: ExpiresIn = None,
        prefer_region: PreferRegion = None,
    ) -> list[GetUrl]:
        choice = objects.url_choice(
            info.context,
            labels=labels,
            storage_ids=storage_ids,
            presigned=presigned,
            storage_tags=tag_conditions(storage_tags, "storageTags"),
            expires_in=expires_in,
            prefer_region=prefer_region,
        )
        return await access_urls(info, parent.object_id, choice)
