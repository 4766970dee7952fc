"""Lanes: how the events of one process are numbered.

A lane is a random id, used by one transaction at a time and never by another process. Its events
are numbered 1, 2, 3, ... as they are committed, without a gap: a transaction that fails leaves its
numbers to the next one. So a reader that has had number N of a lane has had all before it, and
whatever comes later, however late, has a greater number. Where it cannot be told whether a
transaction was committed, its lane is given up: the numbers may or may not be taken.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock

import pyarrow as pa

from tams_gql.store.changes import NewEvent
from tams_gql.store.tables import EVENTS
from tams_gql.store.vast.change_log.frontier import MAX_SEQ, START, Frontier
from tams_gql.store.vast.change_log.known import Known
from tams_gql.store.vast.layout import physical_of, rows_to_batch
from tams_gql.store.vast.wire.failures import OutcomeUnknown

_PHYSICAL = physical_of(EVENTS)
_COLUMNS = (
    *("lane", "seq", "stamped", "key"),
    *("type", "created", "source_id", "flow_id", "body"),
)
_LAST_REUSED = MAX_SEQ // 2  # leaves room for the largest change set
# Events may become visible 900 s before the latest stamp; 300 s of that are for transactions.
_MOST_AHEAD_US = 300_000_000

_log = logging.getLogger(__name__)


def key_of(lane: str, seq: int) -> str:
    """The event's key: within a lane it sorts as text in the order of the numbers."""
    return f"{lane}{seq:016x}"


class Lane:
    """A lane in the hands of one transaction. For one thread at a time."""

    def __init__(self, known: Known, now_us: Callable[[], int]) -> None:
        self.id = secrets.token_hex(6)
        self._known = known
        self._now_us = now_us
        self._last = 0  # the greatest number that is committed, with its stamp
        self._last_stamp = 0
        self._pending = 0
        self._stamp: int | None = None

    @property
    def stamp_us(self) -> int:
        """The stamp of the transaction's events, which is fixed by the first look at it.

        That must be after the transaction's other reads: then an event is stamped later than those
        whose changes the transaction has seen, and that this process knows.
        """
        if self._stamp is None:
            self._stamp = max(self._now_us(), self._known.newest + 1, self._last_stamp)
        return self._stamp

    def follow(self, before_us: int) -> None:
        """Stamp the transaction's events later than what was stamped ``before_us``.

        Unless that is so far ahead that readers would pass over what others write meanwhile: a
        clock has been wrong then.
        """
        ahead_us = before_us - max(self._now_us(), self._known.newest)
        if ahead_us > _MOST_AHEAD_US:
            _log.warning(
                "a row was written %d s ahead of the cluster's time; events about it may be told"
                " in another order than they happened",
                ahead_us // 1_000_000,
            )
        else:
            self._stamp = max(self.stamp_us, before_us + 1)

    def rows(self, events: Sequence[NewEvent], now_us: int) -> pa.RecordBatch:
        """Rows of the table of events, in full width, for the transaction to insert."""
        stamp, self._pending = self.stamp_us, len(events)
        rows = [
            (
                *(self.id, seq, stamp, key_of(self.id, seq)),
                *(event.type, now_us, event.source_id, event.flow_id, event.body),
            )
            for seq, event in enumerate(events, self._last + 1)
        ]
        return rows_to_batch(_PHYSICAL, _COLUMNS, rows)

    @property
    def last_key(self) -> str:
        """The key of the last of the rows."""
        return key_of(self.id, self._last + self._pending)

    def frontier(self, count: int) -> Frontier:
        """This lane's events up to the ``count`` ones of the transaction."""
        if count == 0:
            return START
        return START.after(self.id, self._last + count, self.stamp_us)

    def committed(self) -> None:
        """The transaction is committed: its numbers are used."""
        if self._pending:
            stamp = self.stamp_us
            self._known.add(self.frontier(self._pending), stamp)
            self._last, self._last_stamp = self._last + self._pending, stamp
        self.rolled_back()

    def rolled_back(self) -> None:
        """The transaction is not committed: the next one uses its numbers."""
        self._pending, self._stamp = 0, None

    @property
    def is_full(self) -> bool:
        """Whether the numbers come to an end."""
        return self._last > _LAST_REUSED


class Lanes:
    """The lanes of one process: as many as it ever had transactions at once. Thread-safe."""

    def __init__(self, known: Known, now_us: Callable[[], int]) -> None:
        self._known = known
        self._now_us = now_us
        self._lock = Lock()
        self._free: list[Lane] = []

    @contextmanager
    def taken(self) -> Iterator[Lane]:
        """A lane for one transaction, to be told of its commit by ``committed``.

        The one used last goes first, so that few lanes are active. It is given up if this is left
        by ``OutcomeUnknown``; any other exception says that nothing was or will be committed.
        """
        with self._lock:
            lane = self._free.pop() if self._free else Lane(self._known, self._now_us)
        try:
            yield lane
        except OutcomeUnknown:
            raise
        except Exception:
            self._free_again(lane)
            raise
        else:
            self._free_again(lane)

    def _free_again(self, lane: Lane) -> None:
        lane.rolled_back()
        if not lane.is_full:
            with self._lock:
                self._free.append(lane)
