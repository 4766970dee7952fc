"""One reader of the store is enough for any operation: none waits for what it holds itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.catalog import Catalog, quick_settings, running
from tests.seed import Seed


@pytest.fixture
async def catalog(tmp_path: Path) -> AsyncIterator[Catalog]:
    """A catalog with one reader, in which an operation that waits for itself soon fails."""
    settings = quick_settings(tmp_path, store_readers=1, request_timeout=5, background_work=False)
    async with running(settings) as catalog:
        yield catalog


@pytest.fixture
def seed(catalog: Catalog) -> Seed:
    return Seed(catalog.gql, catalog.http)


async def test_the_log_is_read_beside_the_tables(catalog: Catalog, seed: Seed) -> None:
    flow_id = await seed.flow("video")
    query = "{ sources { nodes { flows { nodes { id } } } } events { nodes { type } } }"
    assert await catalog.gql.execute(query) == {
        "sources": {"nodes": [{"flows": {"nodes": [{"id": flow_id}]}}]},
        "events": {"nodes": [{"type": "SOURCE_CREATED"}, {"type": "FLOW_CREATED"}]},
    }


async def test_events_of_members_are_read_after_the_members(catalog: Catalog, seed: Seed) -> None:
    member = await seed.flow("video")
    collecting = await seed.flow("multi", collection=[{"flowId": member, "role": "video"}])
    query = """
    query Collected($ids: [ID!]) {
      events(filter: { collectedBy: $ids, types: [FLOW_CREATED] }) { nodes { flowId } }
    }
    """
    answers = await asyncio.gather(
        *(catalog.gql.execute(query, {"ids": [collecting]}) for _ in range(8))
    )
    assert answers == [{"events": {"nodes": [{"flowId": member}]}}] * 8


async def test_the_store_is_ready_while_all_readers_are_taken(catalog: Catalog) -> None:
    async with catalog.services.store.session() as session:
        await session.head()
        async with asyncio.timeout(5):
            await catalog.services.store.check()
