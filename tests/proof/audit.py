"""What must hold in every catalog at rest, recomputed from its rows and its change log alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import orjson

from tams_gql.model.events import EventType
from tams_gql.model.time import TimeRange
from tams_gql.resolvers.documents import flow_document, source_document
from tams_gql.store.port import CatalogStore
from tams_gql.store.records import (
    RECORD_TABLES,
    CountersRecord,
    FlowRecord,
    MemberRecord,
    ObjectRecord,
    R,
    SegmentRecord,
    SourceRecord,
    records,
)
from tams_gql.store.scan import Scan

_READ_AT_ONCE = 10_000

SegmentKey = tuple[str, int]


@dataclass(frozen=True)
class Rows:
    """Everything in the catalog that clients made."""

    sources: Mapping[str, SourceRecord]
    flows: Mapping[str, FlowRecord]
    counters: Mapping[str, CountersRecord]
    segments: Mapping[SegmentKey, SegmentRecord]
    objects: Mapping[str, ObjectRecord]
    members: Mapping[str, list[MemberRecord]]


async def audit(store: CatalogStore) -> Rows:
    """Fail unless the catalog is consistent in itself; nobody may write meanwhile."""
    rows = await _rows(store)
    _check_sources(rows)
    _check_members(rows)
    _check_timelines(rows)
    _check_counters(rows)
    _check_references(rows)
    told = await _told(store)
    assert told.segments == rows.segments
    assert told.flows == {
        row.id: flow_document(row, rows.members[row.id]) for row in rows.flows.values()
    }
    assert told.sources == {row.id: source_document(row) for row in rows.sources.values()}
    return rows


async def _rows(store: CatalogStore) -> Rows:
    async with store.session() as session:

        async def all_of(kind: type[R]) -> list[R]:
            table = RECORD_TABLES[kind]
            (batch,) = await session.scan([Scan(table, table.columns)])
            return records(batch, kind)

        members: dict[str, list[MemberRecord]] = defaultdict(list)
        for member in sorted(await all_of(MemberRecord)):
            members[member.parent_id].append(member)
        return Rows(
            sources={row.id: row for row in await all_of(SourceRecord)},
            flows={row.id: row for row in await all_of(FlowRecord)},
            counters={row.flow_id: row for row in await all_of(CountersRecord)},
            segments={(row.flow_id, row.start_ns): row for row in await all_of(SegmentRecord)},
            objects={row.id: row for row in await all_of(ObjectRecord)},
            members=members,
        )


def _check_sources(rows: Rows) -> None:
    flows = Counter(flow.source_id for flow in rows.flows.values())
    for source in rows.sources.values():
        assert source.flow_count == flows[source.id]
        assert source.explicit or source.flow_count > 0, f"source {source.id} has no flow"
    assert flows.keys() <= rows.sources.keys()
    for flow in rows.flows.values():
        assert flow.format == rows.sources[flow.source_id].format


def _check_members(rows: Rows) -> None:
    for parent_id, members in rows.members.items():
        assert [member.position for member in members] == sorted({m.position for m in members})
        for member in members:
            assert member.parent_source_id == rows.flows[parent_id].source_id
            assert member.child_source_id == rows.flows[member.child_id].source_id
    above = {parent: {m.child_id for m in members} for parent, members in rows.members.items()}
    for parent in above:
        below, level = set[str](), above[parent]
        while level:
            below |= level
            level = set().union(*(above.get(child, set()) for child in level)) - below
        assert parent not in below, f"flow {parent} contains itself"


def _check_timelines(rows: Rows) -> None:
    for one, other in pairwise(sorted(rows.segments.values())):
        assert one.flow_id != other.flow_id or one.end_ns <= other.start_ns, (one, other)
    ids = Counter(segment.id for segment in rows.segments.values())
    assert set(ids.values()) <= {1}
    for segment in rows.segments.values():
        given = TimeRange.parse(segment.timerange)
        assert (segment.start_ns, segment.end_ns) == (given.start_ns, given.end_ns)


def _check_counters(rows: Rows) -> None:
    assert rows.counters.keys() == rows.flows.keys()
    by_flow: dict[str, list[SegmentRecord]] = defaultdict(list)
    for segment in rows.segments.values():
        by_flow[segment.flow_id].append(segment)
    assert by_flow.keys() <= rows.flows.keys()
    for flow_id, counters in rows.counters.items():
        found = by_flow[flow_id]
        assert counters[1:6] == (
            len(found),
            sum(s.end_ns - s.start_ns for s in found),
            sum(s.size or 0 for s in found),
            min((s.start_ns for s in found), default=None),
            max((s.end_ns for s in found), default=None),
        )
        assert counters.longest_ns >= max((s.end_ns - s.start_ns for s in found), default=0)


def _check_references(rows: Rows) -> None:
    uses = Counter(segment.object_id for segment in rows.segments.values())
    inits = Counter(row.init_object_id for row in rows.objects.values() if row.init_object_id)
    assert (uses.keys() | inits.keys()) <= rows.objects.keys()
    for row in rows.objects.values():
        assert row.ref_count == (inits if row.role == "init" else uses)[row.id], row
        assert (row.role is None) == (row.registered is None) == (row.expires is not None), row
        assert (row.orphaned is not None) == (row.role is not None and row.ref_count == 0), row
    for segment in rows.segments.values():
        used = rows.objects[segment.object_id]
        assert (used.role, used.size) == ("media", segment.size)


@dataclass
class _Told:
    """What the change log tells, event after event."""

    sources: dict[str, Any] = field(default_factory=dict)
    flows: dict[str, Any] = field(default_factory=dict)
    timelines: dict[str, dict[int, SegmentRecord]] = field(default_factory=dict)

    @property
    def segments(self) -> dict[SegmentKey, SegmentRecord]:
        """Those of all flows."""
        return {
            (flow_id, start_ns): segment
            for flow_id, timeline in self.timelines.items()
            for start_ns, segment in timeline.items()
        }

    def take(self, kind: str, body: dict[str, Any]) -> None:
        match kind:
            case EventType.SOURCE_CREATED:
                assert body["source"]["id"] not in self.sources
                self.sources[body["source"]["id"]] = body["source"]
            case EventType.SOURCE_UPDATED:
                assert body["source"]["id"] in self.sources
                self.sources[body["source"]["id"]] = body["source"]
            case EventType.SOURCE_DELETED:
                del self.sources[body["source_id"]]
                assert body["source_id"] not in {f["source_id"] for f in self.flows.values()}
            case EventType.FLOW_CREATED:
                assert body["flow"]["id"] not in self.flows
                assert body["flow"]["source_id"] in self.sources
                self.flows[body["flow"]["id"]] = body["flow"]
                self.timelines[body["flow"]["id"]] = {}
            case EventType.FLOW_UPDATED:
                assert body["flow"]["id"] in self.flows
                self.flows[body["flow"]["id"]] = body["flow"]
            case EventType.FLOW_DELETED:
                del self.flows[body["flow_id"]]
                assert self.timelines.pop(body["flow_id"]) == {}
            case EventType.SEGMENTS_ADDED:
                self._add(body["flow_id"], _segments(body["segments"]))
            case EventType.SEGMENTS_DELETED:
                self._remove(body)
            case _:
                raise AssertionError(f"unknown event {kind}")

    def _add(self, flow_id: str, segments: list[SegmentRecord]) -> None:
        assert segments
        for segment in segments:
            assert segment.flow_id == flow_id
            assert segment.start_ns not in self.timelines[flow_id]
            self.timelines[flow_id][segment.start_ns] = segment

    def _remove(self, body: dict[str, Any]) -> None:
        timeline, window = self.timelines[body["flow_id"]], TimeRange.parse(body["timerange"])
        gone = [
            segment
            for segment in timeline.values()
            if window.start_ns <= segment.start_ns
            and segment.end_ns <= window.end_ns
            and body.get("object_id") in (None, segment.object_id)
        ]
        assert len(gone) == body["segment_count"] > 0
        assert min(s.start_ns for s in gone) == body["start_ns"]
        assert max(s.end_ns for s in gone) == body["end_ns"]
        for segment in gone:
            del timeline[segment.start_ns]


def _segments(columns: Mapping[str, list[Any]]) -> list[SegmentRecord]:
    count = len(columns["id"])
    filled: Iterable[list[Any]] = (
        columns.get(name, [None] * count) for name in SegmentRecord._fields
    )
    return [SegmentRecord(*values) for values in zip(*filled, strict=True)]


async def _told(store: CatalogStore) -> _Told:
    told, position = _Told(), "0"
    while True:
        batch = await store.log.events(position, _READ_AT_ONCE)
        for event in batch.to_pylist():
            assert store.log.covers(event["position"], position)
            assert not store.log.covers(position, event["position"])
            position = event["position"]
            told.take(event["type"], orjson.loads(event["body"]))
        if batch.num_rows < _READ_AT_ONCE:
            assert position == "0" or position == await store.log.head()
            return told
