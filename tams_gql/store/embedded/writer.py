"""The one writer of a process: a queue, a thread, and group commit.

Change sets that arrive while a transaction is being synced to disk share the next one, so that
concurrent writers pay for one fsync together. Each has its own savepoint and fails alone.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from tams_gql.model.errors import LimitExceeded, Unavailable
from tams_gql.store.changes import ChangeSet, Committed, Stale
from tams_gql.store.embedded.apply import apply
from tams_gql.store.embedded.connection import begin_write, translated

_MAX_GROUP = 128
_MAX_QUEUED = 1024

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Job:
    work: Callable[[sqlite3.Connection], Committed]
    done: asyncio.Future[Committed]
    loop: asyncio.AbstractEventLoop


class Writer:
    """Commits change sets in the order they came; ``committed`` is called after each group.

    ``tidy`` is called when the writers of a group have their answers, outside a transaction.
    """

    def __init__(
        self,
        open_connection: Callable[[], sqlite3.Connection],
        committed: Callable[[], None],
        tidy: Callable[[sqlite3.Connection], None],
    ) -> None:
        self._open = open_connection
        self._committed = committed
        self._tidy = tidy
        self._jobs: queue.Queue[_Job | None] = queue.Queue(_MAX_QUEUED)
        self._thread = threading.Thread(target=self._run, name="catalog-write", daemon=True)
        self._closed = False
        self._closing = threading.Lock()  # nothing may be queued behind the signal to stop
        self._thread.start()

    async def commit(self, changes: ChangeSet) -> Committed:
        """Apply a change set; returns once it is durable."""
        return await self.submit(lambda connection: apply(connection, changes))

    async def submit(self, work: Callable[[sqlite3.Connection], Committed]) -> Committed:
        """Run ``work`` inside the next write transaction."""
        loop = asyncio.get_running_loop()
        job = _Job(work, loop.create_future(), loop)
        with self._closing:
            if self._closed:
                raise Unavailable("the catalog store is closed")
            try:
                self._jobs.put_nowait(job)
            except queue.Full:
                raise LimitExceeded(
                    f"{_MAX_QUEUED} writes are already waiting for the catalog; try again later"
                ) from None
        # A cancelled caller must not cancel the write: it may already be on its way to disk.
        return await asyncio.shield(job.done)

    def close(self) -> None:
        """Finish what is queued, then stop. Blocks."""
        with self._closing:
            first, self._closed = not self._closed, True
        if first:
            self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        while (group := self._next_group()) is not None:
            try:
                if connection is None:
                    connection = self._open()
                outcomes = self._commit_group(connection, group)
            except BaseException as error:
                outcomes = [error] * len(group)
                # Whatever state the failure has left it in, the next group gets a fresh one.
                if connection is not None:
                    connection.close()
                    connection = None
            else:
                self._committed()
            _deliver(group, outcomes)
            if connection is not None:
                self._tidy_up(connection)
        if connection is not None:
            connection.close()

    def _tidy_up(self, connection: sqlite3.Connection) -> None:
        try:
            self._tidy(connection)
        except sqlite3.Error as error:
            # The commits stand. If the disk is full or broken, the next group will say so.
            _logger.warning("the write-ahead log could not be shortened: %s", error)

    def _next_group(self) -> list[_Job] | None:
        first = self._jobs.get()
        if first is None:
            return None
        group = [first]
        while len(group) < _MAX_GROUP:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is None:
                self._jobs.put(None)  # stop after this group
                break
            group.append(job)
        return group

    def _commit_group(
        self, connection: sqlite3.Connection, group: list[_Job]
    ) -> list[Committed | BaseException]:
        with translated():
            begin_write(connection)
            try:
                outcomes = [_apply_alone(connection, job) for job in group]
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        return outcomes


def _apply_alone(connection: sqlite3.Connection, job: _Job) -> Committed | BaseException:
    connection.execute("SAVEPOINT change")
    try:
        outcome: Committed | BaseException = job.work(connection)
    except Exception as error:
        if _is_general(error):
            raise
        connection.execute("ROLLBACK TO change")
        outcome = error
    connection.execute("RELEASE change")
    return outcome


def _is_general(error: Exception) -> bool:
    """Whether nothing of the group can be trusted to commit: disk full, I/O error, damage."""
    if not isinstance(error, sqlite3.DatabaseError):
        return False
    if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError | sqlite3.DataError):
        return False
    # A statement that SQLite does not understand fails alone.
    return getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_ERROR


def _deliver(group: list[_Job], outcomes: list[Committed | BaseException]) -> None:
    for loop in {job.loop for job in group}:
        mine = [(j.done, o) for j, o in zip(group, outcomes, strict=True) if j.loop is loop]
        # The loop of a request that gave up may be gone already (a test, a shutdown).
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_settle, mine)


def _settle(outcomes: list[tuple[asyncio.Future[Committed], Committed | BaseException]]) -> None:
    for future, outcome in outcomes:
        if future.cancelled():
            continue
        if isinstance(outcome, BaseException):
            future.set_exception(outcome)
            if isinstance(outcome, Stale):
                future.exception()  # seen: the caller may have been cancelled meanwhile
        else:
            future.set_result(outcome)
