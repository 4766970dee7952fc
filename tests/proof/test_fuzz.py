"""No document and no variables make the server fail, or leave the catalog inconsistent."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator
from functools import cache
from typing import Any

import pytest
import pytest_asyncio
from graphql import GraphQLSchema, OperationType, build_schema
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tams_gql.schema import committed_sdl
from tests.catalog import Catalog, quick_settings, running
from tests.gql import Data
from tests.proof.audit import audit
from tests.proof.random_documents import Writer
from tests.proof.random_values import Known, Values
from tests.proof.world import Maker

pytestmark = pytest.mark.asyncio(loop_scope="module")

EXPECTED = {
    *("BAD_USER_INPUT", "NOT_FOUND", "CONFLICT", "READ_ONLY", "LIMIT_EXCEEDED", "CURSOR_EXPIRED"),
}
numbers = st.integers(0, 2**63)
quickly = settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])


@cache
def schema() -> GraphQLSchema:
    return build_schema(committed_sdl())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fuzzed]:
    """A full catalog, which still has to be in order at the end."""
    async with running(quick_settings(tmp_path_factory.mktemp("fuzz"))) as catalog:
        await Maker(catalog, random.Random(4)).fill(flows=12)
        fuzzed = Fuzzed(catalog)
        await fuzzed.look()
        yield fuzzed
        await catalog.gql.execute("{ flows(first: 1) { totalCount nodes { id tags { name } } } }")
        await audit(catalog.services.store)
        print(fuzzed.codes)


class Fuzzed:
    """A catalog that is asked anything."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.codes: Counter[str] = Counter()
        self.known = Known([], [])

    async def look(self) -> None:
        """Learn what there is, so that some of what is asked for can be found."""
        data = await self.catalog.gql.execute(
            """{
              flows(first: 5) { edges { cursor node { id segments { nodes { objectId } } } } }
              sources(first: 5) { edges { cursor node { id } } }
              profiles(first: 2) { nodes { id } }
              events(first: 3) { edges { cursor } }
              service { storageBackends { id } }
            }"""
        )
        flows, sources = data["flows"]["edges"], data["sources"]["edges"]
        rows = [e["node"] for e in flows + sources] + data["profiles"]["nodes"]
        rows += data["service"]["storageBackends"]
        objects = [s["objectId"] for e in flows for s in e["node"]["segments"]["nodes"]]
        cursors = [e["cursor"] for e in flows + sources + data["events"]["edges"]]
        self.known = Known([row["id"] for row in rows] + objects[:8], cursors)

    async def ask(self, query: str, variables: Any) -> Data:
        """The answer, which is one that the API describes."""
        response = await self.catalog.gql.post({"query": query, "variables": variables})
        assert response.status_code < 500, response.text
        answer: Data = response.json()
        codes = [error["extensions"]["code"] for error in answer.get("errors", ())]
        assert set(codes) <= EXPECTED, answer["errors"]
        self.codes.update(codes or ["fine"])
        return answer


@quickly
@given(number=numbers)
async def test_queries(fuzzed: Fuzzed, number: int) -> None:
    chance = random.Random(number)
    writer = Writer(schema(), Values(chance, fuzzed.known), depth=chance.randint(1, 5))
    await fuzzed.ask(writer.operation(OperationType.QUERY), writer.variables)


@quickly
@given(number=numbers)
async def test_mutations(fuzzed: Fuzzed, number: int) -> None:
    chance = random.Random(number)
    writer = Writer(schema(), Values(chance, fuzzed.known), depth=chance.randint(1, 4))
    await fuzzed.ask(writer.operation(OperationType.MUTATION), writer.variables)
    if chance.random() < 0.05:
        await fuzzed.look()
