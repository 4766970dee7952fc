"""Insert, update and delete."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from .calls import Call
from .column_types import check_columns
from .errors import bad_request, conflict, not_found
from .leaves import id_array, ids_of
from .storage import ROW_ID, Ids, Table
from .wire import Reply

EXTERNAL_ID = "vastdb_rowid"
"""A column of this name shows the row id; the first insert may supply it, and from then on the
client chooses the ids."""


def _batch(call: Call) -> Any:
    call.check_size()
    with pa.ipc.open_stream(call.request.body) as reader:
        batches = list(reader)
    if len(batches) > 1:
        raise bad_request("one record batch per request")
    schema = reader.schema
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=schema)


def insert(call: Call) -> Reply:
    """Add rows; the reply has their ids."""
    table, batch = call.table(), _batch(call)
    check_columns(table.schema, _as_stored(table, batch.schema))
    external = EXTERNAL_ID in batch.schema.names
    ids, batch = _chosen(table, batch) if external else _given(call, table, batch)
    stored = _stored_columns(table, batch)

    def change(now: Table) -> Table:
        return (now.changed(external_ids=True) if external else now).appended(ids, stored)

    call.change(lambda catalog: catalog.table_changed(table.id, change))
    call.rpc.rows, call.rpc.columns = batch.num_rows, tuple(batch.schema.names)
    call.wrote()
    if call.transaction is not None and not external:
        call.transaction.own(table.id, ids)
    sent = pa.record_batch([id_array(ids, bool(table.sorting_key))], names=[ROW_ID])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, sent.schema) as writer:
        writer.write_batch(sent)
    return Reply(body=[sink.getvalue()])


def _given(call: Call, table: Table, batch: Any) -> tuple[Ids, Any]:
    """Row ids from the server."""
    if table.external_ids:
        raise bad_request(f"this table needs the column {EXTERNAL_ID}")
    ids = call.engine.new_row_ids(table.id, batch.num_rows)
    if table.schema.get_field_index(EXTERNAL_ID) >= 0:
        batch = batch.append_column(EXTERNAL_ID, pa.array(ids.astype(np.int64)))
    return ids, batch


def _chosen(table: Table, batch: Any) -> tuple[Ids, Any]:
    """Row ids from the client, with the rows in their order."""
    if table.inserted and not table.external_ids:
        raise bad_request(f"{EXTERNAL_ID} must be given from the first insert on")
    batch = batch.sort_by(EXTERNAL_ID)
    ids = ids_of(batch.column(EXTERNAL_ID))
    taken = len(table.missing(ids)) < len(ids) or (ids[1:] == ids[:-1]).any()
    if taken:
        raise conflict(f"a row with this {EXTERNAL_ID} exists")
    return ids, batch


def _as_stored(table: Table, sent: Any) -> list[Any]:
    """Sent columns; time zones do not matter where the stored column has none."""
    return [
        _without_zone(item, table.schema.field(item.name).type)
        if (table.schema.get_field_index(item.name) >= 0)
        else item
        for item in sent
    ]


def _without_zone(item: Any, stored: Any) -> Any:
    both = pa.types.is_timestamp(item.type) and pa.types.is_timestamp(stored)
    if both and stored.tz is None and stored.unit == item.type.unit:
        return item.with_type(stored)
    return item


def _stored_columns(table: Table, sent: Any) -> dict[str, Any]:
    columns = {}
    for name in sent.schema.names:
        column, kind = sent.column(name), table.schema.field(name).type
        columns[name] = column if column.type == kind else column.cast(kind)
    return columns


def _rows_to_change(call: Call, table: Table, batch: Any) -> tuple[Ids, Any]:
    """Row ids in ascending order, and where they were in the batch."""
    if not batch.num_columns or batch.schema.field(0).name != ROW_ID:
        raise bad_request(f"the first column must be {ROW_ID}")
    if pa.types.is_decimal(batch.schema.field(0).type) != bool(table.sorting_key):
        raise bad_request(f"{ROW_ID} is not of the type of this table's row ids")
    ids = ids_of(batch.column(0))
    order = np.argsort(ids, kind="stable")
    ids = ids[order]
    if len(ids) > 1 and (ids[1:] == ids[:-1]).any():
        raise bad_request(f"{ROW_ID} values must be unique")
    return ids, order


def update(call: Call) -> Reply:
    """Change columns of rows by row id."""
    transaction = call.need_transaction()
    table, batch = call.table(), _batch(call)
    ids, order = _rows_to_change(call, table, batch)
    sent = batch.select(batch.schema.names[1:])
    check_columns(table.schema, _as_stored(table, sent.schema))
    fixed = set(sent.schema.names) & {*table.sorting_key, EXTERNAL_ID}
    if fixed:
        raise bad_request(f"these columns cannot be updated: {sorted(fixed)}")
    call.engine.claim_rows(transaction, table.id, ids, sent.schema.names)
    _check_present(call.table(), ids)  # as it is now that nobody else can remove them
    stored = _stored_columns(table, sent.take(pa.array(order)))
    call.change(lambda c: c.table_changed(table.id, lambda t: t.updated(ids, stored)))
    call.rpc.rows, call.rpc.columns = len(ids), tuple(sent.schema.names)
    call.wrote()
    return Reply()


def delete(call: Call) -> Reply:
    """Remove rows by row id."""
    transaction = call.need_transaction()
    table, batch = call.table(), _batch(call)
    ids, _ = _rows_to_change(call, table, batch)
    call.engine.claim_rows(transaction, table.id, ids, ["*"])
    _check_present(call.table(), ids)  # as it is now that nobody else can remove them
    call.change(lambda c: c.table_changed(table.id, lambda t: t.deleted(ids)))
    call.rpc.rows = len(ids)
    call.wrote()
    return Reply()


def _check_present(table: Table, ids: Ids) -> None:
    missing = table.missing(ids)
    if len(missing):
        raise not_found(f"row {int(missing[0])}")


HANDLERS = {function.__name__: function for function in (insert, update, delete)}
