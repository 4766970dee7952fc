"""Rows of one table while a change set is applied: what was read, and what becomes of it.

Everything is worked out in memory first. Only then are the changes sent, one call for each table
and kind, so that a change set that fails has written nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from tams_gql.store.changes import Row
from tams_gql.store.records import values
from tams_gql.store.vast.layout import LOCK, ROW_ID, Physical, rows_to_batch
from tams_gql.store.vast.lock_values import latest_stamp, lock_at


@dataclass(slots=True)
class Slot:
    """The row of one key. ``values`` is None while there is no such row."""

    row_id: Any = None  # of the stored row, while it is kept
    values: dict[str, Any] | None = None
    stored: bool = False  # whether there was a row when the change set began
    written: set[str] = field(default_factory=set)
    touched: bool = False

    @property
    def rewritten(self) -> bool:
        """Whether the stored row changes, so that a rival meets a conflict."""
        return self.stored and (self.row_id is None or bool(self.written) or self.touched)


class TableRows:
    """The rows of a physical table that a change set has to do with."""

    def __init__(self, physical: Physical) -> None:
        self.physical = physical
        self.slots: dict[Row, Slot] = {}
        self.deleted: list[Any] = []
        self.gone: list[pa.Array] = []
        """Ids of more stored rows that go, too many for a slot each."""
        self.more: list[Row] = []
        """More rows that are new, complete and in the order of the columns."""
        self.latest_us = 0
        """The latest stamp that the rows which were read have been written with, if it was read."""

    def add_read(self, asked: Iterable[Row], found: pa.Table | None, key: Sequence[str]) -> None:
        """Take in what was read: the rows of all the ``asked`` keys that exist."""
        rows = columns_as_rows(found)
        self.note_locks(each.pop(LOCK, None) for each in rows)
        for each in rows:
            row_id = each.pop(ROW_ID)
            at = tuple(each[column] for column in key)
            if at not in self.slots:
                self.slots[at] = Slot(row_id, each, stored=True)
        for at in asked:
            self.slots.setdefault(at, Slot())

    def note_locks(self, locks: Iterable[int | None]) -> None:
        """Take in when rows were written before."""
        self.latest_us = max(self.latest_us, latest_stamp(locks))

    def live(self, key: Row) -> Slot | None:
        """The slot of a row that exists now."""
        slot = self.slots.get(key)
        return slot if slot is not None and slot.values is not None else None

    def change(self, slot: Slot, changed: Mapping[str, Any]) -> None:
        """Give an existing row new values."""
        assert slot.values is not None
        slot.values |= changed
        if slot.row_id is not None:
            slot.written.update(changed)

    def insert(self, key: Row, row: dict[str, Any]) -> None:
        """Make a row where there is none."""
        slot = self.slots.setdefault(key, Slot())
        slot.values = row

    def delete(self, slot: Slot) -> None:
        """Remove an existing row."""
        if slot.row_id is not None:
            self.deleted.append(slot.row_id)
        slot.row_id, slot.values = None, None
        slot.written.clear()

    @property
    def changed(self) -> bool:
        """Whether there is anything to write."""
        return bool(self.deleted or self.gone or self.more) or any(
            slot.values is not None and (slot.row_id is None or slot.written)
            for slot in self.slots.values()
        )

    def deletion(self) -> pa.ChunkedArray | None:
        """The ids of the stored rows that go."""
        named = [pa.array(self.deleted, self.physical.row_id)] if self.deleted else []
        ids = pa.chunked_array(named + self.gone, self.physical.row_id)
        return ids if len(ids) else None

    def updates(self, stamp_us: int) -> Iterator[pa.RecordBatch]:
        """The stored rows that change: one batch wherever their other values are known.

        ``stamp_us`` is that of the events that are written with them.
        """
        changed = [s for s in self.slots.values() if s.row_id is not None and s.rewritten]
        if not changed:
            return
        union = frozenset().union(*(slot.written for slot in changed))
        if all(slot.values is not None and union <= slot.values.keys() for slot in changed):
            yield self._update(union, changed, stamp_us)
            return
        groups: defaultdict[frozenset[str], list[Slot]] = defaultdict(list)
        for slot in changed:
            groups[frozenset(slot.written)].append(slot)
        for columns, slots in groups.items():
            yield self._update(columns, slots, stamp_us)

    def insertion(self, stamp_us: int) -> pa.RecordBatch | None:
        """The rows that are new; ``stamp_us`` as in ``updates``."""
        names = [name for name in self.physical.schema.names if name != LOCK]
        rows = [
            tuple(slot.values.get(name) for name in names)
            for slot in self.slots.values()
            if slot.values is not None and slot.row_id is None
        ]
        rows += self.more
        if self.physical.lock:
            names.append(LOCK)
            rows = [(*row, lock_at(stamp_us)) for row in rows]
        return rows_to_batch(self.physical, names, rows) if rows else None

    def _update(
        self, written: frozenset[str], slots: Sequence[Slot], stamp_us: int
    ) -> pa.RecordBatch:
        fields = [f for f in self.physical.schema if f.name in written]
        known = [slot.values or {} for slot in slots]
        arrays = [pa.array([row[f.name] for row in known], f.type) for f in fields]
        if self.physical.lock:
            fields.append(self.physical.schema.field(LOCK))
            arrays.append(pa.array([lock_at(stamp_us) for _ in slots], pa.int64()))
        ids = pa.array([slot.row_id for slot in slots], self.physical.row_id)
        schema = pa.schema([pa.field(ROW_ID, self.physical.row_id), *fields])
        return pa.RecordBatch.from_arrays([ids, *arrays], schema=schema)


def columns_as_rows(found: pa.Table | None) -> list[dict[str, Any]]:
    """A table's rows as dictionaries; times stay integers."""
    if found is None or found.num_rows == 0:
        return []
    names = found.column_names
    columns = [_plain(name, found.column(name).combine_chunks()) for name in names]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _plain(name: str, column: pa.Array) -> list[Any]:
    if isinstance(column, pa.ChunkedArray):  # of no chunk at all, or of too much text for one
        return list(column.to_pylist())
    return list(column.to_pylist()) if name == ROW_ID else values(column)
