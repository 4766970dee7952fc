"""Registering segments, one or a thousand, each with its own answer (TAMS 8.2, POST segments)."""

from __future__ import annotations

import os
from base64 import urlsafe_b64encode
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tams_gql.context import Context
from tams_gql.loaders.urls import instances_of
from tams_gql.media.port import ObjectLocation, ObjectStat
from tams_gql.model.errors import BadInput, Conflict, LimitExceeded, NotFound, ReadOnly, TamsError
from tams_gql.model.events import EventType
from tams_gql.model.segment import NewSegment, parse_new_segment
from tams_gql.resolvers import receipts
from tams_gql.resolvers.documents import segment_columns, tags_text, to_json_text
from tams_gql.resolvers.idempotency import NO_KEY, Earlier, Idempotency, once
from tams_gql.resolvers.object_rules import ObjectLedger
from tams_gql.resolvers.receipts import Registered
from tams_gql.store.changes import (
    AddSegments,
    ChangeSet,
    Expect,
    Insert,
    NewEvent,
    Refer,
    Row,
    Update,
)
from tams_gql.store.records import CountersRecord, FlowRecord, ObjectRecord, SegmentRecord
from tams_gql.store.scan import SegmentWindow
from tams_gql.store.tables import FLOWS, OBJECTS

# An event is one cell of the change log, and cells stay below 128 KiB.
_EVENT_SEGMENTS = 250
_EVENT_BYTES = 64 * 1024
_SEGMENT_BYTES = 256

_REGISTERED_COLUMNS = OBJECTS.columns[1 : OBJECTS.columns.index("ref_count")]


@dataclass(frozen=True, slots=True)
class Registration:
    """The answers in the order of the items; ``cursor`` is None when nothing was registered."""

    flow: FlowRecord
    results: list[Registered]
    cursor: str | None


async def register_segments(
    ctx: Context,
    flow_id: str,
    items: Sequence[Mapping[str, object]],
    *,
    atomic: bool = False,
    idempotency: Idempotency = NO_KEY,
) -> Registration:
    """Register up to ``max_batch_items`` segments of one flow, in the order given.

    Without ``atomic`` every item stands alone: what can be registered is, the rest is answered with
    its error. With it the first failing item's error is raised and nothing is registered.
    Raises ``NotFound``, ``ReadOnly``, ``BadInput``, ``LimitExceeded`` for the request as a whole.
    """
    _check_size(items, ctx.limits.max_batch_items)
    parsed, failures = _parse(items)
    uploaded: dict[str, ObjectStat] = {}

    async def attempt() -> Registration:
        flow = await _writable_flow(ctx, flow_id)
        batch = _Batch(ctx, flow, dict(failures))
        await batch.look_up(parsed, uploaded)
        batch.decide(parsed)
        if atomic and batch.failures:
            raise _first_failure(batch.failures)
        cursor = await batch.commit(idempotency) if batch.accepted else None
        return Registration(flow, batch.results(len(items)), cursor)

    async def replay(earlier: Earlier) -> Registration:
        flow = await ctx.loaders.flow_by_id.load(flow_id)
        if flow is None:
            raise Conflict(
                f"idempotencyKey: flow {flow_id}, which the key wrote to, has been deleted since",
                field="idempotencyKey",
            )
        return Registration(flow, receipts.results_of(earlier.response), earlier.cursor)

    return await once(
        ctx, idempotency, replay, attempt, wrote=lambda answer: answer.cursor is not None
    )


def _check_size(items: Sequence[object], most: int) -> None:
    if not items:
        raise BadInput("segments: at least one segment is required", field="segments")
    if len(items) > most:
        raise LimitExceeded(
            f"segments: {len(items)} items are above the limit of {most}",
            field="segments",
            limit=most,
            requested=len(items),
        )


def _parse(
    items: Sequence[Mapping[str, object]],
) -> tuple[dict[int, NewSegment], dict[int, TamsError]]:
    parsed: dict[int, NewSegment] = {}
    failures: dict[int, TamsError] = {}
    for index, item in enumerate(items):
        try:
            parsed[index] = parse_new_segment(item, field=f"segments.{index}")
        except TamsError as error:
            failures[index] = error
    return parsed, failures


def _first_failure(failures: Mapping[int, TamsError]) -> TamsError:
    error = failures[min(failures)]
    error.details["failed"] = [
        {"index": i, "code": failed.code, "message": failed.message, "field": failed.field}
        for i, failed in sorted(failures.items())
    ]
    return error


async def _writable_flow(ctx: Context, flow_id: str) -> FlowRecord:
    flow = await ctx.loaders.flow_by_id.load(flow_id)
    if flow is None:
        raise NotFound(f"there is no flow {flow_id}", field="flowId")
    if flow.read_only:
        raise ReadOnly(f"flow {flow_id} is read-only", field="flowId")
    if flow.container is None:
        raise BadInput(
            f"flow {flow_id} has no container, so it cannot hold segments", field="flowId"
        )
    return flow


class _Batch:
    """One attempt at a registration."""

    def __init__(self, ctx: Context, flow: FlowRecord, failures: dict[int, TamsError]) -> None:
        self.failures = failures
        self.accepted: dict[int, SegmentRecord] = {}
        self._ctx = ctx
        self._flow = flow
        self._now_us = ctx.services.now_us()
        self._used: list[str] = []

    async def look_up(
        self, parsed: Mapping[int, NewSegment], uploaded: dict[str, ObjectStat]
    ) -> None:
        """Read what the rules need: the objects, their bytes, and segments that may overlap."""
        ctx, segments = self._ctx, parsed.values()
        ids = dict.fromkeys(s.object_id for s in segments)
        ids |= dict.fromkeys(s.init_object_id for s in segments if s.init_object_id is not None)
        known = await ctx.loaders.object_by_id.load_many(list(ids))
        verify = ctx.services.verify_uploads
        if verify:
            await _find_uploads(ctx, known, uploaded)
        labels = frozenset(media.backend.label for media in ctx.services.media)
        self._ledger = ObjectLedger(
            self._flow, known, uploaded if verify else None, labels, self._now_us
        )
        self._taken = _Timeline(await _overlapping(ctx, self._flow.id, segments))

    def decide(self, parsed: Mapping[int, NewSegment]) -> None:
        """Accept or refuse each item, in order, as if those before it were registered already."""
        tokens = os.urandom(8 * len(parsed))
        for nth, (index, segment) in enumerate(parsed.items()):
            path = f"segments.{index}"
            try:
                use = self._ledger.check(segment, path)
                self._taken.add(segment, path)
            except TamsError as error:
                self.failures[index] = error
                continue
            self._ledger.accept(use)
            self._used.append(segment.object_id)
            if segment.init_object_id is not None:
                self._used.append(segment.init_object_id)
            self.accepted[index] = self._row(segment, tokens[8 * nth : 8 * nth + 8], use.media)

    def _row(self, segment: NewSegment, token: bytes, media: ObjectRecord) -> SegmentRecord:
        start_ns = segment.timerange.start_ns
        # The start lets a segment be found by its id; the token keeps ids of successors apart.
        raw = start_ns.to_bytes(8, "big", signed=True) + token
        return SegmentRecord(
            flow_id=self._flow.id,
            start_ns=start_ns,
            end_ns=segment.timerange.end_ns,
            id=urlsafe_b64encode(raw).decode().rstrip("="),
            object_id=segment.object_id,
            timerange=segment.timerange.text,
            ts_offset_ns=segment.ts_offset_ns,
            last_duration_ns=segment.last_duration_ns,
            sample_offset=segment.sample_offset,
            sample_count=segment.sample_count,
            key_frame_count=media.key_frame_count,
            size=media.size,
            tags=tags_text(segment.tags),
            created=self._now_us,
        )

    async def commit(self, idempotency: Idempotency) -> str:
        """Write the accepted items with their objects and events; the cursor after them."""
        flow, rows = self._flow, tuple(self.accepted.values())
        changes = ChangeSet(self._now_us)
        relied_on = {
            "read_only": False,
            "container": flow.container,
            "init_segments": flow.init_segments,
        }
        changes.expect.append(Expect(FLOWS, (flow.id,), relied_on))
        self._change_objects(changes)
        changes.add_segments.append(AddSegments(flow.id, rows))
        changes.events += _added_events(flow, rows)
        idempotency.remember(changes, receipts.response_of(self.accepted, self.failures))
        committed = await self._ctx.commit(changes)
        return self._ctx.services.feed.cursor(committed.position)

    def _change_objects(self, changes: ChangeSet) -> None:
        users: Counter[str] = Counter()
        inserts: list[Row] = []
        updates: list[Row] = []
        for before, after in self._ledger.touched(self._used):
            if after.init_object_id is not None and (before is None or before.role is None):
                users[after.init_object_id] += 1
            if before is None:
                inserts.append(after)
                continue
            changes.expect.append(Expect(OBJECTS, (after.id,), {"role": before.role}))
            if before is not after:
                updates.append(after[: 1 + len(_REGISTERED_COLUMNS)])
        changes.refer += [Refer(object_id, by) for object_id, by in users.items()]
        if inserts:
            changes.insert.append(Insert(OBJECTS, OBJECTS.columns, tuple(inserts)))
        if updates:
            changes.update.append(Update(OBJECTS, _REGISTERED_COLUMNS, tuple(updates)))

    def results(self, count: int) -> list[Registered]:
        """The answers in the order of the items."""
        return [
            Registered(index, self.accepted.get(index), self.failures.get(index))
            for index in range(count)
        ]


class _Timeline:
    """The ranges that are taken on a flow, stored ones and those accepted so far."""

    def __init__(self, stored: Iterable[SegmentRecord]) -> None:
        spans = sorted({(row.start_ns, row.end_ns, row.timerange) for row in stored})
        self._starts = [start for start, _, _ in spans]
        self._spans = spans

    def add(self, segment: NewSegment, path: str) -> None:
        """Take the segment's range, or raise ``Conflict`` if it overlaps a taken one."""
        span = segment.timerange
        at = bisect_left(self._starts, span.end_ns)
        if at and self._spans[at - 1][1] > span.start_ns:
            raise Conflict(
                f"{path}.timerange: {span.text} overlaps the segment {self._spans[at - 1][2]}",
                field=f"{path}.timerange",
            )
        self._starts.insert(at, span.start_ns)
        self._spans.insert(at, (span.start_ns, span.end_ns, span.text))


async def _overlapping(
    ctx: Context, flow_id: str, segments: Iterable[NewSegment]
) -> list[SegmentRecord]:
    """Stored segments in the way of the new ones; none is read for a plain append."""
    counters: CountersRecord | None = await ctx.loaders.counters_by_flow.load(flow_id)
    end = None if counters is None else counters.max_end_ns
    if end is None:
        return []
    ranges = [s.timerange for s in segments if s.timerange.start_ns < end]
    if not ranges:
        return []
    # The last one that begins before the new end is the only one that can reach into the range.
    keys = [SegmentWindow(flow_id, r.start_ns, r.end_ns, reverse=True, limit=2) for r in ranges]
    pages = await ctx.loaders.segments_by_window.load_many(keys)
    return [row for page in pages for row in page.rows]


async def _find_uploads(
    ctx: Context, known: Iterable[ObjectRecord | None], uploaded: dict[str, ObjectStat]
) -> None:
    """Ask the storage once for each allocated object that is about to be registered."""
    fresh = {
        row.id: ObjectLocation(instance.storage_id, instance.key)
        for row in known
        if row is not None and row.role is None and row.id not in uploaded
        for instance in instances_of(row)
        if instance.storage_id is not None and instance.key is not None
    }
    if not fresh:
        return
    stats = await ctx.services.media.stat(list(fresh.values()))
    uploaded |= {i: stat for i, stat in zip(fresh, stats, strict=True) if stat is not None}


def _added_events(flow: FlowRecord, rows: Sequence[SegmentRecord]) -> Iterator[NewEvent]:
    for part in _portions(rows):
        body = to_json_text({"flow_id": flow.id, "segments": segment_columns(part)})
        yield NewEvent(EventType.SEGMENTS_ADDED, flow.source_id, flow.id, body)


def _portions(rows: Sequence[SegmentRecord]) -> Iterator[list[SegmentRecord]]:
    part: list[SegmentRecord] = []
    size = 0
    for row in rows:
        cost = _SEGMENT_BYTES + len(row.object_id) + (0 if row.tags is None else 4 * len(row.tags))
        if part and (len(part) == _EVENT_SEGMENTS or size + cost > _EVENT_BYTES):
            yield part
            part, size = [], 0
        part.append(row)
        size += cost
    if part:
        yield part
