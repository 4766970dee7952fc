"""Server processes that tests start, watch and stop."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.processes import Process

STAND_IN = Path(__file__).with_name("stand_in.py")


Start = Callable[..., Process]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a command in an empty directory, with the given TAMS_* variables and no others."""
    running: list[Process] = []

    def run(command: list[str], **env: str) -> Process:
        workplace = tmp_path / f"run{len(running)}"
        workplace.mkdir()
        process = Process(command, env, workplace)
        running.append(process)
        return process

    yield run
    for process in running:
        process.close()


@pytest.fixture
def stand_in(start: Start) -> Start:
    """Start the stand-in server on a free port; Python's deprecations end it."""

    def run(variation: str = "plain", **env: str) -> Process:
        python = [sys.executable, "-W", "error::DeprecationWarning", str(STAND_IN), variation]
        return start(python, **{"TAMS_PORT": "0", **env})

    return run


@pytest.fixture
def port_of() -> Callable[[Process], int]:
    """Wait for the start of a server and return its port."""
    return lambda process: int(process.wait_for(r"serves http://\S+:(\d+),")[1])
