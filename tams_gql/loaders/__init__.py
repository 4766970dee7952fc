"""Batched reads of one request. Loaders are named answer-by-key and answer in key order."""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise

from tams_gql.loaders import batch
from tams_gql.loaders.batch import Page, Part
from tams_gql.loaders.loader import Loader
from tams_gql.loaders.urls import AccessUrl, UrlKey, urls_by_object
from tams_gql.media.registry import MediaRegistry
from tams_gql.store.port import ReadSession
from tams_gql.store.records import (
    CountersRecord,
    FlowRecord,
    JobRecord,
    MemberRecord,
    ObjectRecord,
    ProfileRecord,
    SegmentRecord,
    SourceRecord,
    values,
)
from tams_gql.store.scan import (
    CoverageWindow,
    Covered,
    OrderBy,
    Partitioned,
    Scan,
    SegmentWindow,
    eq,
    is_in,
)
from tams_gql.store.tables import COLLECTIONS, FLOWS, JOBS, SEGMENTS, SERVICE

_IN_ORDER = (OrderBy("position"),)
_MEMBERS = Scan(COLLECTIONS, COLLECTIONS.columns, order=_IN_ORDER)
_SOURCE_MEMBERS = Scan(
    COLLECTIONS, COLLECTIONS.columns, order=(OrderBy("position"), OrderBy("parent_id"))
)
_FLOW_IDS = Scan(FLOWS, ("id",), order=(OrderBy("id"),))
_COPY_JOBS = Scan(
    JOBS, JOBS.columns, where=(eq("kind", "copy"),), order=(OrderBy("created"), OrderBy("id"))
)
_PARENTS = Scan(COLLECTIONS, COLLECTIONS.columns, order=(OrderBy("parent_id"),))


class Loaders:
    """The loaders of one request: what was asked for is read once, siblings in one round trip."""

    def __init__(self, reads: ReadSession, media: MediaRegistry) -> None:
        self.reads = reads
        self.media = media

    @cached_property
    def source_by_id(self) -> Loader[str, SourceRecord | None]:
        return batch.by_key(self.reads, SourceRecord)

    @cached_property
    def flow_by_id(self) -> Loader[str, FlowRecord | None]:
        return batch.by_key(self.reads, FlowRecord)

    @cached_property
    def counters_by_flow(self) -> Loader[str, CountersRecord | None]:
        return batch.by_key(self.reads, CountersRecord, "flow_id")

    @cached_property
    def object_by_id(self) -> Loader[str, ObjectRecord | None]:
        return batch.by_key(self.reads, ObjectRecord)

    @cached_property
    def flows_by_source(self) -> Loader[Part, Page[FlowRecord]]:
        return batch.pages(self.reads, FlowRecord, "source_id")

    @cached_property
    def flow_count_by_source(self) -> Loader[Part, int]:
        return batch.counts(self.reads, "source_id")

    @cached_property
    def segments_by_window(self) -> Loader[SegmentWindow, Page[SegmentRecord]]:
        return batch.windows(self.reads, SegmentRecord, SEGMENTS)

    @cached_property
    def segment_count_by_window(self) -> Loader[SegmentWindow, int]:
        async def load(keys: list[SegmentWindow]) -> list[int]:
            return await self.reads.count_windows(keys)

        return Loader(load, max_batch_size=batch.MAX_BATCH)

    @cached_property
    def coverage_by_window(self) -> Loader[CoverageWindow, Covered]:
        async def load(keys: list[CoverageWindow]) -> list[Covered]:
            return await self.reads.coverage(keys)

        return Loader(load, max_batch_size=batch.MAX_BATCH)

    @cached_property
    def count_by_scan(self) -> Loader[Scan, int]:
        async def load(keys: list[Scan]) -> list[int]:
            return await self.reads.count(keys)

        return Loader(load, max_batch_size=batch.MAX_BATCH)

    @cached_property
    def flows_by_scan(self) -> Loader[Scan, Page[FlowRecord]]:
        return batch.scans(self.reads, FlowRecord)

    @cached_property
    def segments_by_scan(self) -> Loader[Scan, Page[SegmentRecord]]:
        return batch.scans(self.reads, SegmentRecord)

    @cached_property
    def profile_by_id(self) -> Loader[str, ProfileRecord | None]:
        return batch.by_key(self.reads, ProfileRecord)

    @cached_property
    def service_value_by_name(self) -> Loader[str, str | None]:
        async def load(keys: list[str]) -> list[str | None]:
            scan = Scan(SERVICE, SERVICE.columns, where=(is_in("name", keys),))
            (found,) = await self.reads.scan([scan])
            stored = dict(zip(values(found.column(0)), values(found.column(1)), strict=True))
            return [stored.get(key) for key in keys]

        return Loader(load)

    @cached_property
    def flow_ids_by_source(self) -> Loader[str, list[str]]:
        async def load(keys: list[str]) -> list[list[str]]:
            found = await self.reads.partitions(Partitioned(_FLOW_IDS, "source_id", tuple(keys)))
            ids = values(found.batch.column(0))
            return [ids[a:b] for a, b in pairwise(found.offsets)]

        return Loader(load, max_batch_size=batch.MAX_BATCH)

    @cached_property
    def members_by_flow(self) -> Loader[str, list[MemberRecord]]:
        return batch.all_of(self.reads, MemberRecord, _MEMBERS, "parent_id")

    @cached_property
    def parents_by_flow(self) -> Loader[str, list[MemberRecord]]:
        return batch.all_of(self.reads, MemberRecord, _PARENTS, "child_id")

    @cached_property
    def members_by_source(self) -> Loader[str, list[MemberRecord]]:
        return batch.all_of(self.reads, MemberRecord, _SOURCE_MEMBERS, "parent_source_id")

    @cached_property
    def parents_by_source(self) -> Loader[str, list[MemberRecord]]:
        return batch.all_of(self.reads, MemberRecord, _PARENTS, "child_source_id")

    @cached_property
    def copy_jobs_by_object(self) -> Loader[str, list[JobRecord]]:
        return batch.all_of(self.reads, JobRecord, _COPY_JOBS, "object_id")

    @cached_property
    def urls_by_object(self) -> Loader[UrlKey, list[AccessUrl]]:
        return urls_by_object(self.object_by_id, self.media)
