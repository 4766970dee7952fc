"""Applying one change set in a transaction: read, decide in memory, write.

What a change set relies on must still be so when its transaction commits. How that is made sure
depends on the cluster, and is the business of ``Locking``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

import orjson
import pyarrow as pa

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
)
from tams_gql.store.scan import Value, Where, is_in
from tams_gql.store.tables import (
    COLLECTIONS,
    EVENTS,
    FLOWS,
    OBJECTS,
    RECEIPTS,
    SEGMENTS,
    Table,
)
from tams_gql.store.vast.layout import ROW_ID, Physical, physical_of, stored_name
from tams_gql.store.vast.reading.reader import View, unique_rows
from tams_gql.store.vast.wire.client import Tx
from tams_gql.store.vast.writing.locking import IN_ORDER, Locking, Tables
from tams_gql.store.vast.writing.locks import Lock, lock_of, locks_of_row
from tams_gql.store.vast.writing.plan import Plan, TableReads, keys_of, parents_of
from tams_gql.store.vast.writing.required import check_required
from tams_gql.store.vast.writing.rows import Slot, TableRows
from tams_gql.store.vast.writing.segments import SegmentChanges

_NO_COUNTERS = {"segment_count": 0, "duration_ns": 0, "bytes": 0, "longest_ns": 0}
_MANY_OBJECTS = 300  # of one removal; more are found by the flow that brought them


class Application:
    """One change set in one transaction. Blocks; for one thread."""

    def __init__(self, tx: Tx, view: View, plan: Plan, locking: Locking) -> None:
        """``view`` is what is read in ``tx``."""
        self.removed: tuple[int, ...] = ()
        self.events: list[NewEvent] = []
        self._tx = tx
        self._view = view
        self._plan = plan
        self._changes: ChangeSet = plan.changes
        self._locking = locking
        self._tables = Tables()
        self._segments = SegmentChanges(
            self._rows(FLOWS), self._rows(OBJECTS), self._rows(SEGMENTS), plan.changes.now_us
        )

    def decide(self) -> None:
        """Read what is needed and work everything out, or raise ``Stale``."""
        changes = self._changes
        self._locking.before_reading(self._tx, self._plan.locks.keys())
        for table in IN_ORDER:
            if table.name in self._plan.reads:
                self._read(table, self._plan.reads[table.name])
        self._read_collections(self._plan.parents)
        for expect in changes.expect:
            self._expect(expect)
        self._remove_segments()
        self._segments.look_up(self._tx, changes.add_segments)
        for delete in changes.delete:
            self._delete(delete)
        self._segments.settle(self._tx)
        for update in changes.update:
            self._update(update)
        for insert in changes.insert:
            self._insert(insert)
        for added in changes.add_segments:
            self._segments.add(added)
        for refer in changes.refer:
            self._segments.users[refer.object_id] += refer.by
        self._segments.count_users()
        if changes.receipt is not None and self._rows(RECEIPTS).live((changes.receipt.key,)):
            raise Stale(f"the idempotency key {changes.receipt.key} has been used")

    def write(self, position: str, events: pa.RecordBatch | None) -> Committed:
        """Send the changes, the rows of the events among them, and the receipt of ``position``."""
        committed = Committed(position, self.removed)
        if self._changes.receipt is not None:
            self._keep(self._changes.receipt, committed)
        changing = events is not None or self._tables.changed
        locks = self._plan.locks.keys() if changing else ()
        self._locking.before_writing(self._tx, locks, self._tables)
        for rows in self._tables.in_order():
            for batch in rows.updates():
                self._tx.update(rows.physical, batch)
            if (gone := rows.deletion()) is not None:
                self._tx.delete(rows.physical, gone)
            if (made := rows.insertion()) is not None:
                self._tx.insert(rows.physical, made)
        if events is not None:
            self._tx.insert(physical_of(EVENTS), events)
        return committed

    # Reading

    def _rows(self, table: Table) -> TableRows:
        return self._tables.of(physical_of(table))

    def _read(self, table: Table, reads: TableReads) -> None:
        if len(table.key) == 1:
            self._read_by_id(table, [key[0] for key in reads.keys], reads.columns)
        elif reads.keys:
            self._read_segments(list(reads.keys), reads.columns)

    def _read_by_id(self, table: Table, ids: Collection[Any], wanted: Iterable[str]) -> None:
        """Read rows by their key; those that have been read in this transaction are known."""
        physical, (key,) = physical_of(table), table.key
        columns = [*dict.fromkeys((key, *sorted(wanted)))]
        if unknown := self._view.rows.unknown(physical, ids, (*columns, ROW_ID)):
            self._select_ids(physical, key, columns, unknown)
        found = self._view.rows.rows(physical, ids, (*columns, ROW_ID))
        self._tables.of(physical).add_read(((each,) for each in ids), found, (key,))

    def _select_ids(
        self, physical: Physical, key: str, columns: list[str], unknown: list[str]
    ) -> None:
        where = [is_in(key, unknown)]
        found = unique_rows(self._view, physical, (key,), columns, where, row_ids=True)
        self._view.rows.add(physical, key, unknown, found)

    def _read_segments(self, keys: list[Row], wanted: Iterable[str]) -> None:
        """Read segments by flow and start, and perhaps some others."""
        where = [is_in(c, {key[at] for key in keys}) for at, c in enumerate(SEGMENTS.key)]
        columns = dict.fromkeys((*SEGMENTS.key, *sorted(wanted)))
        self._select_pairs(SEGMENTS, where, columns, keys)

    def _read_collections(self, parents: Collection[Any]) -> None:
        if parents:
            where = [is_in("parent_id", parents)]
            self._select_pairs(COLLECTIONS, where, COLLECTIONS.columns, ())

    def _select_pairs(
        self, table: Table, where: list[Where], columns: Iterable[str], keys: Collection[Row]
    ) -> None:
        physical = physical_of(table)
        found = unique_rows(self._view, physical, table.key, list(columns), where, row_ids=True)
        self._rows(table).add_read(keys, found, table.key)

    # Deciding

    def _expect(self, expect: Expect) -> None:
        slot = self._rows(expect.table).live(expect.key)
        if expect.equals is None:
            if slot is not None:
                raise Stale(f"{expect.table.name} {expect.key} exists")
            return
        if slot is None or slot.values is None:
            raise Stale(f"{expect.table.name} {expect.key} is gone")
        for column, value in expect.equals.items():
            found = slot.values[stored_name(expect.table, column)]
            if found != value:
                raise Stale(
                    f"{expect.table.name} {expect.key}: {column} is {found!r}, expected {value!r}"
                )

    def _remove_segments(self) -> None:
        removals = [self._segments.remove(self._tx, r) for r in self._changes.remove_segments]
        self.removed = tuple(removal.count for removal in removals)
        self.events = [e for removal in removals if (e := removal.event) is not None]
        self.events += self._changes.events
        if self._segments.users:
            self._read_users()
            self._segments.count_users()

    def _read_users(self) -> None:
        """Read the objects that lose users."""
        ids = self._segments.users.keys()
        self._locking.after_finding(self._tx, [lock_of(OBJECTS, (each,)) for each in ids])
        plan = self._plan.reads.get(OBJECTS.name, TableReads())
        columns = {"id", "ref_count", *plan.columns}
        physical = physical_of(OBJECTS)
        if len(self._view.rows.unknown(physical, ids, (*columns, ROW_ID))) > _MANY_OBJECTS:
            flows = dict.fromkeys(r.flow_id for r in self._changes.remove_segments)
            where = [is_in("first_flow_id", flows)]
            found = unique_rows(self._view, physical, ("id",), sorted(columns), where, row_ids=True)
            self._view.rows.add(physical, "id", (), found)
        self._read_by_id(OBJECTS, ids, columns)

    def _delete(self, delete: Delete) -> None:
        rows = self._rows(delete.table)
        if (ids := keys_of(delete)) is not None:
            count = _remove(rows, (rows.slots[(each,)] for each in ids))
        elif (parents := parents_of(delete)) is not None:
            members = [slot for key, slot in rows.slots.items() if key[0] in parents]
            count = _remove(rows, members)
        else:
            count = self._delete_found(delete, rows)
        if delete.count not in (None, count):
            raise Stale(f"{count} rows of {delete.table.name} match, expected {delete.count}")

    def _delete_found(self, delete: Delete, rows: TableRows) -> int:
        table, physical = delete.table, rows.physical
        where = [Where(stored_name(table, w.column), w.any_of) for w in delete.where]
        columns = list(table.key)
        columns += {SEGMENTS: ["end_ns"], COLLECTIONS: ["child_id"]}.get(table, [])
        found = self._tx.select(physical, columns, where, row_ids=True)
        # Receipts never change, so those that were found cannot cease to match.
        while table is not RECEIPTS and self._locking.after_finding(
            self._tx, list(_locks(table, found))
        ):
            found = self._tx.select(physical, columns, where, row_ids=True)
        if table is SEGMENTS:
            return self._segments.remove_rows(found)
        before = len(rows.deleted)
        for key, row_id in _found(table, found):
            slot = rows.slots.setdefault(key, Slot(row_id, stored=True))
            if slot.row_id == row_id:
                rows.delete(slot)
        return len(rows.deleted) - before

    def _update(self, update: Update) -> None:
        rows, width = self._rows(update.table), len(update.table.key)
        for row in update.rows:
            slot = rows.live(row[:width])
            if slot is None:
                raise Stale(f"{update.table.name} {row[:width]} to update is gone")
            changed = dict(zip(update.columns, row[width:], strict=True))
            check_required(update.table, changed)
            rows.change(slot, changed)

    def _insert(self, insert: Insert) -> None:
        table, rows = insert.table, self._rows(insert.table)
        for row in insert.rows:
            given = dict(zip(insert.columns, row, strict=True))
            key = tuple(given.get(column) for column in table.key)
            if rows.live(key) is not None:
                raise Stale(f"{table.name} {key} exists")
            if table is COLLECTIONS and _is_member(rows, key[0], given["child_id"]):
                raise Stale(f"flow {given['child_id']} is in the collection {key[0]} already")
            complete = dict.fromkeys(rows.physical.schema.names) | given
            check_required(table, complete)
            if table is FLOWS:
                complete |= _NO_COUNTERS
            rows.insert(key, complete)

    def _keep(self, receipt: Receipt, committed: Committed) -> None:
        response = orjson.loads(receipt.response) | {"removed": committed.removed}
        row = {
            "key": receipt.key,
            "fingerprint": receipt.fingerprint,
            "response": orjson.dumps(response).decode(),
            "position": committed.position,
            "created": self._changes.now_us,
        }
        self._rows(RECEIPTS).insert((receipt.key,), row)


def _remove(rows: TableRows, slots: Iterable[Slot]) -> int:
    count = 0
    for slot in slots:
        if slot.values is not None:
            rows.delete(slot)
            count += 1
    return count


def _is_member(collections: TableRows, parent_id: Value, child_id: Value) -> bool:
    return any(
        slot.values is not None and key[0] == parent_id and slot.values["child_id"] == child_id
        for key, slot in collections.slots.items()
    )


def _found(table: Table, found: pa.Table) -> Iterator[tuple[Row, Any]]:
    columns = [found.column(name).to_pylist() for name in (*table.key, ROW_ID)]
    for *key, row_id in zip(*columns, strict=True):
        yield tuple(key), row_id


def _locks(table: Table, found: pa.Table) -> Iterator[Lock]:
    names = tuple(name for name in found.column_names if name != ROW_ID)
    columns = [found.column(name).to_pylist() for name in names]
    for row in zip(*columns, strict=True):
        yield from locks_of_row(table, names, row)
