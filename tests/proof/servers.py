"""Real server processes, and clients that survive their end."""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tams_gql.store.port import CatalogStore
from tams_gql.store_choice import open_store
from tests.catalog import PATIENCE_SECONDS, quick_settings
from tests.chosen_store import store_environment
from tests.gql import GraphQL
from tests.processes import Process

_SERVE = [sys.executable, "-m", "tams_gql", "serve"]


class Server:
    """A ``tams-gql serve`` on a data directory that others may use too."""

    def __init__(self, data_dir: Path, **env: str) -> None:
        data_dir.mkdir(exist_ok=True)
        self.data_dir = data_dir
        settings = {"TAMS_PORT": "0", "TAMS_DATA_DIR": str(data_dir), "TAMS_LOG_LEVEL": "info"}
        chosen = store_environment(data_dir)
        self._process = Process(_SERVE, {**settings, **chosen, **env}, data_dir.parent)
        self._url: str | None = None

    @property
    def url(self) -> str:
        """Where it listens; waits for the start."""
        if self._url is None:
            self._url = self._process.wait_for(r"serves (http://\S+:\d+),")[1]
        return self._url

    def kill(self) -> None:
        """End it as a crash does."""
        self._process.child.send_signal(signal.SIGKILL)
        self._process.ended()

    def stop(self) -> None:
        """End it as an operator does."""
        code, _ = self._process.stop(signal.SIGTERM, PATIENCE_SECONDS)
        assert code == 0, self._process.output

    def close(self) -> None:
        """Make sure that it has ended, and that it met nothing it did not expect."""
        self._process.close()
        assert "unexpected failure" not in self._process.output, self._process.output
        assert "Traceback" not in self._process.output, self._process.output


Start = Callable[..., Server]


@dataclass(frozen=True)
class Client:
    """A client with connections of its own."""

    http: httpx.AsyncClient
    gql: GraphQL


@asynccontextmanager
async def client(url: str) -> AsyncIterator[Client]:
    """A client of one server."""
    options = {"timeout": PATIENCE_SECONDS, "trust_env": False, "verify": False}
    async with httpx.AsyncClient(base_url=url, **options) as http:  # type: ignore[arg-type]
        yield Client(http, GraphQL(http))


@asynccontextmanager
async def opened(data_dir: Path) -> AsyncIterator[CatalogStore]:
    """The store of a catalog, beside or without servers."""
    store = await open_store(quick_settings(data_dir))
    try:
        yield store
    finally:
        await store.close()
