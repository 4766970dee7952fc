"""Rows on their way to the cluster, in messages that it takes."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from tams_gql.model.errors import LimitExceeded
from tams_gql.store.vast.layout import ROW_ID, Physical

_MAX_BYTES = int(0.9 * 5 * 2**20)
_MAX_ROWS = 100_000  # an answer to an insert holds up to 16 bytes for each


def messages(batch: pa.RecordBatch) -> Iterator[bytes]:
    """The rows in order as Arrow streams of one batch each; nothing for no rows.

    Raises ``LimitExceeded`` if a single row is too large.
    """
    if not batch.num_rows:
        return
    if batch.num_rows <= _MAX_ROWS and batch.nbytes <= _MAX_BYTES:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        message = sink.getvalue()
        if message.size <= _MAX_BYTES:
            yield message.to_pybytes()
            return
    if batch.num_rows == 1:
        raise LimitExceeded(f"a row of {batch.nbytes} bytes exceeds what VAST takes, {_MAX_BYTES}")
    half = batch.num_rows // 2
    yield from messages(batch.slice(0, half))
    yield from messages(batch.slice(half))


def by_row_id(table: Physical, batch: pa.RecordBatch) -> pa.RecordBatch:
    """New values of rows in ascending order of their ids, as the cluster wants them."""
    if batch.schema.names[:1] != [ROW_ID]:
        raise ValueError(f"the first column of an update is {ROW_ID}")
    fixed = set(batch.schema.names) & set(table.sorted_by)
    if fixed:
        raise ValueError(f"{table.name} is sorted by {sorted(fixed)}, which cannot be updated")
    if batch.column(0).type != table.row_id:
        ids = batch.column(0).cast(table.row_id)
        batch = batch.set_column(0, pa.field(ROW_ID, table.row_id), ids)
    return batch if batch.num_rows < 2 else batch.sort_by(ROW_ID)


def row_ids_in(content: bytes) -> pa.Array:
    """The ids in an answer to an insert."""
    (batch,) = pa.ipc.open_stream(pa.py_buffer(content))
    return batch.column(0)
