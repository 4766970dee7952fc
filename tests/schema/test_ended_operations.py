"""What an operation leaves behind that ended while it was reading: nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from tams_gql.context import Context, Services
from tams_gql.model.errors import Unavailable
from tams_gql.model.ids import new_id
from tams_gql.store.changes import ChangeSet, Committed
from tams_gql.store.port import CatalogStore, ChangeLog, ReadSession
from tests.catalog import Catalog, quick_settings, running, serving
from tests.failing import Breakable
from tests.gql import refusal
from tests.gql_ws import Refused, connected
from tests.impatience import impatient
from tests.seed import Seed, external
from tests.waiting import PATIENCE_SECONDS, until

# Two pages of different size below the same parents: one loader reads one after the other.
PAGES = """
{ sources { nodes { a: flows(first: 1) { nodes { id } } b: flows(first: 2) { nodes { id } } } } }
"""


class HeldStore:
    """A ``CatalogStore`` that counts open sessions, and lets a read wait until a test says so."""

    def __init__(self, store: CatalogStore) -> None:
        self._store = store
        self.open = 0
        self.held: str | None = None
        """The reads that wait when done, or ``session`` for those that are to be opened."""
        self.reached = asyncio.Event()
        self.released = asyncio.Event()

    @property
    def log(self) -> ChangeLog:
        return self._store.log

    def session(self) -> AbstractAsyncContextManager[ReadSession]:
        return self._session()

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[ReadSession]:
        await self.wait("session")
        async with self._store.session() as session:
            self.open += 1
            try:
                yield cast(ReadSession, _HeldSession(session, self))
            finally:
                self.open -= 1

    async def commit(self, changes: ChangeSet, seen: ReadSession | None = None) -> Committed:
        inner = seen.inner if isinstance(seen, _HeldSession) else seen
        return await self._store.commit(changes, inner)

    async def check(self) -> None:
        await self._store.check()

    async def close(self) -> None:
        await self._store.close()

    async def wait(self, name: str) -> None:
        """Wait, if reads of that name are held."""
        if self.held == name:
            self.reached.set()
            await self.released.wait()


class _HeldSession:
    def __init__(self, session: ReadSession, store: HeldStore) -> None:
        self.inner = session
        self._store = store

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        read: Callable[..., Awaitable[Any]] = getattr(self.inner, name)

        async def held(*arguments: Any) -> Any:
            found = await read(*arguments)
            await self._store.wait(name)
            return found

        return held


class Holding:
    """A ``Refit`` that puts a ``HeldStore`` into the services."""

    store: HeldStore

    def __call__(self, services: Services) -> Services:
        self.store = HeldStore(services.store)
        return replace(services, store=self.store)


@pytest.fixture
def holding() -> Holding:
    return Holding()


@pytest.fixture
async def held(tmp_path: Path, holding: Holding) -> AsyncIterator[Catalog]:
    """A catalog with two readers, whose store is that of ``holding``."""
    settings = quick_settings(tmp_path, store_readers=2, background_work=False)
    async with running(settings, holding) as catalog:
        yield catalog


async def ended_while_waiting(catalog: Catalog, store: HeldStore, read: str) -> None:
    """Run the query until its time is over while it waits, and let go of it afterwards."""
    store.held = read
    store.reached.clear()
    store.released.clear()
    with impatient(catalog.app):
        response = await catalog.gql.post({"query": PAGES})
    assert store.reached.is_set()
    assert response.json()["errors"][0]["message"].startswith("request_timeout")
    store.held = None
    store.released.set()
    await asyncio.sleep(0.05)  # a read that goes on has its session by then, as a rule
    await until(lambda: store.open == 0)


@pytest.mark.parametrize("read", ["partitions", "session"])
async def test_reads_that_go_on_after_their_operation_keep_no_reader(
    held: Catalog, holding: Holding, read: str
) -> None:
    await Seed(held.gql, held.http).flow()
    for _ in range(3):
        await ended_while_waiting(held, holding.store, read)
    found = await held.gql.execute(PAGES)
    assert len(found["sources"]["nodes"]) == 1


async def test_a_context_that_was_closed_reads_nothing(held: Catalog, holding: Holding) -> None:
    context = Context(held.services)
    assert await context.loaders.flow_by_id.load("a") is None
    assert holding.store.open == 1
    await context.close()
    with pytest.raises(Unavailable, match="the operation that reads is over"):
        await context.loaders.flow_by_id.load("b")
    assert holding.store.open == 0


async def test_a_session_that_opens_while_reads_are_renewed_is_not_kept(
    held: Catalog, holding: Holding
) -> None:
    # given a read that is about to open its session
    context, store = Context(held.services), holding.store
    store.held = "session"
    first = asyncio.ensure_future(context.loaders.flow_by_id.load("a"))
    await store.reached.wait()
    # when others are to see the present
    store.held = None
    await context.renew()
    store.released.set()
    # then the read does, too, in the only session
    assert await first is None
    assert await context.loaders.flow_by_id.load("b") is None
    assert store.open == 1
    await context.close()
    assert store.open == 0


@pytest.mark.parametrize(
    "query", ["{ flows { nodes { id } } }", "query($id: ID!) { flow(id: $id) { id } }"]
)
async def test_a_cancellation_that_nobody_asked_for_is_answered_as_a_defect(
    tmp_path: Path, query: str
) -> None:
    refit = Breakable()
    settings = quick_settings(tmp_path / "stray", background_work=False)
    async with serving(settings, refit) as catalog:
        refit.store.on_read = asyncio.CancelledError()
        masked = refusal("INTERNAL", "Something went wrong on the server.")
        async with asyncio.timeout(PATIENCE_SECONDS):
            (error,) = await catalog.gql.errors(query, {"id": new_id()})
            assert {key: error[key] for key in masked} == masked
            async with connected(catalog.settings.public_url) as socket:
                stream = await socket.subscribe(query, {"id": new_id()})
                with pytest.raises(Refused) as refused:
                    await stream.next()
                (error,) = refused.value.errors
                assert {key: error[key] for key in masked} == masked
                # and the connection goes on, with the same id as well
                refit.store.on_read = None
                assert await (await socket.subscribe("{ __typename }")).next() == {
                    "__typename": "Query"
                }


async def test_a_cancelled_read_ends_a_subscription_with_an_error_for_its_event(
    tmp_path: Path,
) -> None:
    refit = Breakable()
    settings = quick_settings(tmp_path / "stray", background_work=False)
    async with serving(settings, refit) as catalog:
        seed = Seed(catalog.gql, catalog.http)
        flow_id = await seed.flow()
        async with connected(catalog.settings.public_url) as socket:
            stream = await socket.subscribe(
                "subscription { segmentsAdded { segments { timerange object { id } } } }"
            )
            await until(lambda: catalog.services.feed.subscribers == 1)
            refit.store.on_read_after_commit = asyncio.CancelledError()
            await seed.register(flow_id, [external("[0:0_1:0)")])
            with pytest.raises(Refused):
                await stream.next()
            refit.store.on_read = None
            await seed.register(flow_id, [external("[1:0_2:0)")])
            (segment,) = (await stream.next())["segmentsAdded"]["segments"]
            assert segment["timerange"] == "[1:0_2:0)"
