"""Selects through the emulated cluster find exactly what the conditions mean."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings

from tams_gql.store.scan import Op, Range, Where, compare, eq, is_in
from tams_gql.store.vast.config import VastConfig
from tams_gql.store.vast.layout import ROW_ID
from tams_gql.store.vast.wire.client import Tx, VastClient
from tams_gql.store.vast.wire.domains import Asked, Within
from tams_gql.store.vast.wire.query import MAX_LITERALS, MAX_SDK_LITERALS
from tests.store.vast.filters import INT_MAX, INT_MIN, TABLE, batch_of, conditions, meets, rows
from tests.vast_emulator import Emulator

_SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(params=[False, True], ids=["direct", "plain"])
def any_client(request: pytest.FixtureRequest, config: VastConfig) -> Iterator[VastClient]:
    """A client with our own requests, and one with those of the SDK."""
    with closing(VastClient(replace(config, plain_queries=request.param))) as client:
        yield client


@contextmanager
def _filled(client: VastClient, given: list[tuple[Any, ...]]) -> Iterator[Tx]:
    """A transaction in which ``TABLE`` has these rows; nothing of it is kept."""
    place = client.config.bucket, client.config.schema, TABLE.name
    tx = client.begin()
    try:
        tx.change(lambda api: api.create_table(*place, TABLE.schema, txid=tx.txid))
        tx.insert(TABLE, batch_of(given))
        yield tx
    finally:
        tx.rollback()


def _values(i: int) -> tuple[Any, ...]:
    return (f"{i:04}", str(i), i, i % 2 == 0)


_TEXTS: list[tuple[Any, ...]] = [
    (text, None, None, None) for text in ("", "a", "ab", "a\0", "a\U0010ffff", "a%b", "b", None)
]
_NUMBERS: list[tuple[Any, ...]] = [
    (None, None, number, None) for number in (INT_MIN, -1, 0, 1, INT_MAX, None)
]


@_SHARED
@given(rows, conditions)
@example(_TEXTS, [compare("text", Op.PREFIX, "")])
@example(_TEXTS, [compare("text", Op.PREFIX, "a\U0010ffff")])
@example(_TEXTS, [compare("text", Op.PREFIX, "\U0010ffff")])
@example(_TEXTS, [compare("text", Op.NE, "a")])
@example(_TEXTS, [compare("text", Op.CONTAINS, "%")])
@example(_TEXTS, [compare("text", Op.CONTAINS, "")])
@example(_TEXTS, [compare("text", Op.GT, "a"), compare("text", Op.LT, "b")])
@example(_TEXTS, [is_in("text", ["a", "a", None, "a\0"])])
@example(_TEXTS, [Where("text", (Range(Op.IS_NULL), Range(Op.CONTAINS, "\0")))])
@example(_TEXTS, [Within("text", (("", "a"), ("ab", "b\0")))])
@example(_NUMBERS, [compare("number", Op.GE, INT_MIN), compare("number", Op.LE, INT_MAX)])
@example(_NUMBERS, [compare("number", Op.NE, 0)])
@example(_NUMBERS, [Within("number", ((INT_MIN, 0), (1, 2)))])
def test_a_select_finds_what_the_conditions_mean(
    any_client: VastClient, given: list[tuple[Any, ...]], where: list[Asked]
) -> None:
    named = batch_of(given).to_pylist()
    expected = [row for row in named if meets(row, where)]
    with _filled(any_client, given) as tx:
        found = tx.select(TABLE, TABLE.schema.names, where)
        assert found.schema == TABLE.schema
        assert sorted(found.to_pylist(), key=lambda row: row["id"]) == expected
        narrow = tx.select(TABLE, ("flag",), where, row_ids=True)
        assert narrow.column_names == ["flag", ROW_ID]
        assert sorted(narrow.column(ROW_ID).to_pylist()) == [row["id"] for row in expected]
        assert tx.count(TABLE, where) == len(expected)


@pytest.mark.parametrize(
    "where",
    [
        [Where("text", ())],
        [is_in("text", [])],
        [is_in("text", [None])],
        [Within("number", ())],
        [Within("number", ((5, 5), (7, 3)))],
        [eq("text", "a"), eq("text", "b")],
        [eq("text", None), compare("text", Op.NOT_NULL)],
        [compare("number", Op.GT, 5), compare("number", Op.LT, 6)],
        [compare("number", Op.GT, INT_MAX)],
        [compare("flag", Op.NE, True), compare("flag", Op.NE, False)],
        [eq("text", "\ud800")],
    ],
)
def test_what_no_row_can_meet_is_not_asked(
    emulator: Emulator, client: VastClient, where: list[Asked]
) -> None:
    with _filled(client, [_values(1)]) as tx, emulator.counting() as rpcs:
        found = tx.select(TABLE, ("id",), where, row_ids=True)
        assert (found.num_rows, found.column_names) == (0, ["id", ROW_ID])
        assert tx.count(TABLE, where) == 0
    assert rpcs["query"] == 0


@pytest.mark.parametrize(
    ("asked", "pushed"),
    [
        (eq("text", "a"), {("==", ("a",))}),
        (eq("text", None), {("is_null", ())}),
        (compare("text", Op.NE, "a"), {("!=", ("a",))}),
        (compare("text", Op.LT, "a"), {("<", ("a",))}),
        (compare("text", Op.LE, "a"), {("<=", ("a",))}),
        (compare("text", Op.GT, "a"), {(">", ("a",))}),
        (compare("text", Op.GE, "a"), {(">=", ("a",))}),
        (compare("text", Op.NOT_NULL), {("is_valid", ())}),
        (compare("text", Op.PREFIX, "ab"), {("from_to", ("ab", "ac"))}),
        (compare("text", Op.PREFIX, ""), {("is_valid", ())}),
        (compare("text", Op.CONTAINS, "ab"), {("contains", ("ab",))}),
        (compare("text", Op.CONTAINS, "a%bcd_"), {("contains", ("bcd",))}),
        (is_in("text", ["a", "b", "a"]), {("==", ("a",)), ("==", ("b",))}),
        (compare("number", Op.LT, 5), {("<", (5,))}),
        (compare("number", Op.LE, 5), {("<", (6,))}),
        (compare("number", Op.GE, INT_MIN), {("is_valid", ())}),
        (Within("number", ((1, 5), (7, 8))), {("between", (1, 4)), ("==", (7,))}),
        (Within("text", (("a", "b"), ("c", None))), {("from_to", ("a", "b")), (">=", ("c",))}),
        (compare("flag", Op.NE, True), {("==", (False,))}),
        (
            Where("text", (Range(Op.IS_NULL), Range(Op.EQ, "a"), Range(Op.CONTAINS, "b"))),
            {("is_null", ()), ("==", ("a",)), ("contains", ("b",))},
        ),
    ],
    ids=lambda value: "" if isinstance(value, set) else repr(value),
)
def test_every_condition_is_pushed_down(
    emulator: Emulator, client: VastClient, asked: Asked, pushed: set[tuple[str, Any]]
) -> None:
    with _filled(client, [_values(1)]) as tx, emulator.counting() as rpcs:
        tx.select(TABLE, ("id",), [asked, eq("other", "1")])
    (query,) = rpcs.of("query")
    ranges = {domain.column: domain.ranges for domain in query.predicate}
    assert ranges.keys() == {asked.column, "other"}
    assert {(each.operator, _texts(each.values)) for each in ranges[asked.column]} == pushed


def _texts(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(value.decode() if isinstance(value, bytes) else value for value in values)


def test_conditions_on_one_column_become_one_range(emulator: Emulator, client: VastClient) -> None:
    where = [compare("number", Op.GE, 3), compare("number", Op.LT, 8), compare("number", Op.NE, 5)]
    with _filled(client, [_values(i) for i in range(20)]) as tx, emulator.counting() as rpcs:
        assert tx.count(TABLE, where) == 4
    (query,) = rpcs.of("query")
    assert [(each.operator, each.values) for each in query.ranges("number")] == [
        ("between", (3, 4)),
        ("between", (6, 7)),
    ]
    assert query.columns == ()


def test_a_long_list_is_cut_and_asked_for_side_by_side(
    emulator: Emulator, any_client: VastClient
) -> None:
    wanted = list(range(0, 15_000, 2)) + list(range(0, 1500, 2))
    random.Random(5).shuffle(wanted)
    where = [Where("number", (Range(Op.IN, tuple(wanted)), Range(Op.IS_NULL)))]
    given = [_values(i) for i in range(1000)] + [("none", None, None, None)]
    with _filled(any_client, given) as tx, emulator.counting() as rpcs:
        found = tx.select(TABLE, ("number",), where).column("number").to_pylist()
    assert sorted(found, key=lambda n: -1 if n is None else n) == [None, *range(0, 1000, 2)]
    most = MAX_SDK_LITERALS if any_client.config.plain_queries else MAX_LITERALS
    assert rpcs["query"] == math.ceil(7_500 / most)


def test_unknown_columns_and_values_of_other_types_are_refused(client: VastClient) -> None:
    with _filled(client, []) as tx:
        with pytest.raises(ValueError, match="samples has no column 'colour'"):
            tx.select(TABLE, ("id",), [eq("colour", "red")])
        with pytest.raises(TypeError, match="a text column is compared with int"):
            tx.select(TABLE, ("id",), [eq("text", 5)])
        with pytest.raises(TypeError, match="a number or flag is compared with str"):
            tx.select(TABLE, ("id",), [eq("number", "5")])
        with pytest.raises(TypeError, match="only text has a prefix"):
            tx.select(TABLE, ("id",), [compare("number", Op.PREFIX, 5)])
        odd = replace(TABLE, schema=pa.schema([("n", pa.uint64())]))
        with pytest.raises(ValueError, match="no conditions on columns of type uint64"):
            tx.select(odd, ("n",), [eq("n", 5)])
