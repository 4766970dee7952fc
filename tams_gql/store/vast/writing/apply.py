"""Applying one change set in a transaction: read, decide in memory, write.

What a change set relies on must still be so when its transaction commits. How that is made sure
depends on the cluster, and is the business of ``Locking``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
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
    SOURCES,
    Table,
)
from tams_gql.store.vast.layout import LOCK, ROW_ID, USES, Physical, physical_of, stored_name
from tams_gql.store.vast.lock_values import is_told_of
from tams_gql.store.vast.reading.reader import View, unique_rows
from tams_gql.store.vast.uses import NOWHERE, bounds_of_users
from tams_gql.store.vast.wire.client import Tx
from tams_gql.store.vast.wire.domains import Within
from tams_gql.store.vast.writing.locking import IN_ORDER, Locking, Tables
from tams_gql.store.vast.writing.locks import Lock, lock_of, locks_of_row
from tams_gql.store.vast.writing.plan import Plan, TableReads, keys_of, parents_of, users_of
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
            self._segments.refer(refer)
        self._segments.count_users()
        if changes.receipt is not None and self._rows(RECEIPTS).live((changes.receipt.key,)):
            raise Stale(f"the idempotency key {changes.receipt.key} has been used")

    def told_until(self, now_us: int) -> int:
        """A stamp that those of all events before, of what this change set tells of, do not exceed.

        Rows hold it in their locks. A flow or source that is made has no row to read: perhaps it
        has gone a moment ago by a clock that is ahead of ``now_us``, and only the log tells.
        """
        latest = self._tables.latest_us
        for table, column in ((FLOWS, "flow_id"), (SOURCES, "source_id")):
            told = self._told_of(table, column)
            if made := [each for each, slot in told.items() if not slot.stored]:
                after = max(now_us, latest + 1)
                where = (Within("stamped", ((after, None),)), is_in(column, made))
                later = self._tx.select(physical_of(EVENTS), ("stamped",), where)
                latest = max(latest, *later.column("stamped").to_pylist(), 0)
        return latest

    def write(self, position: str, stamp_us: int, events: pa.RecordBatch | None) -> Committed:
        """Send the changes, the rows of the events among them, and the receipt of ``position``.

        ``stamp_us`` is that of the events, later than ``told_until``.
        """
        committed = Committed(position, self.removed)
        if self._changes.receipt is not None:
            self._keep(self._changes.receipt, committed)
        changing = events is not None or self._tables.changed
        locks = self._plan.locks.keys() if changing else ()
        self._locking.before_writing(self._tx, locks, self._tables)
        for slot in self._told_of(FLOWS, "flow_id").values():
            slot.touched = True  # whoever tells of it next must come later
        for rows in self._tables.in_order():
            for batch in rows.updates(stamp_us):
                self._tx.update(rows.physical, batch)
            if (gone := rows.deletion()) is not None:
                self._tx.delete(rows.physical, gone)
            if (made := rows.insertion(stamp_us)) is not None:
                self._tx.insert(rows.physical, made)
        if events is not None:
            self._tx.insert(physical_of(EVENTS), events)
        return committed

    def _told_of(self, table: Table, column: str) -> dict[str, Slot]:
        """The rows that events name, as far as the change set has to do with them."""
        slots = self._rows(table).slots
        named = dict.fromkeys(getattr(event, column) for event in self.events)
        return {each: slots[(each,)] for each in named if (each,) in slots}

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
        locks = (LOCK,) if is_told_of(physical) else ()
        columns = [*dict.fromkeys((key, *sorted(wanted), *locks))]
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
        row = (expect.table.name, expect.key)
        if expect.equals is None:
            if slot is not None:
                raise Stale(f"{expect.table.name} {expect.key} exists", row)
            return
        if slot is None or slot.values is None:
            raise Stale(f"{expect.table.name} {expect.key} is gone", row)
        for column, value in expect.equals.items():
            found = slot.values[stored_name(expect.table, column)]
            if found != value:
                raise Stale(
                    f"{row[0]} {expect.key}: {column} is {found!r}, expected {value!r}", row
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
        where = self._where(delete)
        columns = list(table.key)
        columns += {SEGMENTS: ["end_ns"], COLLECTIONS: ["child_id"]}.get(table, [])
        columns += [LOCK] if is_told_of(physical) else []
        found = self._tx.select(physical, columns, where, row_ids=True)
        # Receipts never change, so those that were found cannot cease to match.
        while table is not RECEIPTS and self._locking.after_finding(
            self._tx, list(_locks(table, found))
        ):
            found = self._tx.select(physical, columns, where, row_ids=True)
        if table is SEGMENTS:
            return self._segments.remove_rows(found)
        if LOCK in columns:
            rows.note_locks(found.column(LOCK).to_pylist())
        before = len(rows.deleted)
        for key, row_id in _found(table, found):
            slot = rows.slots.setdefault(key, Slot(row_id, stored=True))
            if slot.row_id == row_id:
                rows.delete(slot)
        return len(rows.deleted) - before

    def _where(self, delete: Delete) -> Sequence[Where | Within]:
        """The conditions of a delete, bounded by what objects say of their users."""
        where = [Where(stored_name(delete.table, w.column), w.any_of) for w in delete.where]
        if (object_ids := users_of(delete)) is None:
            return where
        told: dict[str, str | None] = {}
        for object_id in object_ids:
            slot = self._rows(OBJECTS).live((object_id,))
            told[object_id] = slot.values.get(USES) if slot and slot.values else None
        return (*where, *bounds_of_users(delete.table, told))

    def _update(self, update: Update) -> None:
        rows, width = self._rows(update.table), len(update.table.key)
        for row in update.rows:
            slot = rows.live(row[:width])
            if slot is None:
                raise Stale(f"{update.table.name} {row[:width]} to update is gone")
            changed = dict(zip(update.columns, row[width:], strict=True))
            check_required(update.table, changed)
            rows.change(slot, changed)
            self._need(update.table, changed)

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
            if table is OBJECTS:
                complete[USES] = NOWHERE
            rows.insert(key, complete)
            self._need(table, given)

    def _need(self, table: Table, given: Mapping[str, Value]) -> None:
        """Note that an object needs another one."""
        init = given.get("init_object_id") if table is OBJECTS else None
        if isinstance(init, str):
            self._segments.added[init].objects = True

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
