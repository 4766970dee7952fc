"""Is the embedded catalog sound, and is its place fit for it? Looks only, changes nothing."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from tams_gql.store.embedded.connection import (
    OLDEST_SQLITE,
    is_closed_to_us,
    is_half_written,
    look,
    write_ahead_log,
)
from tams_gql.store.embedded.migrate import latest_version
from tams_gql.store.findings import Finding, Status
from tams_gql.store.tables import TABLES

_MOUNTS = Path("/proc/mounts")
_NETWORK = ("nfs", "cifs", "smb", "9p", "ceph", "gluster", "lustre", "afs", "fuse.sshfs", "beegfs")
_SCARCE_BYTES = 2**30
_EXHAUSTED_BYTES = 64 * 2**20
_LONG_WAL_BYTES = 2**30
_MOST_DEFECTS = 5
_GIVE_ACCESS = "give the user the directory and all files in it"


def examine(path: Path) -> Iterator[Finding]:
    """Check the catalog file at ``path`` and its directory, one finding at a time."""
    yield _sqlite()
    yield _file_system(path.parent)
    yield _free_space(path.parent)
    try:
        path.stat()
    except FileNotFoundError:
        yield Finding("catalog", Status.OK, f"none yet at {path}", "the server makes it at start")
        return
    except OSError as error:
        text = f"{path} cannot be reached: {error.strerror}"
        yield Finding("catalog", Status.FAILED, text, _GIVE_ACCESS)
        return
    try:
        with closing(look(path)) as connection:
            yield _catalog(connection, path)
            yield _write_ahead_log(connection, path)
            yield _version(connection)
            yield _integrity(connection)
            yield _rows(connection)
    except sqlite3.Error as error:
        text = f"{path} cannot be read: {error}"
        yield Finding("catalog", Status.FAILED, text, _remedy(error))


def _remedy(error: sqlite3.Error) -> str:
    if is_half_written(error):
        return "start the server: it undoes what a killed program had begun"
    if is_closed_to_us(error):
        return _GIVE_ACCESS
    return "restore a backup, unless another program has it locked"


def _sqlite() -> Finding:
    wanted = ".".join(map(str, OLDEST_SQLITE))
    found = sqlite3.sqlite_version
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        return Finding(
            "sqlite", Status.FAILED, f"{found}; the store needs {wanted}", "newer Python"
        )
    return Finding("sqlite", Status.OK, found, facts={"version": found})


def _file_system(directory: Path) -> Finding:
    place = _existing(directory)
    kind = _kind_of(place)
    facts = {"directory": str(directory), "type": kind}
    if not os.access(place, os.W_OK | os.X_OK):
        text = f"{place} cannot be written by this user"
        return Finding("file system", Status.FAILED, text, "give the user the directory", facts)
    if kind.startswith(_NETWORK):
        text = f"{place} is on {kind}, a network file system"
        advice = "write-ahead logging needs a local one: move TAMS_DATA_DIR"
        return Finding("file system", Status.FAILED, text, advice, facts)
    return Finding(
        "file system", Status.OK, f"{place} is writable ({kind or 'type unknown'})", "", facts
    )


def _kind_of(place: Path) -> str:
    """The type of the file system that holds ``place``; empty where the system does not say."""
    try:
        lines = [line.split() for line in _MOUNTS.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return ""
    mounts = {fields[1].replace("\\040", " "): fields[2] for fields in lines}
    whole = place.resolve()
    return next((mounts[str(p)] for p in (whole, *whole.parents) if str(p) in mounts), "")


def _existing(directory: Path) -> Path:
    return next(p for p in (directory, *directory.parents) if p.exists())


def _free_space(directory: Path) -> Finding:
    usage = shutil.disk_usage(_existing(directory))
    facts = {"free_bytes": usage.free, "total_bytes": usage.total}
    text = f"{_mebibytes(usage.free)} of {_mebibytes(usage.total)} free"
    if usage.free < _EXHAUSTED_BYTES:
        return Finding("free space", Status.FAILED, text, "writes will fail: free space", facts)
    if usage.free < _SCARCE_BYTES:
        return Finding("free space", Status.WARNING, text, "free space soon", facts)
    return Finding("free space", Status.OK, text, "", facts)


def _catalog(connection: sqlite3.Connection, path: Path) -> Finding:
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (unused,) = connection.execute("PRAGMA freelist_count").fetchone()
    size = path.stat().st_size
    facts = {"bytes": size, "pages": pages, "free_pages": unused}
    return Finding("catalog", Status.OK, f"{path}, {_mebibytes(size)}", "", facts)


def _write_ahead_log(connection: sqlite3.Connection, path: Path) -> Finding:
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    size = _size(write_ahead_log(path))
    facts = {"journal_mode": mode, "wal_bytes": size}
    if mode != "wal":
        text = f"the journal mode is {mode}, not wal"
        return Finding(
            "write-ahead log", Status.WARNING, text, "the server sets it at start", facts
        )
    text = f"{_mebibytes(size)}"
    if size > _LONG_WAL_BYTES:
        advice = "a read or a write has been going on for long, or the servers were killed"
        return Finding("write-ahead log", Status.WARNING, text, advice, facts)
    return Finding("write-ahead log", Status.OK, text, "", facts)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0  # asked for once: the last program that stops removes the log


def _version(connection: sqlite3.Connection) -> Finding:
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    needed = latest_version()
    facts = {"found": found, "needed": needed}
    text = f"{found}, this program needs {needed}"
    if found > needed:
        return Finding("schema version", Status.FAILED, text, "a newer release wrote it", facts)
    if found < needed:
        advice = "run `tams-gql migrate`, or start the server"
        return Finding("schema version", Status.WARNING, text, advice, facts)
    return Finding("schema version", Status.OK, str(found), "", facts)


def _integrity(connection: sqlite3.Connection) -> Finding:
    defects = [row[0] for row in connection.execute(f"PRAGMA quick_check({_MOST_DEFECTS})")]
    if defects == ["ok"]:
        return Finding("integrity", Status.OK, "quick_check found nothing")
    text = "; ".join(defects)
    return Finding("integrity", Status.FAILED, text, "restore a backup", {"defects": defects})


def _rows(connection: sqlite3.Connection) -> Finding:
    there = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
    counts = {
        table.name: connection.execute(f"SELECT count(*) FROM {table.name}").fetchone()[0]
        for table in TABLES
        if table.name in there
    }
    text = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    return Finding("rows", Status.OK, text or "no tables yet", "", {"rows": counts})


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"
