"""Scans to SQL.

The text of a statement depends only on the scan's shape (table, columns, operators, NULLs in the
position), never on its values, so that texts are built once and SQLite's own statement cache hits.
Lists of any length are one parameter: a JSON array read by ``json_each``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from tams_gql.store.scan import Op, OrderBy, Partitioned, Range, Scan, Tagged, TagOp, Where
from tams_gql.store.tables import Table

_SIMPLE = {Op.EQ, Op.NE, Op.LT, Op.LE, Op.GT, Op.GE}


class _Shape(NamedTuple):
    table: Table
    columns: tuple[str, ...]
    where: tuple[tuple[str, tuple[Op, ...]], ...]
    tags: tuple[tuple[TagOp, int], ...]
    order: tuple[OrderBy, ...]
    after: tuple[bool, ...] | None  # which values of the position are NULL
    limited: bool
    partition: str | None
    partition_list: bool


Statement = tuple[str, list[Any]]


def select(scan: Scan) -> Statement:
    """The statement of one scan and its parameters."""
    shape = _shape_of(scan, scan.columns)
    return _text(shape), list(_parameters(scan))


def select_partition(scan: Scan, column: str) -> Statement:
    """The statement of one partition; the key is the first parameter, left to the caller."""
    shape = _shape_of(scan, scan.columns)._replace(partition=column)
    return _text(shape), list(_parameters(scan))


def count(scan: Scan) -> Statement:
    """The statement that counts what a scan matches, its limit and position left out."""
    bare = _unpaged(scan)
    return _text(_shape_of(bare, ())), list(_parameters(bare))


def count_partitions(partitioned: Partitioned) -> Statement:
    """The statement giving ``(key, count)`` for the keys that match at all."""
    bare = _unpaged(partitioned.scan)
    shape = _shape_of(bare, ())._replace(partition=partitioned.column, partition_list=True)
    return _text(shape), [_json(partitioned.keys), *_parameters(bare)]


def where_clause(where: tuple[Where, ...]) -> Statement:
    """An AND of conditions for a statement of the caller's own, with its parameters."""
    text = " AND ".join(_condition(w.column, tuple(r.op for r in w.any_of)) for w in where)
    return text or "1", [p for w in where for p in _where_parameters(w)]


def _unpaged(scan: Scan) -> Scan:
    return Scan(table=scan.table, columns=(), where=scan.where, tags=scan.tags)


def _shape_of(scan: Scan, columns: tuple[str, ...]) -> _Shape:
    return _Shape(
        table=scan.table,
        columns=columns,
        where=tuple((w.column, tuple(r.op for r in w.any_of)) for w in scan.where),
        tags=tuple((t.op, len(t.values)) for t in scan.tags),
        order=scan.order,
        after=None if scan.after is None else tuple(v is None for v in scan.after),
        limited=scan.limit is not None,
        partition=None,
        partition_list=False,
    )


@lru_cache(maxsize=2048)
def _text(shape: _Shape) -> str:
    table = shape.table
    conditions = []
    if shape.partition is not None:
        conditions.append(_partition_condition(shape))
    conditions += [_condition(column, ops) for column, ops in shape.where]
    conditions += [_tag_condition(table, op, size) for op, size in shape.tags]
    if shape.after is not None:
        conditions.append(_after_condition(shape.order, shape.after))
    selected = ", ".join(shape.columns) or "count(*)"
    if shape.partition_list:
        selected = f"{shape.partition}, {selected}"
    text = f"SELECT {selected} FROM {table.name}"
    if conditions:
        text += " WHERE " + " AND ".join(conditions)
    if shape.partition_list:
        text += f" GROUP BY {shape.partition}"
    if shape.order:
        text += " ORDER BY " + ", ".join(_order_term(term) for term in shape.order)
    if shape.limited:
        text += " LIMIT ?"
    return text


def _partition_condition(shape: _Shape) -> str:
    if shape.partition_list:
        return f"{shape.partition} IN (SELECT value FROM json_each(?))"
    return f"{shape.partition} = ?"


def _condition(column: str, ops: tuple[Op, ...]) -> str:
    ranges = [_range(column, op) for op in ops]
    if not ranges:
        return "0"
    return ranges[0] if len(ranges) == 1 else "(" + " OR ".join(ranges) + ")"


def _range(column: str, op: Op) -> str:
    if op in _SIMPLE:
        return f"{column} {op.value} ?"
    match op:
        case Op.IN:
            return f"{column} IN (SELECT value FROM json_each(?))"
        case Op.PREFIX:
            return f"({column} >= ? AND {column} < ?)"
        case Op.CONTAINS:
            return f"instr({column}, ?) > 0"
        case Op.IS_NULL:
            return f"{column} IS NULL"
        case _:
            return f"{column} IS NOT NULL"


def _tag_condition(table: Table, op: TagOp, size: int) -> str:
    if table.tagged is None:
        raise ValueError(f"{table.name} has no searchable tags")
    rows = f"SELECT id FROM tag_index WHERE kind = '{table.tagged}' AND name = ?"
    match op:
        case TagOp.EXISTS:
            return f"id IN ({rows})"
        case TagOp.ABSENT:
            return f"id NOT IN ({rows})"
        case TagOp.IN:
            return f"id IN ({rows} AND ordinal >= 0 AND value IN (SELECT value FROM json_each(?)))"
        case TagOp.ALL:
            one = f"id IN ({rows} AND value = ? AND ordinal >= 0)"
            return "(" + (" AND ".join([one] * size) or "1") + ")"
        case TagOp.PREFIX:
            one = f"id IN ({rows} AND value >= ? AND value < ? AND ordinal >= 0)"
            return "(" + (" OR ".join([one] * size) or "0") + ")"


def _order_term(term: OrderBy) -> str:
    # SQLite sorts NULL first by default; ours sorts last, and first when descending.
    return f"{term.column} DESC NULLS FIRST" if term.descending else f"{term.column} NULLS LAST"


def _after_condition(order: tuple[OrderBy, ...], nulls: tuple[bool, ...]) -> str:
    """Rows strictly after a position: lexicographic over the order columns, NULLs included."""
    term, rest = order[0], order[1:]
    beyond = _beyond(term, nulls[0])
    if not rest:
        return beyond
    same = f"{term.column} IS NULL" if nulls[0] else f"{term.column} = ?"
    return f"({beyond} OR ({same} AND {_after_condition(rest, nulls[1:])}))"


def _beyond(term: OrderBy, null: bool) -> str:
    if term.descending:
        return f"{term.column} IS NOT NULL" if null else f"{term.column} < ?"
    return "0" if null else f"({term.column} > ? OR {term.column} IS NULL)"


def _parameters(scan: Scan) -> Iterator[Any]:
    for where in scan.where:
        yield from _where_parameters(where)
    for tagged in scan.tags:
        yield from _tag_parameters(tagged)
    if scan.after is not None:
        yield from _after_parameters(scan)
    if scan.limit is not None:
        yield scan.limit


def _where_parameters(where: Where) -> Iterator[Any]:
    for bound in where.any_of:
        yield from _range_parameters(bound)


def _range_parameters(bound: Range) -> Iterator[Any]:
    match bound.op:
        case Op.IS_NULL | Op.NOT_NULL:
            return
        case Op.IN:
            yield _json(bound.value)
        case Op.PREFIX:
            yield bound.value
            yield _after_prefix(str(bound.value))
        case _:
            yield bound.value


def _tag_parameters(tagged: Tagged) -> Iterator[Any]:
    match tagged.op:
        case TagOp.EXISTS | TagOp.ABSENT:
            yield tagged.name
        case TagOp.IN:
            yield tagged.name
            yield _json(tagged.values)
        case TagOp.ALL:
            for value in tagged.values:
                yield from (tagged.name, value)
        case TagOp.PREFIX:
            for value in tagged.values:
                yield from (tagged.name, value, _after_prefix(value))


def _after_parameters(scan: Scan) -> Iterator[Any]:
    assert scan.after is not None
    last = len(scan.order) - 1
    for index, value in enumerate(scan.after):
        if value is None:
            continue
        yield value
        if index != last:
            yield value


def _after_prefix(prefix: str) -> str | bytes:
    """The smallest value greater than every text that begins with ``prefix``."""
    for end in range(len(prefix), 0, -1):
        last = ord(prefix[end - 1])
        if last < sys.maxunicode:
            # The code points after U+D7FF are surrogates, which no UTF-8 text holds.
            following = 0xE000 if last == 0xD7FF else last + 1
            return prefix[: end - 1] + chr(following)
    return b""  # SQLite sorts every blob after every text


def _json(values: object) -> str:
    return orjson.dumps(values).decode()
