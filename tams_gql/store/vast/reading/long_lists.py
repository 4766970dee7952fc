"""Where a page of a list in order of time ends, found by counting.

The database cannot sort. A page of a very large table is found by reading only rows of a stretch
of time that certainly holds it; how long that is, is counted, from a guess that the list before
has left.
"""

from __future__ import annotations

import time

import pyarrow as pa

from tams_gql.store.scan import Op, Range, Scan, Where
from tams_gql.store.vast.layout import Physical
from tams_gql.store.vast.reading.reader import Bounds, Reader, Widths

# Tables with fewer rows are read whole, as far as a page needs them.
LONG_ROWS = 200_000
# The stretch to read has between the rows of a page and so many.
_MOST_ROWS = 20_000
_FIRST_WIDTH_US = 3_600_000_000
_WIDER = 8
_DAY_US = 86_400_000_000


def is_by_time(scan: Scan) -> bool:
    """Whether the rows of a list come in the order of a record time."""
    if not scan.order:
        return False
    column = scan.order[0].column
    return column in scan.table.columns and pa.types.is_timestamp(
        scan.table.schema.field(column).type
    )


def page_bound(
    reader: Reader, table: Physical, scan: Scan, where: Bounds, widths: Widths
) -> Where | None:
    """A stretch of time from the scan's position on with at least its limit of matching rows.

    All rows outside of it come later in the order. None if there is none that has few enough rows.
    """
    first = scan.order[0]
    if scan.after is not None and scan.after[0] is None and not first.descending:
        return None  # only rows without a time follow
    start = _start(scan)
    kind = (table.name, first.column, first.descending, *(bound.column for bound in where))
    too_few, too_many = 0, _furthest(scan, start) + 1
    width, crowded = widths.get(kind) or _FIRST_WIDTH_US, False
    while too_few < too_many - 1:
        width = min(max(width, too_few + 1), too_many - 1)
        bound = _bound(scan, start, width)
        count = reader.count(table, (*where, bound))
        if (scan.limit or 0) <= count <= _MOST_ROWS:
            widths.keep(kind, width)
            return bound
        if count > _MOST_ROWS:
            too_many, crowded = width, True
        else:
            too_few = width
        width = (too_few + too_many) // 2 if crowded else width * _WIDER
    widths.keep(kind, width)  # if there are too few at all, one count shows it the next time
    return None


def _start(scan: Scan) -> int:
    value = None if scan.after is None else scan.after[0]
    if isinstance(value, int):
        return value
    return _now_us() if scan.order[0].descending else 0


def _furthest(scan: Scan, start: int) -> int:
    """The width that reaches all times since 1970."""
    return max(start if scan.order[0].descending else _now_us() - start, 1)


def _now_us() -> int:
    return time.time_ns() // 1_000 + _DAY_US


def _bound(scan: Scan, start: int, width: int) -> Where:
    first = scan.order[0]
    if first.descending:
        # NULL comes first there, unless the position is beyond.
        return Where(first.column, (Range(Op.GE, start - width), Range(Op.IS_NULL)))
    return Where(first.column, (Range(Op.LE, start + width),))
