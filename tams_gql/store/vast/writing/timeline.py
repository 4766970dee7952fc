"""Reading stored segments for a change set: in portions, by ranges, from either end of a flow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tams_gql.store.changes import RemoveSegments
from tams_gql.store.scan import Op, Where, compare, eq
from tams_gql.store.tables import SEGMENTS
from tams_gql.store.vast.layout import physical_of
from tams_gql.store.vast.reading.reader import Reader
from tams_gql.store.vast.wire.domains import Within

_MIN_INT64, _MAX_INT64 = -(2**63), 2**63 - 1

_PORTION_ROWS = 200_000  # that one select may bring
_MAX_SPANS = 64  # ranges of time in one predicate
_FIRST_LOOK = 64  # segments expected in the first range searched for the end of a flow
_WIDER = 16

_PHYSICAL = physical_of(SEGMENTS)

Spans = list[tuple[int, int]]
Longs = npt.NDArray[np.int64]


@dataclass(slots=True)
class Timeline:
    """The segments of one flow that a change set has to do with."""

    gone: list[Longs] = field(default_factory=list)  # starts of removed segments, by removal
    first_gone: int = _MAX_INT64  # the earliest of these starts
    last_gone: tuple[int, int] = (_MIN_INT64, _MIN_INT64)  # the range of the latest
    added: Spans = field(default_factory=list)  # in order
    stored: Spans = field(default_factory=list)  # read because something new may overlap them

    def forget(self, starts: Longs, ends: Longs) -> None:
        """Note that stored segments have been removed."""
        self.gone.append(starts)
        self.first_gone = min(self.first_gone, int(starts.min()))
        self.last_gone = max(self.last_gone, (int(starts.max()), int(ends.max())))

    def is_gone(self, starts: Longs) -> npt.NDArray[np.bool_]:
        """Which of these stored segments have been removed before."""
        mask = np.zeros(len(starts), dtype=bool)
        for each in self.gone:
            mask |= np.isin(starts, each)
        return mask


def inside(
    reader: Reader, removal: RemoveSegments, counters: dict[str, Any] | None
) -> Iterator[pa.Table]:
    """The stored segments wholly inside the window, in portions.

    Containment, as the specification asks of DELETE. The start bounds the range at both ends,
    because a segment inside the window also begins inside it.
    """
    low, high, count = removal.start_ns, removal.end_ns, 1
    if counters is not None:
        if (count := counters["segment_count"]) == 0:
            return
        low, high = max(low, counters["min_start_ns"]), min(high, counters["max_end_ns"])
    if low >= high:
        return
    bounds: list[Where] = [eq("flow_id", removal.flow_id), compare("end_ns", Op.LE, high)]
    if removal.object_id is not None:
        bounds.append(eq("object_id", removal.object_id))
    columns = ("start_ns", "end_ns", "object_id", "size")
    step = -(-(high - low) // -(-count // _PORTION_ROWS))
    for at in range(low, high, step):
        within = Within("start_ns", ((at, min(at + step, high)),))
        yield reader.select(_PHYSICAL, columns, (*bounds, within), row_ids=True)


def overlapping(flow_id: str, spans: Spans, longest_ns: int) -> tuple[Where | Within, ...]:
    """What stored segments that overlap one of the spans meet, and perhaps some others."""
    ranges = [(max(start - longest_ns, _MIN_INT64), end) for start, end in spans]
    while len(ranges) > _MAX_SPANS:
        ranges = [(pair[0][0], pair[-1][1]) for pair in _pairs(ranges)]
    return (
        eq("flow_id", flow_id),
        Within("start_ns", tuple(ranges)),
        compare("end_ns", Op.GT, spans[0][0]),
    )


def _pairs(ranges: Spans) -> Iterator[Spans]:
    for at in range(0, len(ranges), 2):
        yield ranges[at : at + 2]


class Ends:
    """Searches a flow from one end, in ranges of time that widen until something is found."""

    def __init__(
        self, reader: Reader, flow_id: str, timeline: Timeline, counters: dict[str, Any]
    ) -> None:
        self._reader = reader
        self._flow_id = flow_id
        self._timeline = timeline
        self._low, self._high = counters["min_start_ns"], counters["max_end_ns"]
        gone = sum(len(starts) for starts in timeline.gone)
        rate = (self._high - self._low) // (counters["segment_count"] + gone)
        self._step = max(1, rate) * _FIRST_LOOK

    def first_start(self, at: int) -> int | None:
        """Where the first segment that is left begins, none of them before ``at``."""
        step = self._step
        while at < self._high:
            if found := self._left(at, min(at + step, self._high)):
                return found[0][0]
            at, step = at + step, step * _WIDER
        return None

    def last_end(self, at: int) -> int | None:
        """Where the last segment that is left ends, all of them beginning before ``at``."""
        step = self._step
        while at > self._low:
            if found := self._left(max(at - step, self._low), at):
                return found[-1][1]
            at, step = at - step, step * _WIDER
        return None

    def _left(self, low: int, high: int) -> Spans:
        where = (eq("flow_id", self._flow_id), Within("start_ns", ((low, high),)))
        found = self._reader.select(_PHYSICAL, ("start_ns", "end_ns"), where)
        gone = self._timeline.is_gone(longs(found, "start_ns"))
        return sorted(ranges(found.filter(pa.array(~gone))))


def ranges(found: pa.Table) -> Iterator[tuple[int, int]]:
    starts, ends = longs(found, "start_ns"), longs(found, "end_ns")
    return zip(starts.tolist(), ends.tolist(), strict=True)


def longs(found: pa.Table, column: str) -> Longs:
    return np.asarray(found.column(column).to_numpy(), dtype=np.int64)
