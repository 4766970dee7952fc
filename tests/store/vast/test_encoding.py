"""Requests that are written directly say what the SDK's own would."""

from __future__ import annotations

from typing import Any

import ibis
import pytest
from hypothesis import given
from vastdb._internal import build_query_data_request

from tams_gql.store.scan import Op, compare, eq, is_in
from tams_gql.store.vast.layout import ROW_ID
from tams_gql.store.vast.wire.domains import Asked, filter_of
from tams_gql.store.vast.wire.predicates import predicate_of
from tams_gql.store.vast.wire.request import query_body
from tests.store.vast.filters import INT_MAX, INT_MIN, TABLE, conditions
from tests.store.vast.requests_read import Read, read_request

_IBIS = ibis.table(ibis.Schema.from_pyarrow(TABLE.schema), "samples")
_COLUMNS = ("number", "id")


def _by_the_sdk(where: list[Asked]) -> Read | None:
    wanted = filter_of(TABLE, where)
    if wanted is None:
        return None
    bounds = [span[0] for domain in wanted.pushed for span in domain.spans]
    if any(isinstance(low, bytes) and low[-1:] in (b"\x7f", b"\xbf") for low in bounds):
        return None  # it ends such a prefix with a byte that is no text, here it is the next text
    expression, exact = predicate_of(_IBIS, wanted)
    if exact != wanted:
        return None  # it has no words for what is asked
    request = build_query_data_request(TABLE.schema, expression, list(_COLUMNS))
    return read_request(bytes(request.serialized))


def _ours(where: list[Asked], columns: tuple[str, ...] = _COLUMNS) -> Read:
    wanted = filter_of(TABLE, where)
    assert wanted is not None
    return read_request(query_body(TABLE, columns, wanted))


def _by_name(read: Read) -> tuple[Any, ...]:
    """The order of columns that only the filter uses is arbitrary, and so are their positions."""

    def named(of: Any) -> Any:
        if of[0] == "and":
            return ("and", *(named(each) for each in of[1:]))
        return (of[0], read.columns[of[1]], *of[2:])

    columns = frozenset(zip(read.columns, read.types, strict=True))
    projected = tuple(read.columns[position] for position in read.projection)
    return columns, projected, {(n, frozenset(map(named, ranges))) for n, ranges in read.filter}


@given(conditions)
def test_any_filter_is_the_one_that_the_sdk_writes(where: list[Asked]) -> None:
    expected = _by_the_sdk(where)
    if expected is not None:
        assert _by_name(_ours(where)) == _by_name(expected)


@pytest.mark.parametrize(
    "where",
    [
        [],
        [eq("text", "")],
        [eq("text", "a" * 10_000)],
        [is_in("text", [f"{i:036}" for i in range(300)])],
        [is_in("number", range(0, 600, 2)), compare("other", Op.NOT_NULL)],
        [eq("number", INT_MIN), eq("id", INT_MAX), eq("flag", False)],
        [eq("text", None), compare("number", Op.LT, 0), compare("other", Op.CONTAINS, "x")],
    ],
)
def test_these_filters_are_those_that_the_sdk_writes(where: list[Asked]) -> None:
    expected = _by_the_sdk(where)
    assert expected is not None
    assert _by_name(_ours(where)) == _by_name(expected)


def test_a_filter_looks_only_at_the_columns_it_needs() -> None:
    read = _ours([eq("text", "a"), compare("number", Op.GT, 5)], ("id",))
    assert read.columns == ("id", "text", "number")
    assert read.projection == (0,)
    wanted = (b"a", 5, None, True, None), (6, 2, (64, True), True, None)
    assert read.filter == {
        ("text", frozenset({("equal", 1, wanted[0])})),
        ("number", frozenset({("greater_equal", 2, wanted[1])})),
    }


def test_row_ids_are_projected_last() -> None:
    read = _ours([eq("text", "a")], ("id", ROW_ID))
    assert read.columns == ("id", ROW_ID, "text")
    assert read.projection == (0, 1)


def test_a_request_for_no_column_only_filters() -> None:
    read = _ours([eq("number", 5)], ())
    assert read.columns == ("number",)
    assert read.projection == ()
