"""A process that has the change log open: it writes events in transactions of its own and reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass

import orjson

from tams_gql.store.changes import NewEvent
from tams_gql.store.tables import EVENTS
from tams_gql.store.vast.change_log.lanes import Lane
from tams_gql.store.vast.change_log.log import VastLog
from tams_gql.store.vast.config import VastConfig
from tams_gql.store.vast.layout import physical_of
from tams_gql.store.vast.wire.client import Tx, VastClient
from tests.store import ask, build

SECOND = 1_000_000


class Clock:
    """A cluster's clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 1_700_000_000 * SECOND

    def now_us(self) -> int:
        return self.now


@dataclass(slots=True)
class Open:
    """A transaction that has written events and is not committed."""

    log: VastLog
    tx: Tx
    lane: Lane
    count: int
    stack: ExitStack

    def commit(self) -> str:
        """Commit; the position that the writer is told."""
        position = self.log.position_with(self.lane, self.count)
        with self.stack:
            self.tx.commit()
            self.lane.committed()
        self.log.committed()
        return position

    def roll_back(self) -> None:
        with self.stack:
            self.tx.rollback()


@dataclass(frozen=True, slots=True)
class Process:
    """A process: its client and its log."""

    client: VastClient
    log: VastLog

    def open(self, *names: str, now_us: int = build.NOW) -> Open:
        """Write events in a transaction."""
        stack = ExitStack()
        lane = stack.enter_context(self.log.lanes.taken())
        tx = self.client.begin()
        events = [NewEvent("x", None, "f", orjson.dumps({"name": n}).decode()) for n in names]
        tx.insert(physical_of(EVENTS), lane.rows(events, now_us))
        return Open(self.log, tx, lane, len(names), stack)

    async def commit(self, *names: str, now_us: int = build.NOW) -> str:
        """Commit events; the position that the writer is told."""
        return await asyncio.to_thread(lambda: self.open(*names, now_us=now_us).commit())

    async def names(self, after: str, limit: int = 1000) -> list[str]:
        """The events after a position, read in pages."""
        found: list[str] = []
        while True:
            rows = ask.plain(await self.log.events(after, limit))
            found += [orjson.loads(row[-1])["name"] for row in rows]
            if len(rows) < limit:
                return found
            after = rows[-1][0]


@asynccontextmanager
async def process(config: VastConfig, clock: Clock | None = None) -> AsyncIterator[Process]:
    """One more process on a catalog."""
    client = VastClient(config)
    if clock is not None:
        client.clock = clock  # type: ignore[assignment]
    log = await VastLog.open(client)
    try:
        yield Process(client, log)
    finally:
        await log.close()
        client.close()


def numbers_of_lanes(config: VastConfig) -> dict[str, list[int]]:
    """The numbers of each lane that are in the table of events."""
    client = VastClient(config)
    tx = client.begin()
    rows = tx.select(physical_of(EVENTS), ["lane", "seq"])
    tx.rollback()
    client.close()
    lanes: dict[str, list[int]] = {}
    for row in rows.to_pylist():
        lanes.setdefault(row["lane"], []).append(row["seq"])
    return {lane: sorted(numbers) for lane, numbers in lanes.items()}
