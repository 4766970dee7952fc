"""Filters as ibis expressions, for selects through the public interface of the SDK."""

from __future__ import annotations

from typing import Any

import ibis
import pyarrow as pa

from tams_gql.store.vast.wire.comparisons import Alternative, alternatives
from tams_gql.store.vast.wire.domains import Filter, Key, after_prefix


def predicate_of(table: ibis.Table, wanted: Filter) -> tuple[Any, Filter]:
    """The expression (None: all rows) and the filter with what it cannot say to be checked.

    The SDK knows no AND inside an OR but ``between`` and ``startswith``, so a range of text with
    an open end is asked for with a closed one.
    """
    expression, loose = None, []
    for domain in wanted.pushed:
        given = alternatives(domain)
        if any(_is_loose(each) for each in given):
            loose.append(domain)
        term = _any_of(table[domain.column], given, domain.kind)
        expression = term if expression is None else expression & term
    return expression, Filter(wanted.pushed, (*wanted.checked, *loose))


def _any_of(column: Any, given: list[Alternative], kind: pa.DataType) -> Any:
    points = [_value(each[0][1], kind) for each in given if each[0][0] == "equal"]
    terms = [column.isin(points)] if len(points) > 1 else [column == point for point in points]
    terms += [_alternative(column, each, kind) for each in given if each[0][0] != "equal"]
    found = terms[0]
    for term in terms[1:]:
        found = found | term
    return found


def _alternative(column: Any, given: Alternative, kind: pa.DataType) -> Any:
    values = [_value(literal, kind) for _, literal in given]
    if len(values) == 2:
        if _is_prefix(given):
            return column.startswith(values[0])
        return column.between(*values)
    ((function, _),) = given
    (value,) = values
    match function:
        case "is_null":
            return column.isnull()
        case "is_valid":
            return ~column.isnull()
        case "match_substring":
            return column.contains(value)
        case "not_equal":
            return column != value
        case "less":
            return column < value
        case "less_equal":
            return column <= value
        case "greater":
            return column > value
        case _:
            return column >= value


def _is_loose(given: Alternative) -> bool:
    return len(given) == 2 and given[1][0] == "less" and not _is_prefix(given)


def _is_prefix(given: Alternative) -> bool:
    (_, low), (function, high) = given
    return function == "less" and isinstance(low, bytes) and after_prefix(low.decode()) == high


def _value(literal: Key, kind: pa.DataType) -> Any:
    if isinstance(literal, bytes):
        return literal.decode()
    return bool(literal) if literal is not None and pa.types.is_boolean(kind) else literal
