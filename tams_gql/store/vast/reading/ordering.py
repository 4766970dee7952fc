"""Order, positions and limits on Arrow tables.

NULL counts as greater than every value: it sorts last, or first when descending. Text sorts by
its UTF-8 bytes, that is by code point.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from tams_gql.store.scan import Op, OrderBy, Range, Value, Where


def sort_indices(rows: pa.Table, order: Sequence[OrderBy]) -> pa.Array:
    """The numbers of the rows in order."""
    columns: list[pa.ChunkedArray] = []
    keys: list[tuple[str, str]] = []
    for term in order:
        column = rows.column(term.column)
        direction = "descending" if term.descending else "ascending"
        # Arrow places the NULLs of all sort keys on one side; ours depends on the direction.
        parts = [pc.is_null(column).cast(pa.int8()), column] if column.null_count else [column]
        for part in parts:
            keys.append((str(len(columns)), direction))
            columns.append(part)
    keyed = pa.table({name: column for (name, _), column in zip(keys, columns, strict=True)})
    return pc.sort_indices(keyed, sort_keys=keys)


def beyond(rows: pa.Table, order: Sequence[OrderBy], after: Sequence[Value]) -> pa.ChunkedArray:
    """Which rows come strictly after a position."""
    found: pa.ChunkedArray | None = None
    for term, value in zip(reversed(order), reversed(after), strict=True):
        column = rows.column(term.column)
        greater, same = _greater(column, term, value), _same(column, value)
        found = greater if found is None else pc.or_(greater, pc.and_(same, found))
    assert found is not None, "a position belongs to an order"
    return found


def _greater(column: pa.ChunkedArray, term: OrderBy, value: Value) -> pa.ChunkedArray:
    if value is None:
        return pc.is_valid(column) if term.descending else _none(column)
    given = pa.scalar(value, column.type)
    if term.descending:
        return pc.fill_null(pc.less(column, given), False)
    return pc.fill_null(pc.greater(column, given), True)


def _same(column: pa.ChunkedArray, value: Value) -> pa.ChunkedArray:
    if value is None:
        return pc.is_null(column)
    return pc.fill_null(pc.equal(column, pa.scalar(value, column.type)), False)


def _none(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pa.chunked_array([pa.repeat(pa.scalar(False), len(column))])


def paged(
    rows: pa.Table,
    order: Sequence[OrderBy],
    after: Sequence[Value] | None = None,
    limit: int | None = None,
) -> pa.Table:
    """The first rows, in order, that come after a position."""
    if after is not None:
        rows = rows.filter(beyond(rows, order, after))
    if not order:
        return rows if limit is None else rows.slice(0, limit)
    return rows.take(sort_indices(rows, order)[:limit])


def bound_of(order: Sequence[OrderBy], after: Sequence[Value] | None) -> tuple[Where, ...]:
    """What every row after a position satisfies, to be pushed down."""
    if after is None or not order:
        return ()
    column, value = order[0].column, after[0]
    if order[0].descending:
        # The rows after NULL are those without a value that follow in the order, and all others.
        return () if value is None else _where(column, Range(_strict(order, Op.LE, Op.LT), value))
    if value is None:
        return _where(column, Range(Op.IS_NULL))
    return _where(column, Range(_strict(order, Op.GE, Op.GT), value), Range(Op.IS_NULL))


def _strict(order: Sequence[OrderBy], loose: Op, strict: Op) -> Op:
    return strict if len(order) == 1 else loose


def _where(column: str, *ranges: Range) -> tuple[Where, ...]:
    return (Where(column, ranges),)
