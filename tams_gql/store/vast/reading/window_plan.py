"""How to read parts of many flows' timelines in few selects without reading much too much.

One select takes a list of flows and a union of ranges of ``start_ns``, and brings the segments of
every flow in every range. What that is, is estimated from each flow's own rate.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

MIN_NS, MAX_NS = -(2**63), 2**63 - 1

# Rows read for one wanted, and rows that cost less than one more select.
_TOO_MANY = 2.0
_SPARE_ROWS = 1_000
_MOST_RANGES = 64


class Timeline(NamedTuple):
    """What is known of a flow without reading segments."""

    segment_count: int
    start_ns: int
    end_ns: int
    longest_ns: int

    @property
    def interval_ns(self) -> float:
        """From the start of one segment to that of the next, on average."""
        return max((self.end_ns - self.start_ns) / max(self.segment_count, 1), 1.0)


class Stretch(NamedTuple):
    """The segments of a flow that begin in ``[first_ns, end_ns)``."""

    flow_id: str
    first_ns: int
    end_ns: int


class Group(NamedTuple):
    """Stretches, by their numbers, that one select reads."""

    members: list[int]
    ranges: tuple[tuple[int, int], ...]
    rows: float
    """About how many rows it brings."""


def grouped(
    stretches: Sequence[Stretch], timelines: Sequence[Timeline], most_rows: float = np.inf
) -> list[Group]:
    """Stretches in as few selects as do not read much more than is wanted.

    ``timelines`` belong to the stretches' flows, one for each. No group of several stretches
    brings more than about ``most_rows`` rows.
    """
    if not stretches:
        return []
    order = sorted(range(len(stretches)), key=lambda at: _kind(stretches[at]))
    return list(_split(order, stretches, _Rates(stretches, timelines), most_rows))


def _kind(stretch: Stretch) -> tuple[int, int]:
    return _scale(stretch), stretch.first_ns


def _scale(stretch: Stretch) -> int:
    """Stretches of about one length are alike."""
    return (stretch.end_ns - stretch.first_ns).bit_length()


class _Rates:
    """Rows of the stretches' flows, as numbers to calculate with."""

    def __init__(self, stretches: Sequence[Stretch], timelines: Sequence[Timeline]) -> None:
        numbers = {flow: at for at, flow in enumerate(dict.fromkeys(s.flow_id for s in stretches))}
        self.flow = np.array([numbers[s.flow_id] for s in stretches], np.int64)
        self.start = np.array([t.start_ns for t in timelines], np.float64)
        self.end = np.array([t.end_ns for t in timelines], np.float64)
        self.rate = np.array([1 / t.interval_ns for t in timelines], np.float64)
        first = np.array([s.first_ns for s in stretches], np.float64)
        end = np.array([s.end_ns for s in stretches], np.float64)
        shared = np.minimum(self.end, end) - np.maximum(self.start, first)
        self.wanted = np.maximum(shared, 0.0) * self.rate

    def rows(self, members: list[int], ranges: Sequence[tuple[int, int]]) -> float:
        """Rows that the flows of some stretches have in all of the ranges."""
        _, firsts = np.unique(self.flow[members], return_index=True)
        at = np.array(members)[firsts]
        found = np.zeros(len(at))
        for first, end in ranges:
            shared = np.minimum(self.end[at], end) - np.maximum(self.start[at], first)
            found += np.maximum(shared, 0.0)
        return float((found * self.rate[at]).sum())


def _split(
    members: list[int], stretches: Sequence[Stretch], rates: _Rates, most_rows: float
) -> Iterator[Group]:
    """Part stretches by their lengths as far as need be, alike ones by their time."""
    while members:
        whole = _group(members, stretches, rates)
        if _is_fit(whole, rates, most_rows):
            yield whole
            return
        scales = [_scale(stretches[at]) for at in members]
        edges = [at for at in range(1, len(members)) if scales[at] != scales[at - 1]]
        if edges:
            middle = min(edges, key=lambda at: abs(at - len(members) // 2))
            yield from _split(members[:middle], stretches, rates, most_rows)
        else:
            middle = _most_that_fit(members, stretches, rates, most_rows)
            yield _group(members[:middle], stretches, rates)
        members = members[middle:]


def _most_that_fit(
    members: list[int], stretches: Sequence[Stretch], rates: _Rates, most_rows: float
) -> int:
    fit, too_many = 1, len(members)
    while too_many - fit > 1:
        middle = (fit + too_many) // 2
        if _is_fit(_group(members[:middle], stretches, rates), rates, most_rows):
            fit = middle
        else:
            too_many = middle
    return fit


def _group(members: list[int], stretches: Sequence[Stretch], rates: _Rates) -> Group:
    ranges = united((stretches[at].first_ns, stretches[at].end_ns) for at in members)
    return Group(members, ranges, rates.rows(members, ranges))


def _is_fit(group: Group, rates: _Rates, most_rows: float) -> bool:
    """Whether to read a group at once."""
    enough = float(rates.wanted[group.members].sum()) * _TOO_MANY + _SPARE_ROWS
    return len(group.members) == 1 or group.rows <= min(most_rows, enough)


def united(
    ranges: Iterator[tuple[int, int]] | Sequence[tuple[int, int]],
) -> tuple[tuple[int, int], ...]:
    """Ranges in order that do not meet; where they are too many, the narrowest gaps are closed."""
    merged: list[tuple[int, int]] = []
    for first, end in sorted(ranges):
        if merged and first <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], end)
        else:
            merged.append((first, end))
    if len(merged) <= _MOST_RANGES:
        return tuple(merged)
    by_width = sorted(range(1, len(merged)), key=lambda at: merged[at - 1][1] - merged[at][0])
    cuts = [0, *sorted(by_width[: _MOST_RANGES - 1]), len(merged)]
    return tuple((merged[a][0], merged[b - 1][1]) for a, b in pairwise(cuts))


def portions(stretch: Stretch, timeline: Timeline, most_rows: float) -> Iterator[tuple[int, int]]:
    """A long stretch in ranges of about ``most_rows`` rows each."""
    step = max(int(timeline.interval_ns * most_rows), 1)
    first = stretch.first_ns
    while first < stretch.end_ns:
        end = min(first + step, stretch.end_ns)
        yield first, end
        first = end
