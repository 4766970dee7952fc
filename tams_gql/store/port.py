"""The contract of a catalog store. Every backend passes ``tests/store/contract``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from tams_gql.store.changes import ChangeSet, Committed
from tams_gql.store.scan import CoverageWindow, Covered, Partitioned, Scan, SegmentWindow, Where


@dataclass(frozen=True, slots=True)
class Groups:
    """Rows of several groups in one batch; group ``i`` is ``[offsets[i], offsets[i + 1])``."""

    batch: pa.RecordBatch
    offsets: list[int]

    def group(self, index: int) -> pa.RecordBatch:
        """The rows of one group, without copying."""
        start, end = self.offsets[index], self.offsets[index + 1]
        return self.batch.slice(start, end - start)


class ReadSession(Protocol):
    """One consistent view of the catalog. Each awaited call is one store round trip."""

    async def scan(self, scans: Sequence[Scan]) -> list[pa.RecordBatch]:
        """One batch per scan, columns as asked for."""
        ...

    async def partitions(self, partitioned: Partitioned) -> Groups:
        """One group per key, in the order of the keys."""
        ...

    async def windows(self, columns: tuple[str, ...], windows: Sequence[SegmentWindow]) -> Groups:
        """The segments of each window, one group each, in the order of the windows."""
        ...

    async def coverage(self, windows: Sequence[CoverageWindow]) -> list[Covered]:
        """What of each window is covered by segments."""
        ...

    async def count(self, scans: Sequence[Scan]) -> list[int]:
        """How many rows each scan matches, its limit and position left out."""
        ...

    async def count_partitions(self, partitioned: Partitioned) -> list[int]:
        """How many rows each key matches."""
        ...

    async def count_windows(self, windows: Sequence[SegmentWindow]) -> list[int]:
        """How many segments overlap each window, its limit and position left out."""
        ...

    async def head(self) -> str:
        """The position of the newest event that belongs to this view."""
        ...


@dataclass(frozen=True, slots=True)
class LogPage:
    """Events after a position, and what one look at the log tells of that position."""

    events: pa.RecordBatch
    """Rows of ``EVENTS`` in order."""
    floor: str
    """What retention had removed when they had been read."""
    is_ahead: bool
    """Whether the position includes events that the log has never had."""


class ChangeLog(Protocol):
    """The events of every committed change, in one order of commits.

    A position stands for a set of events: those that a reader has had who is there. It is text of
    ``[0-9a-z.-]``, at most 4,096 of them, and means something to its log only. Two positions need
    not include one another, so they are compared by ``covers``, never as text. The position of an
    event includes that event, those before it and nothing that has yet to be read after it.
    """

    @property
    def log_id(self) -> str:
        """Identifies this log, so that a cursor of another catalog is recognised."""
        ...

    def covers(self, position: str, other: str) -> bool:
        """Whether everything up to ``other`` is up to ``position`` too.

        ``BadInput`` if one of them is no position of this log.
        """
        ...

    def union(self, position: str, other: str) -> str:
        """Where a reader is who has had everything up to both. ``BadInput`` as ``covers``."""
        ...

    async def head(self) -> str:
        """Where the log ends; everything after it is still to come."""
        ...

    async def floor(self) -> str:
        """What retention has removed; reading after what does not cover it is refused."""
        ...

    async def events(self, after: str, limit: int, where: tuple[Where, ...] = ()) -> pa.RecordBatch:
        """Up to ``limit`` rows of ``EVENTS`` after a position that match, in order.

        ``BadInput`` if it is no position of this log.
        """
        ...

    async def page(self, after: str | None, limit: int, where: tuple[Where, ...] = ()) -> LogPage:
        """What ``events`` gives, and how the position stands to the log, in one view of it.

        None begins with the oldest event that is kept.
        """
        ...

    async def changed(self) -> bool:
        """Whether to look for what other processes have committed since it was last said so.

        True at the latest some tenths of a second after a commit. Cheap.
        """
        ...

    def on_commit(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` on the event loop after each commit of this process."""
        ...

    async def trim(self, before_us: int) -> int:
        """Remove events created before a time (microseconds UTC); how many went."""
        ...


class CatalogStore(Protocol):
    """Metadata storage: consistent reads, atomic change sets, one change log."""

    @property
    def log(self) -> ChangeLog:
        """The change log."""
        ...

    def session(self) -> AbstractAsyncContextManager[ReadSession]:
        """A consistent view for the reads of one request, opened by the first of them."""
        ...

    async def commit(self, changes: ChangeSet, seen: ReadSession | None = None) -> Committed:
        """Apply a change set atomically and durably.

        ``seen`` is the session of this store whose reads the change set is based on. It is over
        from now on: the store either closes it before it waits for anything, or goes on in its
        transaction, so that what was read need not be read again. Its owner still leaves its
        context, which then costs nothing.

        Raises ``Stale`` if an expectation fails, ``Unavailable`` if the store cannot be reached,
        ``BadInput`` if the durations or sizes of a flow's segments add up to more than an int64,
        ``LimitExceeded`` if too many commits of this process are waiting already.
        """
        ...

    async def check(self) -> None:
        """Raise ``Unavailable`` unless the store answers, with the schema this program needs."""
        ...

    async def close(self) -> None:
        """Finish the queued writes and release everything."""
        ...
