"""Windows on flows' timelines: pages and counts of the segments that overlap them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa

from tams_gql.store.port import Groups
from tams_gql.store.scan import SegmentWindow, Where
from tams_gql.store.tables import SEGMENTS
from tams_gql.store.vast.layout import physical_of, to_logical
from tams_gql.store.vast.reading.reader import View
from tams_gql.store.vast.reading.segment_reads import Numbers, Segments, read_segments, timelines
from tams_gql.store.vast.reading.window_pages import Paging, begins, count_of
from tams_gql.store.vast.reading.window_plan import Group, Stretch, Timeline, grouped

# More segments than this are counted by the database.
_COUNTED_ROWS = 20_000


def window_rows(view: View, columns: tuple[str, ...], windows: Sequence[SegmentWindow]) -> Groups:
    """The segments of each window, one group each, in the order of the windows."""
    known = timelines(view, (w.flow_id for w in windows if not _is_empty(w)))
    paging = [
        Paging.of(at, window, known[window.flow_id])
        for at, window in enumerate(windows)
        if window.flow_id in known
    ]
    reads: list[pa.Table] = []
    while pending := [each for each in paging if not each.done]:
        for where, alike in _by_where(pending).items():
            reads += _read_round(view, columns, alike, where, len(reads))
    return _answer(columns, len(windows), paging, reads)


def _is_empty(window: SegmentWindow) -> bool:
    return window.start_ns >= window.end_ns


def _by_where(pending: Iterable[Paging]) -> dict[tuple[Where, ...], list[Paging]]:
    alike: defaultdict[tuple[Where, ...], list[Paging]] = defaultdict(list)
    for each in pending:
        alike[each.window.where].append(each)
    return alike


def _read_round(
    view: View,
    columns: tuple[str, ...],
    pending: list[Paging],
    where: tuple[Where, ...],
    number: int,
) -> list[pa.Table]:
    """Read the next stretch of every window; the reads are numbered from ``number`` on."""
    paging, stretches = _next(view, pending)
    groups = grouped(stretches, [each.timeline for each in paging])

    def read(group: Group) -> Segments:
        from_ns = min(paging[at].window.start_ns for at in group.members)
        flows = flows_of(group, stretches)
        return read_segments(view, flows, group.ranges, from_ns, columns, where)

    reads = view.side_by_side(read, groups)
    for which, (group, segments) in enumerate(zip(groups, reads, strict=True), number):
        for at in group.members:
            paging[at].take(which, segments, stretches[at])
    return [segments.rows.select(list(columns)) for segments in reads]


def _next(view: View, pending: list[Paging]) -> tuple[list[Paging], list[Stretch]]:
    """The windows with what to read next of them; to find that may take calls, but not at first."""
    first = [each for each in pending if not each.begun]
    later = [each for each in pending if each.begun]
    stretches = [each.next(view) for each in first]
    return [*first, *later], [*stretches, *view.side_by_side(lambda each: each.next(view), later)]


def flows_of(group: Group, stretches: Sequence[Stretch]) -> list[str]:
    """The flows of a group, each once."""
    return list(dict.fromkeys(stretches[at].flow_id for at in group.members))


def _answer(
    columns: tuple[str, ...], count: int, paging: list[Paging], reads: list[pa.Table]
) -> Groups:
    sizes = np.zeros(count, np.int64)
    firsts = np.cumsum([0, *(read.num_rows for read in reads)])
    rows: list[Numbers] = []
    for each in paging:
        sizes[each.number] = each.count
        rows += [firsts[read] + found for read, found in each.found]
    schema = pa.schema([physical_of(SEGMENTS).schema.field(name) for name in columns])
    joined = pa.concat_tables([schema.empty_table(), *reads])
    taken = joined.take(pa.array(np.concatenate(rows) if rows else [], pa.int64()))
    offsets = [0, *np.cumsum(sizes).tolist()]
    return Groups(to_logical(SEGMENTS, columns, taken), offsets)


def window_counts(view: View, windows: Sequence[SegmentWindow]) -> list[int]:
    """How many segments overlap each window, its limit and position left out."""
    known = timelines(view, (w.flow_id for w in windows if not _is_empty(w)))
    counts = [0] * len(windows)
    pending: list[Paging] = []
    for at, window in enumerate(windows):
        timeline = known.get(window.flow_id)
        if timeline is None:
            continue
        if not window.where and _holds(window, timeline):
            counts[at] = timeline.segment_count
        else:
            pending.append(Paging(at, window, timeline, *begins(window, timeline), 0))
    for where, alike in _by_where(each for each in pending if each.first_ns < each.end_ns).items():
        for each, count in zip(alike, _counts(view, alike, where), strict=True):
            counts[each.number] = count
    return counts


def _holds(window: SegmentWindow, timeline: Timeline) -> bool:
    return window.start_ns <= timeline.start_ns and window.end_ns >= timeline.end_ns


def _counts(view: View, pending: list[Paging], where: tuple[Where, ...]) -> list[int]:
    stretches = [Stretch(each.window.flow_id, each.first_ns, each.end_ns) for each in pending]
    counts = [0] * len(pending)
    known = [each.timeline for each in pending]

    def read(group: Group) -> None:
        if len(group.members) == 1 and group.rows > _COUNTED_ROWS:
            (at,) = group.members
            counts[at] = count_of(view, pending[at].window, stretches[at])
            return
        from_ns = min(pending[at].window.start_ns for at in group.members)
        flows = flows_of(group, stretches)
        segments = read_segments(view, flows, group.ranges, from_ns, (), where)
        for at in group.members:
            first, end = segments.within(*stretches[at], pending[at].window.start_ns)
            counts[at] = end - first

    view.side_by_side(read, grouped(stretches, known, most_rows=_COUNTED_ROWS))
    return counts
