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

from tams_gql.model.ids import new_id
from tams_gql.schema import committed_sdl
from tests import seed as seeds
from tests.catalog import Catalog, quick_settings, running
from tests.gql import Data
from tests.proof import lists
from tests.proof.audit import audit
from tests.proof.random_documents import Writer
from tests.proof.random_values import Known, Values, mutated
from tests.proof.world import Maker
from tests.recording import watched
from tests.seed import Seed

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
async def fuzzed(
    catalog_store: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Fuzzed]:
    """A full catalog, which still has to be in order at the end."""
    async with running(quick_settings(tmp_path_factory.mktemp("fuzz"))) as catalog:
        await Maker(catalog, random.Random(4)).fill(flows=12)
        fuzzed = Fuzzed(catalog)
        await fuzzed.look()
        # Two of the five flows that operations are about refuse every change.
        for flow_id in fuzzed.known.ids[:2]:
            await Seed(catalog.gql, catalog.http).patch(flow_id, readOnly=True)
        yield fuzzed
        await catalog.gql.execute("{ flows(first: 1) { totalCount nodes { id tags { name } } } }")
        await audit(catalog.services.store)
        # It has been asked what could be answered as well as what could not.
        assert fuzzed.codes.keys() == EXPECTED - {"CURSOR_EXPIRED"} | {"fine"}


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

    def operations(self, chance: random.Random) -> list[tuple[str, Data]]:
        """Operations that would be in order, most of them."""
        ids = self.known.ids
        flow, source, *others = [chance.choice(ids[:5]), *ids[5:6], *ids[-3:]]
        item = seeds.external("[300:0_301:0)", tags=[{"name": "a", "values": ["b"]}])
        condition = {"name": "genre", "in": ["news"]}
        nested = {"AND": [{"format": ["VIDEO"]}, {"NOT": {"tags": [condition]}}], "label": "a"}
        paging = {"first": 2, "after": self.known.cursors[0]}
        writes: list[tuple[str, Data]] = [
            (seeds.PUT_FLOW, full_flow()),
            (seeds.PATCH_FLOW, {"id": flow, "label": "x", "expectedVersion": 1, "status": None}),
            (seeds.ALLOCATE, {"flowId": flow, "objectIds": [new_id()], "contentType": "a/b"}),
            (seeds.REGISTER, {"flowId": flow, "segments": [item] * 2, "atomic": True}),
            (seeds.DELETE_SEGMENTS, {"flowId": flow, "coveredBy": "[0:0_5:0)", "objectId": "a"}),
            (seeds.DELETE_FLOW, {"id": flow, "expectedVersion": 7, "idempotencyKey": "a"}),
        ]
        reads: list[tuple[str, Data]] = [
            (lists.FLOWS.query, {"filter": nested, "search": "a b", **paging}),
            (lists.SOURCES.query, {"filter": {"OR": [nested, {"ids": [source]}]}, **paging}),
            (lists.OBJECTS.query, {"filter": {"ids": others, "minSize": 1}, **paging}),
            (lists.EVENTS.query, {"filter": {"flowIds": [flow]}, **paging}),
            (lists.SEGMENTS.query, {"id": flow, "window": "[0:0_9:0)", "reverse": False}),
        ]
        return [(query, {"input": given}) for query, given in writes] + reads

    async def ask(self, query: str, variables: Any) -> Data:
        """The answer, which is one that the API describes."""
        response = await self.catalog.gql.post({"query": query, "variables": variables})
        assert response.status_code < 500, response.text
        answer: Data = response.json()
        codes = [error["extensions"]["code"] for error in answer.get("errors", ())]
        assert set(codes) <= EXPECTED, answer["errors"]
        self.codes.update(codes or ["fine"])
        return answer


def full_flow() -> Data:
    """A flow with something everywhere."""
    mapping = {"trackIndex": 0, "audioTrack": {"channelNumbers": [0, 1]}}
    return seeds.flow_input(
        "audio",
        label="a",
        tags=[{"name": "a", "values": ["b", "c"]}],
        status="INGESTING",
        segmentDuration={"numerator": 1, "denominator": 25},
        containerMapping=mapping,
        collection=[{"flowId": new_id(), "role": "a", "containerMapping": mapping}],
        vendorParameters={"a": {"b": [1, 2.5, None, True, "c"]}},
        essenceParameters={
            "sampleRate": 48000,
            "channels": 2,
            "codecParameters": {"codedFrameSize": 1024, "mp4Oti": 2},
        },
    )


@quickly
@given(number=numbers)
async def test_queries(fuzzed: Fuzzed, number: int) -> None:
    chance = random.Random(number)
    writer = Writer(schema(), Values(chance, fuzzed.known), depth=chance.randint(1, 5))
    await fuzzed.ask(writer.operation(OperationType.QUERY), writer.variables)


@quickly
@given(number=numbers)
async def test_variables_that_were_in_order_before_something_changed(
    fuzzed: Fuzzed, number: int
) -> None:
    chance = random.Random(number)
    values = Values(chance, fuzzed.known)
    query, variables = chance.choice(fuzzed.operations(chance))
    for _ in range(chance.randint(1, 3)):
        variables = mutated(variables, values)
    await fuzzed.ask(query, variables)


@quickly
@given(number=numbers)
async def test_mutations(fuzzed: Fuzzed, number: int) -> None:
    chance = random.Random(number)
    writer = Writer(schema(), Values(chance, fuzzed.known), depth=chance.randint(1, 4))
    await fuzzed.ask(writer.operation(OperationType.MUTATION), writer.variables)
    if chance.random() < 0.05:
        await fuzzed.look()


# Too much at once


def nested(levels: int, **branch: Any) -> Data:
    """Filters inside each other."""
    found: Data = {"label": "a"}
    for _ in range(levels):
        found = {name: [found] * count if count else found for name, count in branch.items()}
    return found


TAG = {"name": "genre", "exists": True}
TOO_MUCH: dict[str, tuple[Data, str]] = {
    "many tag conditions": ({"filter": {"tags": [TAG] * 3000}}, "filter"),
    "many values of one tag": (
        {"filter": {"tags": [{"name": "a", "in": ["b"] * 65}]}},
        "filter.tags.0.in",
    ),
    "many values that all must be there": (
        {"filter": {"tags": [{"name": "a", "all": ["b"] * 64}] * 3}},
        "filter",
    ),
    "many branches of branches": ({"filter": nested(2, OR=64)}, "filter"),
    "many branches that are empty": ({"filter": {"AND": [{"OR": [{}] * 64}] * 64}}, "filter"),
    "many branches of one filter": ({"filter": {"OR": [{"label": "a"}] * 65}}, "filter.OR"),
    "filters nested too deep": ({"filter": nested(9, NOT=0)}, "filter"),
    "inputs nested too deep": ({"filter": nested(60, NOT=0)}, ""),
    "many ids": ({"filter": {"ids": [new_id()] * 1001}}, "filter.ids"),
    "many words": ({"search": "a " * 17}, "search"),
    "a long word": ({"search": "a" * 1025}, "search"),
    "a large page": ({"first": 1001}, "first"),
}


@pytest.mark.parametrize("name", TOO_MUCH)
async def test_what_asks_for_too_much_is_refused_before_the_store_is_asked(
    fuzzed: Fuzzed, name: str
) -> None:
    variables, field = TOO_MUCH[name]
    with watched() as calls:
        (error,) = (await fuzzed.ask(lists.FLOWS.query, variables))["errors"]
    extensions = error["extensions"]
    assert extensions["code"] in {"LIMIT_EXCEEDED", "BAD_USER_INPUT"}
    assert extensions.get("field", "") == field
    assert calls == []


@pytest.mark.parametrize(
    ("listing", "chosen"),
    [
        (lists.FLOWS, {"tags": [TAG] * 128}),
        (lists.FLOWS, {"OR": [{"AND": [{"label": "a\0"}, {"timerange": "_"}]}] * 42}),
        (lists.FLOWS, {"tags": [{"name": "a", "in": ["b\0"] * 64}] * 128}),
        (lists.FLOWS, {"ids": [new_id()] * 1000, "sourceIds": [new_id()] * 1000}),
        (lists.FLOWS, {"format": ["VIDEO"] * 5000, "status": ["INGESTING"] * 5000}),
        (lists.FLOWS, nested(8, NOT=0)),
        (lists.OBJECTS, {"ids": ["a\0b"] * 1000}),
        (lists.OBJECTS, {"ids": ["🎬" * 256] * 1000}),
        (lists.PROFILES, {"tags": [TAG] * 128}),
        (lists.EVENTS, {"flowIds": [new_id()] * 1000, "types": ["FLOW_CREATED"] * 3000}),
    ],
)
async def test_as_much_as_may_be_asked_for_is_answered(
    fuzzed: Fuzzed, listing: lists.Listing, chosen: Data
) -> None:
    assert "errors" not in await fuzzed.ask(listing.query, {"filter": chosen})


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"null", b"[]", b"7", b'"a"', b"\xff", b'{"query": 7}', b'{"query": null}'),
        *(b'{"query": "{ __typename }", "variables": []}', b'{"query": ""}'),
        b'{"query": "\\ud800"}',
        b'{"query": "query($s: String) { flows(search: $s) { totalCount } }",'
        b' "variables": {"s": "\\ud800"}}',
        b'{"query": "{ flows(search: \\"\\\\uD800\\") { totalCount } }"}',
        b'{"query": "{ __typename }", "variables": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"query": "' + b"{ a " * 30_000 + b'"}',
        b'{"query": "{ flows(first: ' + b"9" * 5000 + b') { totalCount } }"}',
        b'{"query": "{ flows(first: 1e999) { totalCount } }"}',
        b'{"query": "{ __typename }", "operationName": "\\u0000"}',
    ],
)
async def test_bodies_that_are_no_requests_are_refused(fuzzed: Fuzzed, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    response = await fuzzed.catalog.http.post("/graphql", content=body, headers=headers)
    assert response.status_code in (200, 400)
    codes = {error["extensions"]["code"] for error in response.json()["errors"]}
    assert codes <= {"BAD_USER_INPUT", "LIMIT_EXCEEDED"}
