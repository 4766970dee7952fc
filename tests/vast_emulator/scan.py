"""What a query would have to read of a sorted table: row groups left by its sorting key."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from .evaluation import comparable, matches
from .predicates import Domain, Range
from .selection import Page
from .storage import GROUP_ROWS, Table

_MOST_BOUNDS = 100_000


@dataclass(frozen=True)
class Interval:
    """An interval of key values; None is unbounded on that side."""

    low: Any = None
    high: Any = None
    low_open: bool = False
    high_open: bool = False

    @property
    def is_point(self) -> bool:
        """Whether it holds one value."""
        return self.low is not None and self.low == self.high

    def meet(self, other: Interval) -> Interval | None:
        """The common part; None when there is none."""
        low, low_open = self.low, self.low_open
        if other.low is not None and (low is None or other.low >= low):
            low_open = other.low_open or (low_open and other.low == low)
            low = other.low
        high, high_open = self.high, self.high_open
        if other.high is not None and (high is None or other.high <= high):
            high_open = other.high_open or (high_open and other.high == high)
            high = other.high
        bounded = low is not None and high is not None
        if bounded and (low > high or (low == high and (low_open or high_open))):
            return None
        return Interval(low, high, low_open, high_open)


@dataclass(frozen=True)
class Scan:
    """The work of one query on a sorted table, or on all rows of an unsorted one."""

    row_groups: int
    """Row groups whose smallest and largest key do not exclude them."""
    rows: int
    """Rows of these groups."""
    rows_in_key_range: int
    """Rows within the bounds of the key prefix, as finer groups would leave."""


def scan_of(table: Table, domains: Sequence[Domain]) -> Scan:
    """Measure a query. Costs a sort of the key columns once per table version."""
    bounds, used = _key_bounds(table, domains)
    total = table.num_rows
    groups = -(-total // GROUP_ROWS)
    if bounds is None or not total:
        return Scan(groups, total, total)
    sizes = [
        min(GROUP_ROWS, total - number * GROUP_ROWS)
        for number, (first, last) in enumerate(_group_keys(table))
        if any(_meets(first, last, bound) for bound in bounds)
    ]
    in_range = sum(pc.sum(matches(used, c.columns)).as_py() or 0 for c in table.chunks)
    return Scan(len(sizes), sum(sizes), in_range)


def _key_bounds(
    table: Table, domains: Sequence[Domain]
) -> tuple[list[tuple[tuple[Any, ...], Interval]] | None, list[Domain]]:
    """Equal values of the leading key columns followed by an interval of the next one."""
    prefixes: list[tuple[Any, ...]] = [()]
    used: list[Domain] = []
    last: list[Interval] = [Interval()]
    for name in table.sorting_key:
        mine = [domain for domain in domains if domain.path == (name,)]
        if not mine:
            break
        kind = table.schema.field(name).type
        intervals = _intervals(mine, comparable(pa.array([], kind), kind)[1])
        if len(prefixes) * len(intervals) > _MOST_BOUNDS:
            break
        used += mine
        if not all(interval.is_point for interval in intervals):
            last = intervals
            break
        prefixes = [(*prefix, i.low) for prefix, i in itertools.product(prefixes, intervals)]
    if not used:
        return None, []
    return list(itertools.product(prefixes, last)), used


def _intervals(domains: list[Domain], convert: Any) -> list[Interval]:
    found = [Interval()]
    for domain in domains:
        parts = [_interval(item, convert) for item in domain.ranges]
        met = (left.meet(right) for left, right in itertools.product(found, parts))
        found = [interval for interval in met if interval is not None]
    return found


def _interval(item: Range, convert: Any) -> Interval:
    values = [convert(value) for value in item.values]
    match item.operator:
        case "==":
            return Interval(values[0], values[0])
        case ">":
            return Interval(low=values[0], low_open=True)
        case ">=":
            return Interval(low=values[0])
        case "<":
            return Interval(high=values[0], high_open=True)
        case "<=":
            return Interval(high=values[0])
        case "between":
            return Interval(values[0], values[1])
        case "from_to":
            return Interval(values[0], values[1], high_open=True)
    return Interval()


def _group_keys(table: Table) -> list[tuple[tuple[Any, ...], tuple[Any, ...]]]:
    """The smallest and the largest key of each row group of the table in key order."""
    known: list[tuple[tuple[Any, ...], tuple[Any, ...]]] | None = table.memo.get("group keys")
    if known is not None:
        return known
    whole = Page([(chunk, None) for chunk in table.chunks], 0)
    arrays = whole.columns([table.schema.field(name) for name in table.sorting_key])
    columns = {name: comparable(array, array.type)[0] for name, array in arrays.items()}
    keys = pa.table(columns)
    order = pc.sort_indices(keys, sort_keys=[(name, "ascending") for name in columns])
    total = len(order)
    edges = [
        edge
        for start in range(0, total, GROUP_ROWS)
        for edge in (start, min(start + GROUP_ROWS, total) - 1)
    ]
    taken = keys.take(order.take(pa.array(edges)))
    values = list(zip(*(column.to_pylist() for column in taken.columns), strict=True))
    known = list(zip(values[::2], values[1::2], strict=True))
    table.memo.put("group keys", known)
    return known


def _ordered(key: tuple[Any, ...]) -> tuple[tuple[bool, Any], ...]:
    """A key that compares with nulls last, as they are sorted."""
    return tuple((value is None, value) if value is not None else (True, 0) for value in key)


def _meets(
    first: tuple[Any, ...], last: tuple[Any, ...], bound: tuple[tuple[Any, ...], Interval]
) -> bool:
    prefix, interval = bound
    low = prefix if interval.low is None else (*prefix, interval.low)
    high = prefix if interval.high is None else (*prefix, interval.high)
    end, start = _ordered(last[: len(low)]), _ordered(first[: len(high)])
    if end < _ordered(low) or start > _ordered(high):
        return False
    if interval.low_open and end == _ordered(low):
        return False
    return not (interval.high_open and start == _ordered(high))
