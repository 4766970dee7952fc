"""SQLite rows to Arrow record batches."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import pyarrow as pa

from tams_gql.store.tables import Table


@lru_cache(maxsize=512)
def schema_of(table: Table, columns: tuple[str, ...]) -> pa.Schema:
    """The Arrow schema of some columns of a table."""
    return pa.schema([table.schema.field(name) for name in columns])


def to_batch(schema: pa.Schema, rows: Sequence[tuple[Any, ...]]) -> pa.RecordBatch:
    """Rows of plain SQLite values as one record batch."""
    if not rows:
        return pa.RecordBatch.from_arrays([pa.array([], f.type) for f in schema], schema=schema)
    columns = zip(*rows, strict=True)
    arrays = [_array(values, f.type) for f, values in zip(schema, columns, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _array(values: tuple[Any, ...], kind: pa.DataType) -> pa.Array:
    if pa.types.is_boolean(kind):
        return pa.array(values, pa.int8()).cast(kind)
    return pa.array(values, kind)
