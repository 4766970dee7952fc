"""A write is sent again while the first one is on its way, where reads do not share a snapshot.

Such a store is a VAST cluster that isolates its transactions no further than what is committed, or
one that is read without transactions.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from tams_gql.context import Services
from tams_gql.model.ids import new_id
from tams_gql.store.changes import ChangeSet, Committed
from tams_gql.store.port import CatalogStore, ChangeLog, ReadSession
from tams_gql.store.tables import RECEIPTS
from tests.catalog import Catalog, quick_settings, running
from tests.gql import Data
from tests.schema.test_idempotency import WRITES, Writer
from tests.seed import CREATE_SOURCE, Seed

Meanwhile = Callable[[], Awaitable[object]]


class ReadsOnTheirOwn:
    """A ``CatalogStore`` each of whose reads sees what is committed by then.

    ``after_receipts`` is called once, after the next look for a receipt.
    """

    def __init__(self, store: CatalogStore) -> None:
        self._store = store
        self.after_receipts: Meanwhile | None = None

    @property
    def log(self) -> ChangeLog:
        return self._store.log

    def session(self) -> AbstractAsyncContextManager[ReadSession]:
        return self._session()

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[ReadSession]:
        yield cast(ReadSession, _Reads(self._store, self))

    async def commit(self, changes: ChangeSet, seen: ReadSession | None = None) -> Committed:
        del seen
        return await self._store.commit(changes)

    async def check(self) -> None:
        await self._store.check()

    async def close(self) -> None:
        await self._store.close()


class _Reads:
    def __init__(self, store: CatalogStore, owner: ReadsOnTheirOwn) -> None:
        self._store = store
        self._owner = owner

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def read(*arguments: Any) -> Any:
            async with self._store.session() as session:
                found = await getattr(session, name)(*arguments)
            if name == "scan" and arguments[0][0].table is RECEIPTS:
                meanwhile, self._owner.after_receipts = self._owner.after_receipts, None
                if meanwhile is not None:
                    await meanwhile()
            return found

        return read


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[tuple[Catalog, ReadsOnTheirOwn]]:
    """A catalog, and its store."""
    stores: list[ReadsOnTheirOwn] = []

    def refit(services: Services) -> Services:
        stores.append(ReadsOnTheirOwn(services.store))
        return replace(services, store=stores[0])

    settings = quick_settings(tmp_path, background_work=False)
    async with running(settings, refit) as catalog:
        yield catalog, stores[0]


async def made(catalog: Catalog) -> dict[str, str]:
    """A flow with two segments, and a source without flows."""
    seed = Seed(catalog.gql, catalog.http)
    flow_id, source_id = await seed.flow("video"), new_id()
    await seed.external(flow_id, "[0:0_10:0)", "[10:0_20:0)")
    await catalog.gql.execute(CREATE_SOURCE, {"input": {"id": source_id, "format": "DATA"}})
    return {"FLOW": flow_id, "SOURCE": source_id}


@pytest.mark.parametrize("name", WRITES)
async def test_a_write_that_finds_its_own_first_try_done_answers_the_same(
    opened: tuple[Catalog, ReadsOnTheirOwn], name: str
) -> None:
    catalog, store = opened
    writer = Writer(catalog, name, await made(catalog))
    first: list[Data] = []
    after: list[Data] = []

    async def meanwhile() -> None:
        first.append(await writer.send("key-1"))
        after.append(await catalog.dump())

    # when the first try is carried out just after the second one has looked for it
    store.after_receipts = meanwhile
    assert [await writer.send("key-1")] == first
    assert [await catalog.dump()] == after


async def test_another_request_that_took_the_key_meanwhile_is_refused(
    opened: tuple[Catalog, ReadsOnTheirOwn],
) -> None:
    catalog, store = opened
    writer = Writer(catalog, "createSource", {})
    store.after_receipts = lambda: writer.send("key-1")
    (error,) = await writer.errors("key-1", other=True)
    assert error["extensions"] == {"code": "CONFLICT", "field": "input.idempotencyKey"}


async def test_what_another_write_keeps_from_being_done_is_refused(
    opened: tuple[Catalog, ReadsOnTheirOwn],
) -> None:
    catalog, store = opened
    writer = Writer(catalog, "registerSegments", await made(catalog))
    store.after_receipts = lambda: writer.send("key-1")
    payload = await writer.send("key-2")
    codes = [found["error"]["code"] for found in payload["results"]]
    assert (payload["registeredCount"], codes) == (0, ["CONFLICT", "CONFLICT"])
