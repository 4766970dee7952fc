"""The emulator inside the process of the tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .counting import RpcLog
from .faults import Faults
from .server import Server
from .switches import Switches


class Emulator:
    """A VAST Database server on a free port of the loopback interface.

    Use it as a context manager, or call ``start`` and ``stop``. ``bucket`` exists from the start.
    """

    def __init__(
        self,
        bucket: str = "vastdb",
        access_key: str = "AK",
        secret_key: str = "SK",
        host: str = "127.0.0.1",
        port: int = 0,
        **switches: Any,
    ) -> None:
        self.bucket = bucket
        self.access_key = access_key
        self.secret_key = secret_key
        self._server = Server(host, port, access_key)
        self._host = host
        self._server.switches.change(**switches)
        self._server.engine.create_bucket(bucket)

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"http://{self._host}:{self._server.port}"

    @property
    def session(self) -> dict[str, str]:
        """Arguments for ``vastdb.connect``."""
        return {"endpoint": self.url, "access": self.access_key, "secret": self.secret_key}

    @property
    def connections(self) -> int:
        """TCP connections accepted since the start."""
        return self._server.connections

    @property
    def switches(self) -> Switches:
        """How it behaves; may be changed at any time."""
        return self._server.switches

    @property
    def faults(self) -> Faults:
        """Faults to inject."""
        return self._server.faults

    @property
    def counts(self) -> Counter[str]:
        """RPCs by kind since the start."""
        return Counter(self._server.counters.totals)

    def start(self) -> Emulator:
        """Answer requests."""
        self._server.start()
        return self

    def stop(self) -> None:
        """Close the port and all connections."""
        self._server.stop()

    def __enter__(self) -> Emulator:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def create_bucket(self, name: str) -> str:
        """Make ``name`` an empty bucket, whatever it held before; return the name."""
        self._server.engine.create_bucket(name)
        return name

    def drop_bucket(self, name: str) -> None:
        """Remove a bucket."""
        self._server.engine.drop_bucket(name)

    def copy_bucket(self, source: str, target: str) -> str:
        """Make ``target`` an independent copy of ``source``, at no cost; return its name."""
        self._server.engine.copy_bucket(source, target)
        return target

    @contextmanager
    def switched(self, **values: Any) -> Iterator[Switches]:
        """Change switches for a while."""
        former = self.switches.change(**values)
        try:
            yield self.switches
        finally:
            self.switches.change(**former)

    @contextmanager
    def counting(self, bucket: str | None = None) -> Iterator[RpcLog]:
        """Log the RPCs of a while; ``bucket`` leaves out others and transaction RPCs."""
        log = self._server.counters.open(bucket)
        try:
            yield log
        finally:
            self._server.counters.close(log)

    def open_transactions(self) -> list[int]:
        """Ids of transactions that are open."""
        return sorted(self._server.engine.open)

    def expire_transactions(self) -> int:
        """Let all open transactions expire; return how many."""
        return self._server.engine.expire_all()
