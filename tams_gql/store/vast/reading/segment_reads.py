"""Segments of many flows, read together and found again by flow and time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tams_gql.store.scan import Op, Where, compare, is_in
from tams_gql.store.tables import FLOWS, SEGMENTS
from tams_gql.store.vast.layout import physical_of
from tams_gql.store.vast.reading.reader import View
from tams_gql.store.vast.reading.scanning import rows_by_key
from tams_gql.store.vast.reading.window_plan import MIN_NS, Timeline
from tams_gql.store.vast.wire.domains import Within

Numbers = npt.NDArray[np.int64]

_PLACE = ("flow_id", "start_ns", "end_ns")
_PRIORITY = ("created", "id")
_KNOWN = ("segment_count", "min_start_ns", "max_end_ns", "longest_ns")


def timelines(view: View, flow_ids: Iterable[str]) -> dict[str, Timeline]:
    """The timelines of the flows that have segments."""
    flows = physical_of(FLOWS)
    rows = rows_by_key(view, flows, "id", list(flow_ids), _KNOWN)
    columns = [rows.column(name).to_pylist() for name in ("id", *_KNOWN)]
    return {
        flow_id: Timeline(count, start, end, end - start if longest is None else longest)
        for flow_id, count, start, end, longest in zip(*columns, strict=True)
        if count and start is not None and end is not None
    }


class Segments:
    """Segments in the order of flow and start, no two of a flow overlapping."""

    def __init__(self, rows: pa.Table, flow_ids: Sequence[str]) -> None:
        codes = pc.index_in(rows.column("flow_id"), value_set=pa.array(flow_ids, pa.string()))
        numbers: Numbers = codes.to_numpy().astype(np.int64)
        starts: Numbers = rows.column("start_ns").to_numpy()
        order = np.lexsort((starts, numbers))
        self.rows = rows.take(pa.array(order))
        self.flows = numbers[order]
        self.starts = starts[order]
        self.ends: Numbers = self.rows.column("end_ns").to_numpy()
        edges = np.searchsorted(self.flows, np.arange(len(flow_ids) + 1))
        self._of_flow = {flow: (edges[at], edges[at + 1]) for at, flow in enumerate(flow_ids)}

    @property
    def overlapping(self) -> bool:
        """Whether two segments of one flow share a moment."""
        return bool(
            np.any((self.flows[1:] == self.flows[:-1]) & (self.starts[1:] < self.ends[:-1]))
        )

    def within(self, flow_id: str, first_ns: int, end_ns: int, from_ns: int) -> tuple[int, int]:
        """The rows of a flow that begin in ``[first_ns, end_ns)`` and end after ``from_ns``."""
        low, high = self._of_flow[flow_id]
        starts, ends = self.starts[low:high], self.ends[low:high]
        first = max(np.searchsorted(starts, first_ns), np.searchsorted(ends, from_ns, "right"))
        last = np.searchsorted(starts, end_ns)
        return int(low + first), int(low + max(first, last))

    def without(self, losers: Sequence[int]) -> pa.Table:
        """All rows but some."""
        kept = np.ones(len(self.flows), np.bool_)
        kept[list(losers)] = False
        return self.rows.filter(pa.array(kept))


def read_segments(
    view: View,
    flow_ids: Sequence[str],
    ranges: Sequence[tuple[int, int]],
    from_ns: int,
    columns: Iterable[str],
    where: tuple[Where, ...] = (),
) -> Segments:
    """The segments of the flows that begin in the ranges, end after ``from_ns``, meet ``where``.

    Where writers' conflicts go unnoticed segments of a flow can overlap. Then the one that was
    created first counts, on equal terms the one with the smaller id.
    """
    bounds: list[Where | Within] = [is_in("flow_id", flow_ids), Within("start_ns", tuple(ranges))]
    if from_ns > MIN_NS:
        bounds.append(compare("end_ns", Op.GT, from_ns))
    bounds += where
    table, wanted = physical_of(SEGMENTS), {*_PLACE, *columns}
    found = Segments(view.reader.select(table, sorted(wanted), bounds), flow_ids)
    if not found.overlapping:
        return found
    ranked = view.reader.select(table, sorted(wanted.union(_PRIORITY)), bounds)
    found = Segments(ranked, flow_ids)
    losers = _losers(found)
    view.tally.duplicates_seen += len(losers)
    return Segments(found.without(losers), flow_ids)


def _losers(found: Segments) -> list[int]:
    """The rows that overlap one that comes before them by creation and id."""
    created, ids = (found.rows.column(name).to_pylist() for name in _PRIORITY)
    losers: list[int] = []
    for first, end in _clusters(found):
        kept: list[int] = []
        for at in sorted(range(first, end), key=lambda at: (created[at] or 0, ids[at] or "")):
            clear = all(
                found.ends[at] <= found.starts[k] or found.ends[k] <= found.starts[at] for k in kept
            )
            (kept if clear else losers).append(at)
    return losers


def _clusters(found: Segments) -> Iterable[tuple[int, int]]:
    """Runs of rows of one flow that are linked by overlaps."""
    first, reach = 0, MIN_NS
    for at in range(len(found.flows)):
        if at > first and (found.flows[at] != found.flows[first] or found.starts[at] >= reach):
            if at - first > 1:
                yield first, at
            first, reach = at, MIN_NS
        reach = max(reach, int(found.ends[at]))
    if len(found.flows) - first > 1:
        yield first, len(found.flows)
