"""Scans to SQL.

The text of a statement depends only on the scan's shape (table, columns, operators, NULLs in the
position), never on its values, so that texts are built once and SQLite's own statement cache hits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

from tams_gql.store.embedded.conditions import (
    TagShape,
    WhereShape,
    after_text,
    tag_shape,
    tag_text,
    where_shape,
    where_text,
)
from tams_gql.store.embedded.matching import Shape as MatchingShape
from tams_gql.store.embedded.matching import matching_shape, matching_text
from tams_gql.store.embedded.required import never_null
from tams_gql.store.scan import Op, OrderBy, Partitioned, Scan, compare, is_in
from tams_gql.store.tables import Table


class _Shape(NamedTuple):
    table: Table
    columns: tuple[str, ...]
    where: tuple[WhereShape, ...]
    tags: tuple[TagShape, ...]
    matching: MatchingShape | None
    order: tuple[OrderBy, ...]
    after: tuple[bool, ...] | None  # which values of the position are NULL
    present: frozenset[str]  # columns without NULL
    limited: bool
    partition: str | None = None


class Statement(NamedTuple):
    """SQL text and the values that fill it; the limit, if there is one, comes last."""

    text: str
    parameters: list[Any]


def select(scan: Scan) -> list[Statement]:
    """The statements whose rows, one after the other, are those of the scan.

    All have the scan's limit: the reader stops when it has enough rows.
    """
    return [_select(stretch, None) for stretch in _stretches(scan)]


def select_partition(scan: Scan, column: str) -> list[Statement]:
    """As ``select``, for one partition; its key is the first parameter, left to the caller."""
    return [_select(stretch, column) for stretch in _stretches(scan)]


def count(scan: Scan) -> Statement:
    """The statement that counts what a scan matches, its limit and position left out."""
    return _select(_unpaged(scan), None)


def count_partitions(partitioned: Partitioned) -> Statement:
    """The statement giving ``(key, count)`` for the keys that match at all."""
    bare, column = _unpaged(partitioned.scan), partitioned.column
    keyed = replace(bare, where=(is_in(column, partitioned.keys), *bare.where))
    text, parameters = _select(keyed, None)
    counted = text.removeprefix("SELECT ")
    return Statement(f"SELECT {column}, {counted} GROUP BY {column}", parameters)


def _unpaged(scan: Scan) -> Scan:
    return replace(scan, columns=(), order=(), limit=None, after=None)


def _stretches(scan: Scan) -> Iterator[Scan]:
    """The scan in parts that an index can read in order.

    Where the first ordering column can be NULL, the rows without it are a stretch of their own:
    SQLite would sort or filter all rows to put them last.
    """
    if not scan.order or scan.order[0].column in never_null(scan.table, scan.where):
        yield scan
        return
    first = scan.order[0]
    known = replace(scan, where=(*scan.where, compare(first.column, Op.NOT_NULL)))
    unknown = replace(
        scan, where=(*scan.where, compare(first.column, Op.IS_NULL)), order=scan.order[1:]
    )
    if scan.after is None:
        yield from (unknown, known) if first.descending else (known, unknown)
    elif scan.after[0] is not None:
        yield known
        if not first.descending:
            yield replace(unknown, after=None)
    else:
        if unknown.order:
            yield replace(unknown, after=scan.after[1:])
        if first.descending:
            yield replace(known, after=None)


def _select(scan: Scan, partition: str | None) -> Statement:
    parameters: list[Any] = []
    shape = _Shape(
        table=scan.table,
        columns=scan.columns,
        where=tuple([where_shape(w, parameters) for w in scan.where]),
        tags=tuple([tag_shape(t, parameters) for t in scan.tags]),
        matching=None if scan.matching is None else matching_shape(scan.matching, parameters),
        order=scan.order,
        after=None if scan.after is None else tuple([v is None for v in scan.after]),
        present=never_null(scan.table, scan.where) if scan.order else frozenset(),
        limited=scan.limit is not None,
        partition=partition,
    )
    text, filled = _text(shape)
    if scan.after is not None:
        parameters += [scan.after[index] for index in filled]
    if scan.limit is not None:
        parameters.append(scan.limit)
    return Statement(text, parameters)


@lru_cache(maxsize=2048)
def _text(shape: _Shape) -> tuple[str, tuple[int, ...]]:
    """The text of a statement, and which values of the position fill it."""
    filled: tuple[int, ...] = ()
    conditions = [] if shape.partition is None else [f"{shape.partition} = ?"]
    conditions += [where_text(where) for where in shape.where]
    conditions += [tag_text(shape.table, tag) for tag in shape.tags]
    if shape.matching is not None:
        conditions.append(matching_text(shape.table, shape.matching))
    if shape.after is not None:
        after, filled = after_text(shape.order, shape.after, shape.present)
        conditions.append(after)
    text = f"SELECT {', '.join(shape.columns) or 'count(*)'} FROM {shape.table.name}"
    if conditions:
        text += " WHERE " + " AND ".join(conditions)
    if shape.order:
        terms = [_order_term(term, shape.present) for term in shape.order]
        text += " ORDER BY " + ", ".join(terms)
    if shape.limited:
        text += " LIMIT ?"
    return text, filled


def _order_term(term: OrderBy, present: frozenset[str]) -> str:
    direction = " DESC" if term.descending else ""
    if term.column in present:
        return f"{term.column}{direction}"
    # SQLite sorts NULL first by default; ours sorts last, and first when descending.
    return f"{term.column}{direction} NULLS {'FIRST' if term.descending else 'LAST'}"
