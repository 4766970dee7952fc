"""Guard rows, and how they and the rows themselves keep writers apart.

The cluster finds conflicts only of writers of one row. A row that does not exist yet cannot be
written, so ``guards`` holds rows, made once and for all, on which the creators of a key meet.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import pyarrow as pa
import pyarrow.compute as pc

from tams_gql.model.errors import Unavailable
from tams_gql.model.jitter import CHANCE
from tams_gql.store.vast.layout import GUARD_ROWS, GUARDS, LOCK, ROW_ID
from tams_gql.store.vast.wire.client import Tx
from tams_gql.store.vast.writing.locking import Tables
from tams_gql.store.vast.writing.locks import Lock

_LOCK_BITS = 62  # nobody reads these locks; two writers hardly ever write the same one


class Guards:
    """Where the guard rows are. They are never removed, so their ids are read once."""

    def __init__(self, row_ids: pa.Array) -> None:
        self._row_ids = row_ids  # by slot

    @classmethod
    def read(cls, tx: Tx) -> Guards:
        """Find the guard rows. Raises ``Unavailable`` unless all of them are there."""
        found = tx.select(GUARDS, ("slot",), row_ids=True)
        ordered = found.take(pc.sort_indices(found.column("slot")))
        if not ordered.column("slot").combine_chunks().equals(_SLOTS):
            raise Unavailable(
                f"the catalog has {found.num_rows} guard rows, not {GUARD_ROWS}:"
                " run `tams-gql migrate`"
            )
        return cls(ordered.column(ROW_ID).combine_chunks())

    def write(self, tx: Tx, slots: Collection[int]) -> None:
        """Let any other transaction that writes one of these guard rows fail, or fail now."""
        if slots:
            ids = self._row_ids.take(pa.array(sorted(slots), pa.int64())).sort()
            locks = pa.array([CHANCE.getrandbits(_LOCK_BITS)] * len(ids), pa.int64())
            tx.update(GUARDS, pa.RecordBatch.from_arrays([ids, locks], names=[ROW_ID, LOCK]))


_SLOTS = pa.array(range(GUARD_ROWS), pa.int64())


class WriteWhatWasRead:
    """For snapshots with conflicts: whoever relied on a row writes it, on its absence, a guard.

    Nothing is locked up front. Two change sets of which one might spoil the other write one row in
    common; the cluster lets only one of them commit, whichever of the two has read old values.
    """

    def __init__(self, guards: Guards) -> None:
        self._guards = guards

    def before_reading(self, tx: Tx, locks: Collection[Lock]) -> None:
        pass

    def after_finding(self, _tx: Tx, _locks: Collection[Lock]) -> bool:
        return False  # what was searched for is written

    def before_writing(self, tx: Tx, locks: Collection[Lock], tables: Tables) -> None:
        slots = {lock.slot for lock in locks if not _written(lock, tables)}
        self._guards.write(tx, slots)


def _written(lock: Lock, tables: Tables) -> bool:
    """Whether the lock's own row is written, which it is from now on if it exists."""
    slot = tables.slot(lock)
    if slot is None or not slot.stored:
        return False
    if not slot.rewritten and tables.lockable(lock):
        slot.touched = True
    return slot.rewritten


class GuardBeforeReading:
    """For transactions that read what was committed last, with conflicts.

    There a row may change between its being read and its being written without a conflict. So the
    guards of all rows are written first, and only then anything is read: nobody else can commit a
    change to these rows any more, except one that will be read.
    """

    def __init__(self, guards: Guards) -> None:
        self._guards = guards
        self._held: set[int] = set()

    def before_reading(self, tx: Tx, locks: Collection[Lock]) -> None:
        self._take(tx, locks)

    def after_finding(self, tx: Tx, locks: Collection[Lock]) -> bool:
        return self._take(tx, locks)

    def before_writing(self, tx: Tx, locks: Collection[Lock], tables: Tables) -> None:
        pass

    def _take(self, tx: Tx, locks: Iterable[Lock]) -> bool:
        slots = {lock.slot for lock in locks} - self._held
        self._guards.write(tx, slots)
        self._held |= slots
        return bool(slots)
