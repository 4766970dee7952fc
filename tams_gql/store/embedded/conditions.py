"""Predicates to SQL: what rows must satisfy, as text that never depends on a value.

Each predicate is described by a shape, from which its text is made, and the parameters that fill
it. Lists of any length are one parameter: a JSON array read by ``json_each``.
"""

from __future__ import annotations

import sys
from itertools import groupby
from typing import Any

import orjson

from tams_gql.store.scan import Op, OrderBy, Range, Tagged, TagOp, Value, Where
from tams_gql.store.tables import Table

WhereShape = tuple[str, tuple[Op, ...]]
TagShape = tuple[TagOp, int]

_SIMPLE = {Op.EQ, Op.NE, Op.LT, Op.LE, Op.GT, Op.GE}
_LISTED = "IN (SELECT value FROM json_each(?))"


def where_clause(where: tuple[Where, ...]) -> tuple[str, list[Any]]:
    """An AND of conditions for a statement of the caller's own, with its parameters."""
    parameters: list[Any] = []
    text = " AND ".join([where_text(where_shape(w, parameters)) for w in where])
    return text or "1", parameters


def where_shape(where: Where, parameters: list[Any]) -> WhereShape:
    """The shape of a condition; what fills it is appended to ``parameters``."""
    ops: list[Op] = []
    for bound in where.any_of:
        ops += _range_ops(bound, parameters)
    return where.column, tuple(ops)


def where_text(shape: WhereShape, hidden: frozenset[str] = frozenset()) -> str:
    """The SQL of a condition, which begins with no index of a ``hidden`` column."""
    column, ops = shape
    if column in hidden:
        column = f"+{column}"
    ranges = [text for op, same in groupby(ops) for text in _alike(column, op, len([*same]))]
    if not ranges:
        return "0"
    return ranges[0] if len(ranges) == 1 else "(" + " OR ".join(ranges) + ")"


def _range_ops(bound: Range, parameters: list[Any]) -> list[Op]:
    match bound.op:
        case Op.IS_NULL | Op.NOT_NULL:
            pass
        case Op.IN:
            assert isinstance(bound.value, tuple)
            listed, single = _json_list(bound.value)
            parameters += [listed, *single]
            return [Op.IN] + [Op.EQ] * len(single)
        case Op.PREFIX:
            prefix = str(bound.value)
            parameters += [prefix, _after_prefix(prefix)]
        case _:
            parameters.append(bound.value)
    return [bound.op]


def _alike(column: str, op: Op, count: int) -> list[str]:
    if op is Op.EQ and count > 1:
        # SQLite refuses an OR of a thousand parts.
        return [f"{column} IN ({', '.join('?' * count)})"]
    return [_range(column, op)] * count


def _range(column: str, op: Op) -> str:
    if op in _SIMPLE:
        return f"{column} {op.value} ?"
    match op:
        case Op.IN:
            return f"{column} {_LISTED}"
        case Op.PREFIX:
            return f"({column} >= ? AND {column} < ?)"
        case Op.CONTAINS:
            return f"instr({column}, ?) > 0"
        case Op.IS_NULL:
            return f"{column} IS NULL"
        case _:
            return f"{column} IS NOT NULL"


def tag_shape(tagged: Tagged, parameters: list[Any]) -> TagShape:
    """The shape of a tag condition; what fills it is appended to ``parameters``."""
    name, values = tagged.name, tagged.values
    match tagged.op:
        case TagOp.EXISTS | TagOp.ABSENT:
            parameters.append(name)
            return tagged.op, 0
        case TagOp.IN:
            listed, single = _json_list(values)
            parameters += [name, listed, *single]
            return tagged.op, len(single)
        case TagOp.ALL:
            parameters += [p for value in values for p in (name, value)]
        case TagOp.PREFIX:
            parameters += [p for value in values for p in (name, value, _after_prefix(value))]
    return tagged.op, len(values)


def tag_text(table: Table, shape: TagShape) -> str:
    """The SQL of a tag condition."""
    if table.tagged is None:
        raise ValueError(f"{table.name} has no searchable tags")
    op, size = shape
    rows = f"SELECT id FROM tag_index WHERE kind = '{table.tagged}' AND name = ?"
    match op:
        case TagOp.EXISTS:
            return f"id IN ({rows})"
        case TagOp.ABSENT:
            return f"id NOT IN ({rows})"
        case TagOp.IN:
            values = f"value {_LISTED}"
            if size:
                values += f" OR value IN ({', '.join('?' * size)})"
            return f"id IN ({rows} AND ordinal >= 0 AND ({values}))"
        case TagOp.ALL:
            one = f"id IN ({rows} AND value = ? AND ordinal >= 0)"
            return "(" + (" AND ".join([one] * size) or "1") + ")"
        case TagOp.PREFIX:
            one = f"id IN ({rows} AND value >= ? AND value < ? AND ordinal >= 0)"
            return "(" + (" OR ".join([one] * size) or "0") + ")"


def after_text(
    order: tuple[OrderBy, ...], nulls: tuple[bool, ...], present: frozenset[str]
) -> tuple[str, tuple[int, ...]]:
    """Rows strictly after a position, and which of its values fill the condition, in turn.

    ``nulls`` tells which values of the position are NULL, ``present`` which columns never are.
    """
    alike = len({term.descending for term in order}) == 1
    if alike and not any(nulls) and present.issuperset(term.column for term in order):
        return _row_after(order), tuple(range(len(order)))
    text, filled = _lexicographic(order, nulls, 0)
    first = order[0]
    if first.column not in present or nulls[0]:
        return text, filled
    # Implied, but only this form lets an index seek to the position.
    bound = f"{first.column} {'<=' if first.descending else '>='} ?"
    return f"({bound} AND {text})", (0, *filled)


def _row_after(order: tuple[OrderBy, ...]) -> str:
    sign = "<" if order[0].descending else ">"
    if len(order) == 1:
        return f"{order[0].column} {sign} ?"
    columns = ", ".join(term.column for term in order)
    return f"({columns}) {sign} ({', '.join('?' * len(order))})"


def _lexicographic(
    order: tuple[OrderBy, ...], nulls: tuple[bool, ...], at: int
) -> tuple[str, tuple[int, ...]]:
    term, null = order[at], nulls[at]
    text = _beyond(term, null)
    filled = () if null else (at,)
    if at == len(order) - 1:
        return text, filled
    same = f"{term.column} IS NULL" if null else f"{term.column} = ?"
    rest, rest_filled = _lexicographic(order, nulls, at + 1)
    return f"({text} OR ({same} AND {rest}))", (*filled, *filled, *rest_filled)


def _beyond(term: OrderBy, null: bool) -> str:
    if term.descending:
        return f"{term.column} IS NOT NULL" if null else f"{term.column} < ?"
    return "0" if null else f"({term.column} > ? OR {term.column} IS NULL)"


def _after_prefix(prefix: str) -> str | bytes:
    """The smallest value greater than every text that begins with ``prefix``."""
    for end in range(len(prefix), 0, -1):
        last = ord(prefix[end - 1])
        if last < sys.maxunicode:
            # The code points after U+D7FF are surrogates, which no UTF-8 text holds.
            following = 0xE000 if last == 0xD7FF else last + 1
            return prefix[: end - 1] + chr(following)
    return b""  # SQLite sorts every blob after every text


def _json_list(values: tuple[Value, ...]) -> tuple[str, list[Value]]:
    """A list as JSON, and the values that have to be compared one by one instead.

    SQLite ends a JSON text at U+0000, so that ``"a\\0b"`` in the list would match ``"a"``.
    """
    text = orjson.dumps(values).decode()
    if "\\u0000" not in text:
        return text, []
    single: list[Value] = [v for v in values if isinstance(v, str) and "\0" in v]
    listed = [v for v in values if not (isinstance(v, str) and "\0" in v)]
    return orjson.dumps(listed).decode(), single
