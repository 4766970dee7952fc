"""Rows read by key: what is known, what is known to be absent, what has yet to be read."""

from __future__ import annotations

import pyarrow as pa

from tams_gql.store.tables import OBJECTS, SOURCES
from tams_gql.store.vast.layout import physical_of
from tams_gql.store.vast.reading.row_cache import RowCache

_OBJECTS = physical_of(OBJECTS)


def _rows(**columns: list[object]) -> pa.Table:
    return pa.table(columns)


def test_rows_are_known_with_the_columns_that_were_read() -> None:
    rows = RowCache()
    assert rows.unknown(_OBJECTS, ["b", "a", "b"], ["id"]) == ["b", "a"]

    rows.add(_OBJECTS, "id", ["a", "b", "c"], _rows(id=["c", "a"], size=[3, 1]))

    assert rows.unknown(_OBJECTS, ["a", "b", "c", "d"], ["id", "size"]) == ["d"]
    assert rows.unknown(_OBJECTS, ["a", "b", "c"], ["id", "role"]) == ["a", "c"]
    assert rows.unknown(physical_of(SOURCES), ["a"], ["id"]) == ["a"]
    found = rows.rows(_OBJECTS, ["d", "a", "b", "c", "a"], ["size", "id"])
    assert found is not None
    assert found.to_pylist() == [{"size": 1, "id": "a"}, {"size": 3, "id": "c"}]


def test_rows_of_several_reads_come_together() -> None:
    rows = RowCache()
    rows.add(_OBJECTS, "id", ["a"], _rows(id=["a"], size=[1], role=["media"]))
    rows.add(_OBJECTS, "id", ["b", "x"], _rows(id=["b"], size=[2]))
    rows.add(_OBJECTS, "id", (), _rows(id=["a"], ref_count=[7]))

    found = rows.rows(_OBJECTS, ["b", "x", "a"], ["id", "size"])

    assert found is not None
    assert found.to_pylist() == [{"id": "b", "size": 2}, {"id": "a", "size": 1}]
    assert rows.unknown(_OBJECTS, ["a", "b", "x"], ["ref_count"]) == ["b"]
    assert rows.rows(_OBJECTS, ["x", "y"], ["id"]) is None
    assert rows.rows(_OBJECTS, ["b"], ["id", "role"]) is None


def test_nothing_found_is_known_too() -> None:
    rows = RowCache()
    rows.add(_OBJECTS, "id", ["a"], _rows(id=pa.array([], pa.string())))

    assert rows.unknown(_OBJECTS, ["a"], ["id", "size"]) == []
