"""A change log of lanes in memory: transactions become visible later than they wrote, or never."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import orjson
import pyarrow as pa

from tams_gql.store.port import LogPage
from tams_gql.store.scan import Where
from tams_gql.store.tables import EVENTS
from tams_gql.store.vast.change_log.frontier import LATENESS_SECONDS, START, Frontier, parse


@dataclass(frozen=True, slots=True)
class Written:
    """An event of a lane. ``stamped`` is in microseconds."""

    lane: str
    seq: int
    stamped: int

    @property
    def name(self) -> str:
        return f"{self.lane}-{self.seq}"


class LaneLog:
    """What all processes have in common: the visible events and a clock."""

    def __init__(self) -> None:
        self.now = 1_700_000_000_000_000
        self.visible: list[Written] = []
        self._open: dict[str, list[Written]] = {}
        self._last: dict[str, int] = {}
        self.processes: list[Process] = []

    def process(self) -> Process:
        """The log as one more process has it."""
        self.processes.append(Process(self))
        return self.processes[-1]

    def pass_time(self, seconds: float) -> None:
        """Let time pass, though not so much that an open transaction becomes too old."""
        later = self.now + int(seconds * 1_000_000)
        oldest = min((rows[0].stamped for rows in self._open.values()), default=later)
        self.now = min(later, oldest + LATENESS_SECONDS * 1_000_000 // 3)

    def write(self, lane: str, count: int) -> None:
        """Write events in a transaction that stays open; each lane has one at a time."""
        if lane in self._open:
            return
        first = self._last.get(lane, 0) + 1
        self._open[lane] = [Written(lane, first + i, self.now) for i in range(count)]

    def commit(self, lane: str) -> None:
        """End the lane's transaction, if one is open."""
        rows = self._open.pop(lane, [])
        if rows:
            self._last[lane] = rows[-1].seq
            self.visible += rows
            for process in self.processes:
                process.wake()

    def roll_back(self, lane: str) -> None:
        """Forget the lane's transaction; its numbers are used again."""
        self._open.pop(lane, None)


class Process:
    """The ``ChangeLog`` of one process, which learns of nothing new while it is ``asleep``."""

    def __init__(self, log: LaneLog) -> None:
        self._log = log
        self._callbacks: list[Callable[[], None]] = []
        self._asleep = False

    @property
    def asleep(self) -> bool:
        return self._asleep

    @asleep.setter
    def asleep(self, asleep: bool) -> None:
        self._asleep = asleep
        self.wake()

    def wake(self) -> None:
        """Tell the feed to look, unless asleep."""
        if not self._asleep:
            for callback in self._callbacks:
                callback()

    @property
    def log_id(self) -> str:
        return "lanes"

    def covers(self, position: str, other: str) -> bool:
        return parse(position).covers(parse(other))

    def union(self, position: str, other: str) -> str:
        return parse(position).union(parse(other)).text()

    async def head(self) -> str:
        return _after(START, self._log.visible).text()

    async def floor(self) -> str:
        return START.text()

    async def events(self, after: str, limit: int, where: tuple[Where, ...] = ()) -> pa.RecordBatch:
        assert not where
        start = parse(after)
        unseen = [e for e in self._log.visible if not start.includes(e.lane, e.seq, e.stamped)]
        unseen.sort(key=lambda event: (event.stamped, event.lane, event.seq))
        found, rows = start, []
        for event in unseen[:limit]:
            found = _after(found, [event])
            body = orjson.dumps({"name": event.name}).decode()
            rows.append((found.text(), "x", event.stamped, None, None, body))
        columns = zip(*rows, strict=True) if rows else [()] * len(EVENTS.columns)
        arrays = [
            pa.array(list(values), field.type)
            for field, values in zip(EVENTS.schema, columns, strict=True)
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=EVENTS.schema)

    async def page(self, after: str | None, limit: int, where: tuple[Where, ...] = ()) -> LogPage:
        floor, head = await self.floor(), await self.head()
        start = floor if after is None else after
        rows = await self.events(start, limit, where)
        return LogPage(rows, floor, is_ahead=not self.covers(head, start))

    async def changed(self) -> bool:
        return not self._asleep

    def on_commit(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    async def trim(self, before_us: int) -> int:
        return 0


def _after(start: Frontier, events: list[Written]) -> Frontier:
    for event in sorted(events, key=lambda e: (e.stamped, e.lane, e.seq)):
        start = start.after(event.lane, event.seq, event.stamped)
    return start
