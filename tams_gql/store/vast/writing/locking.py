"""What a change set works with: the rows of all tables, and how they are kept from changing."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Protocol

from tams_gql.store.tables import FLOWS, TABLES
from tams_gql.store.vast.layout import Physical, physical_of
from tams_gql.store.vast.wire.client import Tx
from tams_gql.store.vast.writing.locks import Lock
from tams_gql.store.vast.writing.rows import Slot, TableRows

# The most contended row first: who loses it has written nothing else.
IN_ORDER = (FLOWS, *(table for table in TABLES if table is not FLOWS))
"""Contract tables in the order in which their rows are read and written."""


class Locking(Protocol):
    """How what was read is kept from changing before the transaction commits."""

    def before_reading(self, tx: Tx, locks: Collection[Lock], /) -> None:
        """Take the locks that are known from the start."""
        ...

    def after_finding(self, tx: Tx, locks: Collection[Lock], /) -> bool:
        """Take the locks of rows that were searched for; True if they must be read again."""
        ...

    def before_writing(self, tx: Tx, locks: Collection[Lock], tables: Tables, /) -> None:
        """Make sure of what was relied on but is not written; of nothing if nothing will be."""
        ...


class Tables:
    """The rows of all tables that a change set has to do with."""

    def __init__(self) -> None:
        self._by_name: dict[str, TableRows] = {}

    def of(self, physical: Physical) -> TableRows:
        """The rows of one table."""
        if physical.name not in self._by_name:
            self._by_name[physical.name] = TableRows(physical)
        return self._by_name[physical.name]

    def slot(self, lock: Lock) -> Slot | None:
        """The row that a lock is named after, if it has been read."""
        rows = self._by_name.get(lock.table)
        return None if rows is None else rows.slots.get(lock.key)

    def lockable(self, lock: Lock) -> bool:
        """Whether the rows of the lock's table, of which one has been read, can be touched."""
        return self._by_name[lock.table].physical.lock

    @property
    def changed(self) -> bool:
        """Whether there is anything to write."""
        return any(rows.changed for rows in self._by_name.values())

    @property
    def latest_us(self) -> int:
        """The latest stamp that what was read has been written with."""
        return max((rows.latest_us for rows in self._by_name.values()), default=0)

    def in_order(self) -> Iterator[TableRows]:
        """All of them, in the order of writing."""
        names = dict.fromkeys(physical_of(table).name for table in IN_ORDER)
        return (self._by_name[name] for name in names if name in self._by_name)
