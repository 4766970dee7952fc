"""Filters of the SDK against the same conditions in Python."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterator
from typing import Any

import ibis
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vast_emulator import Emulator
from tests.vast_emulator.driving import Driver

COLUMNS = {"text": pa.utf8(), "number": pa.int64(), "real": pa.float64(), "flag": pa.bool_()}
ROWS = [
    (text, number, real, flag)
    for index, text in enumerate([None, "", "a", "ab", "abc", "b", "ä", "äz", "z\U0001f3ac"])
    for number, real, flag in [(index, index / 2, True), (-index, None, False), (None, 1.5, None)]
]
Condition = tuple[Any, Callable[[Any], bool]]
OPERATORS = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@pytest.fixture(scope="module")
def rows(shared_emulator: Emulator) -> Iterator[Driver]:
    """All rows, in three inserts."""
    driver = Driver(shared_emulator, shared_emulator.create_bucket("predicates"))
    driver.create("t", COLUMNS)
    for start in range(3):
        with driver() as tx:
            columns = zip(*ROWS[start::3], strict=True)
            driver.insert(tx, {n: list(c) for n, c in zip(COLUMNS, columns, strict=True)})
    yield driver
    driver.close()


def conditions(name: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[Condition]:
    """One range of a column, for the SDK and for Python."""
    column = ibis._[name]

    def compared(symbol: str, value: Any) -> Condition:
        apply = OPERATORS[symbol]
        return apply(column, value), lambda v: v is not None and bool(apply(v, value))

    def between(bounds: list[Any]) -> Condition:
        low, high = sorted(bounds)
        return column.between(low, high), lambda v: v is not None and bool(low <= v <= high)

    def among(chosen: list[Any]) -> Condition:
        return column.isin(chosen), lambda v: v is not None and v in chosen

    return st.one_of(
        st.builds(compared, st.sampled_from(sorted(OPERATORS)), values),
        st.builds(between, st.lists(values, min_size=2, max_size=2)),
        st.builds(among, st.lists(values, min_size=1, max_size=5)),
        st.just((column.isnull(), lambda v: v is None)),
    )


TEXTS = st.sampled_from([row[0] for row in ROWS if row[0] is not None]) | st.text(max_size=2)


def starting(prefix: str) -> Condition:
    return ibis._.text.startswith(prefix), lambda v: v is not None and v.startswith(prefix)


def containing(part: str) -> Condition:
    return ibis._.text.contains(part), lambda v: v is not None and part in v


BY_COLUMN = {
    "text": conditions("text", TEXTS) | TEXTS.map(starting) | TEXTS.map(containing),
    "number": conditions("number", st.integers(-9, 9)),
    "real": conditions("real", st.sampled_from([-1.0, 0.0, 0.5, 1.5, 2.0, 9.5])),
}


@st.composite
def domains(draw: st.DrawFn) -> Condition:
    """Ranges of one column, joined by OR."""
    name = draw(st.sampled_from(sorted(BY_COLUMN)))
    parts = draw(st.lists(BY_COLUMN[name], min_size=1, max_size=3))
    index = list(COLUMNS).index(name)
    sent = functools.reduce(operator.or_, [part[0] for part in parts])
    return sent, lambda row: any(part[1](row[index]) for part in parts)


@settings(max_examples=40)
@given(st.lists(domains(), min_size=1, max_size=3))
def test_filters_agree_with_python(rows: Driver, chosen: list[Condition]) -> None:
    predicate = functools.reduce(operator.and_, [domain[0] for domain in chosen])
    with rows() as tx:
        found = rows.read(tx, predicate)
    wanted = [
        row
        for start in range(3)
        for row in ROWS[start::3]
        if all(domain[1](row) for domain in chosen)
    ]
    assert list(zip(*(column.to_pylist() for column in found.columns), strict=True)) == wanted


def test_other_conditions(rows: Driver) -> None:
    with rows() as tx:
        assert rows.read(tx, ibis._.flag == False).num_rows == 9  # noqa: E712
        assert rows.read(tx, ~ibis._.flag.isnull()).num_rows == 18
        assert rows.read(tx, True).num_rows == len(ROWS)
        assert rows.read(tx, False).num_rows == 0
        assert rows.read(tx, ibis._.number.isin(list(range(300)))).num_rows == 10
