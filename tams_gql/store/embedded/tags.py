"""The tag index: keeps tag filters exact and off the JSON text."""

from __future__ import annotations

import sqlite3
from typing import Any

import orjson

from tams_gql.store.tables import Table

_FORGET = "DELETE FROM tag_index WHERE kind = ? AND id IN"
_REMEMBER = "INSERT INTO tag_index (kind, name, value, ordinal, id) VALUES (?, ?, ?, ?, ?)"


def index(
    connection: sqlite3.Connection, table: Table, resource_id: Any, tags_json: Any, *, known: bool
) -> None:
    """Index the tags of one resource; ``known`` when it may already have index rows."""
    kind = table.tagged
    if known:
        connection.execute(f"{_FORGET} (?)", (kind, resource_id))
    if tags_json is None:
        return
    rows = []
    for name, value in orjson.loads(tags_json).items():
        values = [value] if isinstance(value, str) else value
        if not values:
            rows.append((kind, name, "", -1, resource_id))
        rows += [(kind, name, v, ordinal, resource_id) for ordinal, v in enumerate(values)]
    connection.executemany(_REMEMBER, rows)


def forget(
    connection: sqlite3.Connection, table: Table, condition: str, parameters: list[Any]
) -> None:
    """Drop the index rows of the resources that match ``condition``."""
    ids = f"(SELECT id FROM {table.name} WHERE {condition})"
    connection.execute(f"{_FORGET} {ids}", [table.tagged, *parameters])
