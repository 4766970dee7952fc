"""Flatbuffers and Arrow schema messages of replies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import pyarrow as pa

from .errors import bad_request
from .flatbuf import Writer
from .storage import Projection, Table
from .wire import Reply, Request

_SORTING_DONE = -(1 << 63)
_Item = TypeVar("_Item")


def page_of(
    request: Request, items: Sequence[tuple[str, _Item]]
) -> tuple[list[tuple[str, _Item]], list[tuple[str, str]]]:
    """The named items that the paging headers ask for, and the paging headers of the reply."""
    exact = request.headers.get("tabular-name-exact-match")
    prefix = request.headers.get("tabular-name-prefix", "")
    wanted = [
        item
        for item in items
        if (item[0] == exact if exact is not None else item[0].startswith(prefix))
    ]
    if request.flag("tabular-list-count-only"):
        return [], _paging(0, False, len(wanted))
    size = request.number("tabular-max-keys", 1000)
    start = request.number("tabular-next-key", 0)
    if size <= 0 or start < 0:
        raise bad_request("tabular-max-keys must be positive, tabular-next-key not negative")
    shown = wanted[start : start + size]
    end = start + len(shown)
    return shown, _paging(end, end < len(wanted), len(shown))


def _paging(next_key: int, truncated: bool, count: int) -> list[tuple[str, str]]:
    return [
        ("tabular-next-key", str(next_key)),
        ("tabular-is-truncated", "true" if truncated else "false"),
        ("tabular-list-count", str(count)),
    ]


def schemas_reply(request: Request, items: Sequence[tuple[str, str]]) -> Reply:
    """``ListSchemasResponse`` of (name, properties)."""
    shown, paging = page_of(request, items)
    writer = Writer()
    details = [_details(writer, name, properties, None) for name, properties in shown]
    bucket, vector = writer.text(request.bucket), writer.vector(details)
    root = writer.table(2, {0: ("ref", bucket), 1: ("ref", vector)})
    return Reply(headers=paging, body=[writer.finish(root)])


def tables_reply(request: Request, schema: str, items: Sequence[tuple[str, Table]]) -> Reply:
    """``ListTablesResponse``."""
    shown, paging = page_of(request, items)
    writer = Writer()
    details = [_details(writer, name, table.properties, table) for name, table in shown]
    bucket, path = writer.text(request.bucket), writer.text(schema)
    vector = writer.vector(details)
    root = writer.table(3, {0: ("ref", bucket), 1: ("ref", path), 2: ("ref", vector)})
    return Reply(headers=paging, body=[writer.finish(root)])


def projections_reply(request: Request, table: Table) -> Reply:
    """``ListProjectionsResponse``."""
    shown, paging = page_of(request, sorted(table.projections.items()))
    writer = Writer()
    details = [
        _details(writer, name, "", table, projection_bytes(table, projection))
        for name, projection in shown
    ]
    names = [writer.text(part) for part in (request.bucket, request.schema, request.table)]
    fields = {slot: ("ref", offset) for slot, offset in enumerate([*names, writer.vector(details)])}
    return Reply(headers=paging, body=[writer.finish(writer.table(4, fields))])


def projection_bytes(table: Table, projection: Projection) -> int:
    """Bytes a projection's columns hold."""
    return sum(chunk.columns[name].nbytes for chunk in table.chunks for name in projection.columns)


def _details(
    writer: Writer, name: str, properties: str, table: Table | None, size: int | None = None
) -> int:
    handle = str(table.id) if table else "0"
    texts = [writer.text(text) for text in (name, properties, handle)]
    fields: dict[int, tuple[str, Any]] = {n: ("ref", text) for n, text in enumerate(texts)}
    if table is not None:
        fields[3] = ("Uint64", table.num_rows)
        fields[4] = ("Uint64", table.nbytes if size is None else size)
        fields[6] = ("Bool", bool(table.sorting_key))
        fields[7] = ("Int64", _SORTING_DONE)
        fields[9] = ("Int64", table.inserted)
    return writer.table(11, fields)


def stats_reply(table: Table, vips: Sequence[str]) -> Reply:
    """``GetTableStatsResponse``."""
    writer = Writer()
    ranges = []
    for vip in vips:
        address = writer.text(vip)
        ranges.append(writer.table(2, {0: ("ref", address), 1: ("Uint16", 1)}))
    kind, vector = writer.text("ipv4"), writer.vector(ranges)
    root = writer.table(
        12,
        {
            0: ("Int64", table.num_rows),
            1: ("Int64", table.nbytes),
            2: ("Bool", table.external_ids),
            3: ("ref", kind),
            4: ("ref", vector),
            5: ("Bool", bool(table.sorting_key)),
            6: ("Int64", _SORTING_DONE),
            8: ("Int64", table.inserted),
        },
    )
    return Reply(body=[writer.finish(root)])


def projection_stats_reply(rows: int, size: int) -> Reply:
    """``GetProjectionTableStatsResponse`` of a projection that is up to date."""
    writer = Writer()
    root = writer.table(4, {0: ("Int64", rows), 1: ("Int64", size), 3: ("Int64", 100)})
    return Reply(body=[writer.finish(root)])


def schema_reply(headers: list[tuple[str, str]], fields: Sequence[Any]) -> Reply:
    """An encapsulated Arrow schema message with paging headers."""
    return Reply(headers=headers, body=[pa.schema(fields).serialize()])
