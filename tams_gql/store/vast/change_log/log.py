"""The change log in a VAST database. See ``frontier`` for what its positions are."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Lock
from typing import NamedTuple, TypeVar

import pyarrow as pa

from tams_gql.model.errors import Unavailable
from tams_gql.store.port import LogPage
from tams_gql.store.scan import Where, is_in
from tams_gql.store.tables import EVENTS, SERVICE
from tams_gql.store.vast.change_log.frontier import Frontier, parse
from tams_gql.store.vast.change_log.known import Known
from tams_gql.store.vast.change_log.lanes import Lane, Lanes
from tams_gql.store.vast.change_log.trimming import floor_in, trim_portion
from tams_gql.store.vast.change_log.unread import (
    Rows,
    frontier_of,
    head_in,
    newest_of,
    rows_after,
    rows_named_by,
    rows_of,
)
from tams_gql.store.vast.layout import physical_of, to_logical
from tams_gql.store.vast.reading.reader import Reader
from tams_gql.store.vast.reading.snapshot import ReadThreads
from tams_gql.store.vast.wire.client import Gone, Tx, VastClient

T = TypeVar("T")

_THREADS = 4
_FEW_ROWS_SECONDS = 2.0  # what is committed in this time is not too much to be read at once
_FEW_KEYS_SECONDS = 60.0
_SURELY_KEPT_SECONDS = 1.0  # what is younger has not been removed by retention
_REMEMBERED = 8


class VastLog:
    """The events of the catalog, for one process.

    Whoever asks whether it has changed is told to read it, though not too often: the call that
    finds nothing is the one that would have brought the events, so looking for changes separately
    would cost as much for every look and one call more for every change.
    """

    def __init__(
        self, client: VastClient, log_id: str, known: Known, *, poll_seconds: float
    ) -> None:
        self._client = client
        self._log_id = log_id
        self._known = known
        self.lanes = Lanes(known, client.clock.now_us)
        self._threads = ReadThreads(_THREADS)
        self._rests = _Rests()
        self._poll_seconds = poll_seconds
        self._looked = float("-inf")
        self._callbacks: list[tuple[asyncio.AbstractEventLoop, Callable[[], None]]] = []

    @classmethod
    async def open(cls, client: VastClient, *, poll_seconds: float = 0.05) -> VastLog:
        """The log of an existing catalog. ``Unavailable`` if it has none or is not reached.

        ``poll_seconds`` is the least time between looks for the commits of other processes.
        """

        def read() -> VastLog:
            known = Known()
            moment = known.moment()
            with _transaction(client) as tx:
                where = [is_in("name", ["log_id"])]
                ids = tx.select(physical_of(SERVICE), ["value"], where).column("value")
                if len(ids) == 0:
                    raise Unavailable("the catalog has no change log, run `tams-gql migrate`")
                floor = floor_in(tx)
                head, newest = head_in(tx, floor, client.clock.now_us(), few=False)
            known.add_all(head, newest, moment)
            return cls(client, ids[0].as_py(), known, poll_seconds=poll_seconds)

        return await asyncio.to_thread(read)

    async def close(self) -> None:
        """Wait for the reads that are under way."""
        await self._threads.close()

    @property
    def log_id(self) -> str:
        return self._log_id

    @property
    def known(self) -> Frontier:
        """What this process knows to be committed."""
        return self._known.frontier

    def covers(self, position: str, other: str) -> bool:
        return parse(position).covers(parse(other))

    def union(self, position: str, other: str) -> str:
        return parse(position).union(parse(other)).text()

    def position_with(self, lane: Lane, count: int) -> str:
        """Where the log is after the ``count`` events of a lane that are about to be committed."""
        return self._known.frontier.union(lane.frontier(count)).text()

    def view_head(self) -> Callable[[Reader], str]:
        """How to find the head in a view that begins after this call."""
        read = self._head_reader()
        return lambda reader: read(reader)[0].text()

    async def head(self) -> str:
        moment, read = self._known.moment(), self._head_reader()
        head, newest = await self._read(read)
        self._known.add_all(head, newest, moment)
        return head.text()

    def _head_reader(self) -> Callable[[Reader], tuple[Frontier, int]]:
        """Reads what is not known yet: one call in a process that follows the log, else three."""
        known = self._known.frontier
        age = self._known.age_of(known)

        def read(reader: Reader) -> tuple[Frontier, int]:
            # Some of the log may have been removed before this process ever heard of it.
            start = known if age < _SURELY_KEPT_SECONDS else known.union(floor_in(reader))
            now_us = self._client.clock.now_us()
            return head_in(reader, start, now_us, few=age < _FEW_KEYS_SECONDS)

        return read

    async def floor(self) -> str:
        return (await self._read(floor_in)).text()

    async def events(self, after: str, limit: int, where: tuple[Where, ...] = ()) -> pa.RecordBatch:
        start = parse(after)
        if limit <= 0:
            return pa.RecordBatch.from_pylist([], EVENTS.schema)
        if not where:
            self._looked = time.monotonic()

        def read() -> pa.RecordBatch:
            begun = self._begun()
            with _transaction(self._client) as tx:
                return self._events(tx, begun, start, limit, where)

        return await self._threads.run(read)

    async def page(self, after: str | None, limit: int, where: tuple[Where, ...] = ()) -> LogPage:
        # This is no look for what is new: somebody who reads a long rest of the log, page by page,
        # must not keep the others from being told of what is.
        asked = None if after is None else parse(after)

        def read() -> LogPage:
            begun = self._begun()
            with _transaction(self._client) as tx:
                start = floor_in(tx) if asked is None else asked
                rows = self._events(tx, begun, start, limit, where)
                # Looked at after the events: what was removed before them is then noticed.
                floor = start if asked is None else floor_in(tx)
                ahead = asked is not None and self._is_ahead(tx, begun.known.union(floor), start)
            return LogPage(rows, floor.text(), ahead)

        return await self._threads.run(read)

    async def changed(self) -> bool:
        now = time.monotonic()
        if now - self._looked < self._poll_seconds:
            return False
        self._looked = now
        return True

    def on_commit(self, callback: Callable[[], None]) -> None:
        self._callbacks.append((asyncio.get_running_loop(), callback))

    def committed(self) -> None:
        """Wake the readers of this process."""
        for loop, callback in self._callbacks:
            with suppress(RuntimeError):  # the loop is closed: nobody listens there any more
                loop.call_soon_threadsafe(callback)

    async def trim(self, before_us: int) -> int:
        removed = 0
        while True:
            portion = await self._threads.run(lambda: trim_portion(self._client, before_us))
            removed += portion.removed
            if not portion.more:
                return removed

    async def _read(self, work: Callable[[Tx], T]) -> T:
        def read() -> T:
            with _transaction(self._client) as tx:
                return work(tx)

        return await self._threads.run(read)

    # In a thread

    def _begun(self) -> _Begun:
        """What is known just before a view begins, which that shows as well."""
        return _Begun(self._known.moment(), self._known.frontier)

    def _events(
        self, tx: Tx, begun: _Begun, after: Frontier, limit: int, where: tuple[Where, ...]
    ) -> pa.RecordBatch:
        if limit <= 0:
            return pa.RecordBatch.from_pylist([], EVENTS.schema)
        rest = self._rests.take(after.text(), where)
        if rest is not None and rest.num_rows >= limit:
            page = rows_of(tx, rest.slice(0, limit), where)
            if page.num_rows == limit:  # otherwise some of it has been trimmed
                return self._positioned(after, Rows(page, rest.slice(limit), whole=True), where)
        few = self._known.age_of(after) < _FEW_ROWS_SECONDS
        rows = rows_after(tx, after, limit, where, self._client.clock.now_us(), few=few)
        newest, known = newest_of(rows.page), begun.known
        if rows.whole and not rows.rest.num_rows and not where and known.covers(after):
            self._known.add_all(known.union(frontier_of(rows.page)), newest, begun.moment)
        else:
            self._known.add(frontier_of(rows.page), newest)
        return self._positioned(after, rows, where)

    def _is_ahead(self, tx: Tx, known: Frontier, position: Frontier) -> bool:
        """Whether a position includes events that a view does not show and nobody has removed."""
        if known.covers(position):
            return False
        found = rows_named_by(tx, position, besides=known)
        if not known.union(frontier_of(found)).covers(position):
            # Perhaps it is so only because of other lanes that the position does not name.
            head, _ = head_in(tx, known, self._client.clock.now_us(), few=False)
            if not head.covers(position):
                return True
        self._known.add(position, newest_of(found))
        return False

    def _positioned(self, after: Frontier, rows: Rows, where: tuple[Where, ...]) -> pa.RecordBatch:
        """The page as the contract has it; what is known to follow is kept for the next one."""
        positions = []
        columns = (rows.page.column(name).to_pylist() for name in ("lane", "seq", "stamped"))
        for lane, seq, stamped in zip(*columns, strict=True):
            after = after.after(lane, seq, stamped)
            positions.append(after.text())
        if positions and rows.rest.num_rows:
            self._rests.keep(positions[-1], where, rows.rest)
        batch = to_logical(EVENTS, EVENTS.columns[1:], rows.page)
        return pa.RecordBatch.from_arrays(
            [pa.array(positions, pa.string()), *batch.columns], schema=EVENTS.schema
        )


class _Begun(NamedTuple):
    """When a view of the log begins, and what is known of the log by then."""

    moment: float
    known: Frontier


class _Rests:
    """The keys that follow the pages read last, so that the next page need not search for them.

    Events that have become visible since are not lost by that: no position includes them yet.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: OrderedDict[tuple[str, tuple[Where, ...]], pa.Table] = OrderedDict()

    def take(self, position: str, where: tuple[Where, ...]) -> pa.Table | None:
        with self._lock:
            return self._kept.pop((position, where), None)

    def keep(self, position: str, where: tuple[Where, ...], rest: pa.Table) -> None:
        with self._lock:
            self._kept[position, where] = rest
            if len(self._kept) > _REMEMBERED:
                self._kept.popitem(last=False)


@contextmanager
def _transaction(client: VastClient) -> Iterator[Tx]:
    """A view for the reads of one call."""
    tx = client.direct() if client.config.reads == "direct" else client.begin()
    try:
        yield tx
    except Gone as error:
        raise Unavailable("the transaction of a read of the change log has expired") from error
    finally:
        tx.rollback()
