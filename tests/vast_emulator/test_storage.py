"""Tables against a dictionary that does the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vast_emulator import storage
from tests.vast_emulator.selection import Page
from tests.vast_emulator.storage import Ids, Memo, Table

SCHEMA = pa.schema({"text": pa.utf8(), "list": pa.list_(pa.int8())})
ROWS = st.tuples(st.text(max_size=3), st.none() | st.lists(st.integers(0, 9), max_size=2))
SOME_IDS = st.sets(st.integers(0, 60), max_size=12)


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "_FULL_CHUNK", 4)


def ids_array(ids: set[int]) -> Ids:
    return np.array(sorted(ids), dtype=np.uint64)


def columns(rows: list[tuple[str, Any]]) -> dict[str, Any]:
    return {
        item.name: pa.array([row[index] for row in rows], item.type)
        for index, item in enumerate(SCHEMA)
    }


def content(table: Table) -> dict[int, tuple[Any, ...]]:
    page = Page([(chunk, None) for chunk in table.chunks], 0)
    values = [array.to_pylist() for array in page.columns(list(SCHEMA)).values()]
    return dict(zip(page.ids().tolist(), zip(*values, strict=True), strict=True))


@settings(max_examples=60)
@given(st.data())
def test_changes_in_any_order(data: st.DataObject) -> None:
    table, model = Table(1, SCHEMA), dict[int, tuple[Any, ...]]()
    for _ in range(data.draw(st.integers(1, 10))):
        kind = data.draw(st.sampled_from(["append", "append", "update", "delete"]))
        ids = data.draw(SOME_IDS)
        before, shown = table, content(table)
        if kind == "append":
            ids -= model.keys()
            rows = [data.draw(ROWS) for _ in ids]
            table = table.appended(ids_array(ids), columns(rows))
            model |= dict(zip(sorted(ids), rows, strict=True))
        elif kind == "update":
            texts = [str(number) for number in sorted(ids)]
            table = table.updated(ids_array(ids), {"text": pa.array(texts, pa.utf8())})
            model |= {n: (str(n), model[n][1]) for n in ids & model.keys()}
        else:
            assert table.missing(ids_array(ids)).tolist() == sorted(ids - model.keys())
            table = table.deleted(ids_array(ids))
            model = {n: row for n, row in model.items() if n not in ids}
        assert content(table) == dict(sorted(model.items()))
        assert list(content(table)) == sorted(model)
        assert table.num_rows == len(model)
        assert content(before) == shown
        assert all(0 < len(chunk) <= 4 for chunk in table.chunks)


def test_appending_keeps_few_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "_FULL_CHUNK", 1024)
    table = Table(1, SCHEMA)
    for number in range(1000):
        table = table.appended(ids_array({number}), columns([(str(number), None)]))
    assert table.num_rows == 1000
    assert len(table.chunks) <= 11


def test_columns_come_and_go() -> None:
    table = Table(1, SCHEMA, sorting_key=("text",))
    table = table.appended(ids_array({0, 1}), columns([("a", [1]), ("b", None)]))
    added = table.columns_added([pa.field("more", pa.int64())])
    assert added.chunks[0].columns["more"].to_pylist() == [None, None]
    renamed = added.column_renamed("text", "name")
    assert renamed.schema.names == ["name", "list", "more"]
    assert renamed.sorting_key == ("name",)
    assert renamed.columns_dropped({"list", "more"}).schema.names == ["name"]
    assert table.schema == SCHEMA


def test_the_memo_forgets_the_oldest() -> None:
    memo = Memo(2)
    for key in "abc":
        memo.put(key, key.upper())
    assert [memo.get(key) for key in "abc"] == [None, "B", "C"]
