"""Rows as named tuples, against pyarrow's own conversion."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tams_gql.store.records import RECORD_TABLES, SegmentRecord, SourceRecord, records, values
from tams_gql.store.tables import SEGMENTS, SOURCES, Table
from tests.store import build
from tests.store.given import integers, texts

_TIME = pa.timestamp("us", tz="UTC")
_KINDS: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.string(): texts,
    pa.int64(): integers,
    pa.bool_(): st.booleans(),
    _TIME: integers,
}


@pytest.mark.parametrize(("record", "table"), RECORD_TABLES.items(), ids=lambda x: str(x))
def test_records_have_the_fields_of_their_table(record: type, table: Table) -> None:
    assert record.__annotations__.keys() == dict.fromkeys(table.columns).keys()
    assert tuple(record.__annotations__) == table.columns


@pytest.mark.parametrize("kind", _KINDS, ids=str)
@given(data=st.data())
def test_values_are_those_of_the_column(kind: pa.DataType, data: st.DataObject) -> None:
    given = data.draw(st.lists(st.none() | _KINDS[kind], max_size=20))
    start = data.draw(st.integers(0, len(given)))
    length = data.draw(st.integers(0, len(given) - start))
    column = pa.array(given, kind)

    assert values(column) == given
    assert values(column.slice(start, length)) == given[start : start + length]


def test_rows_come_back_as_records() -> None:
    rows = [build.source("s1", label="a"), build.source("s2", explicit=False)]
    columns = [list(column) for column in zip(*rows, strict=True)]
    arrays = [pa.array(c, f.type) for c, f in zip(columns, SOURCES.schema, strict=True)]
    batch = pa.RecordBatch.from_arrays(arrays, schema=SOURCES.schema)

    found = records(batch, SourceRecord)

    assert [tuple(record) for record in found] == rows
    assert {type(record) for record in found} == {SourceRecord}
    assert [record.id for record in records(batch.slice(1), SourceRecord)] == ["s2"]
    assert records(batch.slice(2), SourceRecord) == []


def test_no_rows_are_no_records() -> None:
    nothing = pa.RecordBatch.from_pylist([], schema=SEGMENTS.schema)

    assert records(nothing, SegmentRecord) == []
