"""Laying HLS segments on one timeline, each by its own timestamps.

Within a stretch without discontinuity one offset turns media time into flow time, so gaps and
overlaps show as they are. At a discontinuity the media starts a new count: there the next segment
continues where the one before ended. Renditions of one programme share their offsets, because
their media time is the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tams_gql.ingest.api import RegisteredSegment, SegmentDraft
from tams_gql.ingest.hls_segment import WRAP_NS, ScannedSegment
from tams_gql.model.time import TimeRange

SEGMENT_TAG = "hls_segment"
"""Tag of a segment: its discontinuity and media sequence numbers, by which a later run knows it."""


@dataclass(frozen=True, slots=True)
class _Placed:
    segment: ScannedSegment
    offset_ns: int
    start_ns: int
    end_ns: int


@dataclass(slots=True)
class Offsets:
    """What the playlists of one programme share: flow time minus media time, in nanoseconds, at
    the first segment of each discontinuity sequence number.
    """

    start_ns: int
    known: dict[int, int] = field(default_factory=dict)


Finished = tuple[ScannedSegment, SegmentDraft]


class Timeline:
    """Places the segments of one playlist, in order; each waits for the start of the next."""

    def __init__(self, offsets: Offsets) -> None:
        self._offsets = offsets
        self._own: dict[int, int] = {}
        self._end_ns: int | None = None
        self._waiting: _Placed | None = None

    def knows(self, discontinuity: int) -> bool:
        """Whether media time of this stretch can be placed without guessing."""
        return discontinuity in self._own or discontinuity in self._offsets.known

    def learn(self, discontinuity: int, known: RegisteredSegment) -> None:
        """Take over the offset of a segment that is registered already; the earliest counts."""
        self._own.setdefault(discontinuity, known.ts_offset_ns)
        self._offsets.known.setdefault(discontinuity, known.ts_offset_ns)

    def skip(self, discontinuity: int, known: RegisteredSegment) -> Finished | None:
        """Go past a segment that is registered already; returns the one before it, if new."""
        finished = self._release(known.timerange.start_ns)
        self._remember(discontinuity, known.ts_offset_ns)
        self._end_ns = known.timerange.end_ns
        return finished

    def place(self, segment: ScannedSegment) -> Finished | None:
        """Take a segment; returns the one before it, whose end is known now."""
        placed = self._placed(segment)
        finished = self._release(placed.start_ns)
        self._waiting, self._end_ns = placed, placed.end_ns
        return finished

    def finish(self) -> Finished | None:
        """The last segment, which ends with its last sample."""
        return self._release(None)

    def _release(self, next_start_ns: int | None) -> Finished | None:
        placed, self._waiting = self._waiting, None
        if placed is None:
            return None
        end_ns, tolerance = placed.end_ns, placed.segment.times.tolerance_ns
        # Up to a frame is rounding; more is a gap, and left visible.
        if next_start_ns is not None and (tolerance is None or next_start_ns - end_ns <= tolerance):
            end_ns = next_start_ns
        return placed.segment, _draft(placed, end_ns)

    def _placed(self, segment: ScannedSegment) -> _Placed:
        times = segment.times
        offset_ns = self._offset(segment)
        before = self._end_ns
        if before is not None and times.start_ns + offset_ns < before - (times.tolerance_ns or 0):
            # The media went back in time without saying so: the same as a discontinuity.
            offset_ns = self._continue(segment)
        return _Placed(segment, offset_ns, times.start_ns + offset_ns, times.end_ns + offset_ns)

    def _offset(self, segment: ScannedSegment) -> int:
        number = segment.fetched.listed.discontinuity
        if not self.knows(number):
            return self._continue(segment)
        offset_ns = self._own.get(number, self._offsets.known.get(number, 0))
        if segment.wraps and self._end_ns is not None:
            # Media time may have gone round since: add the turns that come nearest to the end.
            distance = self._end_ns - (segment.times.start_ns + offset_ns)
            offset_ns += (2 * distance + WRAP_NS) // (2 * WRAP_NS) * WRAP_NS
        self._own[number] = offset_ns
        return offset_ns

    def _continue(self, segment: ScannedSegment) -> int:
        at_ns = self._offsets.start_ns if self._end_ns is None else self._end_ns
        offset_ns = at_ns - segment.times.start_ns
        self._remember(segment.fetched.listed.discontinuity, offset_ns)
        return offset_ns

    def _remember(self, discontinuity: int, offset_ns: int) -> None:
        self._own[discontinuity] = offset_ns
        self._offsets.known.setdefault(discontinuity, offset_ns)


def _draft(placed: _Placed, end_ns: int) -> SegmentDraft:
    segment, offset_ns = placed.segment, placed.offset_ns
    times = segment.times
    object_end_ns = max(times.object_end_ns, end_ns - offset_ns)
    return SegmentDraft(
        timerange=TimeRange.between(placed.start_ns, end_ns),
        object_timerange=TimeRange.between(times.object_start_ns, object_end_ns),
        ts_offset_ns=offset_ns,
        last_duration_ns=max(0, end_ns - offset_ns - times.last_ns),
        sample_count=segment.sample_count,
        key_frame_count=segment.key_frame_count,
        tags={SEGMENT_TAG: segment.fetched.listed.key},
    )
