"""Ports of this machine that nobody else can take meanwhile."""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

_OWN = range(16_000, 32_000)  # below those that Linux gives to connections
_EACH = 500
_next = itertools.count(os.getpid())  # another run beside this one begins elsewhere


def free_port() -> int:
    """A port for a program that has to be told one, and keeps it when it is restarted.

    It is none of those that the system gives to connections, which come and go all the time; and
    each process of a test run has ports of its own.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = _OWN.start + worker * _EACH % len(_OWN)
    for _ in range(_EACH):
        port = first + next(_next) % _EACH
        with socket.socket() as found:
            try:
                found.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError(f"no port is free from {first} on")


@contextmanager
def refusing() -> Iterator[str]:
    """The URL of a port that refuses connections.

    It is held without being listened on: one that had been closed could be another program's by
    the time it is asked.
    """
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"
