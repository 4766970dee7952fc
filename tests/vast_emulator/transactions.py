"""Transactions over immutable catalogs."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace

import numpy as np

from .catalog import Catalog, Change, Schema
from .claims import WHOLE_ROW, Claims, Written
from .errors import RpcError
from .storage import Ids
from .switches import Switches


@dataclass(eq=False)
class Transaction:
    """An open transaction: what it saw when it began, what it did, what it sees."""

    id: int
    begun_at: int
    """Number of the last commit before it began."""
    base: dict[str, Catalog]
    origin: dict[str, Catalog] = field(default_factory=dict)
    """The committed catalog each view was made from."""
    views: dict[str, Catalog] = field(default_factory=dict)
    changes: list[tuple[str, Change]] = field(default_factory=list)
    written: Written = field(default_factory=Written)
    own_rows: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    tables: set[str] = field(default_factory=set)
    """``bucket/schema/table`` of every table it has written."""
    used: float = 0.0
    """When it was last named by an RPC, on the engine's clock."""

    def own(self, table_id: int, ids: Ids) -> None:
        """Note consecutive row ids of its own insert: nobody else can see these rows."""
        if len(ids):
            first, last = int(ids[0]), int(ids[-1])
            ranges = self.own_rows.setdefault(table_id, [])
            if ranges and ranges[-1][1] + 1 == first:
                first = ranges.pop()[0]
            ranges.append((first, last))


class Engine:
    """All buckets, all open transactions and the rules between them.

    ``lock`` guards everything; tables taken out of it are immutable and are read without it.
    """

    def __init__(self, switches: Switches) -> None:
        self.switches = switches
        self.lock = threading.RLock()
        self.clock: Callable[[], float] = time.monotonic
        self.committed: dict[str, Catalog] = {}
        self.open: dict[int, Transaction] = {}
        self._claims = Claims()
        self._commits = 0
        self._txids = itertools.count(1_000_001)
        self._table_ids = itertools.count(1)
        self._row_ids: dict[int, int] = {}

    # -- buckets

    def create_bucket(self, name: str) -> None:
        """Make ``name`` an empty bucket, whatever it was before."""
        with self.lock:
            self.committed = {**self.committed, name: Catalog()}

    def drop_bucket(self, name: str) -> None:
        """Remove a bucket with all it holds."""
        with self.lock:
            self.committed = {key: c for key, c in self.committed.items() if key != name}

    def copy_bucket(self, source: str, target: str) -> None:
        """Make ``target`` a copy of the committed ``source``; only references are copied."""
        with self.lock:
            old = self.bucket(source)
            places: dict[int, tuple[str, str]] = {}
            schemas: dict[str, Schema] = {}
            for path, schema in old.schemas.items():
                tables = {}
                for name, table in schema.tables.items():
                    table_id = self.new_table_id()
                    self._row_ids[table_id] = self._row_ids.get(table.id, 0)
                    tables[name] = table.changed(id=table_id)
                    places[table_id] = (path, name)
                schemas[path] = replace(schema, tables=tables)
            self.committed = {**self.committed, target: Catalog(schemas, places)}

    def bucket(self, name: str) -> Catalog:
        """The committed catalog of a bucket; RpcError 404 when there is none."""
        if name not in self.committed:
            raise RpcError(404, "NoSuchBucket", f"bucket {name!r} does not exist")
        return self.committed[name]

    # -- transactions

    def begin(self) -> Transaction:
        """Open a transaction on the present state."""
        self.expire_idle()
        with self.lock:
            transaction = Transaction(next(self._txids), self._commits, self.committed)
            transaction.used = self.clock()
            self.open[transaction.id] = transaction
            return transaction

    def find(self, txid: str) -> Transaction | None:
        """The open transaction of a header value; None for "no transaction"."""
        self.expire_idle()
        if txid in ("", "0"):
            return None
        if not txid.isdecimal():
            raise RpcError(400, "InvalidArgument", f"tabular-txid {txid!r} is not a number")
        transaction = self.open.get(int(txid))
        if transaction is None:
            raise self._lost(txid)
        transaction.used = self.clock()
        return transaction

    def _lost(self, txid: str | int) -> RpcError:
        return RpcError(
            self.switches.lost_transaction_status,
            "NoSuchTransaction",
            f"transaction {txid} is not open",
        )

    def _require_open(self, transaction: Transaction) -> None:
        """Another thread may have ended a transaction since it was found."""
        if transaction.id not in self.open:
            raise self._lost(transaction.id)

    def expire_idle(self) -> None:
        """Roll back transactions that have been idle for longer than the switch allows."""
        limit = self.switches.transaction_idle_seconds
        if limit:
            with self.lock:
                oldest = self.clock() - limit
                for transaction in [t for t in self.open.values() if t.used < oldest]:
                    self._end(transaction, None)

    def rollback(self, transaction: Transaction) -> None:
        """End a transaction and forget what it did."""
        with self.lock:
            self._end(transaction, None)

    def expire_all(self) -> int:
        """Roll back every open transaction; return how many there were."""
        with self.lock:
            transactions = list(self.open.values())
            for transaction in transactions:
                self._end(transaction, None)
            return len(transactions)

    def commit(self, transaction: Transaction) -> None:
        """Publish what a transaction did; on RpcError it has been rolled back."""
        with self.lock:
            self._require_open(transaction)
            try:
                if self.switches.conflict == "commit":
                    self._claims.check_written(transaction.written)
                published = dict(self.committed)
                for bucket in dict.fromkeys(name for name, _ in transaction.changes):
                    published[bucket] = self._published(transaction, bucket)
            except RpcError:
                self._end(transaction, None)
                raise
            if transaction.changes:
                self.committed = published
                self._commits += 1
            self._end(transaction, self._commits)

    def _published(self, transaction: Transaction, bucket: str) -> Catalog:
        now = self.bucket(bucket)
        if now is transaction.origin.get(bucket):
            return transaction.views[bucket]
        return _replayed(now, transaction, bucket)

    def _end(self, transaction: Transaction, commit: int | None) -> None:
        self.open.pop(transaction.id, None)
        self._claims.release(transaction.id, transaction.written, commit, bool(self.open))
        if not self.open:
            self._claims.forget_changes()

    # -- reading and changing

    def view(self, transaction: Transaction | None, bucket: str) -> Catalog:
        """What a statement of this transaction sees of a bucket."""
        with self.lock:
            now = self.bucket(bucket)
            if transaction is None:
                return now
            if self.switches.isolation == "snapshot":
                if bucket not in transaction.views:
                    seen = transaction.base.get(bucket, now)
                    transaction.views[bucket] = transaction.origin[bucket] = seen
            elif transaction.origin.get(bucket) is not now:
                transaction.views[bucket] = _replayed(now, transaction, bucket)
                transaction.origin[bucket] = now
            return transaction.views[bucket]

    def change(self, transaction: Transaction | None, bucket: str, change: Change) -> None:
        """Apply a change to what the transaction sees, or commit it at once without one."""
        with self.lock:
            if transaction is None:
                single = self.begin()
                try:
                    self.change(single, bucket, change)
                except RpcError:
                    self.rollback(single)
                    raise
                self.commit(single)
                return
            self._require_open(transaction)
            seen = change(self.view(transaction, bucket))
            transaction.views[bucket] = seen
            transaction.changes.append((bucket, change))

    def claim_name(self, transaction: Transaction | None, name: Hashable) -> None:
        """Claim a schema object; RpcError 409 when another transaction has it."""
        with self.lock:
            if transaction is None:
                self._claims.claim_name(0, Written(), name, self._commits)
                self._claims.release(0, Written(names={name}), None, False)
                return
            self._require_open(transaction)
            self._claims.claim_name(
                transaction.id, transaction.written, name, self._base(transaction)
            )

    def claim_rows(
        self, transaction: Transaction, table_id: int, ids: Ids, columns: list[str]
    ) -> None:
        """Claim rows for an update of ``columns``, or as a whole; see the switches."""
        ranges = transaction.own_rows.get(table_id, [])
        foreign = np.ones(len(ids), dtype=bool)
        for first, last in ranges:
            foreign &= ~((ids >= np.uint64(first)) & (ids <= np.uint64(last)))
        rows = ids[foreign].tolist()
        cells = columns if self.switches.granularity == "cell" else [WHOLE_ROW]
        with self.lock:
            self._require_open(transaction)
            base = self._base(transaction)
            if self.switches.conflict == "eager":
                self._claims.check_rows(transaction.id, table_id, rows, cells, base)
            self._claims.claim_rows(
                transaction.id, transaction.written, table_id, rows, cells, base
            )

    def _base(self, transaction: Transaction) -> int:
        if self.switches.isolation == "snapshot":
            return transaction.begun_at
        return self._commits

    # -- ids

    def new_table_id(self) -> int:
        """An id no table has had."""
        return next(self._table_ids)

    def new_row_ids(self, table_id: int, count: int) -> Ids:
        """The next ``count`` row ids of a table; they are never given again."""
        with self.lock:
            first = self._row_ids.get(table_id, 0)
            self._row_ids[table_id] = first + count
        return np.arange(first, first + count, dtype=np.uint64)


def _replayed(catalog: Catalog, transaction: Transaction, bucket: str) -> Catalog:
    for name, change in transaction.changes:
        if name == bucket:
            catalog = change(catalog)
    return catalog
