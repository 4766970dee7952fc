"""Versioned forward migrations of the embedded catalog.

The version is SQLite's ``user_version``. Each file ``migrations/NNNN_name.sql`` is applied in one
transaction together with the new version, so an interrupted upgrade leaves the old version whole.
"""

from __future__ import annotations

import secrets
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from tams_gql.model.errors import Unavailable
from tams_gql.store.embedded.connection import (
    begin_write,
    connect,
    is_closed_to_us,
    is_half_written,
    look,
    translated,
)

# For another program's upgrade, which for a large catalog takes as long as building its indexes.
_LONGEST_UPGRADE_SECONDS = 300.0
_FIRST_TABLES = frozenset({"service", "flows", "segments", "events"})


@dataclass(frozen=True, slots=True)
class _Migration:
    version: int
    sql: str


@cache
def _migrations() -> tuple[_Migration, ...]:
    folder = resources.files(__package__).joinpath("migrations")
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return tuple(
        _Migration(int(f.name.split("_")[0]), f.read_text(encoding="utf-8")) for f in files
    )


def latest_version() -> int:
    """The schema version this program works with."""
    return _migrations()[-1].version


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def migrate(path: Path) -> tuple[int, int]:
    """Create or upgrade the catalog file; the version before and after.

    Raises ``Unavailable`` if the file was written by a newer program or is not a catalog; it is
    left as it is then.
    """
    with _named(path):
        _refuse_unfit(path)
        with closing(connect(path, write=True)) as connection, translated():
            before = _version(connection)
            _refuse_newer(before)
            create(connection)
            after = _version(connection)
            _refuse_newer(after)  # which may have upgraded it meanwhile
            return before, after


def create(connection: sqlite3.Connection) -> None:
    """Bring an open database to the version of this program."""
    for migration in _migrations():
        # Looked at without a lock first: whoever opens a catalog that is up to date does not wait
        # for those who write to it.
        if _version(connection) < migration.version:
            _apply(connection, migration)


def check(path: Path) -> tuple[int, int]:
    """The version of the catalog file (0: no catalog yet) and the one this program needs.

    Changes nothing, but for undoing what a killed program had half written. Raises ``Unavailable``
    if the file is that of another program.
    """
    with _named(path):
        return _refuse_unfit(path), latest_version()


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Name the file where the user may not use it: SQLite's own words do not."""
    try:
        yield
    except Unavailable as error:
        if not is_closed_to_us(error.__cause__):
            raise
        raise Unavailable(
            f"the catalog file {path} cannot be opened: {error.__cause__}; this user must be able"
            " to write it, the files beside it and their directory"
        ) from error.__cause__


def _refuse_unfit(path: Path) -> int:
    """The version of the file, found without setting anything up in it."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0
    except OSError as error:
        raise Unavailable(f"the catalog file {path} cannot be reached: {error.strerror}") from error
    if not stat.S_ISREG(mode):
        raise Unavailable(f"the catalog file {path} is no file")
    with translated():
        try:
            return _fit_version(look(path))
        except sqlite3.OperationalError as error:
            if not is_half_written(error):
                raise
        return _fit_version(look(path, undo=True))


def _fit_version(looking: sqlite3.Connection) -> int:
    with closing(looking) as connection:
        # One snapshot: another program may be creating the catalog between the two answers.
        connection.execute("BEGIN")
        version = _version(connection)
        _refuse_foreign(connection, version)
        return version


def require_current(connection: sqlite3.Connection) -> None:
    """Raise ``Unavailable`` unless the open catalog has the version of this program."""
    version = _version(connection)
    _refuse_newer(version)
    if version < latest_version():
        raise Unavailable(
            f"the catalog has schema version {version}, this program needs {latest_version()}:"
            " run `tams-gql migrate`"
        )


def _refuse_newer(version: int) -> None:
    if version > latest_version():
        raise Unavailable(
            f"the catalog has schema version {version}, this program knows {latest_version()}:"
            " a newer release wrote it"
        )


def _apply(connection: sqlite3.Connection, migration: _Migration) -> None:
    # The lock before looking: two programs that start together apply a migration once.
    begin_write(connection, _LONGEST_UPGRADE_SECONDS)
    try:
        if (version := _version(connection)) < migration.version:
            _refuse_foreign(connection, version)
            for statement in _statements(migration.sql):
                connection.execute(statement)
            if migration.version == 1:
                connection.execute(
                    "INSERT INTO service (name, value) VALUES ('log_id', ?), ('log_floor', '0')",
                    (secrets.token_hex(4),),
                )
            connection.execute(f"PRAGMA user_version = {migration.version}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _refuse_foreign(connection: sqlite3.Connection, version: int) -> None:
    # Other programs count their versions in the same place.
    there = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
    if there and not (version and there.issuperset(_FIRST_TABLES)):
        raise Unavailable("the catalog file is a database of another program")


def _statements(script: str) -> list[str]:
    """Split a script; ``executescript`` would commit our transaction first."""
    statements, pending = [], ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            statements.append(pending)
            pending = ""
    if pending.strip() and not all(line.startswith("--") for line in pending.strip().splitlines()):
        raise ValueError(f"a migration ends in an incomplete statement: {pending!r}")
    return statements
