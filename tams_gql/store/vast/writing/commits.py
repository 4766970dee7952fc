"""Commits: each change set in a transaction of its own, tried again when it meets another one.

What a crash leaves at any point is a transaction that was never committed, which the cluster
forgets in time; its rows and guards stand in the way of others until then, and fail them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from tams_gql.model.errors import Unavailable
from tams_gql.model.jitter import CHANCE
from tams_gql.store.changes import (
    ChangeSet,
    Committed,
    NewEvent,
    Row,
    Stale,
    refuse_own_rows,
)
from tams_gql.store.scan import Where, eq
from tams_gql.store.tables import EVENTS, RECEIPTS, Table
from tams_gql.store.vast.layout import physical_of
from tams_gql.store.vast.modes import Modes
from tams_gql.store.vast.reading.reader import View
from tams_gql.store.vast.reading.row_cache import RowCache
from tams_gql.store.vast.wire.client import (
    Broken,
    Gone,
    OutcomeUnknown,
    RowConflict,
    Tx,
    VastClient,
)
from tams_gql.store.vast.writing.apply import Application
from tams_gql.store.vast.writing.claims import ClaimedBefore, Claims, Contended, MoreClaims
from tams_gql.store.vast.writing.guards import GuardBeforeReading, Guards, WriteWhatWasRead
from tams_gql.store.vast.writing.locking import Locking
from tams_gql.store.vast.writing.locks import Lock
from tams_gql.store.vast.writing.plan import Plan, plan_of
from tams_gql.store.vast.writing.turns import Turns

if TYPE_CHECKING:
    from tams_gql.store.vast.change_log.lanes import Lane
    from tams_gql.store.vast.change_log.log import VastLog
    from tams_gql.store.vast.reading.session import Reads, VastSession
    from tams_gql.store.vast.reading.snapshot import Taken

T = TypeVar("T")

_PATIENCE_SECONDS = 5.0
_FIRST_PAUSE_SECONDS = 0.005
_DOUBLINGS = 5
_FRESH_SECONDS = 60.0  # an older snapshot is more likely to fail than to save reads
_OLDEST_SECONDS = 300.0  # readers of the log wait for later events only so long
_SETTLING_PAUSES = (0.1, 0.5, 2.0)
_BREAKS = 2  # of connections in which a change set is tried again


class Commits:
    """Applies change sets for one store."""

    def __init__(
        self,
        client: VastClient,
        modes: Modes,
        guards: Guards,
        log: VastLog,
        reads: Reads,
    ) -> None:
        self._client = client
        self._modes = modes
        self._guards = guards
        self._log = log
        self._reads = reads
        self._turns = Turns()
        self._tasks: set[asyncio.Task[Committed]] = set()
        self._threads = ThreadPoolExecutor(
            client.config.write_threads, thread_name_prefix="catalog-write"
        )
        self._closed = False

    async def commit(self, changes: ChangeSet, seen: VastSession | None) -> Committed:
        """Apply a change set; see ``CatalogStore.commit``."""
        refuse_own_rows(changes)
        if self._closed:
            raise Unavailable("the catalog store is closed")
        task = asyncio.create_task(self._run(plan_of(changes), seen))
        self._tasks.add(task)
        task.add_done_callback(self._done)
        # A cancelled caller must not cancel the write: it may already be committed.
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Finish what has been begun; nothing more is taken."""
        self._closed = True
        while self._tasks:
            await asyncio.wait(self._tasks)
        await asyncio.to_thread(self._threads.shutdown)

    def _done(self, task: asyncio.Task[Committed]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved: the caller may have been cancelled meanwhile

    async def _run(self, plan: Plan, seen: VastSession | None) -> Committed:
        try:
            async with self._turns.taken(plan.locks):
                taken = None if seen is None else await self._taken(plan, seen)
                committed = await self._until_committed(plan, taken)
                self._turns.note(plan.locks, time.monotonic())
        finally:
            if seen is not None:
                await seen.snapshot.close()
        self._log.committed()
        return committed

    async def _taken(self, plan: Plan, seen: VastSession) -> Taken | None:
        """The caller's own transaction, if it is worth going on in it."""
        direct = self._client.config.reads == "direct"
        if direct or not self._modes.reads_can_be_trusted:
            await seen.snapshot.close()
            return None
        taken = await seen.snapshot.take()
        await seen.snapshot.close()
        if taken is None:
            return None
        age = taken.tx.age_seconds
        if age > _FRESH_SECONDS or self._turns.written_since(plan.locks, time.monotonic() - age):
            await self._in_thread(taken.tx.rollback)  # it would only conflict
            return None
        return taken

    async def _until_committed(self, plan: Plan, taken: Taken | None) -> Committed:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        found: set[Lock] = set()
        number = breaks = 0
        while True:
            attempt = partial(self._attempt, plan, taken, frozenset(found))
            taken = None
            try:
                return await self._in_thread(attempt)
            except MoreClaims as more:
                found |= more.locks
            except OutcomeUnknown as error:
                raise Unavailable(
                    "the answer of the VAST cluster to a commit was lost, and it cannot be told"
                    " whether the change was made"
                ) from error
            except Broken as error:
                breaks += 1
                if breaks > _BREAKS or time.monotonic() > deadline:
                    raise Unavailable(str(error)) from error
            except (RowConflict, Gone, Contended) as error:
                if time.monotonic() > deadline:
                    raise Stale("others keep changing what this change relies on") from error
                pause = _FIRST_PAUSE_SECONDS * 2 ** min(number, _DOUBLINGS)
                await asyncio.sleep(pause * CHANCE.uniform(0.5, 1.5))
            number += 1

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    # In a thread

    def _attempt(self, plan: Plan, taken: Taken | None, found: frozenset[Lock]) -> Committed:
        if self._modes.conflicts == "none":
            return self._attempt_claimed(plan, found)
        if taken is not None:
            locking: Locking = WriteWhatWasRead(self._guards)
            return self._apply(plan, taken.tx, taken.rows, locking)
        if self._modes.reads_can_be_trusted:
            locking = WriteWhatWasRead(self._guards)
        else:
            locking = GuardBeforeReading(self._guards)
        return self._apply(plan, self._client.begin(), RowCache(), locking)

    def _attempt_claimed(self, plan: Plan, found: frozenset[Lock]) -> Committed:
        claims = Claims.made(self._client, found.union(plan.locks))
        try:
            tx = claims.begin()
            return self._apply(plan, tx, RowCache(), ClaimedBefore(claims))
        except OutcomeUnknown:
            raise  # perhaps the change is still to come: the claims must outlast it
        except BaseException:
            claims.withdraw()
            raise

    def _apply(self, plan: Plan, tx: Tx, rows: RowCache, locking: Locking) -> Committed:
        with self._log.lanes.taken() as lane:
            view = View(tx, rows, self._reads.sizes, self._reads.tally)
            application = Application(tx, view, plan, locking)
            try:
                application.decide()
                events, now_us = application.events, plan.changes.now_us
                lane.follow(application.told_until(lane.stamp_us))
                batch = lane.rows(events, now_us) if events else None
                position = self._log.position_with(lane, len(events))
                committed = application.write(position, lane.stamp_us, batch)
                if tx.age_seconds > _OLDEST_SECONDS:
                    raise Unavailable("the change took too long to be committed; it is undone")
                tx.commit()
            except OutcomeUnknown as lost:
                if not self._settle(lost, plan, lane, application.events, committed):
                    raise RowConflict from lost  # nothing was committed, so it can be tried again
            except BaseException:
                tx.rollback()
                raise
            lane.committed()
        return committed

    def _settle(
        self,
        lost: OutcomeUnknown,
        plan: Plan,
        lane: Lane,
        events: list[NewEvent],
        committed: Committed,
    ) -> bool:
        """Whether a transaction was committed. Raises ``OutcomeUnknown`` if it cannot be told."""
        for pause in (*_SETTLING_PAUSES, None):
            try:
                if self._client.abandon(lost.txid):
                    return False
                return self._is_there(lost, plan, lane, events, committed)
            except (Unavailable, Gone):
                if pause is not None:
                    time.sleep(pause)
        raise lost

    def _is_there(
        self,
        lost: OutcomeUnknown,
        plan: Plan,
        lane: Lane,
        events: list[NewEvent],
        committed: Committed,
    ) -> bool:
        """Whether something that only this transaction can have written is there."""
        receipt = plan.changes.receipt
        if events:
            stamped = eq("stamped", lane.stamp_us)  # the table is sorted by it
            return bool(self._found(EVENTS, ("key",), stamped, eq("key", lane.last_key)))
        if receipt is None:
            raise lost
        columns = ("key", "fingerprint", "position", "created")
        row = (receipt.key, receipt.fingerprint, committed.position, plan.changes.now_us)
        return row in self._found(RECEIPTS, columns, eq("key", receipt.key))

    def _found(self, table: Table, columns: tuple[str, ...], *where: Where) -> list[Row]:
        tx = self._client.begin()
        try:
            found = tx.select(physical_of(table), columns, where)
        finally:
            tx.rollback()
        return list(zip(*(column.to_pylist() for column in found.columns), strict=True))
