"""Applying one change set inside an open write transaction."""

from __future__ import annotations

import sqlite3
from functools import lru_cache
from typing import Any

import orjson

from tams_gql.store.changes import (
    ChangeSet,
    Committed,
    Delete,
    Expect,
    Insert,
    NewEvent,
    Receipt,
    Row,
    Stale,
    Update,
    refuse_own_rows,
)
from tams_gql.store.embedded import segments, tags
from tams_gql.store.embedded.conditions import where_clause
from tams_gql.store.embedded.positions import last_seq, position_text
from tams_gql.store.tables import FLOWS, Table

_TAKEN = {sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_UNIQUE}


def apply(connection: sqlite3.Connection, changes: ChangeSet) -> Committed:
    """Apply everything or raise ``Stale``; the caller undoes the savepoint then."""
    refuse_own_rows(changes)
    try:
        for expect in changes.expect:
            _expect(connection, expect)
        removed = [segments.remove(connection, r, changes.now_us) for r in changes.remove_segments]
        for delete in changes.delete:
            _delete(connection, delete)
        for update in changes.update:
            _update(connection, update)
        for insert in changes.insert:
            _insert(connection, insert)
        for added in changes.add_segments:
            segments.add(connection, added, changes.now_us)
        segments.refer(connection, [(r.object_id, r.by) for r in changes.refer], changes.now_us)
    except sqlite3.IntegrityError as error:
        if error.sqlite_errorcode not in _TAKEN:
            raise  # not a matter of timing: the change set itself breaks a rule of the schema
        raise Stale(str(error)) from error
    events = [e for r in removed if (e := r.event) is not None] + changes.events
    position = _append(connection, events, changes.now_us)
    committed = Committed(position=position, removed=tuple(r.count for r in removed))
    if changes.receipt is not None:
        _keep(connection, changes.receipt, committed, changes.now_us)
    return committed


_RECEIPT = """INSERT OR IGNORE INTO receipts (key, fingerprint, response, position, created)
              VALUES (?, ?, ?, ?, ?)"""


def _keep(
    connection: sqlite3.Connection, receipt: Receipt, committed: Committed, now_us: int
) -> None:
    response = orjson.loads(receipt.response) | {"removed": committed.removed}
    body = orjson.dumps(response).decode()
    row = (receipt.key, receipt.fingerprint, body, committed.position, now_us)
    if connection.execute(_RECEIPT, row).rowcount != 1:
        raise Stale(f"the idempotency key {receipt.key} has been used")


def _expect(connection: sqlite3.Connection, expect: Expect) -> None:
    columns = () if expect.equals is None else tuple(expect.equals)
    found = connection.execute(_expect_text(expect.table, columns), expect.key).fetchone()
    row = (expect.table.name, expect.key)
    if expect.equals is None:
        if found is not None:
            raise Stale(f"{expect.table.name} {expect.key} exists", row)
    elif found is None or tuple(found[1:]) != tuple(expect.equals.values()):
        raise Stale(f"{row[0]} {expect.key} is {found}, expected {expect.equals}", row)


@lru_cache(maxsize=128)
def _expect_text(table: Table, columns: tuple[str, ...]) -> str:
    return f"SELECT {', '.join(('1', *columns))} FROM {table.name} WHERE {_key_match(table)}"


def _key_match(table: Table) -> str:
    return " AND ".join(f"{column} = ?" for column in table.key)


def _delete(connection: sqlite3.Connection, delete: Delete) -> None:
    condition, parameters = where_clause(delete.where)
    if delete.table.tagged is not None:
        tags.forget(connection, delete.table, condition, parameters)
    if delete.table is FLOWS:
        segments.forget_counters(connection, condition, parameters)
    text = f"DELETE FROM {delete.table.name} WHERE {condition}"
    gone = connection.execute(text, parameters).rowcount
    if delete.count not in (None, gone):
        raise Stale(f"{gone} rows of {delete.table.name} match, expected {delete.count}")


def _update(connection: sqlite3.Connection, update: Update) -> None:
    table, width = update.table, len(update.table.key)
    rows = [row[width:] + row[:width] for row in update.rows]
    changed = connection.executemany(_update_text(table, update.columns), rows).rowcount
    if changed != len(rows):
        raise Stale(f"{len(rows) - changed} rows of {table.name} to update are gone")
    if table.tagged is not None and "tags" in update.columns:
        at = width + update.columns.index("tags")
        for row in update.rows:
            tags.index(connection, table, row[0], row[at], known=True)


@lru_cache(maxsize=128)
def _update_text(table: Table, columns: tuple[str, ...]) -> str:
    values = ", ".join(f"{column} = ?" for column in columns)
    return f"UPDATE {table.name} SET {values} WHERE {_key_match(table)}"


def _insert(connection: sqlite3.Connection, insert: Insert) -> None:
    connection.executemany(_insert_text(insert.table, insert.columns), insert.rows)
    if insert.table is FLOWS:
        at_id = insert.columns.index("id")
        segments.begin_counters(connection, [row[at_id] for row in insert.rows])
    if insert.table.tagged is not None and "tags" in insert.columns:
        at_id, at_tags = insert.columns.index("id"), insert.columns.index("tags")
        for row in insert.rows:
            tags.index(connection, insert.table, row[at_id], row[at_tags], known=False)


@lru_cache(maxsize=128)
def _insert_text(table: Table, columns: tuple[str, ...]) -> str:
    marks = ", ".join("?" * len(columns))
    return f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({marks})"


_EVENT = "INSERT INTO events (type, created, source_id, flow_id, body) VALUES (?, ?, ?, ?, ?)"


def _append(connection: sqlite3.Connection, events: list[NewEvent], now_us: int) -> str:
    seq: Any = None
    for event in events:
        row: Row = (event.type, now_us, event.source_id, event.flow_id, event.body)
        seq = connection.execute(_EVENT, row).lastrowid
    return position_text(last_seq(connection) if seq is None else seq)
