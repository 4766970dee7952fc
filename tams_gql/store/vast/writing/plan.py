"""What a change set must read and which rows it must keep others away from, before it begins."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tams_gql.store.changes import ChangeSet, Delete, Row
from tams_gql.store.scan import Op, Value, Where
from tams_gql.store.tables import (
    COLLECTIONS,
    FLOW_COUNTERS,
    FLOWS,
    OBJECTS,
    RECEIPTS,
    SEGMENTS,
    Table,
)
from tams_gql.store.vast.layout import USES, physical_of, stored_name
from tams_gql.store.vast.uses import USER_COLUMNS, named
from tams_gql.store.vast.writing.locks import Lock, flow_lock, lock_of, locks_of_row

COUNTERS = tuple(column for column in FLOW_COUNTERS.columns if column != "flow_id")
REFERENCES = ("ref_count", "orphaned", USES)
_OBJECT = SEGMENTS.columns.index("object_id")


@dataclass(slots=True)
class TableReads:
    """The rows of one physical table to be read by key, and what of them."""

    keys: dict[Row, None] = field(default_factory=dict)
    needed: set[str] = field(default_factory=set)
    writes: dict[Row, set[str]] = field(default_factory=dict)  # of rows that will be kept

    @property
    def columns(self) -> set[str]:
        """What to read: what is looked at, and all that any row changes if rows differ in that.

        Rows that change differently are written in one call all the same, with the values they
        have in the other columns.
        """
        kinds = {frozenset(written) for written in self.writes.values()}
        return self.needed if len(kinds) <= 1 else self.needed.union(*kinds)


@dataclass(slots=True)
class Plan:
    """A change set with what its reads are known to need.

    Of ``parents`` the whole collections are read: a member occurs in a collection once.
    """

    changes: ChangeSet
    reads: dict[str, TableReads]
    parents: dict[Value, None]
    locks: dict[Lock, None]


def plan_of(changes: ChangeSet) -> Plan:
    """Look through a change set."""
    planner = _Planner()
    planner.look_through(changes)
    planner.reads.pop(COLLECTIONS.name, None)
    return Plan(changes, dict(planner.reads), planner.parents, planner.locks)


class _Planner:
    def __init__(self) -> None:
        self.reads: defaultdict[str, TableReads] = defaultdict(TableReads)
        self.parents: dict[Value, None] = {}
        self.locks: dict[Lock, None] = {}
        self._minted: set[Lock] = set()

    def look_through(self, changes: ChangeSet) -> None:
        for expect in changes.expect:
            written = None if expect.equals is None else ()
            needed = tuple(expect.equals or ())
            self._read(expect.table, expect.key, needed=needed, written=written)
        for removal in changes.remove_segments:
            self._count(removal.flow_id)
        for update in changes.update:
            width = len(update.table.key)
            for row in update.rows:
                self._read(update.table, row[:width], written=update.columns)
            self._need(update.table, (*update.table.key, *update.columns), update.rows)
        for insert in changes.insert:
            for row in insert.rows:
                locks = locks_of_row(insert.table, insert.columns, row)
                if insert.minted:
                    self._minted.add(next(locks))
                else:
                    key = tuple(row[insert.columns.index(c)] for c in insert.table.key)
                    self._read(insert.table, key)
                self._lock(locks)
            self._need(insert.table, insert.columns, insert.rows)
        for added in changes.add_segments:
            if added.rows:
                self._count(added.flow_id)
                for row in added.rows:
                    self._refer(row[_OBJECT])
        for refer in changes.refer:
            self._refer(refer.object_id)
        if changes.receipt is not None:
            self._read(RECEIPTS, (changes.receipt.key,))
        for delete in changes.delete:
            self._delete(delete)

    def _delete(self, delete: Delete) -> None:
        reads = self.reads[physical_of(delete.table).name]
        for key in keys_of(delete) or ():
            self._read(delete.table, (key,))
            reads.writes.pop((key,), None)
        for object_id in users_of(delete) or ():
            self._read(OBJECTS, (object_id,), needed=(USES,))
        if delete.table is COLLECTIONS:
            self.parents |= dict.fromkeys(parents_of(delete) or ())
            for where in delete.where:
                if where.column in ("parent_id", "child_id"):
                    self._lock(flow_lock(value) for value in _equal_values(where))

    def _count(self, flow_id: str) -> None:
        self._read(FLOWS, (flow_id,), needed=COUNTERS, written=COUNTERS)

    def _refer(self, object_id: Value) -> None:
        self._read(OBJECTS, (object_id,), needed=("ref_count", USES), written=REFERENCES)

    def _need(self, table: Table, columns: tuple[str, ...], rows: Iterable[Row]) -> None:
        """Find the initialisation objects that rows of objects name."""
        if table is OBJECTS and "init_object_id" in columns:
            at = columns.index("init_object_id")
            for init in dict.fromkeys(row[at] for row in rows if row[at] is not None):
                self._read(OBJECTS, (init,), needed=(USES,), written=(USES,))

    def _read(
        self,
        table: Table,
        key: Row,
        *,
        needed: tuple[str, ...] = (),
        written: tuple[str, ...] | None = None,
    ) -> None:
        lock = lock_of(table, key)
        if lock in self._minted and len(table.key) == 1:
            return  # nobody else can have it: there is nothing to read or to protect
        self._lock([lock])
        if table is COLLECTIONS:
            self.parents[key[0]] = None
        reads = self.reads[physical_of(table).name]
        reads.keys[key] = None
        reads.needed.update(stored_name(table, column) for column in needed)
        if written is not None:
            reads.writes.setdefault(key, set()).update(stored_name(table, c) for c in written)

    def _lock(self, locks: Iterable[Lock]) -> None:
        for lock in locks:
            self.locks[lock] = None
            if lock.table == FLOWS.name:  # perhaps on behalf of a row of another table
                self.reads[FLOWS.name].keys[lock.key] = None


def keys_of(delete: Delete) -> tuple[Value, ...] | None:
    """The keys that a delete names, or None if its rows have to be searched for."""
    return _named(delete, delete.table.key[0]) if len(delete.table.key) == 1 else None


def parents_of(delete: Delete) -> tuple[Value, ...] | None:
    """The collections that a delete empties, or None if its rows have to be searched for."""
    return _named(delete, "parent_id") if delete.table is COLLECTIONS else None


def users_of(delete: Delete) -> list[str] | None:
    """The objects whose users a delete removes, if it names them."""
    column = USER_COLUMNS.get(delete.table)
    return None if column is None else named(delete.where, column)


def _named(delete: Delete, column: str) -> tuple[Value, ...] | None:
    if len(delete.where) != 1 or delete.where[0].column != column:
        return None
    (where,) = delete.where
    if any(bound.op not in (Op.EQ, Op.IN) for bound in where.any_of):
        return None
    return tuple(dict.fromkeys(_equal_values(where)))


def _equal_values(where: Where) -> Iterator[Value]:
    """The values that a row may have in the column, as far as they are named."""
    for bound in where.any_of:
        named = bound.value if isinstance(bound.value, tuple) else (bound.value,)
        if bound.op in (Op.EQ, Op.IN):
            yield from (value for value in named if value is not None)
