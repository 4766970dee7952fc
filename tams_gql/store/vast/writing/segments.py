"""Adding and removing segments: no overlaps, counters and reference counts kept in step.

All of it rests on the flow's row, which every change set that adds or removes segments writes:
what it reads of a flow's segments stays true until it commits, or it does not commit.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from tams_gql.model.errors import BadInput
from tams_gql.store.changes import AddSegments, NewEvent, Refer, RemoveSegments, Row, Stale
from tams_gql.store.tables import SEGMENTS
from tams_gql.store.vast.layout import ROW_ID, USES, physical_of
from tams_gql.store.vast.reading.reader import Reader
from tams_gql.store.vast.uses import Added, with_users
from tams_gql.store.vast.writing.rows import Slot, TableRows
from tams_gql.store.vast.writing.timeline import (
    Ends,
    Longs,
    Spans,
    Timeline,
    inside,
    longs,
    overlapping,
    ranges,
)

_START, _END = SEGMENTS.columns.index("start_ns"), SEGMENTS.columns.index("end_ns")
_OBJECT, _SIZE = SEGMENTS.columns.index("object_id"), SEGMENTS.columns.index("size")
_MIN_INT64, _MAX_INT64 = -(2**63), 2**63 - 1


@dataclass(frozen=True, slots=True)
class Removal:
    """What one ``RemoveSegments`` takes away, and the event that tells of it, if anything goes."""

    count: int
    event: NewEvent | None


class SegmentChanges:
    """All changes to segments of one change set."""

    def __init__(
        self, flows: TableRows, objects: TableRows, segments: TableRows, now_us: int
    ) -> None:
        self.users: Counter[str] = Counter()
        """How many more or fewer users objects have, as far as it is not counted yet."""
        self.added: defaultdict[str, Added] = defaultdict(Added)
        """Where objects get users, as far as their rows do not say so yet."""
        self._flows = flows
        self._objects = objects
        self._segments = segments
        self._now_us = now_us
        self._timelines: dict[str, Timeline] = {}

    def timeline(self, flow_id: str) -> Timeline:
        """What is known of a flow."""
        return self._timelines.setdefault(flow_id, Timeline())

    # Removal

    def remove(self, reader: Reader, removal: RemoveSegments) -> Removal:
        """Find the segments wholly inside the window and count them out of their flow."""
        slot = self._flows.live((removal.flow_id,))
        timeline = self.timeline(removal.flow_id)
        portions = []
        for found in inside(reader, removal, None if slot is None else slot.values):
            left = ~timeline.is_gone(longs(found, "start_ns"))
            kept = found if left.all() else found.filter(pa.array(left))
            if kept.num_rows:
                portions.append(kept)
        if not portions:
            return Removal(0, None)
        rows = pa.concat_tables(portions)
        starts, ends = longs(rows, "start_ns"), longs(rows, "end_ns")
        timeline.forget(starts, ends)
        self._segments.gone += rows.column(ROW_ID).chunks
        self._forget_slots(removal.flow_id, starts)
        for each in pc.value_counts(rows.column("object_id").combine_chunks()).to_pylist():
            self.users[each["values"]] -= each["counts"]
        if slot is not None:
            duration = int(np.subtract(ends, starts).sum())
            size = int(pc.sum(rows.column("size")).as_py() or 0)
            self._count_down(slot, len(starts), duration, size)
        start, end = int(starts.min()), int(ends.max())
        return Removal(len(starts), _completed(removal.event, len(starts), start, end))

    def remove_rows(self, found: pa.Table) -> int:
        """Remove stored segments as rows, without counting; how many of them were still there."""
        count = 0
        for flow_id in found.column("flow_id").unique().to_pylist():
            timeline = self.timeline(flow_id)
            rows = found.filter(pc.equal(found.column("flow_id"), flow_id))
            rows = rows.filter(pa.array(~timeline.is_gone(longs(rows, "start_ns"))))
            if rows.num_rows:
                starts = longs(rows, "start_ns")
                timeline.forget(starts, longs(rows, "end_ns"))
                self._segments.gone += rows.column(ROW_ID).chunks
                self._forget_slots(flow_id, starts)
                count += rows.num_rows
        return count

    def _forget_slots(self, flow_id: str, starts: Longs) -> None:
        if self._segments.slots:
            for start in starts.tolist():
                if (slot := self._segments.slots.get((flow_id, start))) is not None:
                    slot.row_id, slot.values = None, None

    def _count_down(self, slot: Slot, count: int, duration: int, size: int) -> None:
        counters = slot.values
        assert counters is not None
        left = counters["segment_count"] - count
        self._flows.change(
            slot,
            {
                "segment_count": left,
                "duration_ns": counters["duration_ns"] - duration,
                "bytes": counters["bytes"] - size,
                "longest_ns": counters["longest_ns"] if left else 0,
                "segments_updated": self._now_us,
            },
        )

    def settle(self, reader: Reader) -> None:
        """Find the new first and last segment of the flows that have lost theirs."""
        for flow_id, timeline in self._timelines.items():
            slot = self._flows.live((flow_id,))
            if not timeline.gone or slot is None or slot.row_id is None:
                continue
            counters = slot.values
            assert counters is not None
            if counters["segment_count"] == 0:
                self._flows.change(slot, {"min_start_ns": None, "max_end_ns": None})
                continue
            ends = Ends(reader, flow_id, timeline, counters)
            if timeline.first_gone <= counters["min_start_ns"]:
                self._flows.change(slot, {"min_start_ns": ends.first_start(timeline.first_gone)})
            if timeline.last_gone[1] >= counters["max_end_ns"]:
                self._flows.change(slot, {"max_end_ns": ends.last_end(timeline.last_gone[0])})

    # Addition

    def look_up(self, reader: Reader, added: Sequence[AddSegments]) -> None:
        """Read the stored segments that the new ones may overlap; none for a plain append."""
        for each in added:
            slot = self._flows.live((each.flow_id,))
            if slot is None or slot.row_id is None or not each.rows:
                continue
            counters = slot.values
            assert counters is not None
            if (max_end := counters["max_end_ns"]) is None:
                continue
            spans = [span for span in _spans(each.rows) if span[0] < max_end]
            if spans:
                timeline = self.timeline(each.flow_id)
                where = overlapping(each.flow_id, spans, counters["longest_ns"])
                found = reader.select(physical_of(SEGMENTS), ("start_ns", "end_ns"), where)
                timeline.stored = sorted({*timeline.stored, *ranges(found)})

    def add(self, added: AddSegments) -> None:
        """Take in new segments; ``Stale`` when one would overlap or the flow is gone."""
        if not added.rows:
            return
        slot = self._flows.live((added.flow_id,))
        if slot is None:
            raise Stale(f"flow {added.flow_id} is gone")
        spans = _spans(added.rows)
        self._refuse_overlaps(added.flow_id, spans, slot)
        counters = slot.values
        assert counters is not None
        durations = [end - start for start, end in spans]
        duration = counters["duration_ns"] + sum(durations)
        size = counters["bytes"] + sum(int(row[_SIZE] or 0) for row in added.rows)
        _refuse_overflow(added.flow_id, duration, size)
        first, last = counters["min_start_ns"], counters["max_end_ns"]
        self._flows.change(
            slot,
            {
                "segment_count": counters["segment_count"] + len(spans),
                "duration_ns": duration,
                "bytes": size,
                "min_start_ns": spans[0][0] if first is None else min(first, spans[0][0]),
                "max_end_ns": spans[-1][1] if last is None else max(last, spans[-1][1]),
                "longest_ns": max(counters["longest_ns"], *durations),
                "segments_updated": self._now_us,
            },
        )
        self._segments.more += added.rows
        self.users.update(str(row[_OBJECT]) for row in added.rows)
        for row in added.rows:
            start = int(row[_START] or 0)
            self.added[str(row[_OBJECT])].segments(added.flow_id, start, start)
        for span in spans:
            insort(self.timeline(added.flow_id).added, span)

    def _refuse_overlaps(self, flow_id: str, spans: Spans, slot: Slot) -> None:
        for (_, end), (start, _) in pairwise(spans):
            if start < end:
                raise Stale(f"two of the new segments overlap at {start}")
        timeline = self.timeline(flow_id)
        stored = timeline.stored if slot.row_id is not None else []
        if stored and timeline.gone:
            left = ~timeline.is_gone(np.array([start for start, _ in stored], np.int64))
            stored = [span for span, there in zip(stored, left.tolist(), strict=True) if there]
        for taken in (stored, timeline.added):
            if taken and (at := _first_overlap(taken, spans)) is not None:
                raise Stale(f"a stored segment of flow {flow_id} overlaps {at}")

    # References

    def refer(self, refer: Refer) -> None:
        """Take in users that are no segments."""
        self.users[refer.object_id] += refer.by
        if refer.by > 0:
            self.added[refer.object_id].objects = True

    def count_users(self) -> None:
        """Change what objects say of their users by what has come up since the last call."""
        for object_id, by in self.users.items():
            slot = self._objects.live((object_id,))
            if slot is not None and slot.values is not None:
                count = slot.values["ref_count"] + by
                orphaned = self._now_us if count == 0 else None
                self._objects.change(slot, {"ref_count": count, "orphaned": orphaned})
        for object_id, added in self.added.items():
            slot = self._objects.live((object_id,))
            if slot is not None and slot.values is not None:
                told = with_users(slot.values[USES], added)
                if told != slot.values[USES]:
                    self._objects.change(slot, {USES: told})
        self.users.clear()
        self.added.clear()


def _first_overlap(taken: Spans, spans: Spans) -> int | None:
    """Where the first of the spans begins that meets one of the taken ones; both are in order."""
    for start, end in spans:
        # The last one that begins before the new end is the only one that can reach into it.
        at = bisect_left(taken, (end, _MIN_INT64))
        if at and taken[at - 1][1] > start:
            return start
    return None


def _spans(rows: Iterable[Row]) -> Spans:
    spans = sorted((int(row[_START] or 0), int(row[_END] or 0)) for row in rows)
    for start, end in spans:
        if end <= start:
            raise ValueError(f"a segment must end after it begins at {start}, not at {end}")
    return spans


def _refuse_overflow(flow_id: str, duration_ns: int, size: int) -> None:
    if duration_ns > _MAX_INT64:
        raise BadInput(f"the segments of flow {flow_id} would last more than 292 years together")
    if size > _MAX_INT64:
        raise BadInput(f"the segments of flow {flow_id} would hold more than 2^63 bytes together")


def _completed(event: NewEvent | None, count: int, start_ns: int, end_ns: int) -> NewEvent | None:
    if event is None:
        return None
    body = orjson.loads(event.body)
    body |= {"segment_count": count, "start_ns": start_ns, "end_ns": end_ns}
    return NewEvent(event.type, event.source_id, event.flow_id, orjson.dumps(body).decode())
