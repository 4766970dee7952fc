"""Opening the catalog file, and what SQLite's errors mean to the layers above."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from tams_gql.model.errors import Unavailable
from tams_gql.model.jitter import CHANCE

Synchronous = Literal["full", "normal"]

# STRICT tables came with 3.37; the program refuses to start on anything older.
OLDEST_SQLITE = (3, 37, 0)
_BUSY_TIMEOUT_MS = 10_000
_LOOK_AGAIN_SECONDS = (0.0005, 0.004)
_CACHED_STATEMENTS = 512


def connect(path: Path, *, synchronous: Synchronous = "full", write: bool) -> sqlite3.Connection:
    """Open the catalog. A connection is used by one thread at a time, not always the same one.

    ``synchronous='full'`` survives a power cut; ``'normal'`` survives ``kill -9`` but may lose the
    last commits when the machine loses power.
    """
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        wanted = ".".join(map(str, OLDEST_SQLITE))
        raise Unavailable(
            f"this Python has SQLite {sqlite3.sqlite_version}; the embedded store needs {wanted}"
        )
    with translated():
        connection = sqlite3.connect(
            path,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=_CACHED_STATEMENTS,
        )
        try:
            _configure(connection, synchronous, write)
        except BaseException:
            connection.close()
            raise
    return connection


def look(path: Path, *, undo: bool = False) -> sqlite3.Connection:
    """Open the file as it is, to read only; not even its journal mode is set up.

    With ``undo``, what a killed program had begun to write is taken back (``is_half_written``).
    Raises ``sqlite3.Error`` if it cannot be opened.
    """
    uri = f"{path.absolute().as_uri()}?mode={'rw' if undo else 'ro'}"
    timeout = _BUSY_TIMEOUT_MS / 1000
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=timeout)


def write_ahead_log(path: Path) -> Path:
    """Where SQLite keeps the write-ahead log of the catalog: beside the file, not beside a link."""
    whole = path.resolve()
    return whole.with_name(f"{whole.name}-wal")


def is_closed_to_us(error: BaseException | None) -> bool:
    """Whether the file, its directory or one of its neighbours may not be used by this user."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM)


def is_half_written(error: BaseException | None) -> bool:
    """Whether a transaction without write-ahead logging has to be undone before the file is read.

    A catalog is like that if its first program was killed while it made the file, and for a moment
    while several programs make it together.
    """
    return getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_READONLY_ROLLBACK


def _configure(connection: sqlite3.Connection, synchronous: Synchronous, write: bool) -> None:
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
    _write_ahead(connection)
    connection.execute(f"PRAGMA synchronous = {synchronous.upper()}")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA mmap_size = 1073741824")
    connection.execute("PRAGMA cache_size = -65536")
    connection.execute("PRAGMA journal_size_limit = 67108864")
    if not write:
        connection.execute("PRAGMA query_only = ON")


def begin_write(connection: sqlite3.Connection, seconds: float | None = None) -> None:
    """Begin a transaction as the one writer of the file, waiting for the others' turns to end.

    SQLite's own waiting looks ever more rarely, down to ten times a second, which starves one
    process among busy ones.
    """
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        _patiently(connection, "BEGIN IMMEDIATE", seconds)
    finally:
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")


def _write_ahead(connection: sqlite3.Connection) -> None:
    # SQLite does not wait for a lock while it changes the journal mode, so that processes which
    # open a new file together would fail.
    (mode,) = _patiently(connection, "PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise Unavailable(
            f"the catalog store needs write-ahead logging, and this file gets {mode!r} instead;"
            " is it on a network file system?"
        )


def _patiently(
    connection: sqlite3.Connection, statement: str, seconds: float | None = None
) -> sqlite3.Cursor:
    patience = _BUSY_TIMEOUT_MS / 1000 if seconds is None else seconds
    deadline = time.monotonic() + patience
    while True:
        try:
            return connection.execute(statement)
        except sqlite3.OperationalError as error:
            if not _is_busy(error) or time.monotonic() > deadline:
                raise
        time.sleep(CHANCE.uniform(*_LOOK_AGAIN_SECONDS))


def _is_busy(error: sqlite3.Error) -> bool:
    """Whether another connection's lock was in the way."""
    # Errors that the driver raises by itself carry no code.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


@contextmanager
def translated() -> Iterator[None]:
    """Turn the driver's operational failures into ``Unavailable``; they never travel further."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise Unavailable(f"the catalog store does not answer: {error}") from error
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError):
            raise
        raise Unavailable(f"the catalog store is damaged or not a catalog: {error}") from error
