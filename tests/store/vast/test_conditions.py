"""Conditions on Arrow tables against their meaning said in plain Python."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tams_gql.store.scan import (
    AllOf,
    Among,
    AnyOf,
    Condition,
    Not,
    Op,
    Range,
    Scan,
    Tagged,
    TagOp,
    Where,
    compare,
    eq,
)
from tams_gql.store.tables import FLOW_COUNTERS, FLOWS, SEGMENTS, SOURCES
from tams_gql.store.vast.layout import physical_of, rows_to_batch
from tams_gql.store.vast.reading.conditions import amongs_of, columns_of, mask
from tams_gql.store.vast.reading.pushdown import filter_of, stored
from tests.store import build, naive
from tests.store.given import conditions, examples, integers, texts

_OF_FLOWS = Among("id", FLOWS, "source_id", ())

_rows = st.fixed_dictionaries(
    {
        "label": st.none() | texts,
        "flow_count": st.none() | integers,
        "explicit": st.none() | st.booleans(),
        "tags": st.none()
        | st.dictionaries(texts, texts | st.lists(texts, max_size=3), max_size=3).map(
            build.tags_json
        ),
    }
)
_tagged = st.builds(
    Tagged, texts, st.sampled_from(list(TagOp)), st.lists(texts, max_size=2).map(tuple)
)
_where = conditions(
    {"label": texts, "flow_count": integers, "explicit": st.booleans()}, min_size=1, max_size=1
).map(lambda where: where[0])
_conditions: st.SearchStrategy[Condition] = st.recursive(
    _where | _tagged | st.just(_OF_FLOWS),
    lambda inner: st.one_of(
        inner.map(Not),
        st.lists(inner, max_size=3).map(lambda of: AllOf(tuple(of))),
        st.lists(inner, max_size=3).map(lambda of: AnyOf(tuple(of))),
    ),
    max_leaves=6,
)


def _table(rows: list[dict[str, Any]]) -> tuple[pa.Table, list[naive.Named]]:
    """Sources as Arrow, in chunks of two, and as they are."""
    physical = physical_of(SOURCES)
    stored_rows = [build.source(f"s{i}", **values) for i, values in enumerate(rows)]
    chunks = [
        rows_to_batch(physical, SOURCES.columns, stored_rows[at : at + 2])
        for at in range(0, len(stored_rows), 2)
    ]
    named: list[naive.Named] = [dict(zip(SOURCES.columns, row, strict=True)) for row in stored_rows]
    return pa.Table.from_batches(chunks, physical.schema), named


@examples(300)
@given(rows=st.lists(_rows, max_size=6), condition=_conditions, flows=st.sets(st.integers(0, 6)))
def test_any_condition(rows: list[dict[str, Any]], condition: Condition, flows: set[int]) -> None:
    table, named = _table(rows)
    catalog = {"flows": [{"source_id": f"s{i}"} for i in flows]}
    answers = {_OF_FLOWS: pa.array([f"s{i}" for i in flows], pa.string())}

    found = mask(table.select(sorted(columns_of(condition) | {"id"})), condition, answers)

    assert found.to_pylist() == [naive.meets(row, condition, catalog) for row in named]
    assert set(amongs_of(condition)) <= {_OF_FLOWS}


@examples(300)
@given(
    rows=st.lists(_rows, max_size=6),
    where=conditions({"label": texts, "flow_count": integers}, max_size=1),
    tags=st.lists(_tagged, max_size=1).map(tuple),
    condition=st.none() | _conditions,
)
def test_what_is_pushed_down_and_what_is_checked_are_the_scan(
    rows: list[dict[str, Any]],
    where: tuple[Where, ...],
    tags: tuple[Tagged, ...],
    condition: Condition | None,
) -> None:
    _, named = _table(rows)
    catalog = {"flows": [{"source_id": "s0"}]}
    scan = Scan(SOURCES, ("id",), where=where, tags=tags, matching=condition)
    whole = AllOf((*where, *tags, *(() if condition is None else (condition,))))

    found = filter_of(scan)

    for row in named:
        passed = naive.satisfies(row, found.pushed)
        met = passed and all(naive.meets(row, each, catalog) for each in found.exact)
        assert met is naive.meets(row, whole, catalog)


@pytest.mark.parametrize(
    ("condition", "pushed"),
    [
        (eq("label", "a"), (eq("label", "a"),)),
        (AllOf((eq("label", "a"), AllOf((eq("id", "b"),)))), (eq("label", "a"), eq("id", "b"))),
        (
            AnyOf((eq("label", "a"), compare("label", Op.PREFIX, "b"))),
            (Where("label", (Range(Op.EQ, "a"), Range(Op.PREFIX, "b"))),),
        ),
        (Not(eq("label", "a")), (Where("label", (Range(Op.NE, "a"), Range(Op.IS_NULL))),)),
        (Not(eq("label", None)), (compare("label", Op.NOT_NULL),)),
    ],
    ids=repr,
)
def test_the_database_checks_all_that_it_can(
    condition: Condition, pushed: tuple[Where, ...]
) -> None:
    found = filter_of(Scan(SOURCES, ("id",), matching=condition))

    assert (found.pushed, found.exact) == (pushed, ())


def test_tags_are_looked_for_in_their_json_first() -> None:
    tagged = Tagged('a"b', TagOp.IN, ("é", "\0"))

    found = filter_of(Scan(SOURCES, ("id",), tags=(tagged,)))

    assert found.exact == (tagged,)
    assert found.pushed == (
        compare("tags", Op.CONTAINS, '"a\\"b":'),
        Where("tags", (Range(Op.CONTAINS, '"é"'), Range(Op.CONTAINS, '"\\u0000"'))),
    )


@pytest.mark.parametrize(
    "condition",
    [
        Tagged("a", TagOp.EXISTS),
        Not(Tagged("a", TagOp.EXISTS)),
        AnyOf((AllOf((Tagged("a", TagOp.EXISTS),)),)),
        Among("object_id", SEGMENTS, "object_id", (), Tagged("a", TagOp.EXISTS)),  # type: ignore[arg-type]
    ],
    ids=repr,
)
def test_tags_are_refused_where_there_are_none(condition: Condition) -> None:
    with pytest.raises(ValueError, match="segments has no searchable tags"):
        filter_of(Scan(SEGMENTS, ("id",), matching=condition))


def test_counters_are_columns_of_their_flow() -> None:
    named = Not(AnyOf((eq("flow_id", "f"), AllOf((eq("segment_count", 1),)))))
    scan = Scan(FLOW_COUNTERS, ("flow_id", "bytes"), (eq("flow_id", "g"),), matching=named)

    assert stored(scan) == Scan(
        FLOW_COUNTERS,
        ("id", "bytes"),
        (eq("id", "g"),),
        matching=Not(AnyOf((eq("id", "f"), AllOf((eq("segment_count", 1),))))),
    )
