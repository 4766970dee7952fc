"""Versioned forward migrations of the embedded catalog.

The version is SQLite's ``user_version``. Each file ``migrations/NNNN_name.sql`` is applied in one
transaction together with the new version, so an interrupted upgrade leaves the old version whole.
"""

from __future__ import annotations

import secrets
import sqlite3
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from tams_gql.model.errors import Unavailable
from tams_gql.store.embedded.connection import connect, translated


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

    Raises ``Unavailable`` if the file was written by a newer program or is not a catalog.
    """
    connection = connect(path, write=True)
    try:
        with translated():
            before = _version(connection)
            _refuse_newer(before)
            create(connection)
            return before, _version(connection)
    finally:
        connection.close()


def create(connection: sqlite3.Connection) -> None:
    """Bring an open database to the version of this program."""
    for migration in _migrations():
        _apply(connection, migration)


def check(path: Path) -> tuple[int, int]:
    """The version of the catalog file (0: no catalog yet) and the one this program needs."""
    if not path.exists():
        return 0, latest_version()
    connection = connect(path, write=False)
    try:
        with translated():
            return _version(connection), latest_version()
    finally:
        connection.close()


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
    # IMMEDIATE before looking: two programs that start together apply a migration once.
    connection.execute("BEGIN IMMEDIATE")
    try:
        if (version := _version(connection)) < migration.version:
            if version == 0:
                _refuse_foreign(connection)
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


def _refuse_foreign(connection: sqlite3.Connection) -> None:
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if tables:
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
