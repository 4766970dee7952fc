"""Opening a catalog that others write to, upgrade, or were killed over."""

from __future__ import annotations

import importlib
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tams_gql.model.errors import Unavailable
from tams_gql.store.embedded import EmbeddedStore, check, migrate
from tams_gql.store.embedded import connection as connection_module
from tams_gql.store.embedded.connection import connect, write_ahead_log
from tams_gql.store.embedded.doctor import examine
from tams_gql.store.embedded.migrate import latest_version
from tams_gql.store.findings import Finding, Status
from tams_gql.store.scan import Scan
from tams_gql.store.tables import SOURCES
from tests.store import ask

# The package exports a function of the same name.
module = importlib.import_module("tams_gql.store.embedded.migrate")


async def test_a_catalog_opens_while_another_program_writes(path: Path) -> None:
    latest = latest_version()
    migrate(path)
    with closing(connect(path, write=True)) as other:
        other.execute("BEGIN IMMEDIATE")

        assert check(path) == (latest, latest)
        assert migrate(path) == (latest, latest)
        store = await EmbeddedStore.open(path)
        assert await ask.rows(store, Scan(SOURCES, ("id",))) == []
        await store.close()

        other.execute("ROLLBACK")


def test_an_upgrade_by_a_newer_release_meanwhile_is_noticed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(path)
    create = module.create

    def overtaken(connection: sqlite3.Connection) -> None:
        with closing(connect(path, write=True)) as newer:
            newer.execute(f"PRAGMA user_version = {latest_version() + 1}")
        create(connection)

    monkeypatch.setattr(module, "create", overtaken)
    with pytest.raises(Unavailable, match="a newer release wrote it"):
        migrate(path)


def test_an_upgrade_waits_for_that_of_another_program(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Building the indexes of a large catalog takes longer than any other write."""
    migrate(path)
    monkeypatch.setattr(connection_module, "_BUSY_TIMEOUT_MS", 20)
    looks: list[str] = []
    with closing(connect(path, write=True)) as other:
        other.execute(f"PRAGMA user_version = {latest_version() - 1}")
        other.execute("BEGIN IMMEDIATE")

        def end(seconds: float) -> None:
            """The other upgrade ends long after the time that a write may take."""
            looks.append("locked")
            time.sleep(0.05)
            if len(looks) == 3:
                other.execute(f"PRAGMA user_version = {latest_version()}")
                other.execute("COMMIT")

        monkeypatch.setattr(connection_module, "time", _Clock(end))
        assert migrate(path) == (latest_version() - 1, latest_version())
    assert looks == ["locked"] * 3


class _Clock:
    """The clock, with another ``sleep``."""

    monotonic = staticmethod(time.monotonic)

    def __init__(self, sleep: Callable[[float], None]) -> None:
        self.sleep = sleep


@pytest.fixture
def half_written(tmp_path: Path, path: Path) -> Path:
    """What a kill leaves of a file that was being made: its pages, and a journal to undo them."""
    begun = tmp_path / "begun.db"
    with closing(sqlite3.connect(begun, isolation_level=None)) as connection:
        connection.execute("PRAGMA cache_size = 1")  # pages go to the file before the end
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("CREATE TABLE half (a BLOB)")
        for _ in range(20):
            connection.execute("INSERT INTO half VALUES (randomblob(4000))")
        for suffix in ("", "-journal"):
            shutil.copy(f"{begun}{suffix}", f"{path}{suffix}")
    assert path.stat().st_size > 0
    return path


def test_a_file_that_was_half_made_is_a_new_one(half_written: Path) -> None:
    assert check(half_written) == (0, latest_version())
    assert migrate(half_written) == (0, latest_version())
    with closing(sqlite3.connect(half_written)) as connection:
        found = connection.execute("SELECT name FROM sqlite_schema WHERE name = 'half'").fetchall()
    assert found == []


async def test_the_server_starts_on_a_file_that_was_half_made(half_written: Path) -> None:
    store = await EmbeddedStore.open(half_written)
    await store.check()
    await store.close()


def test_doctor_says_what_to_do_with_a_half_made_file(half_written: Path) -> None:
    before = half_written.read_bytes()

    assert list(examine(half_written))[-1] == Finding(
        "catalog",
        Status.FAILED,
        f"{half_written} cannot be read: attempt to write a readonly database",
        "start the server: it undoes what a killed program had begun",
    )
    assert half_written.read_bytes() == before


def test_the_log_of_a_linked_catalog_lies_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    link = tmp_path / "catalog.db"
    link.symlink_to(tmp_path / "disk" / "real.db")
    with closing(connect(link, write=True)) as connection:
        connection.execute("CREATE TABLE a (b)")

        assert write_ahead_log(link) == tmp_path / "disk" / "real.db-wal"
        assert write_ahead_log(link).stat().st_size > 0
