"""Columns as the protocol sends them: one leaf at a time, wrapped in its parents."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from .storage import Ids

EXHAUSTED = (1 << 48) - 1
SORTED_ID_TYPE = pa.decimal128(38, 0)
_SORTED_ID_HIGH = 1
"""Upper half of the 128-bit row ids of sorted tables: a client must not assume it is zero."""
_END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"


def leaf_of(array: Any, steps: tuple[Any, ...]) -> Any:
    """One leaf of a nested array inside its parents, each having this child only."""
    if not steps:
        return array
    if array.offset:
        array = array.take(pa.array(np.arange(len(array))))
    kind, buffers = array.type, array.buffers()
    if pa.types.is_struct(kind):
        child = leaf_of(array.field(steps[0]), steps[1:])
        part = pa.struct([kind.field(steps[0]).with_type(child.type)])
        return pa.Array.from_buffers(part, len(array), buffers[:1], children=[child])
    if pa.types.is_map(kind):
        child = _entries(array, steps[1:])
        part = pa.list_(pa.field("entries", child.type, nullable=False))
        return pa.Array.from_buffers(part, len(array), buffers[:2], children=[child])
    child = leaf_of(array.values, steps[1:])
    item = kind.value_field.with_type(child.type)
    if pa.types.is_fixed_size_list(kind):
        part = pa.list_(item, kind.list_size)
        return pa.Array.from_buffers(part, len(array), buffers[:1], children=[child])
    return pa.Array.from_buffers(pa.list_(item), len(array), buffers[:2], children=[child])


def _entries(array: Any, steps: tuple[Any, ...]) -> Any:
    kind = array.type
    values = (array.keys, array.items)[steps[0]]
    child = leaf_of(values, steps[1:])
    item = (kind.key_field, kind.item_field)[steps[0]].with_type(child.type)
    return pa.Array.from_buffers(pa.struct([item]), len(values), [None], children=[child])


def id_array(ids: Ids, is_sorted: bool) -> Any:
    """Row ids as they are sent: uint64, or 128-bit decimals for sorted tables."""
    if not is_sorted:
        return pa.array(ids)
    pairs = np.empty((len(ids), 2), dtype=np.uint64)
    pairs[:, 0] = ids
    pairs[:, 1] = _SORTED_ID_HIGH
    return pa.Array.from_buffers(SORTED_ID_TYPE, len(ids), [None, pa.py_buffer(pairs)])


def ids_of(array: Any) -> Ids:
    """The inverse of ``id_array``; integers of any width are taken as they are."""
    if pa.types.is_decimal(array.type):
        pairs = np.frombuffer(array.buffers()[1], dtype=np.uint64).reshape(-1, 2)
        return pairs[array.offset : array.offset + len(array), 0].copy()
    return np.asarray(array.cast(pa.uint64()).to_numpy(zero_copy_only=False), dtype=np.uint64)


@lru_cache(maxsize=2048)
def _schema_message(field: Any) -> bytes:
    return bytes(pa.schema([field]).serialize())


@lru_cache(maxsize=2048)
def _empty_message(field: Any) -> bytes:
    empty = pa.RecordBatch.from_arrays([pa.array([], field.type)], schema=pa.schema([field]))
    return bytes(empty.serialize())


def frames(stream: int, cursor: int, leaves: list[tuple[str, Any]], rows: int) -> Iterator[object]:
    """The frames of one sub-split: each leaf column as an Arrow stream of its own."""
    prefix = struct.pack("<IQ", stream, cursor)
    if not leaves:
        # an empty projection still carries the number of rows
        empty = pa.record_batch([pa.nulls(rows)], names=["n"]).select([])
        yield prefix + bytes(empty.schema.serialize()) + prefix
        yield empty.serialize()
        yield prefix + _END_OF_STREAM
        return
    for name, array in leaves:
        field = pa.field(name, array.type)
        yield prefix + _schema_message(field) + prefix
        if rows:
            yield pa.RecordBatch.from_arrays([array], schema=pa.schema([field])).serialize()
        else:
            yield _empty_message(field)
        yield prefix + _END_OF_STREAM
