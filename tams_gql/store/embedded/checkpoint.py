"""Keeping the write-ahead log short while somebody is always reading.

SQLite copies the log into the catalog by itself, but begins it anew only at a moment when nobody
reads from it. Where reads overlap without a pause that moment never comes, and the log would grow
until the disk is full.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from pathlib import Path

from tams_gql.store.embedded.connection import write_ahead_log

_LONG_BYTES = 128 * 2**20
_GROWTH_BYTES = 32 * 2**20  # at least, between one attempt and the next
_BYTES_PER_SECOND = 2**30  # the longer the log, the longer it is worth holding up writes
_LONGEST_PAUSE_SECONDS = 5.0
_LOOK_AGAIN_SECONDS = 0.002

_logger = logging.getLogger(__name__)


class LogKeeper:
    """Begins the log of one catalog anew when it has become long. Used by the writing thread.

    While no write comes in between, whoever begins to read does without the log, as all of it is in
    the catalog already; so it is enough to wait for the reads that have begun before.
    """

    def __init__(self, catalog: Path) -> None:
        self._log = write_ahead_log(catalog)
        self._next_bytes = _LONG_BYTES

    def look(self, connection: sqlite3.Connection) -> None:
        """Begin the log anew if it is long. Blocks for some seconds at most.

        ``connection`` is outside a transaction and does not wait for locks by itself meanwhile: a
        lock held while waiting would keep the writers of other processes.
        """
        size = self._size()
        if size < _LONG_BYTES:
            self._next_bytes = _LONG_BYTES
        if size < self._next_bytes:
            return
        begun = _begin_anew(connection, min(size / _BYTES_PER_SECOND, _LONGEST_PAUSE_SECONDS))
        if not begun:
            _logger.debug("reads have kept the write-ahead log of %d bytes", size)
        # By a part of it: the longer the log, the longer an attempt that fails holds up writes.
        growth = max(_GROWTH_BYTES, size // 4)
        self._next_bytes = _LONG_BYTES if begun else size + growth

    def _size(self) -> int:
        try:
            return self._log.stat().st_size
        except OSError:
            return 0  # another process has just removed it


def _begin_anew(connection: sqlite3.Connection, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    (patience,) = connection.execute("PRAGMA busy_timeout").fetchone()
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        while True:
            (busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if not busy or time.monotonic() > deadline:
                return not busy
            time.sleep(_LOOK_AGAIN_SECONDS)
    finally:
        connection.execute(f"PRAGMA busy_timeout = {patience}")
