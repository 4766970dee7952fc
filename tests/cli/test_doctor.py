"""``tams-gql doctor`` with the embedded store and the local media folder."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tams_gql.cli import main
from tams_gql.settings import Settings
from tams_gql.store.embedded import doctor as embedded_doctor
from tams_gql.store.embedded import migrate
from tams_gql.store.embedded.migrate import latest_version
from tams_gql.store.tables import TABLES

_AS_ANOTHER_USER = """
import encodings.idna, os, sys
import orjson
from tams_gql import store_choice
from tams_gql.cli import doctor, doctor_media, doctor_s3, main
from tams_gql.store.embedded import doctor as examining
from tams_gql.store.embedded.migrate import latest_version
latest_version()  # reads the program's own files, which may be out of reach below
if os.getuid() == 0:
    os.setuid(65534)  # permissions do not bind the superuser
else:
    os.chmod(sys.argv[1], 0)
main(["doctor", "--json", "--data-dir", sys.argv[1]])
"""


@pytest.fixture
def shared_directory() -> Iterator[Path]:
    """A directory that other users can reach, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield directory
        for below in directory.iterdir():
            below.chmod(0o700)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TAMS_CONFIG_FILE", raising=False)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with a catalog, as a server leaves it."""
    folder = tmp_path / "data"
    (folder / "media").mkdir(parents=True)
    migrate(Settings(data_dir=folder).catalog_file)
    secret = folder / "media" / "url-signing.secret"
    secret.write_bytes(bytes(32))
    secret.chmod(0o600)
    return folder


def _examined(data: Path) -> tuple[int, dict[str, dict[str, Any]]]:
    done = CliRunner().invoke(main, ["doctor", "--json", "--data-dir", str(data)])
    document = json.loads(done.output)
    assert document["catalog"] == str(data / "catalog.sqlite3")
    assert document["ok"] is (done.exit_code == 0)
    return done.exit_code, {check["check"]: check for check in document["checks"]}


def _failed(data: Path) -> list[str]:
    code, checks = _examined(data)
    failed = [name for name, check in checks.items() if check["status"] == "failed"]
    assert code == (1 if failed else 0)
    return failed


def test_a_sound_data_directory_passes_every_check(data: Path) -> None:
    code, checks = _examined(data)
    assert code == 0
    assert {check["status"] for check in checks.values()} == {"ok"}
    assert checks["schema version"]["facts"] == {
        "found": latest_version(),
        "needed": latest_version(),
    }
    assert checks["rows"]["facts"]["rows"] == {
        **{table.name: 0 for table in TABLES},
        "service": 2,
    }
    assert checks["write-ahead log"]["facts"] == {"journal_mode": "wal", "wal_bytes": 0}


def test_what_is_not_there_yet_is_no_failure_and_is_not_made(tmp_path: Path) -> None:
    code, checks = _examined(tmp_path / "later")
    assert code == 0
    assert list(checks) == [
        "sqlite",
        "file system",
        "free space",
        "catalog",
        "media folder",
        "media secret",
    ]
    assert checks["catalog"]["text"].startswith("none yet")
    assert not (tmp_path / "later").exists()


def test_the_text_names_every_check_and_counts_them(data: Path) -> None:
    done = CliRunner().invoke(main, ["doctor", "--data-dir", str(data)])
    lines = done.output.splitlines()
    assert lines[0] == f"Catalog: {data / 'catalog.sqlite3'}"
    assert lines[-1] == "10 checks: 10 ok"
    assert "  ok       integrity: quick_check found nothing" in lines


def test_a_damaged_catalog_fails(data: Path) -> None:
    file = data / "catalog.sqlite3"
    with closing(sqlite3.connect(file)) as connection:
        connection.executemany(
            "INSERT INTO service (name, value) VALUES (?, ?)",
            [(f"name {number}", "x" * 500) for number in range(2000)],
        )
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole = bytearray(file.read_bytes())
    middle = len(whole) // 2
    whole[middle : middle + 20_000] = b"\xff" * 20_000
    file.write_bytes(whole)
    failed = _failed(data)
    assert "integrity" in failed or "catalog" in failed


def test_a_file_that_is_no_catalog_fails(data: Path) -> None:
    (data / "catalog.sqlite3").write_text("not a database, but long enough to be looked at " * 40)
    assert _failed(data) == ["catalog"]


@pytest.mark.parametrize(
    ("version", "status", "advice"),
    [
        (0, "warning", "run `tams-gql migrate`, or start the server"),
        (latest_version() + 1, "failed", "a newer release wrote it"),
    ],
)
def test_another_schema_version_is_told(data: Path, version: int, status: str, advice: str) -> None:
    with closing(sqlite3.connect(data / "catalog.sqlite3")) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    _, checks = _examined(data)
    found = checks["schema version"]
    assert (found["status"], found["advice"]) == (status, advice)
    assert found["text"] == f"{version}, this program needs {latest_version()}"


def test_it_looks_and_changes_nothing(data: Path) -> None:
    file = data / "catalog.sqlite3"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    before = {path: path.stat().st_mtime_ns for path in data.rglob("*") if path.is_file()}
    code, checks = _examined(data)
    assert (code, checks["write-ahead log"]["status"]) == (0, "warning")
    assert checks["write-ahead log"]["text"] == "the journal mode is delete, not wal"
    after = {path: path.stat().st_mtime_ns for path in data.rglob("*") if path.is_file()}
    assert after == before


def test_a_network_file_system_fails(
    data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/sda1 / ext4 rw 0 0\nserver:/export {tmp_path} nfs4 rw 0 0\n")
    monkeypatch.setattr(embedded_doctor, "_MOUNTS", mounts)
    assert _failed(data) == ["file system"]


def test_a_media_folder_that_cannot_be_written_fails(data: Path) -> None:
    (data / "media" / "url-signing.secret").unlink()
    (data / "media").rmdir()
    (data / "media").write_text("a file where the folder should be")
    code, checks = _examined(data)
    assert code == 1
    assert checks["media folder"]["text"] == f"{data / 'media'} cannot be written: Not a directory"


def test_a_directory_of_another_user_is_named(shared_directory: Path) -> None:
    closed = shared_directory / "closed"
    closed.mkdir(mode=0o700)
    (closed / "media").mkdir()
    command = [sys.executable, "-c", _AS_ANOTHER_USER, str(closed)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    checks = {check["check"]: check for check in json.loads(done.stdout)["checks"]}
    failed = [name for name, check in checks.items() if check["status"] == "failed"]
    assert failed == ["file system", "catalog", "media folder", "media secret"]
    assert checks["file system"]["text"] == f"{closed} cannot be written by this user"
    file = closed / "catalog.sqlite3"
    assert checks["catalog"]["text"] == f"{file} cannot be reached: Permission denied"


def test_a_broken_secret_fails_and_an_open_one_is_a_warning(data: Path) -> None:
    secret = data / "media" / "url-signing.secret"
    secret.chmod(0o644)
    code, checks = _examined(data)
    assert (code, checks["media secret"]["status"]) == (0, "warning")
    assert checks["media secret"]["advice"] == f"chmod 600 {secret}"
    secret.write_bytes(b"short")
    assert _failed(data) == ["media secret"]


def test_the_probe_is_for_a_cluster_only(data: Path) -> None:
    done = CliRunner().invoke(main, ["doctor", "--probe", "--data-dir", str(data)])
    assert done.exit_code == 2
    assert done.output == "tams-gql: --probe is for TAMS_STORE=vast only\n"
