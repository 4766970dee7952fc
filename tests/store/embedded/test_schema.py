"""The SQL tables against the Arrow schemas that every backend shares."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest

from tams_gql.store.embedded import migrate
from tams_gql.store.embedded.required import never_null
from tams_gql.store.scan import Op, Range, Where, compare, eq
from tams_gql.store.tables import EVENTS, FLOWS, SEGMENTS, SOURCES, TABLES, Table
from tests.store import build

_SQL_TYPES = {
    pa.string(): "TEXT",
    pa.int64(): "INTEGER",
    pa.bool_(): "INTEGER",
    pa.timestamp("us", tz="UTC"): "INTEGER",
}


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A new catalog file, opened without the store."""
    migrate(tmp_path / "catalog.db")
    with closing(sqlite3.connect(tmp_path / "catalog.db")) as connection:
        yield connection


def _columns(connection: sqlite3.Connection, table: Table) -> list[tuple[str, str, int]]:
    """Name, type and place in the key of each column."""
    query = "SELECT name, type, pk FROM pragma_table_info(?)"
    return connection.execute(query, (table.name,)).fetchall()


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_columns_are_those_of_the_arrow_schema(catalog: sqlite3.Connection, table: Table) -> None:
    expected = [
        (field.name, _SQL_TYPES[field.type], (*table.key, field.name).index(field.name) + 1)
        for field in table.schema
    ]
    expected = [(name, kind, place if name in table.key else 0) for name, kind, place in expected]
    if table is EVENTS:
        # The position is the row number, as text.
        expected[0] = ("seq", "INTEGER", 1)

    assert _columns(catalog, table) == expected


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_tables_are_strict(catalog: sqlite3.Connection, table: Table) -> None:
    """SQLite would otherwise store text in an integer column without a word."""
    query = "SELECT strict, wr FROM pragma_table_list WHERE schema = 'main' AND name = ?"

    assert catalog.execute(query, (table.name,)).fetchone() == (1, table is not EVENTS)


def test_columns_without_null_are_read_from_the_migrations() -> None:
    assert never_null(SEGMENTS, ()).issuperset(SEGMENTS.key)
    assert {"id", "created", "version"} <= never_null(SOURCES, ())
    assert not {"label", "description", "tags"} & never_null(SOURCES, ())


def test_a_comparison_keeps_null_away() -> None:
    label = compare("label", Op.GE, "a")
    maybe = Where("label", (Range(Op.EQ, "a"), Range(Op.IS_NULL)))

    assert "label" in never_null(FLOWS, (label,))
    assert "label" in never_null(FLOWS, (maybe, compare("label", Op.NOT_NULL)))
    assert "label" not in never_null(FLOWS, (maybe,))
    assert "label" not in never_null(FLOWS, (eq("label", None),))
    assert "codec" not in never_null(FLOWS, (label,))


def test_a_segment_must_last(catalog: sqlite3.Connection) -> None:
    marks = ", ".join("?" * len(SEGMENTS.columns))

    for end in (9, 10):
        with pytest.raises(sqlite3.IntegrityError, match="CHECK constraint"):
            catalog.execute(f"INSERT INTO segments VALUES ({marks})", build.segment("f", 10, end))
