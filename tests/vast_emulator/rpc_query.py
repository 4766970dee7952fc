"""QueryData: filtered, projected and paged rows."""

from __future__ import annotations

import struct
from typing import Any

import pyarrow as pa

from .calls import Call
from .errors import bad_request, not_found
from .flatbuf import Record
from .leaves import EXHAUSTED, SORTED_ID_TYPE, frames, id_array, leaf_of
from .predicates import Domain, Node, decode_filter, field_position, nodes_of
from .scan import scan_of
from .selection import Page, Split, in_projection_order, page, selected
from .storage import ROW_ID, Table
from .wire import Reply

ESTIMATE_SPLIT = 0xFFFFFFFC
PAGE_ROWS = 131_072
_PROJECTION_MIN_ROWS = 65_536
_PROJECTION_GROUPS = 8
"""A projection is picked for requests with this many row groups per sub-split, the default."""


class _Query:
    """A decoded QueryData body, for the types of one table."""

    def __init__(self, body: bytes, table: Table) -> None:
        source = Record.root(body).record(1)
        schema = source.record(3) if source else None
        if source is None or schema is None:
            raise bad_request("the body is not a query")
        fields = [_field(item.text(0), table) for item in schema.records(1)]
        nodes = nodes_of(fields)
        self.domains: tuple[Domain, ...] = decode_filter(source.record(2), nodes)
        self.leaves: list[Node] = []
        for index in source.records(4):
            position = field_position(index)
            if position >= len(nodes) or not nodes[position].leaf:
                raise bad_request(f"projected position {position} is not a leaf")
            self.leaves.append(nodes[position])
        self.names = tuple(dict.fromkeys(leaf.name for leaf in self.leaves))


def _field(name: str, table: Table) -> Any:
    if name == ROW_ID:
        return pa.field(ROW_ID, SORTED_ID_TYPE if table.sorting_key else pa.uint64())
    index = table.schema.get_field_index(name)
    if index < 0:
        raise not_found(f"column {name!r}")
    return table.schema.field(index)


def query(call: Call) -> Reply:
    """Answer a page of each sub-split."""
    call.check_size()
    request, table, rpc = call.request, call.table(), call.rpc
    if request.number("tabular-schedule-id", 0) < 0:
        raise bad_request("tabular-schedule-id must not be negative")
    asked = _Query(request.body, table)
    number, splits, groups = _numbers(request.headers, "tabular-split", 3)
    rpc.columns, rpc.predicate, rpc.split = asked.names, asked.domains, (number, splits)
    rpc.scan_over(table)
    if number == ESTIMATE_SPLIT:
        rpc.kind, rpc.split = "estimate", (0, 1)
        return _estimate(table, asked)
    split = Split(number, splits, groups, request.number("tabular-num-of-subsplits", 1))
    limit = rpc.limit = request.number("tabular-limit-rows", 0)
    name, rows = _source(call, table, asked, groups)
    rpc.projection = name
    body: list[object] = []
    for sub_split in range(split.sub_splits):
        cursor = _cursor(request.headers, sub_split)
        rpc.first_page = rpc.first_page and cursor == 0
        if cursor >= EXHAUSTED:
            continue
        found = page(rows, split, sub_split, cursor, limit or PAGE_ROWS)
        rpc.rows += found.rows
        leaves = _leaves(asked, found, table)
        body += frames(sub_split, found.next_cursor, leaves, found.rows)
    return Reply(body=body, chunked=not call.switches.content_length_queries)


def _cursor(headers: dict[str, str], sub_split: int) -> int:
    name = f"tabular-start-row-id-{sub_split}"
    return _numbers(headers, name, 2)[1] if name in headers else 0


def _numbers(headers: dict[str, str], name: str, count: int) -> list[int]:
    parts = headers.get(name, "").split(",")
    if len(parts) != count or not all(part.isdecimal() for part in parts):
        raise bad_request(f"{name} must be {count} numbers")
    return [int(part) for part in parts]


def _source(call: Call, table: Table, asked: _Query, groups: int) -> tuple[str, Any]:
    """The rows to read: the table's, or a projection's asked for by name or worth picking."""
    name = call.request.params.get("name", "")
    if name and name not in table.projections:
        raise not_found(f"projection {name!r}")
    if not name and table.projections and table.num_rows >= _PROJECTION_MIN_ROWS:
        wanted = call.request.flag("tabular-enable-sorted-projections")
        if wanted and groups == _PROJECTION_GROUPS:
            name = _best_projection(table, asked)
    if not name:
        return "", selected(table, asked.domains)
    projection = table.projections[name]
    if call.switches.projections == "stale" and projection.made_of is not None:
        table = projection.made_of
    return name, in_projection_order(table, projection, asked.domains)


def _best_projection(table: Table, asked: _Query) -> str:
    needed = {domain.path[0] for domain in asked.domains} | set(asked.names)
    for name, projection in sorted(table.projections.items()):
        leading = projection.sorted_columns[0]
        if needed <= set(projection.columns) and any(
            domain.path == (leading,) for domain in asked.domains
        ):
            return name
    return ""


def _leaves(asked: _Query, found: Page, table: Table) -> list[tuple[str, Any]]:
    fields = [table.schema.field(name) for name in asked.names if name != ROW_ID]
    arrays = found.columns(fields)
    if ROW_ID in asked.names:
        arrays[ROW_ID] = id_array(found.ids(), bool(table.sorting_key))
    return [(leaf.name, leaf_of(arrays[leaf.name], leaf.steps)) for leaf in asked.leaves]


def _estimate(table: Table, asked: _Query) -> Reply:
    """A batch with as many rows as row groups match."""
    groups = scan_of(table, asked.domains).row_groups
    prefix = struct.pack("<IQ", 0, EXHAUSTED)
    empty = pa.record_batch([pa.nulls(groups)], names=["n"]).select([])
    body: list[object] = [prefix + bytes(empty.schema.serialize()) + prefix, empty.serialize()]
    return Reply(body=[*body, prefix + b"\xff\xff\xff\xff\x00\x00\x00\x00"], chunked=True)


HANDLERS = {"query": query}
