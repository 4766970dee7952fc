"""The measured programs as processes, and the processor time of each with all its children."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

CHECKOUT = Path(__file__).resolve().parent.parent
"""The checkout that this benchmark belongs to."""

_PROC = Path("/proc")
_START_SECONDS = 60.0
_STOP_SECONDS = 15.0


class ServerFailed(Exception):
    """A measured program did not start or did not answer as it should."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running program."""

    name: str
    port: int
    pid: int

    def cpu_seconds(self) -> float | None:
        """User and system time of the process and all its children; None where nobody tells."""
        return cpu_seconds(self.pid)


@contextmanager
def catalog_server(
    name: str, data_dir: Path, checkout: Path = CHECKOUT, env: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """``tams-gql serve`` of a checkout with its default settings, except ``env``."""
    port = _free_port()
    command = ["-m", "tams_gql", "serve", "--port", str(port), "--data-dir", str(data_dir)]
    with _running(name, command, port, checkout, env or {}) as server:
        yield server


@contextmanager
def floor_server(catalog: Path) -> Iterator[Server]:
    """The minimal program over a catalog file."""
    port = _free_port()
    command = ["-m", "bench.floor", "--port", str(port), "--catalog", str(catalog)]
    with _running("floor", command, port, CHECKOUT, {}) as server:
        yield server


def clean_environment() -> dict[str, str]:
    """The environment without settings of the server, which would change what is measured."""
    return {key: value for key, value in os.environ.items() if not key.startswith("TAMS_")}


def cpu_seconds(pid: int) -> float | None:
    """User and system time of a process and its children, finished ones included."""
    if not (_PROC / "self" / "stat").exists():
        return None
    parents, ticks = {}, {}
    for folder in _PROC.iterdir():
        if not folder.name.isdecimal():
            continue
        with suppress(OSError):  # it has ended meanwhile
            # The name of the program stands in parentheses and may hold anything.
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            parents[int(folder.name)] = int(fields[1])
            ticks[int(folder.name)] = sum(map(int, fields[11:15]))
    tree = [pid]
    for member in tree:
        tree += [child for child, parent in parents.items() if parent == member]
    return sum(ticks.get(member, 0) for member in tree) / os.sysconf("SC_CLK_TCK")


@contextmanager
def _running(
    name: str, command: list[str], port: int, checkout: Path, env: Mapping[str, str]
) -> Iterator[Server]:
    with TemporaryFile(prefix=f"bench-{name}-") as log:
        child = subprocess.Popen(
            [sys.executable, *command],
            cwd=checkout,  # a module is looked for there first
            env={**clean_environment(), **env},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            _wait_until_up(name, child, port, log)
            yield Server(name, port, child.pid)
        finally:
            _stop(child)


def _wait_until_up(name: str, child: subprocess.Popen[bytes], port: int, log: IO[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and child.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_START_SECONDS)
        try:
            connection.request("GET", "/livez")
            connection.getresponse().read()
        except OSError:
            time.sleep(0.02)
        else:
            return
        finally:
            connection.close()
    log.seek(0)
    raise ServerFailed(f"{name} did not start:\n{log.read().decode(errors='replace')}")


def _stop(child: subprocess.Popen[bytes]) -> None:
    child.send_signal(signal.SIGTERM)
    try:
        child.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])
