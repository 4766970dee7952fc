"""Columns of tables, and semi-sorted projections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from .calls import MAX_BODY, Call
from .column_types import check_type
from .errors import bad_request, conflict, not_found
from .flatbuf import Record
from .replies import (
    page_of,
    projection_bytes,
    projection_stats_reply,
    projections_reply,
    schema_reply,
)
from .storage import Projection, Table
from .wire import Reply

SORT_TYPE, SORT_INDEX = "VAST:sort_type", "VAST:sort_index"


def _described(item: Any, key: Sequence[str]) -> Any:
    """A field with its place in the sorting key; metadata must not be empty for any field."""
    if item.name in key:
        return item.with_metadata({SORT_TYPE: "Sorted", SORT_INDEX: str(key.index(item.name))})
    return item.with_metadata({SORT_TYPE: "Unsorted"})


def columns(call: Call) -> Reply:
    """Columns of a table."""
    table = call.table()
    shown, paging = page_of(call.request, [(item.name, item) for item in table.schema])
    if call.request.flag("tabular-only-column-names"):
        return schema_reply(paging, [pa.field(name, pa.null()) for name, _ in shown])
    reply = schema_reply(paging, [_described(item, table.sorting_key) for _, item in shown])
    if reply.size > MAX_BODY:
        raise bad_request("list column result size is too long")
    return reply


def sorted_columns(call: Call) -> Reply:
    """Columns of the sorting key, in its order."""
    table = call.table()
    if not table.sorting_key:
        raise bad_request("Listing sorted columns of a table without elysium being enabled")
    items = [(name, table.schema.field(name)) for name in table.sorting_key]
    shown, paging = page_of(call.request, items)
    return schema_reply(paging, [_described(item, table.sorting_key) for _, item in shown])


def add_columns(call: Call) -> Reply:
    """Add columns that are null in existing rows."""
    table = call.table()
    added = list(pa.ipc.read_schema(pa.py_buffer(call.request.body)))
    for item in added:
        check_type(item)
        if table.schema.get_field_index(item.name) >= 0:
            raise conflict(f"column {item.name!r} exists")
    call.claim("columns", table.id)
    call.change(lambda c: c.table_changed(table.id, lambda t: t.columns_added(added)))
    call.wrote()
    return Reply()


def alter_column(call: Call) -> Reply:
    """Rename a column."""
    table = call.table()
    old = call.request.params.get("tabular-column-name", "")
    new = call.request.params.get("tabular-new-column-name", "")
    _check_known(table, [old])
    call.claim("columns", table.id)
    if new:
        if table.schema.get_field_index(new) >= 0:
            raise conflict(f"column {new!r} exists")
        call.change(lambda c: c.table_changed(table.id, lambda t: t.column_renamed(old, new)))
    call.wrote()
    return Reply()


def drop_columns(call: Call) -> Reply:
    """Remove columns."""
    table = call.table()
    names = set(pa.ipc.read_schema(pa.py_buffer(call.request.body)).names)
    _check_known(table, names)
    if names & set(table.sorting_key):
        raise bad_request("a column of the sorting key cannot be dropped")
    call.claim("columns", table.id)
    call.change(lambda c: c.table_changed(table.id, lambda t: t.columns_dropped(names)))
    call.wrote()
    return Reply()


def _check_known(table: Table, names: Sequence[str] | set[str]) -> None:
    for name in names:
        if table.schema.get_field_index(name) < 0:
            raise not_found(f"column {name!r}")


# -- projections


def _projection(call: Call, table: Table) -> tuple[str, Projection]:
    name = call.request.params.get("name", "")
    if name not in table.projections:
        raise not_found(f"projection {name!r}")
    return name, table.projections[name]


def _change_projections(call: Call, table: Table, add: dict[str, Projection], drop: str) -> None:
    def change(now: Table) -> Table:
        kept = {name: p for name, p in now.projections.items() if name != drop}
        return now.changed(projections={**kept, **add})

    call.claim("projections", table.id)
    call.change(lambda catalog: catalog.table_changed(table.id, change))
    call.wrote()


def create_projection(call: Call) -> Reply:
    """Add a projection; it is up to date at once, and stays so unless ``stale`` is switched on."""
    table, name = call.table(), call.request.params.get("name", "")
    sorted_names: list[str] = []
    others: list[str] = []
    for column in Record.root(call.request.body).records(0):
        (sorted_names if column.number(1, "b") else others).append(column.text(0))
    _check_known(table, [*sorted_names, *others])
    if not name or not sorted_names:
        raise bad_request("a projection needs a name and a sorted column")
    if name in table.projections:
        raise conflict(f"projection {name!r} exists")
    projection = Projection(tuple(sorted_names), tuple(others), table)
    _change_projections(call, table, {name: projection}, name)
    return Reply()


def list_projections(call: Call) -> Reply:
    """Projections of a table."""
    return projections_reply(call.request, call.table())


def alter_projection(call: Call) -> Reply:
    """Rename a projection."""
    table = call.table()
    name, projection = _projection(call, table)
    new = Record.root(call.request.body).text(0)
    if new:
        if new in table.projections:
            raise conflict(f"projection {new!r} exists")
        _change_projections(call, table, {new: projection}, name)
    return Reply()


def drop_projection(call: Call) -> Reply:
    """Remove a projection."""
    table = call.table()
    name, _ = _projection(call, table)
    _change_projections(call, table, {}, name)
    return Reply()


def projection_columns(call: Call) -> Reply:
    """Columns of a projection."""
    table = call.table()
    _, projection = _projection(call, table)
    items = [(name, table.schema.field(name)) for name in projection.columns]
    shown, paging = page_of(call.request, items)
    return schema_reply(paging, [_described(f, projection.sorted_columns) for _, f in shown])


def projection_stats(call: Call) -> Reply:
    """Statistics of a projection."""
    table = call.table()
    _, projection = _projection(call, table)
    return projection_stats_reply(table.num_rows, projection_bytes(table, projection))


HANDLERS = {
    function.__name__: function
    for function in (
        columns, sorted_columns, add_columns, alter_column, drop_columns, create_projection,
        list_projections, alter_projection, drop_projection, projection_columns, projection_stats,
    )
}  # fmt: skip
