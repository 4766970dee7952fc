"""Flows as GraphQL objects. A field takes what it shows from the flow's row."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
import strawberry

from tams_gql.model.errors import NotFound
from tams_gql.model.formats import ContentFormat, FlowStatus
from tams_gql.model.time import parse_timestamp
from tams_gql.resolvers import coverage, flows, hls, objects, segments
from tams_gql.resolvers.segments import SegmentFilter
from tams_gql.schema.access import ExpiresIn, Labels, PreferRegion, StorageIds
from tams_gql.schema.connections import After, Before, Connection, First, Last, paging
from tams_gql.schema.coverage import Coverage, coverage_of
from tams_gql.schema.essence import (
    AudioEssenceParameters,
    ContainerMapping,
    DataEssenceParameters,
    ImageEssenceParameters,
    MultiEssenceParameters,
    Rational,
    VideoEssenceParameters,
    essence_of,
    rational,
)
from tams_gql.schema.fields import Info, arg, column, resolved
from tams_gql.schema.hls import HLS, ClockAtZero, HlsManifest, MaxSegments, hls_manifest
from tams_gql.schema.nodes import FLOW, SOURCE, Node, TagName, Window, window_of
from tams_gql.schema.profiles import Profile
from tams_gql.schema.scalars import DateTime, Json, MimeType, TimeRange, Timestamp
from tams_gql.schema.segments import Segment
from tams_gql.schema.tags import Tag, tag_of, tags_of
from tams_gql.store.records import FlowRecord, MemberRecord


@strawberry.interface(description="One technical form of a source.")
class Flow(Node):
    """A TAMS flow."""

    codec: MimeType | None = column("The coding of the content.")
    container: MimeType | None = column("The container of its objects.")
    label: str | None = column("A short name.")
    description: str | None = column("A longer text.")
    read_only: bool = column("Whether changes to the flow and its segments are refused.")
    generation: int | None = column("How many lossy encodings lie behind it; 0 is the best.")
    avg_bit_rate: int | None = column("1000 bit/s.")
    max_bit_rate: int | None = column("1000 bit/s.")
    metadata_version: str | None = column("The specification's version text.")
    version: int = column("Counts the changes of its metadata, from 1; see `expectedVersion`.")
    created_by: str | None = column("Who made it.")
    updated_by: str | None = column("Who changed its metadata last.")
    created: DateTime = column("When it was made.")
    metadata_updated: DateTime = column("When its metadata changed last.")

    @classmethod
    def resolve_type(cls, obj: Any, _info: object, _type: object) -> str:
        return f"{ContentFormat(obj.format).name.title()}Flow"

    @resolved("The kind of content.")
    def format(parent: strawberry.Parent[FlowRecord]) -> ContentFormat:
        return ContentFormat(parent.format)

    @resolved("What is happening to it, as its ingesting client says.")
    def status(parent: strawberry.Parent[FlowRecord]) -> FlowStatus | None:
        return None if parent.status is None else FlowStatus(parent.status)

    @resolved("The source it is a form of.", returns=SOURCE)
    async def source(parent: strawberry.Parent[FlowRecord], info: Info) -> Any:
        found = await info.context.loaders.source_by_id.load(parent.source_id)
        if found is None:
            # Only in the answer to a write: somebody else was quicker than our reading it back.
            raise NotFound(f"flow {parent.id} and its source have been deleted since")
        return found

    @resolved("Its tags, in the order they were set.")
    def tags(parent: strawberry.Parent[FlowRecord]) -> list[Tag]:
        return tags_of(parent.tags)

    @resolved("One tag; null if it is not set.")
    def tag(parent: strawberry.Parent[FlowRecord], name: TagName) -> Tag | None:
        return tag_of(parent.tags, name)

    @resolved("The target duration of its segments in seconds.")
    def segment_duration(parent: strawberry.Parent[FlowRecord]) -> Rational | None:
        return rational(orjson.loads(parent.body).get("segment_duration"))

    @resolved("Where it lies in its container.")
    def container_mapping(parent: strawberry.Parent[FlowRecord]) -> ContainerMapping | None:
        found: ContainerMapping | None = essence_of(
            ContainerMapping, orjson.loads(parent.body).get("container_mapping")
        )
        return found

    @resolved("Keys beyond the specification, as they were registered.", returns=Json | None)
    def vendor_parameters(parent: strawberry.Parent[FlowRecord]) -> Any:
        known = ("essence_parameters", "segment_duration", "container_mapping")
        body = orjson.loads(parent.body)
        return {key: value for key, value in body.items() if key not in known} or None

    @resolved("When segments were added or removed last; null if never.")
    async def segments_updated(
        parent: strawberry.Parent[FlowRecord], info: Info
    ) -> DateTime | None:
        counters = await info.context.loaders.counters_by_flow.load(parent.id)
        updated = None if counters is None else counters.segments_updated
        return None if updated is None else DateTime(updated)

    @resolved("The flows that this one collects, in order.")
    async def collection(parent: strawberry.Parent[FlowRecord], info: Info) -> list[FlowMember]:
        members = await info.context.loaders.members_by_flow.load(parent.id)
        return [FlowMember(member=member, role=member.role) for member in members]

    @resolved("The flows that collect this one.", returns=list[FLOW])
    async def collected_by(parent: strawberry.Parent[FlowRecord], info: Info) -> Any:
        loaders = info.context.loaders
        parents = await loaders.parents_by_flow.load(parent.id)
        found = await loaders.flow_by_id.load_many([row.parent_id for row in parents])
        return [row for row in found if row is not None]

    @resolved(
        "From the start of the first to the end of the last segment (that overlaps the window);"
        " `()` without segments."
    )
    async def timerange(
        parent: strawberry.Parent[FlowRecord], info: Info, window: Window = None
    ) -> TimeRange:
        found = await flows.timerange(info.context, parent.id, window_of(window))
        return TimeRange(found.text)

    @resolved("Its segments in time order.")
    async def segments(
        parent: strawberry.Parent[FlowRecord],
        info: Info,
        window: Window = None,
        object_id: Annotated[strawberry.ID | None, arg("Only those that use this object.")] = None,
        reverse: Annotated[bool, arg("Latest first.")] = False,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[Segment]:
        ctx, chosen = info.context, SegmentFilter(window_of(window), object_id, reverse)
        request = paging(info, first, after, last, before)
        page = await segments.segments(ctx, parent.id, chosen, request)
        return Connection(page=page, total=lambda: segments.count_segments(ctx, parent.id, chosen))

    @resolved("The segment that holds a moment; null in a gap.", returns=Segment | None)
    async def segment_at(
        parent: strawberry.Parent[FlowRecord],
        info: Info,
        timestamp: Annotated[Timestamp, arg("The moment on the flow's timeline.")],
    ) -> Any:
        at_ns = parse_timestamp(timestamp, field="timestamp")
        return await coverage.segment_at(info.context, parent.id, at_ns)

    @resolved("Which parts of its timeline hold segments.")
    async def coverage(
        parent: strawberry.Parent[FlowRecord],
        info: Info,
        window: Window = None,
        max_gap: Annotated[
            Timestamp | None, arg("Gaps up to this long do not interrupt a range; default 0:0.")
        ] = None,
    ) -> Coverage:
        gap_ns = 0 if max_gap is None else parse_timestamp(max_gap, field="maxGap")
        found = await coverage.flow_coverage(info.context, parent.id, window_of(window), gap_ns)
        return coverage_of(found)

    @resolved(HLS)
    async def hls(
        parent: strawberry.Parent[FlowRecord],
        info: Info,
        window: Window = None,
        max_segments: MaxSegments = hls.DEFAULT_SEGMENTS,
        labels: Labels = None,
        storage_ids: StorageIds = None,
        expires_in: ExpiresIn = None,
        prefer_region: PreferRegion = None,
        clock_at_zero: ClockAtZero = None,
    ) -> HlsManifest | None:
        choice = objects.url_choice(
            info.context,
            labels=labels,
            storage_ids=storage_ids,
            expires_in=expires_in,
            prefer_region=prefer_region,
        )
        asked = hls.HlsRequest(window_of(window), max_segments, choice, clock_at_zero)
        return hls_manifest(await hls.manifest(info.context, parent, asked))

    @resolved("The profile it was made from; null if none.", returns=Profile | None)
    async def profile(parent: strawberry.Parent[FlowRecord], info: Info) -> Any:
        if parent.profile_id is None:
            return None
        return await info.context.loaders.profile_by_id.load(parent.profile_id)


def _is_flow(obj: object, format: ContentFormat) -> bool:
    return isinstance(obj, FlowRecord) and obj.format == format.value


def _essence(kind: type[Any], row: FlowRecord) -> Any:
    return essence_of(kind, orjson.loads(row.body).get("essence_parameters"))


ESSENCE = "What the essence is like."


@strawberry.type(description="A flow of moving pictures.")
class VideoFlow(Flow):
    """``urn:x-nmos:format:video``."""

    @classmethod
    def is_type_of(cls, obj: object, _info: object) -> bool:
        return _is_flow(obj, ContentFormat.VIDEO)

    @resolved(ESSENCE, returns=VideoEssenceParameters)
    def essence_parameters(parent: strawberry.Parent[FlowRecord]) -> Any:
        return _essence(VideoEssenceParameters, parent)


@strawberry.type(description="A flow of sound.")
class AudioFlow(Flow):
    """``urn:x-nmos:format:audio``."""

    @classmethod
    def is_type_of(cls, obj: object, _info: object) -> bool:
        return _is_flow(obj, ContentFormat.AUDIO)

    @resolved(ESSENCE, returns=AudioEssenceParameters)
    def essence_parameters(parent: strawberry.Parent[FlowRecord]) -> Any:
        return _essence(AudioEssenceParameters, parent)


@strawberry.type(description="A flow of still images.")
class ImageFlow(Flow):
    """``urn:x-tam:format:image``."""

    @classmethod
    def is_type_of(cls, obj: object, _info: object) -> bool:
        return _is_flow(obj, ContentFormat.IMAGE)

    @resolved(ESSENCE, returns=ImageEssenceParameters)
    def essence_parameters(parent: strawberry.Parent[FlowRecord]) -> Any:
        return _essence(ImageEssenceParameters, parent)


@strawberry.type(description="A flow of data that goes with other content.")
class DataFlow(Flow):
    """``urn:x-nmos:format:data``."""

    @classmethod
    def is_type_of(cls, obj: object, _info: object) -> bool:
        return _is_flow(obj, ContentFormat.DATA)

    @resolved(ESSENCE, returns=DataEssenceParameters)
    def essence_parameters(parent: strawberry.Parent[FlowRecord]) -> Any:
        return _essence(DataEssenceParameters, parent)


@strawberry.type(description="A flow that multiplexes or only collects other flows.")
class MultiFlow(Flow):
    """``urn:x-nmos:format:multi``."""

    @classmethod
    def is_type_of(cls, obj: object, _info: object) -> bool:
        return _is_flow(obj, ContentFormat.MULTI)

    @resolved(ESSENCE, returns=MultiEssenceParameters | None)
    def essence_parameters(parent: strawberry.Parent[FlowRecord]) -> Any:
        return _essence(MultiEssenceParameters, parent)


FLOW_TYPES = (VideoFlow, AudioFlow, ImageFlow, DataFlow, MultiFlow)


@strawberry.type(description="A flow in a collection.")
class FlowMember:
    """An item of the specification's ``flow_collection``."""

    member: strawberry.Private[MemberRecord]
    role: str | None = column("What it is to the collecting flow.")

    @resolved("The collected flow.", returns=FLOW)
    async def flow(self, info: Info) -> Any:
        return await info.context.loaders.flow_by_id.load(self.member.child_id)

    @resolved("Where it lies in the container of the collecting flow.")
    def container_mapping(self) -> ContainerMapping | None:
        if self.member.mapping is None:
            return None
        found: ContainerMapping = essence_of(ContainerMapping, orjson.loads(self.member.mapping))
        return found
