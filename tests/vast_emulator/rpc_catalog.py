"""Transactions, buckets, schemas and tables."""

from __future__ import annotations

from collections.abc import Mapping
from xml.sax.saxutils import escape

import pyarrow as pa

from .calls import Call
from .column_types import check_type
from .errors import RpcError, bad_request
from .flatbuf import Record
from .replies import schemas_reply, stats_reply, tables_reply
from .storage import Table
from .wire import Reply


def probe(call: Call) -> Reply:
    """Server version at connect; it is in the ``Server`` header."""
    return Reply()


def begin(call: Call) -> Reply:
    """Open a transaction."""
    transaction = call.engine.begin()
    call.rpc.txid = str(transaction.id)
    headers = [("tabular-txid", str(transaction.id)), ("x-vast-rcf-id", "E1:1")]
    return Reply(headers=headers)


def commit(call: Call) -> Reply:
    """Publish a transaction."""
    call.engine.commit(call.need_transaction())
    return Reply()


def rollback(call: Call) -> Reply:
    """Forget a transaction."""
    call.engine.rollback(call.need_transaction())
    return Reply()


def keep_alive(call: Call) -> Reply:
    """State of a transaction; finding it has renewed its idle time."""
    call.need_transaction()
    return Reply()


def head_bucket(call: Call) -> Reply:
    """Whether a bucket exists."""
    call.engine.bucket(call.request.bucket)
    return Reply()


def list_snapshots(call: Call) -> Reply:
    """The snapshots of a bucket: there are none."""
    call.engine.bucket(call.request.bucket)
    prefix = escape(call.request.params.get("prefix", ""))
    body = (
        "<ListBucketResult><IsTruncated>false</IsTruncated><Marker></Marker>"
        f"<Name>{escape(call.request.bucket)}</Name><Prefix>{prefix}</Prefix></ListBucketResult>"
    )
    return Reply(body=[body.encode()], content_type="application/xml")


def _schema_path(call: Call) -> str:
    return "/".join(call.request.path[1:])


def list_schemas(call: Call) -> Reply:
    """Direct children of the bucket or of a schema."""
    catalog, parent = call.catalog(), _schema_path(call)
    if parent:
        catalog.schema(parent)
    prefix = f"{parent}/" if parent else ""
    items = [(name, catalog.schemas[prefix + name].properties) for name in catalog.children(parent)]
    return schemas_reply(call.request, items)


def create_schema(call: Call) -> Reply:
    """Add a schema."""
    path = _schema_path(call)
    if not path:
        raise bad_request("a schema needs a name")
    properties = Record.root(call.request.body).text(0) if call.request.body else ""
    call.claim("schema", path)
    call.change(lambda catalog: catalog.with_schema(path, properties))
    return Reply()


def alter_schema(call: Call) -> Reply:
    """Rename a schema."""
    path, new = _schema_path(call), call.request.params.get("tabular-new-schema-name", "")
    call.catalog().schema(path)
    if new:
        call.claim("schema", path)
        call.claim("schema", new)
        call.change(lambda catalog: catalog.schema_renamed(path, new))
    return Reply()


def drop_schema(call: Call) -> Reply:
    """Remove an empty schema."""
    path = _schema_path(call)
    call.catalog().schema(path)
    call.claim("schema", path)
    call.change(lambda catalog: catalog.without_schema(path))
    return Reply()


def list_tables(call: Call) -> Reply:
    """Tables of a schema."""
    path = _schema_path(call)
    tables = call.catalog().schema(path).tables
    return tables_reply(call.request, path, sorted(tables.items()))


def _sorting_key(call: Call, schema: pa.Schema) -> tuple[str, ...]:
    headers = call.request.headers
    indices: list[int] = []
    while (value := headers.get(f"tabular-sorted-column-{len(indices)}")) is not None:
        indices.append(int(value))
    if any(not 0 <= index < len(schema) for index in indices):
        if call.switches.version_tuple() >= (5, 5):
            raise bad_request("InvalidArgument: a sorting key names a column that does not exist")
        raise RpcError(500, "InternalError", "We encountered an internal error")
    return tuple(schema.field(index).name for index in indices)


def create_table(call: Call) -> Reply:
    """Add a table; the body is its Arrow schema."""
    request = call.request
    sent = pa.ipc.read_schema(pa.py_buffer(request.body))
    for item in sent:
        check_type(item)
    if len(set(sent.names)) != len(sent):
        raise bad_request("column names must be unique")
    if any(key.startswith("tabular-vector-index") for key in request.headers):
        raise RpcError(501, "NotImplemented", "vector indexes are not kept here")
    table = Table(
        call.engine.new_table_id(),
        _stored(sent, call),
        sorting_key=_sorting_key(call, sent),
        external_ids=request.flag("use-external-row-ids-alloc"),
        properties=request.params.get("table-props", ""),
    )
    path, name = request.schema, request.table
    call.catalog().schema(path)
    call.claim("table", path, name)
    call.change(lambda catalog: catalog.with_table(path, name, table))
    call.wrote()
    return Reply()


def _stored(sent: pa.Schema, call: Call) -> pa.Schema:
    """The columns as the server keeps them: older ones forget time zones."""
    if call.switches.version_tuple() >= (5, 4):
        return pa.schema(list(sent))
    return pa.schema(
        [
            item.with_type(pa.timestamp(item.type.unit))
            if pa.types.is_timestamp(item.type)
            else item
            for item in sent
        ]
    )


def alter_table(call: Call) -> Reply:
    """Rename a table, or give it a sorting key."""
    table = call.table()
    key = _sorting_key(call, table.schema)
    new = call.request.params.get("tabular-new-table-name", "")
    call.claim("table", call.request.schema, call.request.table)
    if key:
        if table.sorting_key:
            raise bad_request("the table has a sorting key already")
        call.change(lambda c: c.table_changed(table.id, lambda t: t.changed(sorting_key=key)))
    if new:
        path, _, name = new.rpartition("/")
        call.claim("table", path, name)
        call.change(lambda catalog: catalog.table_renamed(table.id, path, name))
    call.wrote()
    return Reply()


def drop_table(call: Call) -> Reply:
    """Remove a table."""
    table = call.table()
    call.claim("table", call.request.schema, call.request.table)
    call.change(lambda catalog: catalog.without_table(table.id))
    call.wrote()
    return Reply()


def stats(call: Call) -> Reply:
    """Statistics of a table, with the addresses for data requests."""
    return stats_reply(call.table(), call.switches.vips)


HANDLERS: Mapping[str, object] = {
    function.__name__: function
    for function in (
        probe, begin, commit, rollback, keep_alive, head_bucket, list_snapshots, list_schemas,
        create_schema, alter_schema, drop_schema, list_tables, create_table, alter_table,
        drop_table, stats,
    )
}  # fmt: skip
