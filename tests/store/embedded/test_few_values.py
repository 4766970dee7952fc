"""Flows by format and codec: an index is used where it helps, whatever else is asked for."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tams_gql.store.embedded import few_values, migrate, reader, select
from tams_gql.store.embedded.connection import connect
from tams_gql.store.embedded.select import Statement
from tams_gql.store.scan import (
    AllOf,
    AnyOf,
    Op,
    OrderBy,
    Partitioned,
    Range,
    Scan,
    Tagged,
    TagOp,
    Where,
    compare,
    eq,
    is_in,
)
from tams_gql.store.tables import FLOWS, SOURCES
from tests.store import build, naive
from tests.store.given import conditions, examples, orders

_NEWEST = (OrderBy("created", True), OrderBy("id", True))
_LABEL = (OrderBy("label"), OrderBy("id"))
_PAGE = Scan(FLOWS, FLOWS.columns, order=_NEWEST, limit=101)
_VIDEO, _H264 = is_in("format", ["video"]), eq("codec", "h264")
_FORMATS = is_in("format", ["video", "audio"])
_OF_FORMAT = "flows USING INDEX flows_by_format (format=?"
_OF_CODEC = "flows USING INDEX flows_by_codec (codec=?"


@pytest.fixture
def catalog(path: Path) -> Iterator[sqlite3.Connection]:
    """A new catalog file."""
    migrate(path)
    with closing(connect(path, write=True)) as connection:
        yield connection


def _plan(catalog: sqlite3.Connection, statement: Statement) -> list[str]:
    text, parameters = statement
    return [row[3] for row in catalog.execute(f"EXPLAIN QUERY PLAN {text}", parameters)]


@pytest.mark.parametrize(
    ("scan", "plan"),
    [
        (replace(_PAGE, where=(_VIDEO,)), f"SEARCH {_OF_FORMAT})"),
        (
            replace(_PAGE, where=(_VIDEO,), after=(1, "f")),
            f"SEARCH {_OF_FORMAT} AND (created,id)<(?,?))",
        ),
        (
            replace(_PAGE, where=(_VIDEO, compare("created", Op.GT, 1))),
            f"SEARCH {_OF_FORMAT} AND created>?)",
        ),
        (replace(_PAGE, where=(_H264,)), f"SEARCH {_OF_CODEC})"),
        (replace(_PAGE, where=(_VIDEO, _H264)), f"SEARCH {_OF_CODEC})"),
        (replace(_PAGE, where=(_VIDEO, eq("container", "c"))), f"SEARCH {_OF_FORMAT})"),
        # Hidden, as other conditions or orders have indexes of their own.
        (
            replace(_PAGE, where=(_VIDEO, _H264, eq("source_id", "s"))),
            "SEARCH flows USING INDEX flows_by_source (source_id=?)",
        ),
        (
            replace(_PAGE, where=(_VIDEO, eq("profile_id", "p"))),
            "SEARCH flows USING INDEX flows_by_profile (profile_id=?)",
        ),
        (replace(_PAGE, where=(_VIDEO, eq("id", "f"))), "SEARCH flows USING PRIMARY KEY (id=?)"),
        (replace(_PAGE, where=(_FORMATS,)), "SCAN flows USING INDEX flows_by_created"),
        (
            replace(_PAGE, where=(compare("codec", Op.IS_NULL),)),
            "SCAN flows USING INDEX flows_by_created",
        ),
        (
            replace(_PAGE, where=(Where("codec", (*_H264.any_of, Range(Op.EQ, "aac"))),)),
            "SCAN flows USING INDEX flows_by_created",
        ),
        (replace(_PAGE, matching=AllOf((_VIDEO,))), "SCAN flows USING INDEX flows_by_created"),
        (
            replace(_PAGE, matching=AnyOf((_VIDEO, _H264))),
            "SCAN flows USING INDEX flows_by_created",
        ),
        (
            replace(_PAGE, where=(_VIDEO,), tags=(Tagged("a", TagOp.IN, ("b",)),)),
            "SEARCH flows USING PRIMARY KEY (id=?)",
        ),
        (
            replace(_PAGE, where=(_H264,), matching=compare("search", Op.CONTAINS, "needle")),
            "SEARCH flows USING PRIMARY KEY (id=?)",
        ),
        (
            replace(_PAGE, table=SOURCES, columns=("id", "format"), where=(_VIDEO,)),
            "SCAN sources USING INDEX sources_by_created",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_where_a_page_begins(catalog: sqlite3.Connection, scan: Scan, plan: str) -> None:
    (statement,) = select.select(scan)

    assert _plan(catalog, statement)[0] == plan


@pytest.mark.parametrize(
    ("where", "index"),
    [
        ((_VIDEO,), "flows_by_format (format=?)"),
        ((_FORMATS,), "flows_by_format (format=?)"),
        ((_H264,), "flows_by_codec (codec=?)"),
        ((_VIDEO, _H264), "flows_by_codec (codec=?)"),
    ],
    ids=["a format", "formats", "a codec", "both"],
)
@pytest.mark.parametrize("order", [_NEWEST, _LABEL], ids=["newest", "label"])
def test_few_rows_are_found_in_the_index_alone(
    catalog: sqlite3.Connection, where: tuple[Where, ...], index: str, order: tuple[OrderBy, ...]
) -> None:
    for statement in select.select(replace(_PAGE, where=where, order=order), few=True):
        plan = _plan(catalog, statement)

        assert plan[0].startswith("SEARCH flows USING")
        assert "id=?" in plan[0]
        assert f"SEARCH flows USING COVERING INDEX {index}" in plan
    assert _plan(catalog, select.count(Scan(FLOWS, (), where)))[0] == (
        f"SEARCH flows USING COVERING INDEX {index}"
    )


@pytest.mark.parametrize(
    ("scan", "index"),
    [
        (replace(_PAGE, where=(_VIDEO,), order=_LABEL), "flows_by_format (format=?)"),
        (replace(_PAGE, where=(_FORMATS,)), "flows_by_format (format=?)"),
        (replace(_PAGE, where=(_VIDEO, _H264)), "flows_by_codec (codec=?)"),
        (Scan(FLOWS, (), (_VIDEO, eq("container", "c"))), "flows_by_format (format=?)"),
        (replace(_PAGE, where=(_VIDEO,)), None),
        (replace(_PAGE, where=(_H264, compare("created", Op.LT, 1))), None),
        (replace(_PAGE, where=(_H264, eq("source_id", "s")), order=_LABEL), None),
        (Scan(FLOWS, (), (_VIDEO, _H264)), None),
        (replace(_PAGE, order=_LABEL), None),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_look_is_taken_in_an_index_and_only_in_doubt(
    catalog: sqlite3.Connection, scan: Scan, index: str | None
) -> None:
    look = select.look(scan)

    found = [] if look is None else _plan(catalog, look)[:1]
    assert found == ([] if index is None else [f"SEARCH flows USING COVERING INDEX {index}"])


@pytest.mark.parametrize("number", [few_values.FEW - 1, few_values.FEW])
def test_a_look_tells_few_from_many(catalog: sqlite3.Connection, number: int) -> None:
    rows = [build.flow(f"f{i:04}", format="video", codec="h264") for i in range(number)]
    _insert(catalog, rows)

    few = number < few_values.FEW

    def found(*where: Where, order: tuple[OrderBy, ...] = _NEWEST) -> bool:
        look = select.look(replace(_PAGE, where=where, order=order))
        return reader._few(catalog, look)

    assert found(_VIDEO, order=_LABEL) is few
    assert found(_VIDEO, _H264) is few
    assert found(_FORMATS, eq("codec", "aac")) is True
    assert found(_VIDEO) is False


def test_partitions_keep_their_own_index(catalog: sqlite3.Connection) -> None:
    scan = replace(_PAGE, where=(_VIDEO, _H264))
    (statement,) = select.select_partition(scan, "source_id")
    text, parameters = statement
    by_source = "SEARCH flows USING INDEX flows_by_source (source_id=?)"

    assert _plan(catalog, Statement(text, ["s", *parameters]))[0] == by_source
    counted = select.count_partitions(Partitioned(scan, "source_id", ("a", "b")))
    assert _plan(catalog, counted)[0] == by_source


def _insert(catalog: sqlite3.Connection, rows: list[tuple[Any, ...]]) -> None:
    marks = ", ".join("?" * len(FLOWS.columns))
    columns = ", ".join(FLOWS.columns)
    catalog.executemany(f"INSERT INTO flows ({columns}) VALUES ({marks})", rows)


_FORMAT, _CODEC = st.sampled_from(["video", "audio"]), st.sampled_from(["h264", "aac", None])
_LABELS, _TIMES = st.sampled_from(["a", "b", None]), st.integers(0, 3)
_ROWS = st.lists(st.tuples(_FORMAT, _CODEC, _LABELS, _TIMES, _TIMES), max_size=12)
_WHERE = conditions(
    {
        "format": _FORMAT,
        "codec": _CODEC.filter(lambda codec: codec is not None),
        "created": _TIMES,
        "metadata_updated": _TIMES,
        "label": _LABELS.filter(lambda label: label is not None),
    },
    min_size=1,
)
_ONE = st.one_of(
    st.builds(eq, st.just("format"), _FORMAT),
    st.builds(is_in, st.just("format"), st.lists(_FORMAT, max_size=3)),
    st.builds(is_in, st.just("codec"), st.lists(_CODEC, max_size=3)),
)
_COLUMNS = ("id", "format", "codec", "label", "created", "metadata_updated")


@given(
    rows=_ROWS,
    where=st.tuples(_ONE, _WHERE).map(lambda both: (both[0], *both[1])) | st.tuples(_ONE),
    order=orders(("created", "metadata_updated", "label"), "id"),
    limit=st.integers(1, 6),
    data=st.data(),
)
@examples(150)
def test_however_rows_are_found_they_are_the_same(
    catalog: sqlite3.Connection,
    rows: list[tuple[Any, ...]],
    where: tuple[Where, ...],
    order: tuple[OrderBy, ...],
    limit: int,
    data: st.DataObject,
) -> None:
    names = ("format", "codec", "label", "created", "metadata_updated")
    flows = [
        build.flow(f"f{i}", **dict(zip(names, row, strict=True))) for i, row in enumerate(rows)
    ]
    if catalog.in_transaction:
        catalog.execute("ROLLBACK")  # the example before
    catalog.execute("BEGIN")
    _insert(catalog, flows)
    named = [dict(zip(FLOWS.columns, flow, strict=True)) for flow in flows]
    after = None
    if named:
        last = data.draw(st.none() | st.sampled_from(named))
        after = None if last is None else tuple(last[term.column] for term in order)
    matching = naive.ordered([row for row in named if naive.satisfies(row, where)], order)
    rest = [row for row in matching if after is None or naive.beyond(row, order, after)]
    expected = [tuple(row[name] for name in _COLUMNS) for row in rest[:limit]]

    scan = Scan(FLOWS, _COLUMNS, where, order=order, limit=limit, after=after)
    for few in (False, True):
        assert reader._rows(catalog, select.select(scan, few=few), limit) == expected
        found = catalog.execute(*select.count(scan, few=few)).fetchone()
        assert found == (len(matching),)
