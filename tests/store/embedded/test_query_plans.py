"""Hot statements are answered by the index made for them, in its order: no scan, no sort."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tams_gql.store.embedded import migrate, select, windows
from tams_gql.store.embedded.conditions import where_clause
from tams_gql.store.embedded.connection import connect
from tams_gql.store.embedded.select import Statement
from tams_gql.store.scan import (
    AnyOf,
    Condition,
    Not,
    Op,
    OrderBy,
    Partitioned,
    Range,
    Scan,
    SegmentWindow,
    Tagged,
    TagOp,
    Where,
    compare,
    eq,
    is_in,
)
from tams_gql.store.tables import (
    COLLECTIONS,
    FLOW_COUNTERS,
    FLOWS,
    JOBS,
    OBJECTS,
    SEGMENTS,
    SOURCES,
    Table,
)

_CREATED = (OrderBy("created"), OrderBy("id"))
_NEWEST = (OrderBy("created", True), OrderBy("id", True))
_LABEL = (OrderBy("label"), OrderBy("id"))
_LABEL_DOWN = (OrderBy("label", True), OrderBy("id", True))
_TIME = (OrderBy("flow_id"), OrderBy("start_ns"))
_PAGE = Scan(FLOWS, FLOWS.columns, order=_CREATED, limit=101)
_USERS = Scan(SEGMENTS, ("flow_id", "start_ns"), (eq("object_id", "o"),), order=_TIME, limit=101)
_ORPHANS = Scan(
    OBJECTS,
    ("id",),
    (compare("orphaned", Op.LT, 5),),
    order=(OrderBy("orphaned"), OrderBy("id")),
    limit=101,
)
_DUE = Scan(
    JOBS,
    JOBS.columns,
    (eq("kind", "copy"), compare("due", Op.LE, 5)),
    order=(OrderBy("due"), OrderBy("id")),
    limit=8,
)


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A new catalog file as the store's readers open it."""
    migrate(tmp_path / "catalog.db")
    with closing(connect(tmp_path / "catalog.db", write=False)) as connection:
        yield connection


def _plan(catalog: sqlite3.Connection, text: str, parameters: list[Any]) -> list[str]:
    return [row[3] for row in catalog.execute(f"EXPLAIN QUERY PLAN {text}", parameters)]


@pytest.mark.parametrize(
    ("scan", "plans"),
    [
        (
            Scan(FLOWS, FLOWS.columns, (eq("id", "f"),)),
            ["SEARCH flows USING PRIMARY KEY (id=?)"],
        ),
        (
            Scan(FLOW_COUNTERS, FLOW_COUNTERS.columns, (eq("flow_id", "f"),)),
            ["SEARCH flow_counters USING PRIMARY KEY (flow_id=?)"],
        ),
        (
            Scan(FLOWS, FLOWS.columns, order=(OrderBy("id"),), limit=9, after=("f",)),
            ["SEARCH flows USING PRIMARY KEY (id>?)"],
        ),
        (_PAGE, ["SCAN flows USING INDEX flows_by_created"]),
        (
            replace(_PAGE, after=(1, "f")),
            ["SEARCH flows USING INDEX flows_by_created ((created,id)>(?,?))"],
        ),
        (replace(_PAGE, order=_NEWEST), ["SCAN flows USING INDEX flows_by_created"]),
        (
            replace(_PAGE, order=_NEWEST, after=(1, "f")),
            ["SEARCH flows USING INDEX flows_by_created ((created,id)<(?,?))"],
        ),
        (
            replace(_PAGE, table=SOURCES, columns=("id",), order=_NEWEST, after=(1, "f")),
            ["SEARCH sources USING COVERING INDEX sources_by_created ((created,id)<(?,?))"],
        ),
        (
            replace(_PAGE, where=(eq("container", "x"),), after=(1, "f")),
            ["SEARCH flows USING INDEX flows_by_created ((created,id)>(?,?))"],
        ),
        (
            replace(_PAGE, where=(eq("source_id", "s"),), after=(1, "f")),
            ["SEARCH flows USING INDEX flows_by_source (source_id=? AND (created,id)>(?,?))"],
        ),
        (
            replace(_PAGE, where=(eq("source_id", "s"),), order=_NEWEST, after=(1, "f")),
            ["SEARCH flows USING INDEX flows_by_source (source_id=? AND (created,id)<(?,?))"],
        ),
        (
            replace(_PAGE, order=_LABEL),
            [
                "SEARCH flows USING INDEX flows_by_label (label>?)",
                "SEARCH flows USING INDEX flows_by_label (label=?)",
            ],
        ),
        (
            replace(_PAGE, order=_LABEL, after=("a", "f")),
            [
                "SEARCH flows USING INDEX flows_by_label ((label,id)>(?,?))",
                "SEARCH flows USING INDEX flows_by_label (label=?)",
            ],
        ),
        (
            replace(_PAGE, order=_LABEL, after=(None, "f")),
            ["SEARCH flows USING INDEX flows_by_label (label=? AND id>?)"],
        ),
        (
            replace(_PAGE, order=_LABEL_DOWN, after=(None, "f")),
            [
                "SEARCH flows USING INDEX flows_by_label (label=? AND id<?)",
                "SEARCH flows USING INDEX flows_by_label (label>?)",
            ],
        ),
        (
            replace(_PAGE, order=_LABEL_DOWN, after=("a", "f")),
            ["SEARCH flows USING INDEX flows_by_label (label>? AND (label,id)<(?,?))"],
        ),
        (
            Scan(FLOWS, ("id",), (compare("label", Op.PREFIX, "a"),), order=_LABEL, limit=9),
            ["SEARCH flows USING COVERING INDEX flows_by_label (label>? AND label<?)"],
        ),
        (
            Scan(FLOWS, ("id",), (eq("profile_id", "p"),), order=_CREATED, limit=9),
            ["SEARCH flows USING COVERING INDEX flows_by_profile (profile_id=?)"],
        ),
        (_USERS, ["SEARCH segments USING COVERING INDEX segments_by_object (object_id=?)"]),
        (
            replace(_USERS, after=("f", 1)),
            [
                "SEARCH segments USING COVERING INDEX segments_by_object"
                " (object_id=? AND (flow_id,start_ns)>(?,?))"
            ],
        ),
        (_ORPHANS, ["SEARCH objects USING COVERING INDEX objects_by_orphaned (orphaned<?)"]),
        (
            replace(_ORPHANS, after=(1, "o")),
            [
                "SEARCH objects USING COVERING INDEX objects_by_orphaned"
                " ((orphaned,id)>(?,?) AND orphaned<?)"
            ],
        ),
        (
            Scan(
                OBJECTS,
                ("id",),
                (compare("expires", Op.LT, 5),),
                order=(OrderBy("expires"), OrderBy("id")),
                limit=9,
            ),
            ["SEARCH objects USING COVERING INDEX objects_by_expiry (expires<?)"],
        ),
        (
            Scan(OBJECTS, ("id",), (eq("init_object_id", "o"),), order=(OrderBy("id"),)),
            ["SEARCH objects USING COVERING INDEX objects_by_init (init_object_id=?)"],
        ),
        (_DUE, ["SEARCH jobs USING INDEX jobs_by_due (kind=? AND due<?)"]),
    ],
    ids=lambda value: repr(value)[:60] if isinstance(value, Scan) else "",
)
def test_scans(catalog: sqlite3.Connection, scan: Scan, plans: list[str]) -> None:
    found = [_plan(catalog, *statement) for statement in select.select(scan)]

    assert found == [[plan] for plan in plans]


def test_many_ids_are_one_list(catalog: sqlite3.Connection) -> None:
    scan = Scan(FLOWS, FLOWS.columns, (is_in("id", [f"f{i}" for i in range(1_000)]),))
    ((text, parameters),) = select.select(scan)

    assert len(parameters) == 1
    assert _plan(catalog, text, parameters)[0] == "SEARCH flows USING PRIMARY KEY (id=?)"


@pytest.mark.parametrize(
    ("scan", "column", "plan"),
    [
        (_PAGE, "source_id", "SEARCH flows USING INDEX flows_by_source (source_id=?)"),
        (
            replace(_PAGE, after=(1, "f")),
            "source_id",
            "SEARCH flows USING INDEX flows_by_source (source_id=? AND (created,id)>(?,?))",
        ),
        (
            replace(_USERS, where=()),
            "object_id",
            "SEARCH segments USING COVERING INDEX segments_by_object (object_id=?)",
        ),
        (
            Scan(JOBS, JOBS.columns, (eq("kind", "copy"),), order=(OrderBy("created"),)),
            "object_id",
            "SEARCH jobs USING INDEX jobs_by_object (object_id=? AND kind=?)",
        ),
        (
            Scan(COLLECTIONS, COLLECTIONS.columns, order=(OrderBy("position"),)),
            "parent_id",
            "SEARCH collections USING PRIMARY KEY (parent_id=?)",
        ),
        (
            Scan(COLLECTIONS, COLLECTIONS.columns, order=(OrderBy("parent_id"),)),
            "child_id",
            "SEARCH collections USING INDEX collections_by_child (child_id=?)",
        ),
        (
            Scan(
                COLLECTIONS,
                COLLECTIONS.columns,
                order=(OrderBy("position"), OrderBy("parent_id")),
            ),
            "parent_source_id",
            "SEARCH collections USING INDEX collections_by_parent_source (parent_source_id=?)",
        ),
        (
            Scan(COLLECTIONS, COLLECTIONS.columns, order=(OrderBy("parent_id"),)),
            "child_source_id",
            "SEARCH collections USING INDEX collections_by_child_source (child_source_id=?)",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_partitions(catalog: sqlite3.Connection, scan: Scan, column: str, plan: str) -> None:
    ((text, parameters),) = select.select_partition(scan, column)

    assert _plan(catalog, text, ["key", *parameters]) == [plan]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("after_ns", [None, 5])
def test_windows(catalog: sqlite3.Connection, reverse: bool, after_ns: int | None) -> None:
    window = SegmentWindow("f", 0, 10, reverse=reverse, limit=9, after_ns=after_ns)

    for text, parameters in (
        windows.select_window(window, SEGMENTS.columns),
        windows.count_window(window),
    ):
        assert _plan(catalog, text, parameters) == [
            "SEARCH segments USING PRIMARY KEY (flow_id=? AND start_ns>? AND start_ns<?)",
            "SCALAR SUBQUERY 1",
            "SEARCH segments USING PRIMARY KEY (flow_id=? AND start_ns<?)",
        ]


def _steps(catalog: sqlite3.Connection, window: SegmentWindow) -> int:
    """How many thousand instructions of SQLite's machine a window takes."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    text, parameters = windows.select_window(window, ("start_ns",))
    catalog.set_progress_handler(count, 10)
    found = catalog.execute(text, parameters).fetchall()
    catalog.set_progress_handler(None, 0)
    assert len(found) == 20
    return steps


def test_a_window_costs_the_same_wherever_it_lies(tmp_path: Path) -> None:
    migrate(tmp_path / "catalog.db")
    with closing(connect(tmp_path / "catalog.db", write=True)) as catalog:
        catalog.execute("BEGIN")
        columns = "flow_id, start_ns, end_ns, id, object_id, timerange, ts_offset_ns, created"
        rows = (("f", i, i + 1, "i", "o", "t", 0, 0) for i in range(10_000))
        catalog.executemany(
            f"INSERT INTO segments ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows
        )
        whole = SegmentWindow("f", -(2**63), 2**63 - 1, limit=20)
        costs = [
            _steps(catalog, window)
            for window in (
                whole,
                replace(whole, after_ns=9_000),
                replace(whole, start_ns=9_000),
                replace(whole, reverse=True),
                replace(whole, reverse=True, after_ns=1_000),
                replace(whole, reverse=True, end_ns=1_000),
            )
        ]

    assert max(costs) - min(costs) <= 5


def test_tags_are_looked_up_in_their_index(catalog: sqlite3.Connection) -> None:
    expected = {
        TagOp.EXISTS: "SEARCH tag_index USING PRIMARY KEY (kind=? AND name=?)",
        TagOp.ABSENT: "SEARCH tag_index USING PRIMARY KEY (kind=? AND name=?)",
        TagOp.IN: "SEARCH tag_index USING PRIMARY KEY"
        " (kind=? AND name=? AND value=? AND ordinal>?)",
        TagOp.ALL: "SEARCH tag_index USING PRIMARY KEY"
        " (kind=? AND name=? AND value=? AND ordinal>?)",
        TagOp.PREFIX: "SEARCH tag_index USING PRIMARY KEY"
        " (kind=? AND name=? AND value>? AND value<?)",
    }
    for op, plan in expected.items():
        ((text, parameters),) = select.select(
            replace(_PAGE, tags=(Tagged("genre", op, ("news",)),))
        )
        found = _plan(catalog, text, parameters)

        assert [step for step in found if "tag_index" in step] == [plan]
        by_id = "SEARCH flows USING PRIMARY KEY (id=?)"
        assert found[0] == (
            "SCAN flows USING INDEX flows_by_created" if op is TagOp.ABSENT else by_id
        )


def test_counts_are_answered_from_an_index(catalog: sqlite3.Connection) -> None:
    partitioned = Partitioned(_PAGE, "source_id", ("a", "b"))
    statements: list[Statement] = [
        select.count_partitions(partitioned),
        select.count(replace(_PAGE, where=(eq("source_id", "a"),))),
    ]

    for text, parameters in statements:
        assert _plan(catalog, text, parameters)[0] == (
            "SEARCH flows USING COVERING INDEX flows_by_source (source_id=?)"
        )


def test_changes_find_their_rows_by_key(catalog: sqlite3.Connection) -> None:
    """The log and the bookkeeping of segments, as the writer runs them."""
    expected = {
        "SELECT seq FROM events WHERE seq > ? ORDER BY seq LIMIT ?": (
            "SEARCH events USING INTEGER PRIMARY KEY (rowid>?)"
        ),
        "SELECT id FROM tag_index WHERE kind = ? AND id IN (?)": (
            "SEARCH tag_index USING COVERING INDEX tag_index_by_resource (kind=? AND id=?)"
        ),
        "SELECT min(start_ns) FROM segments WHERE flow_id = ?": (
            "SEARCH segments USING PRIMARY KEY (flow_id=?)"
        ),
    }
    for text, plan in expected.items():
        assert _plan(catalog, text, ["x"] * text.count("?")) == [plan]


@pytest.mark.parametrize(
    ("table", "column", "plan"),
    [
        (SEGMENTS, "object_id", "segments_by_object (object_id=?)"),
        (OBJECTS, "init_object_id", "objects_by_init (init_object_id=?)"),
    ],
)
def test_a_claim_finds_users_by_index(
    catalog: sqlite3.Connection, table: Table, column: str, plan: str
) -> None:
    condition, parameters = where_clause((is_in(column, ["a", "b"]),))
    found = _plan(catalog, f"DELETE FROM {table.name} WHERE {condition}", parameters)

    assert found[0].replace("COVERING ", "") == f"SEARCH {table.name} USING INDEX {plan}"


_SEARCHES: dict[str, Condition] = {
    "alone": Where("search", (Range(Op.CONTAINS, "needle"),)),
    "negated": Not(Where("search", (Range(Op.CONTAINS, "needle"),))),
    "or a tag": AnyOf(
        (Where("search", (Range(Op.CONTAINS, "needle"),)), Tagged("genre", TagOp.EXISTS))
    ),
}


@pytest.mark.parametrize("table", [SOURCES, FLOWS])
@pytest.mark.parametrize("matching", _SEARCHES.values(), ids=_SEARCHES)
def test_a_search_begins_with_the_index_of_words(
    catalog: sqlite3.Connection, table: Table, matching: Condition
) -> None:
    scan = Scan(table, ("id",), order=_CREATED, limit=101, matching=matching)
    for text, parameters in (*select.select(scan), select.count(scan)):
        steps = _plan(catalog, text, parameters)
        index = next(at for at, step in enumerate(steps) if step.startswith("SCAN t VIRTUAL TABLE"))
        assert steps[index + 1] == "SEARCH r USING INTEGER PRIMARY KEY (rowid=?)"


def test_a_search_costs_what_it_finds_and_not_what_there_is(tmp_path: Path) -> None:
    def cost(rows: int) -> int:
        path = tmp_path / f"{rows}.db"
        migrate(path)
        with closing(connect(path, write=True)) as catalog:
            catalog.execute("BEGIN")
            columns = "id, format, created, updated, version, explicit, flow_count, search"
            values = ((f"s{i:05}", "f", i, i, 1, 1, 0, f"one of {i}") for i in range(rows))
            catalog.executemany(
                f"INSERT INTO sources ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values
            )
            catalog.execute("UPDATE sources SET search = 'the needle' WHERE id = 's00007'")
            return _cost(catalog, Scan(SOURCES, ("id",), matching=_SEARCHES["alone"]))

    assert cost(4_000) <= cost(40) + 5


def _cost(catalog: sqlite3.Connection, scan: Scan) -> int:
    """How many tens of instructions of SQLite's machine a scan takes that finds one row."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    ((text, parameters),) = select.select(scan)
    catalog.set_progress_handler(count, 10)
    found = catalog.execute(text, parameters).fetchall()
    catalog.set_progress_handler(None, 0)
    assert found == [("s00007",)]
    return steps
