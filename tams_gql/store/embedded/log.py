"""The change log in SQLite: a table whose row number is the order of commits.

One process writes at a time (``BEGIN IMMEDIATE``), so numbers become visible in order and a reader
that has seen position N misses nothing at or before it.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import pyarrow as pa

from tams_gql.model.errors import BadInput
from tams_gql.store.changes import Committed
from tams_gql.store.embedded.arrow import layout_of, to_batch
from tams_gql.store.embedded.conditions import where_clause
from tams_gql.store.embedded.positions import last_seq, position_text
from tams_gql.store.embedded.reader import ReaderPool
from tams_gql.store.embedded.writer import Writer
from tams_gql.store.port import LogPage
from tams_gql.store.scan import Where
from tams_gql.store.tables import EVENTS

T = TypeVar("T")

_EVENTS = """SELECT printf('%016x', seq), type, created, source_id, flow_id, body
             FROM events WHERE seq > ? AND {} ORDER BY seq LIMIT ?"""
_OLDEST = "SELECT seq, created FROM events ORDER BY seq LIMIT ?"
_FLOOR = "SELECT CAST(value AS INTEGER) FROM service WHERE name = 'log_floor'"

_POSITION = re.compile("[0-7]?[0-9a-f]{1,15}")  # hexadecimal, below 2**63

_TRIMMED_AT_ONCE = 10_000


def seq_of(position: str) -> int:
    """The row number behind a position; ``BadInput`` if it is none of ours."""
    if not _POSITION.fullmatch(position):
        raise BadInput(f"{position[:80]!r} is not a position of this change log")
    return int(position, 16)


def _floor(connection: sqlite3.Connection) -> int:
    return int(connection.execute(_FLOOR).fetchone()[0])


def _events(
    connection: sqlite3.Connection, start: int, limit: int, where: tuple[Where, ...]
) -> pa.RecordBatch:
    condition, parameters = where_clause(where)
    found = connection.execute(_EVENTS.format(condition), (start, *parameters, limit)).fetchall()
    return to_batch(layout_of(EVENTS, EVENTS.columns), found)


class EmbeddedLog:
    """The events of the embedded catalog."""

    def __init__(
        self,
        log_id: str,
        pool: ReaderPool,
        writer: Callable[[], Writer],
        watcher: sqlite3.Connection,
    ) -> None:
        self._log_id = log_id
        self._pool = pool
        self._writer = writer
        self._watcher = watcher  # its own connection: data_version compares with its last answer
        self._watching = asyncio.Lock()
        self._version: int | None = None
        self._callbacks: list[tuple[asyncio.AbstractEventLoop, Callable[[], None]]] = []

    @property
    def log_id(self) -> str:
        return self._log_id

    def covers(self, position: str, other: str) -> bool:
        return seq_of(position) >= seq_of(other)

    def union(self, position: str, other: str) -> str:
        return position_text(max(seq_of(position), seq_of(other)))

    async def head(self) -> str:
        return position_text(await self._read(last_seq))

    async def floor(self) -> str:
        return position_text(await self._read(_floor))

    async def events(self, after: str, limit: int, where: tuple[Where, ...] = ()) -> pa.RecordBatch:
        start = seq_of(after)
        return await self._read(lambda connection: _events(connection, start, limit, where))

    async def page(self, after: str | None, limit: int, where: tuple[Where, ...] = ()) -> LogPage:
        asked = None if after is None else seq_of(after)

        def read(connection: sqlite3.Connection) -> LogPage:
            # One snapshot: events that are there are not reported as removed a moment later.
            connection.execute("BEGIN")
            floor = _floor(connection)
            start = floor if asked is None else asked
            rows = _events(connection, start, limit, where)
            return LogPage(rows, position_text(floor), is_ahead=start > last_seq(connection))

        return await self._read(read)

    async def changed(self) -> bool:
        def version() -> int:
            (found,) = self._watcher.execute("PRAGMA data_version").fetchone()
            return int(found)

        async with self._watching:
            before, self._version = self._version, await self._pool.run(version, self._watcher)
        return before != self._version

    def on_commit(self, callback: Callable[[], None]) -> None:
        self._callbacks.append((asyncio.get_running_loop(), callback))

    def committed(self) -> None:
        """Wake the readers of this process; called by the writer's thread."""
        for loop, callback in self._callbacks:
            with suppress(RuntimeError):  # the loop is closed: nobody listens there any more
                loop.call_soon_threadsafe(callback)

    async def trim(self, before_us: int) -> int:
        removed = 0
        while True:
            portion = await self._trim_portion(before_us)
            removed += portion
            if portion < _TRIMMED_AT_ONCE:
                return removed

    async def _trim_portion(self, before_us: int) -> int:
        """Remove what is old among the oldest events; other writes get their turn in between."""
        removed = 0

        def work(connection: sqlite3.Connection) -> Committed:
            nonlocal removed
            # The log is ordered by commit, so what is older than a moment is a prefix of it.
            last = None
            for seq, created in connection.execute(_OLDEST, (_TRIMMED_AT_ONCE,)).fetchall():
                if created >= before_us:
                    break
                last = seq
            if last is not None:
                removed = connection.execute("DELETE FROM events WHERE seq <= ?", (last,)).rowcount
                connection.execute("UPDATE service SET value = ? WHERE name = 'log_floor'", (last,))
            return Committed(position_text(last_seq(connection)), ())

        await self._writer().submit(work)
        return removed

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        async with self._pool.connection() as lent:
            return await self._pool.run(lambda: work(lent), lent)
