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
from tams_gql.store.embedded.few_values import (
    FEW,
    covered,
    hidden,
    index_of,
    is_in_doubt,
    is_served,
    narrowing,
    simplified,
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
    begin: str | None = None  # the column of few values to begin with
    apart: int = 0  # so many conditions find the few rows that the others look at


class Statement(NamedTuple):
    """SQL text and the values that fill it; the limit, if there is one, comes last."""

    text: str
    parameters: list[Any]


def select(scan: Scan, *, few: bool = False) -> list[Statement]:
    """The statements whose rows, one after the other, are those of the scan.

    All have the scan's limit: the reader stops when it has enough rows. ``few`` is what ``look``
    found.
    """
    scan, begin, apart = _begun(scan, few)
    return [_select(stretch, None, begin, apart) for stretch in _stretches(scan)]


def look(scan: Scan, *, counting: bool = False) -> Statement | None:
    """Finds a row unless few match, where that decides how to read; else None.

    What it finds by is a part of the scan's conditions that an index alone answers.
    """
    column = narrowing(scan)
    if column is None:
        return None
    scan = simplified(_unpaged(scan) if counting else scan)
    if not is_in_doubt(scan, column):
        return None
    told = covered(scan.table, column)
    where = tuple([w for w in scan.where if w.column in told])
    text, parameters = _select(Scan(scan.table, ("1",), where), None, column)
    return Statement(f"{text} LIMIT 1 OFFSET {FEW - 1}", parameters)


def _begun(scan: Scan, few: bool) -> tuple[Scan, str | None, int]:
    """The scan, the column of few values that it begins with, and by how many conditions apart."""
    column = narrowing(scan)
    if column is None:
        return scan, None, 0
    scan = simplified(scan)
    if not few:
        return scan, column if is_served(scan, column) else None, 0
    told = covered(scan.table, column)
    where = sorted(scan.where, key=lambda w: w.column not in told)
    apart = sum(w.column in told for w in where)
    return replace(scan, where=tuple(where)), column, apart


def select_partition(scan: Scan, column: str) -> list[Statement]:
    """As ``select``, for one partition; its key is the first parameter, left to the caller."""
    return [_select(stretch, column) for stretch in _stretches(scan)]


def count(scan: Scan, *, few: bool = False) -> Statement:
    """The statement that counts what a scan matches, its limit and position left out."""
    scan, begin, apart = _begun(_unpaged(scan), few)
    return _select(scan, None, begin, apart)


def _unpaged(scan: Scan) -> Scan:
    """The scan whose rows ``count`` counts."""
    return replace(scan, columns=(), order=(), limit=None, after=None)


def count_partitions(partitioned: Partitioned) -> Statement:
    """The statement giving ``(key, count)`` for the keys that match at all."""
    bare, column = _unpaged(partitioned.scan), partitioned.column
    keyed = replace(bare, where=(is_in(column, partitioned.keys), *bare.where))
    text, parameters = _select(keyed, None)
    counted = text.removeprefix("SELECT ")
    return Statement(f"SELECT {column}, {counted} GROUP BY {column}", parameters)


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


def _select(
    scan: Scan, partition: str | None, begin: str | None = None, apart: int = 0
) -> Statement:
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
        begin=begin,
        apart=apart,
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
    unused = frozenset() if shape.begin else hidden(shape.table)
    conditions += [where_text(where, unused) for where in shape.where]
    conditions += [tag_text(shape.table, tag) for tag in shape.tags]
    if shape.matching is not None:
        conditions.append(matching_text(shape.table, shape.matching))
    if shape.after is not None:
        after, filled = after_text(shape.order, shape.after, shape.present)
        conditions.append(after)
    table = shape.table.name
    found_by = "" if shape.begin is None else f" INDEXED BY {index_of(shape.table, shape.begin)}"
    if shape.apart:
        # SQLite looks each row up before it compares even what an index holds, but not in here.
        first = " AND ".join(conditions[: shape.apart])
        few = f"id IN (SELECT id FROM {table}{found_by} WHERE {first})"
        conditions, found_by = [few, *conditions[shape.apart :]], ""
    text = f"SELECT {', '.join(shape.columns) or 'count(*)'} FROM {table}{found_by}"
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
