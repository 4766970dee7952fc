"""A window being answered page by page: what to read of it next, and what was found.

A segment overlaps ``[start, end)`` if it begins before ``end`` and ends after ``start``; since no
segment of its flow is longer than ``longest_ns``, it also begins after ``start - longest_ns``. A
page is read from a range that should hold it by the flow's own rate, then from further ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tams_gql.store.scan import CoverageWindow, Op, SegmentWindow, Where, compare, eq
from tams_gql.store.tables import SEGMENTS
from tams_gql.store.vast.layout import physical_of
from tams_gql.store.vast.reading.reader import View
from tams_gql.store.vast.reading.segment_reads import Numbers, Segments
from tams_gql.store.vast.reading.window_plan import Stretch, Timeline
from tams_gql.store.vast.wire.domains import Within

# Rates vary: a page is looked for in a range that holds a few more than it by the average.
_SPARE = 1.1
_SPARE_SEGMENTS = 2
# How much further each range goes than the one before it.
_WIDER = 16
# So many rows more than wanted are too many. Ranges beyond the first may lead over a gap into a
# dense part, so they are counted before they are read where they could bring that many.
_TOO_MANY, _TOO_MANY_AT_LEAST = 8, 1_000


def begins(window: SegmentWindow | CoverageWindow, timeline: Timeline) -> tuple[int, int]:
    """Where the segments that can overlap a window begin: ``[first, end)``."""
    first = max(window.start_ns - timeline.longest_ns + 1, timeline.start_ns)
    if window.start_ns >= min(timeline.end_ns, window.end_ns):
        return first, first
    return first, min(window.end_ns, timeline.end_ns)


def count_of(view: View, window: SegmentWindow, stretch: Stretch) -> int:
    """How many segments of a stretch overlap the window and meet its conditions."""
    bounds: list[Where | Within] = [
        eq("flow_id", stretch.flow_id),
        Within("start_ns", ((stretch.first_ns, stretch.end_ns),)),
        compare("end_ns", Op.GT, window.start_ns),
        *window.where,
    ]
    return view.reader.count(physical_of(SEGMENTS), bounds)


@dataclass(slots=True)
class Paging:
    """A window and how far it has been answered: ``[first_ns, end_ns)`` is still to be read."""

    number: int
    window: SegmentWindow
    timeline: Timeline
    first_ns: int
    end_ns: int
    step_ns: int
    found: list[tuple[int, Numbers]] = field(default_factory=list)  # which read, which rows
    count: int = 0
    begun: bool = False

    @classmethod
    def of(cls, number: int, window: SegmentWindow, timeline: Timeline) -> Paging:
        """A window of which nothing has been read."""
        first, end = begins(window, timeline)
        if window.after_ns is not None and window.reverse:
            end = min(end, window.after_ns)
        elif window.after_ns is not None:
            first = max(first, window.after_ns + 1)
        return cls(number, window, timeline, first, end, _step(window, timeline))

    @property
    def done(self) -> bool:
        """Whether there is nothing left to read, or enough has been found."""
        limit = self.window.limit
        return self.first_ns >= self.end_ns or (limit is not None and self.count >= limit)

    def next(self, view: View) -> Stretch:
        """What to read next of a window that is not done; it counts as read."""
        if not self.begun:
            stretch = self._nearest()
        elif self.timeline.segment_count > self._most:
            stretch = self._bounded(view)
        else:
            stretch = Stretch(self.window.flow_id, self.first_ns, self.end_ns)
        self.begun = True
        self._pass(stretch)
        return stretch

    def take(self, read: int, segments: Segments, stretch: Stretch) -> None:
        """Add what was read of a stretch."""
        first, end = segments.within(*stretch, self.window.start_ns)
        rows = np.arange(first, end)
        if self.window.reverse:
            rows = rows[::-1]
        if self.window.limit is not None:
            rows = rows[: self.window.limit - self.count]
        if len(rows):
            self.found.append((read, rows))
            self.count += len(rows)

    @property
    def _most(self) -> int:
        """How many rows a further range may bring."""
        return (self.window.limit or 0) * _TOO_MANY + _TOO_MANY_AT_LEAST

    def _nearest(self) -> Stretch:
        first, end = self.first_ns, self.end_ns
        if self.window.limit is not None:
            if self.window.reverse:
                first = max(first, end - self.step_ns)
            else:
                # Only the segment that reaches into the window begins before it.
                end = min(end, max(first, self.window.start_ns) + self.step_ns)
        return Stretch(self.window.flow_id, first, end)

    def _bounded(self, view: View) -> Stretch:
        """The next stretch that brings some segments, but not too many, or the last one."""
        crowded = False  # whether too many begin within two more steps
        while True:
            if not crowded:
                self.step_ns *= _WIDER
            stretch = self._nearest()
            count = count_of(view, self.window, stretch)
            if count > self._most and self.step_ns > 1:
                crowded = True
            elif count or stretch == Stretch(stretch.flow_id, self.first_ns, self.end_ns):
                return stretch
            else:
                self._pass(stretch)
                crowded = crowded and self.step_ns > 1
            if crowded:
                self.step_ns //= 2

    def _pass(self, stretch: Stretch) -> None:
        if self.window.reverse:
            self.end_ns = stretch.first_ns
        else:
            self.first_ns = stretch.end_ns


def _step(window: SegmentWindow, timeline: Timeline) -> int:
    """The range to look for a page in.

    By the average, but where there are gaps segments are closer to one another than that; they
    still touch as a rule, so that each begins where the one before it ends.
    """
    if window.limit is None:
        return 0
    rows = window.limit * _SPARE + _SPARE_SEGMENTS
    return max(int(min(timeline.interval_ns, timeline.longest_ns) * rows), 1)
