"""Which handler answers an RPC."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from . import rpc_catalog, rpc_columns, rpc_query, rpc_rows
from .calls import Call
from .wire import Reply, Request

Handler = Callable[[Call], Reply]

HANDLERS: Mapping[str, Any] = {
    **rpc_catalog.HANDLERS,
    **rpc_columns.HANDLERS,
    **rpc_rows.HANDLERS,
    **rpc_query.HANDLERS,
}

_KINDS = {
    ("POST", "transaction"): "begin",
    ("PUT", "transaction"): "commit",
    ("DELETE", "transaction"): "rollback",
    ("GET", "transaction"): "keep_alive",
    ("GET", "schema"): "list_schemas",
    ("POST", "schema"): "create_schema",
    ("PUT", "schema"): "alter_schema",
    ("DELETE", "schema"): "drop_schema",
    ("GET", "table"): "list_tables",
    ("POST", "table"): "create_table",
    ("PUT", "table"): "alter_table",
    ("DELETE", "table"): "drop_table",
    ("GET", "stats"): "stats",
    ("GET", "column"): "columns",
    ("GET", "sorted-columns"): "sorted_columns",
    ("POST", "column"): "add_columns",
    ("PUT", "column"): "alter_column",
    ("DELETE", "column"): "drop_columns",
    ("POST", "rows"): "insert",
    ("PUT", "rows"): "update",
    ("DELETE", "rows"): "delete",
    ("GET", "data"): "query",
    ("GET", "projection"): "list_projections",
    ("POST", "projection"): "create_projection",
    ("PUT", "projection"): "alter_projection",
    ("DELETE", "projection"): "drop_projection",
    ("GET", "projection-columns"): "projection_columns",
    ("GET", "projection-stats"): "projection_stats",
}
WITHOUT_TRANSACTION = frozenset({"probe", "begin", "head_bucket", "list_snapshots", "unknown"})


COMMANDS = frozenset(command for _, command in _KINDS)


def kind_of(request: Request) -> str:
    """The name under which an RPC is counted; ``unknown`` for one that is not emulated."""
    if not request.command:
        if request.method == "HEAD" and len(request.path) == 1:
            return "head_bucket"
        listing = request.method == "GET" and "prefix" in request.params
        return "list_snapshots" if listing else "unknown"
    if request.command == "transaction" and "tabular-get-vast-version" in request.headers:
        return "probe"
    return _KINDS.get((request.method, request.command), "unknown")


def place_of(request: Request, kind: str) -> tuple[str, str]:
    """Schema and table an RPC is about; either may be empty."""
    if request.command == "schema" or kind == "list_tables":
        return "/".join(request.path[1:]), ""
    return request.schema, request.table
