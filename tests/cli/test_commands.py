"""The command group, and the commands that need no server of their own."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from tams_gql import __version__
from tams_gql.cli import COMMANDS, main
from tams_gql.settings import Settings
from tams_gql.settings_sources import is_secret, option_name
from tests.ports import refusing

Start = Callable[..., Any]
PortOf = Callable[[Any], int]

# 150 ms is the promise; the CPU time, because other work on the machine must not fail the test.
HELP_CPU_SECONDS = 0.150
HEAVY = ("pyarrow", "strawberry", "vastdb", "ibis", "pydantic", "starlette", "uvicorn", "rich")


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TAMS_CONFIG_FILE", raising=False)


def test_help_names_every_command_and_imports_none_of_the_big_libraries() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "tams_gql", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {
        line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.split("\n")
    }
    assert "click" in imported
    assert imported.isdisjoint(HEAVY)
    assert all(f"  {name} " in done.stdout for name in COMMANDS)


def test_help_is_quick() -> None:
    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "tams_gql", "--help"], stdout=-3, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(5)) < HELP_CPU_SECONDS


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_can_be_loaded_and_explains_itself(name: str) -> None:
    done = CliRunner().invoke(main, [name, "--help"])
    assert (done.exit_code, done.output.startswith(f"Usage: main {name} ")) == (0, True)


def test_version_and_unknown_commands() -> None:
    version = CliRunner().invoke(main, ["--version"])
    unknown = CliRunner().invoke(main, ["server"])
    assert (version.exit_code, version.output) == (0, f"tams-gql, version {__version__}\n")
    assert unknown.exit_code == 2
    assert "No such command 'server'" in unknown.output


@pytest.mark.parametrize("name", ["serve", "demo", "worker", "gc", "health", "migrate", "doctor"])
def test_every_setting_but_secrets_is_an_option(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    options = {option for param in command.params for option in param.opts}
    wanted = {option_name(n) for n, info in Settings.model_fields.items() if not is_secret(info)}
    assert wanted <= options


def test_health_tells_ready_from_not_ready_from_silent(stand_in: Start, port_of: PortOf) -> None:
    ready = port_of(stand_in(TAMS_HOST="0.0.0.0"))
    not_ready = port_of(stand_in("not_ready"))

    def ask(*arguments: object) -> tuple[int, str]:
        done = CliRunner().invoke(main, ["health", *map(str, arguments)])
        return done.exit_code, done.output

    assert ask("--port", ready, "--host", "0.0.0.0") == (0, "ready (store: ok)\n")
    assert ask("--port", not_ready) == (1, "not_ready (store: failed)\n")
    with refusing() as url:
        silent = url.rpartition(":")[2]
        code, text = ask("--port", silent)
    assert (code, text.startswith(f"no answer from 127.0.0.1:{silent}: ")) == (1, True)
    assert ask("--port", 0)[0] == 2


def test_migrate_creates_the_catalog_once(tmp_path: Path) -> None:
    def migrate(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(main, ["migrate", "--data-dir", str(tmp_path / "d"), *arguments])
        return done.exit_code, done.output

    file = Settings(data_dir=tmp_path / "d").catalog_file
    before = migrate("--check")
    assert before[0] == 1
    needed = before[1].removeprefix("schema version none, this program needs ").partition(":")[0]
    assert before[1] == f"schema version none, this program needs {needed}: {file}\n"
    assert not file.parent.exists()
    assert migrate() == (0, f"schema version none -> {needed}: {file}\n")
    assert migrate() == (0, f"schema version {needed}, nothing to do: {file}\n")
    assert migrate("--check") == (
        0,
        f"schema version {needed}, this program needs {needed}: {file}\n",
    )


def test_migrate_refuses_what_is_no_catalog(tmp_path: Path) -> None:
    file = Settings(data_dir=tmp_path).catalog_file
    file.write_text("not a database, but long enough to be looked at " * 40)
    done = CliRunner().invoke(main, ["migrate", "--data-dir", str(tmp_path)])
    assert done.exit_code == 1
    assert done.output.startswith("tams-gql: ")
    assert file.read_text().startswith("not a database")


def test_schema_prints_the_committed_schema() -> None:
    done = CliRunner().invoke(main, ["schema"])
    root = Path(__file__).parents[2]
    committed = (root / "tams_gql" / "schema" / "schema.graphql").read_text(encoding="utf-8")
    assert (done.exit_code, done.output.strip()) == (0, committed.strip())
