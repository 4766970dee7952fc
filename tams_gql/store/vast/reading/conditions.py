"""Conditions on Arrow tables: exact, vectorised, and two-valued.

A comparison with NULL is not met, so its ``Not`` is; no mask holds a NULL. Columns are physical
ones, in which record times are integers. Text compares by its UTF-8 bytes, that is by code point.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import reduce
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from tams_gql.store.scan import (
    AllOf,
    Among,
    AnyOf,
    Condition,
    Not,
    Op,
    Range,
    Tagged,
    TagOp,
    Value,
    Where,
)

TAGS = "tags"

Answers = Mapping[Among, pa.Array]
"""The values that each ``Among`` of a condition found, without NULL."""

_COMPARE = {
    Op.EQ: pc.equal,
    Op.NE: pc.not_equal,
    Op.LT: pc.less,
    Op.LE: pc.less_equal,
    Op.GT: pc.greater,
    Op.GE: pc.greater_equal,
}


def columns_of(condition: Condition) -> set[str]:
    """The columns that a condition looks at in its own table."""
    match condition:
        case Where(column, _) | Among(column, _, _, _, _):
            return {column}
        case Tagged():
            return {TAGS}
        case Not(inner):
            return columns_of(inner)
        case AllOf(of) | AnyOf(of):
            return set().union(*(columns_of(each) for each in of))


def amongs_of(condition: Condition) -> Iterator[Among]:
    """The conditions on other tables' rows in a condition, whose answers its mask needs."""
    match condition:
        case Among():
            yield condition
        case Not(inner):
            yield from amongs_of(inner)
        case AllOf(of) | AnyOf(of):
            for each in of:
                yield from amongs_of(each)


def mask(rows: pa.Table, condition: Condition, answers: Answers) -> pa.Array:
    """Which rows meet the condition."""
    match condition:
        case Where(column, any_of):
            return _any(rows, [_in_range(_column(rows, column), each) for each in any_of])
        case Tagged():
            return _tagged(_column(rows, TAGS), condition)
        case Among(column, _, _, _, _):
            return _is_in(_column(rows, column), answers[condition])
        case Not(inner):
            return pc.invert(mask(rows, inner, answers))
        case AllOf(of):
            return reduce(pc.and_, [mask(rows, each, answers) for each in of], _all(rows, True))
        case AnyOf(of):
            return _any(rows, [mask(rows, each, answers) for each in of])


def _all(rows: pa.Table, value: bool) -> pa.Array:
    return pa.repeat(pa.scalar(value), rows.num_rows)


def _any(rows: pa.Table, masks: list[pa.Array]) -> pa.Array:
    return reduce(pc.or_, masks) if masks else _all(rows, False)


def _column(rows: pa.Table, name: str) -> pa.Array:
    return rows.column(name).combine_chunks()


def _in_range(column: pa.Array, bound: Range) -> pa.Array:
    match bound.op:
        case Op.IS_NULL:
            return pc.is_null(column)
        case Op.NOT_NULL:
            return pc.is_valid(column)
        case Op.IN:
            assert isinstance(bound.value, tuple)
            return _is_in(column, _values(bound.value, column.type))
        case Op.PREFIX:
            return _known(pc.starts_with(column, pattern=str(bound.value)))
        case Op.CONTAINS:
            return _known(pc.match_substring(column, pattern=str(bound.value)))
        case _:
            return _known(_COMPARE[bound.op](column, pa.scalar(bound.value, column.type)))


def _known(found: pa.Array) -> pa.Array:
    return pc.fill_null(found, False)


def _values(values: tuple[Value, ...], kind: pa.DataType) -> pa.Array:
    return pa.array([value for value in values if value is not None], kind)


def _is_in(column: pa.Array, values: pa.Array) -> pa.Array:
    return _known(pc.is_in(column, value_set=values))


def _tagged(column: pa.Array, condition: Tagged) -> pa.Array:
    """Each distinct text is parsed once, and only if the name can be in it at all."""
    coded = pc.dictionary_encode(column)
    chunks = coded.chunks if isinstance(coded, pa.ChunkedArray) else [coded]
    without = condition.op is TagOp.ABSENT or (condition.op is TagOp.ALL and not condition.values)
    return pa.concat_arrays([_tagged_texts(chunk, condition, without) for chunk in chunks])


def _tagged_texts(coded: pa.DictionaryArray, condition: Tagged, without: bool) -> pa.Array:
    texts = coded.dictionary
    named = pc.match_substring(texts, pattern=name_text(condition.name))
    parsed = iter(texts.filter(named).to_pylist())
    met = [
        tags_meet(orjson.loads(next(parsed)), condition) if has else without
        for has in named.to_pylist()
    ]
    if not met:
        return pa.repeat(pa.scalar(without), len(coded))
    return pc.fill_null(pa.array(met, pa.bool_()).take(coded.indices), without)


def name_text(name: str) -> str:
    """What the JSON of tags holds if one of them has this name."""
    return f"{_quoted(name)}:"


def value_texts(condition: Tagged) -> Collection[str]:
    """Texts of which the JSON of tags holds one if the condition is met."""
    match condition.op:
        case TagOp.IN:
            return [_quoted(value) for value in condition.values]
        case TagOp.PREFIX:
            return [_quoted(value).removesuffix('"') for value in condition.values]
        case _:
            return []


def _quoted(text: str) -> str:
    return orjson.dumps(text).decode()


def tags_meet(tags: Mapping[str, Any], condition: Tagged) -> bool:
    """Whether tags satisfy a condition."""
    found = tags.get(condition.name)
    known = found is not None
    values: list[str] = [found] if isinstance(found, str) else (found or [])
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
            return any(value.startswith(condition.values) for value in values)
