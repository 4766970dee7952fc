"""Which stretches of timelines are covered, from the bounds of segments read in portions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tams_gql.store.scan import CoverageWindow, Covered
from tams_gql.store.vast.reading.reader import View
from tams_gql.store.vast.reading.segment_reads import Numbers, Segments, read_segments, timelines
from tams_gql.store.vast.reading.window_pages import begins
from tams_gql.store.vast.reading.window_plan import Group, Stretch, Timeline, grouped, portions
from tams_gql.store.vast.reading.windows import flows_of

# Rows kept in memory at a time: three integers and a flow id each.
_PORTION_ROWS = 250_000


def coverage(view: View, windows: Sequence[CoverageWindow]) -> list[Covered]:
    """What of each window is covered, in the order of the windows."""
    asked = [window for window in windows if window.start_ns < window.end_ns]
    known = timelines(view, (window.flow_id for window in asked))
    covers = [Cover(window) for window in windows]
    read = [at for at, window in enumerate(windows) if _is_reached(window, known)]
    stretches = [_stretch(windows[at], known[windows[at].flow_id]) for at in read]
    of_flows = [known[windows[at].flow_id] for at in read]
    reached = [covers[at] for at in read]
    view.side_by_side(
        lambda group: _read(view, group, stretches, of_flows, reached),
        grouped(stretches, of_flows, most_rows=_PORTION_ROWS),
    )
    return [cover.result() for cover in covers]


def _is_reached(window: CoverageWindow, known: Mapping[str, Timeline]) -> bool:
    if window.start_ns >= window.end_ns or window.flow_id not in known:
        return False
    first, end = begins(window, known[window.flow_id])
    return first < end


def _stretch(window: CoverageWindow, timeline: Timeline) -> Stretch:
    return Stretch(window.flow_id, *begins(window, timeline))


def _read(
    view: View,
    group: Group,
    stretches: Sequence[Stretch],
    of_flows: Sequence[Timeline],
    covers: Sequence[Cover],
) -> None:
    from_ns = min(covers[at].window.start_ns for at in group.members)
    flows = flows_of(group, stretches)
    parts = [group.ranges]
    if group.rows > _PORTION_ROWS:
        # A group of so many rows is a single stretch.
        (at,) = group.members
        parts = [(part,) for part in portions(stretches[at], of_flows[at], _PORTION_ROWS)]
    for ranges in parts:
        segments = read_segments(view, flows, ranges, from_ns, ("size",))
        for at in group.members:
            covers[at].add(segments, *stretches[at])


class Cover:
    """The coverage of one window, given its segments in time order, some at a time."""

    def __init__(self, window: CoverageWindow) -> None:
        self.window = window
        self._closed: list[tuple[int, int]] = []
        self._open: tuple[int, int] | None = None
        self._covered_ns = 0
        self._count = 0
        self._bytes = 0

    def add(self, segments: Segments, flow_id: str, first_ns: int, end_ns: int) -> None:
        """Add the segments of the flow that overlap the window."""
        first, end = segments.within(flow_id, first_ns, end_ns, self.window.start_ns)
        if first == end:
            return
        starts = np.maximum(segments.starts[first:end], self.window.start_ns)
        ends = np.minimum(segments.ends[first:end], self.window.end_ns)
        self._count += end - first
        self._covered_ns += int(_distance(starts, ends).sum())
        sizes = segments.rows.column("size").slice(first, end - first)
        self._bytes += _sum(sizes.fill_null(0).to_numpy())
        self._join(starts, ends)

    def _join(self, starts: Numbers, ends: Numbers) -> None:
        """Go on with the open stretch over gaps that do not interrupt it."""
        if len(self._closed) > self.window.max_stretches:
            return
        breaks = np.flatnonzero(_distance(ends[:-1], starts[1:]) > self.window.max_gap_ns) + 1
        first, last = int(starts[0]), int(ends[-1])
        if self._open is not None:
            if first - self._open[1] > self.window.max_gap_ns:
                self._closed.append(self._open)
            else:
                first = self._open[0]
        breaks = breaks[: self.window.max_stretches + 1]
        begun = [first, *starts[breaks].tolist()]
        ended = [*ends[breaks - 1].tolist(), last]
        found = list(zip(begun, ended, strict=True))
        self._closed += found[:-1]
        self._open = found[-1]

    def result(self) -> Covered:
        """What the segments so far cover."""
        stretches = [*self._closed, *([] if self._open is None else [self._open])]
        kept = tuple(stretches[: self.window.max_stretches + 1])
        return Covered(kept, self._covered_ns, self._count, self._bytes)


def _distance(earlier: Numbers, later: Numbers) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """How far ``later`` is after ``earlier``, which may be more than an int64 holds."""
    return later.view(np.uint64) - earlier.view(np.uint64)


def _sum(values: Numbers) -> int:
    return int(values.sum())
