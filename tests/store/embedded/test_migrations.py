"""Creating, upgrading and refusing catalog files."""

from __future__ import annotations

import importlib
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest

from tams_gql.model.errors import Unavailable
from tams_gql.resolvers.jobs import new_job
from tams_gql.store.changes import Insert
from tams_gql.store.embedded import EmbeddedStore, check, migrate
from tams_gql.store.embedded.connection import connect
from tams_gql.store.embedded.migrate import latest_version
from tams_gql.store.scan import Scan
from tams_gql.store.tables import JOBS
from tests.store import ask, build
from tests.store.elsewhere import ROOT

# The package exports a function of the same name.
module = importlib.import_module("tams_gql.store.embedded.migrate")

_TOGETHER = """
import sys
from pathlib import Path
from tams_gql.store.embedded import migrate
print("ready", flush=True)
sys.stdin.readline()
print(*migrate(Path(sys.argv[1])))
"""

_READ_ONLY = """
import asyncio, os, sys
from pathlib import Path
from tams_gql.model.errors import Unavailable
from tams_gql.store.embedded import EmbeddedStore
from tams_gql.store.embedded.migrate import latest_version
latest_version()  # reads the program's own files, which may be out of reach below
directory = Path(sys.argv[1])
if os.getuid() == 0:
    os.setuid(65534)  # permissions do not bind the superuser
try:
    asyncio.run(EmbeddedStore.open(directory / sys.argv[2]))
except Unavailable as error:
    print(error)
"""


def _schema(path: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT type, name, sql FROM sqlite_schema ORDER BY type, name"
        return connection.execute(query).fetchall()


def test_a_new_file_gets_the_newest_version(path: Path) -> None:
    assert check(path) == (0, latest_version())
    assert not path.exists()

    assert migrate(path) == (0, latest_version())
    assert check(path) == (latest_version(), latest_version())
    assert len(_schema(path)) > 10


def test_an_empty_file_is_a_new_one(path: Path) -> None:
    path.touch()

    assert check(path) == (0, latest_version())
    assert migrate(path) == (0, latest_version())


def test_a_second_run_changes_nothing(path: Path) -> None:
    migrate(path)
    with closing(sqlite3.connect(path)) as connection:
        service = connection.execute("SELECT * FROM service").fetchall()
    schema = _schema(path)

    assert migrate(path) == (latest_version(), latest_version())

    assert _schema(path) == schema
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT * FROM service").fetchall() == service


async def test_a_newer_catalog_is_refused(path: Path) -> None:
    migrate(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {latest_version() + 1}")

    with pytest.raises(Unavailable, match="a newer release wrote it"):
        migrate(path)
    with pytest.raises(Unavailable, match="a newer release wrote it"):
        await EmbeddedStore.open(path)
    assert check(path) == (latest_version() + 1, latest_version())


async def test_a_store_notices_another_version_later_on(path: Path) -> None:
    store = await EmbeddedStore.open(path)
    await store.check()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {latest_version() + 1}")
        with pytest.raises(Unavailable, match="a newer release wrote it"):
            await store.check()
        connection.execute(f"PRAGMA user_version = {latest_version() - 1}")
        with pytest.raises(Unavailable, match="run `tams-gql migrate`"):
            await store.check()
    await store.close()


def test_processes_that_start_together_migrate_once(path: Path) -> None:
    command = [sys.executable, "-c", _TOGETHER, str(path)]
    with ExitStack() as stack:
        programs = [
            stack.enter_context(
                subprocess.Popen(command, cwd=ROOT, text=True, stdin=PIPE, stdout=PIPE, stderr=PIPE)
            )
            for _ in range(4)
        ]
        for program in programs:
            assert program.stdout is not None
            assert program.stdout.readline() == "ready\n"
        for program in programs:
            assert program.stdin is not None
            program.stdin.write("\n")
            program.stdin.flush()
        ends = [(*program.communicate(), program.returncode) for program in programs]

    assert [end[1:] for end in ends] == [("", 0)] * 4
    outputs = [end[0] for end in ends]
    latest = str(latest_version())
    assert {output.split()[1] for output in outputs} == {latest}
    assert {output.split()[0] for output in outputs} <= {"0", latest}
    with closing(sqlite3.connect(path)) as connection:
        names = connection.execute("SELECT name FROM service ORDER BY name").fetchall()
    assert names == [("log_floor",), ("log_id",)]


def test_threads_that_start_together_migrate_once(tmp_path: Path) -> None:
    """Opening a new file switches its journal, which SQLite does not wait for by itself."""
    with ThreadPoolExecutor(8) as pool:
        for number in range(10):
            path = tmp_path / f"{number}.db"
            versions = list(pool.map(migrate, [path] * 8))
            assert {after for _, after in versions} == {latest_version()}


def test_a_look_at_a_file_is_not_torn_by_its_migration(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The version and the tables are asked for apart; a migration may end between the answers."""
    with closing(connect(path, write=True)):
        pass  # an empty file with a write-ahead log: a writer does not wait for its readers

    class Interrupted(sqlite3.Connection):
        def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
            cursor = super().execute(sql, parameters)
            if sql == "PRAGMA user_version":
                with closing(connect(path, write=True)) as other:
                    module.create(other)
            return cursor

    monkeypatch.setattr(module, "look", lambda path: _opened(path, Interrupted))
    assert check(path) == (0, latest_version())
    assert check(path) == (latest_version(), latest_version())


def _opened(path: Path, factory: type[sqlite3.Connection]) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, factory=factory)


def test_an_interrupted_migration_leaves_the_old_version(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(path)
    before = _schema(path)
    known = module._migrations()
    broken = "CREATE TABLE new (a TEXT);\nDROP TABLE flows;\nCREATE TABLE sources (a TEXT);\n"
    number = latest_version() + 1
    with monkeypatch.context() as patch:
        patch.setattr(module, "_migrations", lambda: (*known, module._Migration(number, broken)))
        with pytest.raises(Unavailable, match="table sources already exists"):
            migrate(path)

    assert _schema(path) == before
    assert check(path) == (latest_version(), latest_version())

    whole = "-- A comment; with a semicolon.\nCREATE TABLE new (a TEXT DEFAULT ';');\n"
    with monkeypatch.context() as patch:
        patch.setattr(module, "_migrations", lambda: (*known, module._Migration(number, whole)))
        assert migrate(path) == (number - 1, number)
    assert [name for _, name, _ in _schema(path) if name == "new"] == ["new"]


def test_a_migration_must_end_in_a_statement(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_end = module._Migration(1, "CREATE TABLE a (b TEXT);\nCREATE TABLE c (d TEXT)")
    monkeypatch.setattr(module, "_migrations", lambda: (open_end,))

    with pytest.raises(ValueError, match="incomplete statement"):
        migrate(path)
    assert _schema(path) == []


@pytest.fixture
def foreign(path: Path) -> Iterator[None]:
    """A file that is no database, and must stay what it is."""
    content = b"The quick brown fox jumps over the lazy dog. " * 100
    path.write_bytes(content)
    yield
    assert path.read_bytes() == content


@pytest.mark.parametrize("version", [0, 1, 2, 99])
def test_another_programs_database_stays_what_it_is_to_the_byte(
    tmp_path: Path, version: int
) -> None:
    path = tmp_path / "theirs.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE flows (a TEXT)")
        connection.execute(f"PRAGMA user_version = {version}")
    content = path.read_bytes()

    for look in (check, migrate):
        with pytest.raises(Unavailable, match="a database of another program"):
            look(path)
    assert path.read_bytes() == content
    assert [file.name for file in tmp_path.glob("theirs*")] == ["theirs.db"]


def test_a_look_at_the_version_sets_nothing_up(path: Path) -> None:
    migrate(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    content = path.read_bytes()
    assert check(path) == (latest_version(), latest_version())
    assert path.read_bytes() == content


@pytest.mark.usefixtures("foreign")
async def test_a_file_of_something_else_is_refused(path: Path) -> None:
    with pytest.raises(Unavailable, match="damaged or not a catalog: file is not a database"):
        migrate(path)
    with pytest.raises(Unavailable, match="damaged or not a catalog"):
        check(path)
    with pytest.raises(Unavailable, match="damaged or not a catalog"):
        await EmbeddedStore.open(path)


async def test_a_database_of_another_program_is_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (a TEXT)")
    schema = _schema(path)

    with pytest.raises(Unavailable, match="a database of another program"):
        await EmbeddedStore.open(path)
    assert _schema(path) == schema

    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {latest_version()}")
    with pytest.raises(Unavailable, match="a database of another program"):
        await EmbeddedStore.open(path)


async def test_a_catalog_without_its_log_is_refused(path: Path) -> None:
    migrate(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM service")
        connection.commit()

    with pytest.raises(Unavailable, match="no change log"):
        await EmbeddedStore.open(path)


async def test_missing_directories_are_made(tmp_path: Path) -> None:
    store = await EmbeddedStore.open(tmp_path / "a" / "b" / "catalog.db")
    await store.check()
    await store.close()


async def test_a_place_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")

    with pytest.raises(Unavailable, match="directory of the catalog cannot be made"):
        await EmbeddedStore.open(tmp_path / "file" / "catalog.db")
    with pytest.raises(Unavailable, match="is no file"):
        await EmbeddedStore.open(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "new.db",
            "the catalog file {folder}/new.db cannot be opened: unable to open database file; "
            "this user must be able to write it, the files beside it and their directory",
        ),
        (
            "there.db",
            "the catalog file {folder}/there.db cannot be opened: attempt to write a readonly "
            "database; this user must",
        ),
        ("below/new.db", "the directory of the catalog cannot be made: [Errno 13]"),
    ],
)
def test_a_directory_that_may_only_be_read_is_refused(
    shared_directory: Path, name: str, message: str
) -> None:
    migrate(shared_directory / "there.db")
    for place in shared_directory.iterdir():
        place.chmod(0o444)
    shared_directory.chmod(0o555)

    command = [sys.executable, "-c", _READ_ONLY, str(shared_directory), name]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)

    assert done.stdout.startswith(message.format(folder=shared_directory)), done.stdout


async def test_a_catalog_of_the_first_version_keeps_its_rows(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = module._migrations()
    with monkeypatch.context() as patch:
        patch.setattr(module, "_migrations", lambda: known[:1])
        assert migrate(path) == (0, 1)
        store = await EmbeddedStore.open(path)
        await store.commit(build.changes(build.objects("o1", "o2")))
        await store.close()
        with closing(sqlite3.connect(path)) as connection:
            before = connection.execute("SELECT * FROM objects").fetchall()

    assert migrate(path) == (1, latest_version())

    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT * FROM objects").fetchall() == before
        assert connection.execute("SELECT count(*) FROM jobs").fetchone() == (0,)
    store = await EmbeddedStore.open(path)
    job = new_job("delete_bytes", {"keys": []}, 1, job_id="j1")
    changes = build.changes()
    changes.insert.append(Insert(JOBS, JOBS.columns, (job,)))
    await store.commit(changes)
    assert await ask.rows(store, Scan(JOBS, ("id", "attempts"))) == [("j1", 0)]
    await store.close()
