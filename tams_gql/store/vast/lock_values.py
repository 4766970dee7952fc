"""What is written into ``lock`` columns: when a row was written, by the log's own time.

Writers of one row meet in its ``lock``. As it holds the stamp of the events that were written with
it, the next one can stamp its events later, whatever its own clock says.
"""

from __future__ import annotations

from collections.abc import Iterable

from tams_gql.model.jitter import CHANCE
from tams_gql.store.tables import FLOWS, SOURCES
from tams_gql.store.vast.layout import Physical, physical_of

# A lock with this bit holds a stamp; smaller values are random numbers of older releases.
_HAS_STAMP = 1 << 62
# Two who write the same row at the same microsecond hardly ever write the same value.
_CHANCE_BITS = 10
_STAMP_BITS = 62 - _CHANCE_BITS  # lasts until the year 2112

_TOLD_OF = (physical_of(FLOWS), physical_of(SOURCES))


def lock_at(stamp_us: int) -> int:
    """A lock written with events of that stamp, in microseconds."""
    stamp = min(max(stamp_us, 0), (1 << _STAMP_BITS) - 1)
    return _HAS_STAMP | stamp << _CHANCE_BITS | CHANCE.getrandbits(_CHANCE_BITS)


def stamp_of(lock: int | None) -> int:
    """The stamp that a lock was written with, 0 if it tells none."""
    return 0 if lock is None or lock < _HAS_STAMP else (lock - _HAS_STAMP) >> _CHANCE_BITS


def latest_stamp(locks: Iterable[int | None]) -> int:
    """The latest of their stamps, 0 if there is none."""
    return stamp_of(max((lock for lock in locks if lock is not None), default=None))


def is_told_of(table: Physical) -> bool:
    """Whether events tell of the table's rows, so that whoever reads one for a change needs its
    lock as well."""
    return table in _TOLD_OF
