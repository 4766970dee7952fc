"""SQLite rows to Arrow record batches."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import pyarrow as pa

from tams_gql.store.tables import Table

# Below this many rows what pyarrow spends on each array outweighs what it spends on each value.
_FEW_ROWS = 32


class Layout(NamedTuple):
    """What batches of some columns of a table have in common."""

    schema: pa.Schema
    flags: list[str]  # boolean columns: SQLite has 0 and 1
    structure: pa.DataType  # a row as one value
    empty: pa.RecordBatch


@lru_cache(maxsize=512)
def layout_of(table: Table, columns: tuple[str, ...]) -> Layout:
    """The layout of some columns of a table."""
    schema = pa.schema([table.schema.field(name) for name in columns])
    flags = [field.name for field in schema if pa.types.is_boolean(field.type)]
    nothing = [pa.array([], field.type) for field in schema]
    empty = pa.RecordBatch.from_arrays(nothing, schema=schema)
    return Layout(schema, flags, pa.struct(list(schema)), empty)


def to_batch(layout: Layout, rows: Sequence[tuple[Any, ...]]) -> pa.RecordBatch:
    """Rows of plain SQLite values as one record batch."""
    if not rows:
        return layout.empty
    if len(rows) <= _FEW_ROWS:
        return _by_row(layout, rows)
    columns = zip(*rows, strict=True)
    arrays = [_array(values, f.type) for f, values in zip(layout.schema, columns, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=layout.schema)


def _array(values: tuple[Any, ...], kind: pa.DataType) -> pa.Array:
    if pa.types.is_boolean(kind):
        return pa.array(values, pa.int8()).cast(kind)
    return pa.array(values, kind)


def _by_row(layout: Layout, rows: Sequence[tuple[Any, ...]]) -> pa.RecordBatch:
    names = layout.schema.names
    structs = [dict(zip(names, row, strict=True)) for row in rows]
    for flag in layout.flags:
        for struct in structs:
            if struct[flag] is not None:
                struct[flag] = bool(struct[flag])
    return pa.RecordBatch.from_struct_array(pa.array(structs, layout.structure))
