"""An emulator in another process, controlled over HTTP."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

_ROOT = Path(__file__).resolve().parents[2]
_STOP_SECONDS = 60.0
_REACH_SECONDS = 60.0


class RemoteEmulator:
    """Switches, faults, buckets and counters of the emulator at ``url``."""

    def __init__(self, url: str) -> None:
        self.url = url
        parts = urlsplit(url)
        self._address = (parts.hostname or "127.0.0.1", parts.port or 80)

    def request(self, method: str, path: str, values: dict[str, Any] | None = None) -> Any:
        """One control request. Raises ValueError with the emulator's reason for a refusal."""
        connection = http.client.HTTPConnection(*self._address, timeout=60)
        try:
            body = None if values is None else json.dumps(values)
            connection.request(method, f"/_emulator/{path}", body)
            response = connection.getresponse()
            result = json.loads(response.read())
        finally:
            connection.close()
        if response.status != 200:
            raise ValueError(result["error"])
        return result

    def switch(self, **values: Any) -> dict[str, Any]:
        """Change switches; return all of them."""
        result: dict[str, Any] = self.request("PUT", "switches", values)
        return result

    def create_bucket(self, name: str) -> str:
        """Make ``name`` an empty bucket."""
        self.request("PUT", f"buckets/{quote(name)}")
        return name

    def drop_bucket(self, name: str) -> None:
        """Remove a bucket."""
        self.request("DELETE", f"buckets/{quote(name)}")

    def copy_bucket(self, source: str, target: str) -> str:
        """Make ``target`` a copy of ``source``."""
        self.request("POST", f"buckets/{quote(source)}/copy", {"to": target})
        return target

    def fault(self, action: str, **rule: Any) -> RemoteFault:
        """Put a fault rule into force; arguments as of ``Fault``."""
        made = self.request("POST", "faults", {"action": action, **rule})
        return RemoteFault(self, int(made["id"]))

    def clear_faults(self) -> None:
        """Take all fault rules away."""
        self.request("DELETE", "faults")

    @property
    def counts(self) -> Counter[str]:
        """RPCs by kind since the start."""
        return Counter(self.request("GET", "counts"))

    @contextmanager
    def counting(self, bucket: str | None = None) -> Iterator[RemoteLog]:
        """Log the RPCs of a while; the log is filled at the end."""
        number = self.request("POST", "counting", {"bucket": bucket})["id"]
        log = RemoteLog()
        try:
            yield log
        finally:
            result = self.request("DELETE", f"counting/{number}")
            log.counts = Counter(result["counts"])
            log.connections = result["connections"]
            log.rpcs = result["rpcs"]

    def open_transactions(self) -> list[int]:
        """Ids of transactions that are open."""
        result: list[int] = self.request("GET", "transactions")
        return result

    def expire_transactions(self) -> int:
        """Let all open transactions expire; return how many."""
        return int(self.request("DELETE", "transactions"))


@dataclass(frozen=True)
class RemoteFault:
    """A fault rule of a remote emulator."""

    emulator: RemoteEmulator
    id: int

    def state(self) -> dict[str, Any]:
        """The rule with ``hits`` and ``reached``."""
        result: dict[str, Any] = self.emulator.request("GET", f"faults/{self.id}")
        return result

    @property
    def hits(self) -> int:
        """RPCs it has hit so far."""
        return int(self.state()["hits"])

    def wait_reached(self, seconds: float = _REACH_SECONDS) -> None:
        """Wait until an RPC is being held. Raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while not self.state()["reached"]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"no RPC reached fault {self.id}")
            time.sleep(0.01)

    def release(self) -> None:
        """Let held RPCs go on."""
        self.emulator.request("POST", f"faults/{self.id}/release")

    def remove(self) -> None:
        """Take the rule away."""
        self.emulator.request("DELETE", f"faults/{self.id}")


@dataclass
class RemoteLog:
    """The RPCs of a while, as JSON values."""

    counts: Counter[str] = field(default_factory=Counter)
    connections: int = 0
    rpcs: list[dict[str, Any]] = field(default_factory=list)


@contextmanager
def emulator_process(*arguments: str) -> Iterator[RemoteEmulator]:
    """Run ``python -m tests.vast_emulator`` with more arguments for a while."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.vast_emulator", *arguments],
        cwd=_ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    try:
        url = child.stdout.readline().strip()
        if not url:
            raise RuntimeError(f"the emulator ended with code {child.wait(_STOP_SECONDS)}")
        yield RemoteEmulator(url)
    finally:
        child.terminate()
        try:
            child.wait(_STOP_SECONDS)
        finally:
            child.kill()
            child.stdout.close()
