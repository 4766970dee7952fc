"""One transaction to read in, begun by its first use."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import pyarrow as pa

from tams_gql.model.errors import Unavailable
from tams_gql.store.vast.layout import Physical
from tams_gql.store.vast.reading.reader import Bounds, Reader
from tams_gql.store.vast.reading.row_cache import RowCache
from tams_gql.store.vast.wire.client import Gone, Tx

T = TypeVar("T")


class Taken(NamedTuple):
    """A transaction that went over from a snapshot to a commit, with what was read in it."""

    tx: Tx
    rows: RowCache


class _Abandoned(Exception):
    """Nobody waits for this read any more."""


@dataclass(slots=True)
class _Job:
    abandoned: bool = False


@dataclass(frozen=True, slots=True)
class _Watched:
    """A transaction whose reads end at the next call once nobody waits for them."""

    tx: Tx
    job: _Job

    def select(
        self, table: Physical, columns: Sequence[str], where: Bounds = (), *, row_ids: bool = False
    ) -> pa.Table:
        self._check()
        return self.tx.select(table, columns, where, row_ids=row_ids)

    def count(self, table: Physical, where: Bounds = ()) -> int:
        self._check()
        return self.tx.count(table, where)

    def estimate(self, table: Physical) -> int:
        self._check()
        return self.tx.estimate(table)

    def _check(self) -> None:
        if self.job.abandoned:
            raise _Abandoned


class ReadThreads:
    """A bounded number of threads to read in, and the reads that are under way."""

    def __init__(self, size: int) -> None:
        self._executor = ThreadPoolExecutor(size, thread_name_prefix="catalog-read")
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(self, work: Callable[[], T]) -> T:
        """Run blocking work in a thread."""
        try:
            future = self._executor.submit(work)
        except RuntimeError as error:
            raise Unavailable("the catalog store is closed") from error
        return await asyncio.wrap_future(future)

    def task(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """A task that goes on when nobody waits for it any more; ``close`` waits for it."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    async def close(self) -> None:
        """Wait for everything that is under way and end the threads."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        await asyncio.to_thread(self._executor.shutdown)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved, for nobody else may be left to do so


class Snapshot:
    """One consistent view of the catalog: a transaction that only one read uses at a time.

    ``rows`` are the rows read by key so far. A cancelled read leaves its caller at once, but the
    transaction is free only when the call that is under way has ended; whatever waits for it
    waits for that.
    """

    def __init__(self, begin: Callable[[], Tx], threads: ReadThreads) -> None:
        self.before_begin: Callable[[], None] = lambda: None
        self.rows = RowCache()
        self._begin = begin
        self._threads = threads
        self._turn = asyncio.Lock()
        self._tx: Tx | None = None
        self._answered = False  # a read of this transaction has succeeded
        self._lost = False
        self._closed = False

    async def run(self, work: Callable[[Reader], T]) -> T:
        """Do blocking reads in a thread, after all that were asked for before.

        Raises ``Unavailable`` if the cluster does not answer or has given up the transaction.
        """
        job = _Job()
        try:
            return await asyncio.shield(self._threads.task(self._in_turn(work, job)))
        except asyncio.CancelledError:
            job.abandoned = True
            raise

    async def take(self) -> Taken | None:
        """Hand over the transaction, if one has begun, to be ended by the caller.

        This snapshot is over then. Reads without a transaction have none to give.
        """
        self._closed = True
        async with self._turn:
            tx, rows = self._tx, self.rows
            self._forget()
            return None if tx is None or tx.txid == 0 else Taken(tx, rows)

    async def close(self) -> None:
        """End the transaction, or see to it that it ends with the read that is under way."""
        self._closed = True
        if not self._turn.locked() and self._tx is None:
            return
        ending = self._threads.task(self._end_in_turn())
        if not self._turn.locked():
            await asyncio.shield(ending)

    async def _in_turn(self, work: Callable[[Reader], T], job: _Job) -> T:
        async with self._turn:
            if self._closed:
                raise RuntimeError("the read session is over")
            return await self._threads.run(lambda: self._read(work, job))

    async def _end_in_turn(self) -> None:
        async with self._turn:
            tx = self._tx
            self._forget()
            if tx is not None:
                with suppress(Unavailable):  # the store is closed, so the transaction expires
                    await self._threads.run(tx.rollback)

    def _forget(self) -> None:
        self._tx, self._answered = None, False
        self.rows = RowCache()

    # In a thread, one at a time.

    def _read(self, work: Callable[[Reader], T], job: _Job) -> T:
        if job.abandoned:
            raise _Abandoned
        if self._lost:
            raise _expired()
        try:
            return self._attempt(work, job)
        except Gone as error:
            if self._answered:
                self._forget()
                self._lost = True
                raise _expired() from error
        self._forget()  # nothing has been seen of it, so another one does as well
        try:
            return self._attempt(work, job)
        except Gone as error:
            self._forget()
            raise _expired() from error

    def _attempt(self, work: Callable[[Reader], T], job: _Job) -> T:
        if self._tx is None:
            self.before_begin()
            self._tx = self._begin()
        try:
            result = work(_Watched(self._tx, job))
        except Unavailable:
            if not self._answered:
                self._tx.rollback()
                self._forget()
            raise
        self._answered = True
        return result


def _expired() -> Unavailable:
    return Unavailable("the transaction these reads were made in has expired; read again")
