"""``tams-gql gc``: what it prints, and how it ends."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner

from tams_gql.cli import main
from tams_gql.opening import open_services
from tams_gql.settings import Settings
from tams_gql.store.embedded import check, migrate
from tams_gql.store.embedded.migrate import latest_version
from tests.lifecycle.orphans import fill, state


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TAMS_CONFIG_FILE", raising=False)


@pytest.fixture
def _logs_as_before() -> Iterator[None]:
    """A command sets up the logs of the whole process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def invoke(data_dir: Path, *options: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["gc", "--data-dir", str(data_dir), *options])
    return done.exit_code, done.stdout


@pytest.mark.usefixtures("_logs_as_before")
def test_the_command(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, sqlite_synchronous="normal")

    async def given() -> None:
        async with open_services(settings) as services:
            await fill(services, 3)

    async def left() -> tuple[set[str], set[str], set[str]]:
        async with open_services(settings) as services:
            return await state(services)

    asyncio.run(given())
    assert invoke(tmp_path, "--dry-run") == (
        0,
        "3 lapsed objects of 15 bytes would go\n0 stored objects of 0 bytes would be deleted\n",
    )
    keys = {f"objects/000{number}" for number in range(3)}
    assert asyncio.run(left()) == (keys, set(), keys)
    code, text = invoke(tmp_path, "--json")
    nothing = {"jobs": 0, "keys": 0, "bytes": 0}
    report: dict[str, Any] = orjson.loads(text)
    assert (code, report) == (
        0,
        {
            "dry_run": False,
            "reclaimed": {"objects": 3, "bytes": 15},
            "due": {"jobs": 1, "keys": 3, "bytes": 15},
            "later": nothing,
            "failed": nothing,
        },
    )
    assert asyncio.run(left()) == (set(), set(), set())
    assert invoke(tmp_path) == (
        0,
        "0 lapsed objects of 0 bytes went\n0 stored objects of 0 bytes were to be deleted\n",
    )


@pytest.mark.usefixtures("_logs_as_before")
@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_a_misspelt_data_directory_is_not_made(tmp_path: Path, options: list[str]) -> None:
    place = tmp_path / "tpyo"
    done = CliRunner().invoke(main, ["gc", "--data-dir", str(place), *options])
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == f"tams-gql: there is no catalog: {place / 'catalog.sqlite3'}\n"
    assert not place.exists()


@pytest.mark.usefixtures("_logs_as_before")
def test_a_trial_does_not_upgrade_the_catalog(tmp_path: Path) -> None:
    file = Settings(data_dir=tmp_path).catalog_file
    migrate(file)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA user_version = 1")
    done = CliRunner().invoke(main, ["gc", "--data-dir", str(tmp_path), "--dry-run"])
    assert done.exit_code == 1
    assert "has schema version 1" in done.stderr
    assert check(file) == (1, latest_version())
    assert not (tmp_path / "media").exists()


@pytest.mark.usefixtures("_logs_as_before")
def test_the_command_says_why_it_cannot(tmp_path: Path) -> None:
    (tmp_path / "catalog.sqlite3").write_bytes(b"not a database, not at all" * 100)
    done = CliRunner().invoke(main, ["gc", "--data-dir", str(tmp_path)])
    assert done.exit_code == 1
    assert done.stderr.startswith("tams-gql: the catalog store is damaged or not a catalog")
