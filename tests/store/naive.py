"""What reads mean, said in plain Python over lists: the reference of the property tests."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cmp_to_key
from typing import Any

from tams_gql.store.scan import (
    AllOf,
    Among,
    AnyOf,
    Condition,
    CoverageWindow,
    Covered,
    Not,
    Op,
    OrderBy,
    Range,
    SegmentWindow,
    Tagged,
    TagOp,
    Where,
)

Named = Mapping[str, Any]


def satisfies(row: Named, where: Iterable[Where]) -> bool:
    """Whether a row satisfies all conditions, each in any of its ranges."""
    return all(any(_in_range(row[w.column], r) for r in w.any_of) for w in where)


def _in_range(value: Any, bound: Range) -> bool:
    if bound.op is Op.IS_NULL:
        return value is None
    if value is None:
        return False  # NULL stands in no relation to anything
    given: Any = bound.value
    match bound.op:
        case Op.EQ:
            return bool(value == given)
        case Op.NE:
            return bool(value != given)
        case Op.LT:
            return bool(value < given)
        case Op.LE:
            return bool(value <= given)
        case Op.GT:
            return bool(value > given)
        case Op.GE:
            return bool(value >= given)
        case Op.IN:
            return value in given
        case Op.PREFIX:
            return bool(value.startswith(given))
        case Op.CONTAINS:
            return given in value
        case _:
            return True


def ordered(rows: Iterable[Named], order: Sequence[OrderBy]) -> list[Named]:
    """Rows in order; NULL counts as greater than every value."""

    def compare(a: Named, b: Named) -> int:
        return _compare([a[t.column] for t in order], [b[t.column] for t in order], order)

    return sorted(rows, key=cmp_to_key(compare))


def beyond(row: Named, order: Sequence[OrderBy], position: Sequence[Any]) -> bool:
    """Whether a row comes strictly after a position."""
    return _compare([row[t.column] for t in order], position, order) > 0


def _compare(a: Sequence[Any], b: Sequence[Any], order: Sequence[OrderBy]) -> int:
    for left, right, term in zip(a, b, order, strict=True):
        if left == right:
            continue
        greater = left is None or (right is not None and left > right)
        return 1 if greater is not term.descending else -1
    return 0


def tagged(tags: Mapping[str, str | list[str]] | None, condition: Tagged) -> bool:
    """Whether a resource's tags satisfy a condition."""
    known = tags is not None and condition.name in tags
    found = tags[condition.name] if tags is not None and known else []
    values = [found] if isinstance(found, str) else found
    match condition.op:
        case TagOp.EXISTS:
            return known
        case TagOp.ABSENT:
            return not known
        case TagOp.IN:
            return any(value in condition.values for value in values)
        case TagOp.ALL:
            return all(wanted in values for wanted in condition.values)
        case TagOp.PREFIX:
            return any(value.startswith(p) for value in values for p in condition.values)


def meets(
    row: Named, condition: Condition, catalog: Mapping[str, Sequence[Named]] | None = None
) -> bool:
    """Whether a row meets a combined condition; ``catalog`` has the rows of other tables."""
    match condition:
        case Where():
            return satisfies(row, (condition,))
        case Tagged():
            return tagged(None if row["tags"] is None else json.loads(row["tags"]), condition)
        case Among(column, table, select, where, further):
            others = (catalog or {})[table.name]
            found = {
                other[select]
                for other in others
                if satisfies(other, where) and (further is None or meets(other, further, catalog))
            }
            return row[column] is not None and row[column] in found
        case AllOf(of):
            return all(meets(row, each, catalog) for each in of)
        case AnyOf(of):
            return any(meets(row, each, catalog) for each in of)
        case Not(inner):
            return not meets(row, inner, catalog)


def overlapping(segments: Iterable[Named], window: SegmentWindow) -> list[Named]:
    """The segments of one flow that a window asks for, its limit left out."""
    if window.start_ns >= window.end_ns:
        return []
    found = [
        s
        for s in segments
        if s["start_ns"] < window.end_ns
        and s["end_ns"] > window.start_ns
        and satisfies(s, window.where)
    ]
    found.sort(key=lambda s: s["start_ns"], reverse=window.reverse)
    if window.after_ns is None:
        return found
    if window.reverse:
        return [s for s in found if s["start_ns"] < window.after_ns]
    return [s for s in found if s["start_ns"] > window.after_ns]


def overlap(a: tuple[int, int], b: tuple[int, int]) -> bool:
    """Whether two half-open ranges share a moment."""
    return a[0] < b[1] and b[0] < a[1]


def coverage(segments: Iterable[Named], window: CoverageWindow) -> Covered:
    """What of a window one flow's segments cover; stretches beyond the last one asked for too."""
    bounds = SegmentWindow(window.flow_id, window.start_ns, window.end_ns)
    found = overlapping(segments, bounds)
    stretches: list[tuple[int, int]] = []
    covered = 0
    for segment in found:
        start = max(segment["start_ns"], window.start_ns)
        end = min(segment["end_ns"], window.end_ns)
        covered += end - start
        if stretches and start - stretches[-1][1] <= window.max_gap_ns:
            start = stretches.pop()[0]
        stretches.append((start, end))
    size = sum(segment["size"] or 0 for segment in found)
    return Covered(tuple(stretches), covered, len(found), size)
