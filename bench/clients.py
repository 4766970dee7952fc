"""The client process and the jobs it can be given."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson

from bench.servers import CHECKOUT, ServerFailed, clean_environment


class Client:
    """A running client process."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child

    def do(self, job: str, **arguments: Any) -> dict[str, Any]:
        """Let it do a job and wait for what it reports. Raises ``ServerFailed``."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(orjson.dumps({"job": job, **arguments}) + b"\n")
        self._child.stdin.flush()
        line = self._child.stdout.readline()
        if not line:
            raise ServerFailed(f"the client process ended during {job}")
        answer: dict[str, Any] = orjson.loads(line)
        if "failure" in answer:
            raise ServerFailed(f"{job}: {answer['failure']}")
        return answer


@contextmanager
def client_process() -> Iterator[Client]:
    """A client process that ends with the block."""
    child = subprocess.Popen(
        [sys.executable, "-m", "bench.client"],
        cwd=CHECKOUT,
        env=clean_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        yield Client(child)
    finally:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.close()
        child.wait()
        child.stdout.close()
