"""The real application, in this process or behind a real socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import uvicorn
from starlette.applications import Starlette

from tams_gql.app import Refit, create_app
from tams_gql.context import Services
from tams_gql.media.registry import MediaRegistry
from tams_gql.settings import Settings
from tams_gql.store.scan import Scan
from tams_gql.store.tables import EVENTS, TABLES
from tests.chosen_store import store_settings
from tests.gql import GraphQL
from tests.recording import RecordingMedia, RecordingStore
from tests.waiting import PATIENCE_SECONDS as PATIENCE_SECONDS

Dump = dict[str, list[tuple[Any, ...]]]


@dataclass(frozen=True)
class Catalog:
    """A running application and the services behind it."""

    settings: Settings
    app: Starlette
    services: Services
    store: RecordingStore
    http: httpx.AsyncClient
    gql: GraphQL

    @asynccontextmanager
    async def without_socket(self) -> AsyncIterator[GraphQL]:
        """A client whose requests are served by the task that sends them, as ``watched`` needs."""
        async with _direct(self.app, self.settings) as http:
            yield GraphQL(http)

    async def dump(self) -> Dump:
        """All rows of all tables, sorted, by table."""
        tables = [table for table in TABLES if table is not EVENTS]
        async with self.services.store.session() as session:
            batches = await session.scan([Scan(table, table.columns) for table in tables])
        found = {table.name: _rows(batch) for table, batch in zip(tables, batches, strict=True)}
        return {**found, EVENTS.name: _rows(await self._events())}

    async def event_types(self) -> list[str]:
        """The types of all events in the log, in order."""
        types: list[str] = (await self._events()).column("type").to_pylist()
        return types

    async def _events(self) -> pa.RecordBatch:
        return await self.services.store.log.events("0", 100_000)


def _rows(batch: pa.RecordBatch) -> list[tuple[Any, ...]]:
    return sorted((tuple(row.values()) for row in batch.to_pylist()), key=repr)


def quick_settings(data_dir: Path, **values: Any) -> Settings:
    """Settings of a catalog in the chosen store, whose files need not survive a power cut."""
    chosen = store_settings(data_dir)
    return Settings(**{"data_dir": data_dir, "sqlite_synchronous": "normal", **chosen, **values})


@asynccontextmanager
async def running(settings: Settings, refit: Refit | None = None) -> AsyncIterator[Catalog]:
    """The application in this process, without a socket."""
    keep = _Keep(refit)
    app = create_app(settings, keep)
    async with app.router.lifespan_context(app), _direct(app, settings) as http:
        yield keep.catalog(settings, app, http)


def _direct(app: Starlette, settings: Settings) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=settings.public_url)


@asynccontextmanager
async def serving(settings: Settings, refit: Refit | None = None) -> AsyncIterator[Catalog]:
    """The application behind a free port of this machine, in this event loop."""
    keep = _Keep(refit)
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        settings = settings.listening_on(listener.getsockname()[1])
        app = create_app(settings, keep)
        server = uvicorn.Server(_config(app))
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            await _started(server, task)
            async with httpx.AsyncClient(
                base_url=settings.public_url, timeout=PATIENCE_SECONDS, trust_env=False
            ) as http:
                yield keep.catalog(settings, app, http)
        finally:
            server.should_exit = True
            await task


class _Keep:
    """Puts recorders around the services, and keeps them for the test."""

    def __init__(self, refit: Refit | None) -> None:
        self._refit = refit
        self._services: Services | None = None

    def __call__(self, services: Services) -> Services:
        if self._refit is not None:
            services = self._refit(services)
        media = MediaRegistry([RecordingMedia(backend) for backend in services.media])
        store = RecordingStore(services.store)
        self._services = replace(services, store=store, media=media)
        return self._services

    def catalog(self, settings: Settings, app: Starlette, http: httpx.AsyncClient) -> Catalog:
        services = self._services
        assert services is not None
        assert isinstance(services.store, RecordingStore)
        return Catalog(settings, app, services, services.store, http, GraphQL(http))


def _config(app: Starlette) -> uvicorn.Config:
    return uvicorn.Config(
        app, ws="websockets-sansio", lifespan="on", log_config=None, access_log=False
    )


async def _started(server: uvicorn.Server, task: asyncio.Task[None]) -> None:
    while not server.started:
        assert not task.done(), "the server did not start"
        await asyncio.sleep(0.005)
