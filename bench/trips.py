"""How many store round trips each query makes, counted in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from bench.queries import Query
from tams_gql.app import create_app
from tams_gql.context import Services
from tams_gql.settings import Settings

# Set only where a query runs, so that the server's own background reads do not count.
_trips: ContextVar[list[str] | None] = ContextVar("trips", default=None)


async def count_trips(data_dir: Path, queries: Sequence[Query]) -> dict[str, list[str]]:
    """The names of the store calls that the first request of each query makes, in order."""
    settings = Settings(data_dir=data_dir)
    app = create_app(settings, _counting)
    found = {}
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url=settings.public_url
        ) as client,
    ):
        for query in queries:
            calls: list[str] = []
            token = _trips.set(calls)
            headers = {"Content-Type": "application/json"}
            body = query.graphql(query.requests[0])
            answer = await client.post("/graphql", content=body, headers=headers)
            _trips.reset(token)
            answer.raise_for_status()
            found[query.name] = calls
    return found


def _counting(services: Services) -> Services:
    store: Any = _CountingStore(services.store)
    return replace(services, store=store)


class _CountingStore:
    """Passes everything on; sessions and commits are counted."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Any]:
        async with self._store.session() as session:
            yield _CountingSession(session)

    async def commit(self, changes: Any, seen: Any = None) -> Any:
        _note("commit")
        inner = seen.inner if isinstance(seen, _CountingSession) else seen
        return await self._store.commit(changes, inner)


class _CountingSession:
    """Each awaited call of a session is one round trip."""

    def __init__(self, session: Any) -> None:
        self.inner = session

    def __getattr__(self, name: str) -> Callable[..., Any]:
        _note(name)
        call: Callable[..., Any] = getattr(self.inner, name)
        return call


def _note(call: str) -> None:
    calls = _trips.get()
    if calls is not None:
        calls.append(call)
