"""Statement texts: one per shape, whatever the values, so that SQLite prepares each once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tams_gql.store.embedded import select, windows
from tams_gql.store.embedded.conditions import where_clause
from tams_gql.store.scan import (
    Op,
    OrderBy,
    Partitioned,
    Scan,
    SegmentWindow,
    Tagged,
    TagOp,
    compare,
    eq,
    is_in,
)
from tams_gql.store.tables import FLOWS, SEGMENTS, SOURCES
from tests.store.given import integers, texts

_ORDER = (OrderBy("label"), OrderBy("id"))


def _scan(text: str, number: int, listed: list[str]) -> Scan:
    return Scan(
        FLOWS,
        ("id", "label"),
        where=(
            eq("codec", text),
            is_in("id", listed),
            compare("label", Op.PREFIX, text),
            compare("description", Op.CONTAINS, text),
            compare("created", Op.GE, number),
        ),
        tags=(
            Tagged(text, TagOp.IN, tuple(listed)),
            Tagged(text, TagOp.EXISTS, tuple(listed)),
            Tagged(text, TagOp.ABSENT),
            Tagged(text, TagOp.ALL, (text,)),
            Tagged(text, TagOp.PREFIX, (text, text)),
        ),
        order=_ORDER,
        limit=abs(number),
        after=(text, text),
    )


_plain = texts.filter(lambda text: "\0" not in text)
_values = st.tuples(_plain, integers, st.lists(_plain, max_size=5))


@given(one=_values, other=_values)
def test_the_text_does_not_depend_on_values(
    one: tuple[str, int, list[str]], other: tuple[str, int, list[str]]
) -> None:
    def text_of(values: tuple[str, int, list[str]]) -> list[str]:
        scan = _scan(*values)
        partitioned = Partitioned(scan, "source_id", tuple(values[2]))
        statements = [
            *select.select(scan),
            *select.select_partition(scan, "source_id"),
            select.count(scan),
            select.count_partitions(partitioned),
        ]
        return [statement.text for statement in statements]

    assert text_of(one) == text_of(other)


@given(
    st.tuples(texts, integers, integers, st.booleans()),
    st.tuples(texts, integers, integers, st.booleans()),
)
def test_the_text_of_windows_depends_on_direction_alone(
    one: tuple[str, int, int, bool], other: tuple[str, int, int, bool]
) -> None:
    def text_of(values: tuple[str, int, int, bool]) -> tuple[str, str]:
        flow_id, start, end, paged = values
        where = (eq("object_id", flow_id),)
        window = SegmentWindow(flow_id, start, end, where=where)
        if paged:
            window = replace(window, limit=abs(start), after_ns=end)
        return (
            windows.select_window(window, SEGMENTS.columns)[0],
            windows.count_window(window)[0],
        )

    assert text_of(one) == text_of(other)


def test_the_same_shape_is_the_same_text_object() -> None:
    """Built once: the second time it comes from the cache."""
    ((one, _),) = select.select(Scan(FLOWS, ("id",), (eq("id", "a"),)))
    ((other, _),) = select.select(Scan(FLOWS, ("id",), (eq("id", "b"),)))

    assert one is other


@pytest.mark.parametrize(
    ("scan", "expected"),
    [
        (
            Scan(SOURCES, ("id", "label"), (eq("id", "s"), eq("label", None))),
            [("SELECT id, label FROM sources WHERE id = ? AND label IS NULL", ["s"])],
        ),
        (
            Scan(SOURCES, ("id",), (is_in("id", ["a", "b\0"]),), limit=3),
            [
                (
                    "SELECT id FROM sources WHERE"
                    " (id IN (SELECT value FROM json_each(?)) OR id = ?) LIMIT ?",
                    ['["a"]', "b\0", 3],
                )
            ],
        ),
        (
            Scan(SOURCES, ("id",), order=_ORDER, limit=3, after=("a", "s")),
            [
                (
                    "SELECT id FROM sources WHERE label IS NOT NULL AND (label, id) > (?, ?)"
                    " ORDER BY label, id LIMIT ?",
                    ["a", "s", 3],
                ),
                ("SELECT id FROM sources WHERE label IS NULL ORDER BY id LIMIT ?", [3]),
            ],
        ),
        (
            Scan(SOURCES, ("id",), order=(OrderBy("created", True), OrderBy("id")), after=(1, "s")),
            [
                (
                    "SELECT id FROM sources WHERE (created <= ? AND (created < ? OR"
                    " (created = ? AND (id > ? OR id IS NULL)))) ORDER BY created DESC, id",
                    [1, 1, 1, "s"],
                ),
            ],
        ),
        (
            Scan(
                SOURCES,
                ("id",),
                order=(OrderBy("id"), OrderBy("label", True)),
                after=("s", None),
            ),
            [
                (
                    "SELECT id FROM sources WHERE (id >= ? AND ((id > ? OR id IS NULL) OR"
                    " (id = ? AND label IS NOT NULL))) ORDER BY id, label DESC NULLS FIRST",
                    ["s", "s", "s"],
                ),
            ],
        ),
    ],
)
def test_texts(scan: Scan, expected: list[tuple[str, list[Any]]]) -> None:
    assert [tuple(statement) for statement in select.select(scan)] == expected


def test_a_condition_of_the_callers_own_statement() -> None:
    assert where_clause(()) == ("1", [])
    assert where_clause((eq("a", 1), is_in("b", [2, 3]))) == (
        "a = ? AND b IN (SELECT value FROM json_each(?))",
        [1, "[2,3]"],
    )
