"""Eight clients that want the same thing at once, on one server and on two with one catalog."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tams_gql.model.ids import new_id
from tests import seed
from tests.gql import Data, GraphQL
from tests.proof.audit import audit
from tests.proof.servers import Server, client, opened

CLIENTS = 8
SPAN = 400
"""Seconds of the timeline that everybody wants a part of."""

TAGS = """
mutation SetTags($input: SetTagsInput!) {
  setTags(input: $input) { node { ... on Source { tags { name values } } } }
}
"""
SET_TAGS = "mutation SetTags($input: SetTagsInput!) { setTags(input: $input) { event } }"

Attempt = tuple[int, int]
"""A range that somebody wants, in seconds."""


@dataclass(frozen=True)
class Crowd:
    """Eight clients with connections of their own, spread over the servers."""

    clients: Sequence[GraphQL]
    data_dir: Path

    async def each(self, work: Callable[[GraphQL, int], Awaitable[Any]]) -> list[Any]:
        """What all clients answer who do the same at once."""
        return await asyncio.gather(*(work(gql, n) for n, gql in enumerate(self.clients)))

    async def execute(self, query: str, **variables: object) -> Data:
        """Ask any of them."""
        return await self.clients[0].execute(query, variables)

    async def audit(self) -> None:
        """Compare the catalog with itself."""
        async with opened(self.data_dir) as store:
            await audit(store)


@pytest.fixture(scope="module")
def servers(catalog_store: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    """Two servers on one data directory."""
    data_dir = tmp_path_factory.mktemp("contention") / "data"
    started = [Server(data_dir) for _ in range(2)]
    yield started
    for server in started:
        server.close()


@pytest.fixture(params=[1, 2], ids=["one server", "two servers"])
async def crowd(request: pytest.FixtureRequest, servers: list[Server]) -> AsyncIterator[Crowd]:
    """Eight clients."""
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(client(servers[number % request.param].url))
            for number in range(CLIENTS)
        ]
        yield Crowd([one.gql for one in clients], servers[0].data_dir)


async def payload(gql: GraphQL, mutation: str, given: Data) -> Data:
    """What a mutation that must succeed answers."""
    (found,) = (await gql.execute(mutation, {"input": given})).values()
    answered: Data = found
    return answered


async def outcome(gql: GraphQL, mutation: str, given: Data) -> tuple[Data | None, Data | None]:
    """The payload of a mutation, or its only error."""
    answer = await gql.answer(mutation, {"input": given})
    if "errors" in answer:
        (error,) = answer["errors"]
        return None, error
    (found,) = answer["data"].values()
    return found, None


# Overlaps


@dataclass(frozen=True)
class Claims:
    """What one client got of what it wanted."""

    stored: list[Attempt]
    refused: list[Attempt]


async def test_nobody_gets_what_overlaps(crowd: Crowd) -> None:
    # given
    flow_id = (await payload(crowd.clients[0], seed.PUT_FLOW, seed.flow_input()))["flow"]["id"]
    # when
    claims: list[Claims] = await crowd.each(lambda gql, n: claim(gql, flow_id, n, rounds=25))
    # then
    stored = sorted(attempt for c in claims for attempt in c.stored)
    refused = [attempt for c in claims for attempt in c.refused]
    assert all(end <= start for (_, end), (start, _) in pairwise(stored))
    assert all(any(overlap(attempt, other) for other in stored) for attempt in refused)
    assert all(c.stored for c in claims)
    assert refused
    assert await timeline(crowd, flow_id) == stored
    await crowd.audit()


async def claim(gql: GraphQL, flow_id: str, number: int, rounds: int) -> Claims:
    """Want whatever chance says, item by item or all or nothing."""
    chance, claims = random.Random(), Claims([], [])
    for turn in range(rounds):
        first = chance.randrange(SPAN)
        wanted = [
            (start, start + chance.randint(1, 4))
            for start in range(first, first + chance.randint(1, 3) * 4, 4)
        ]
        atomic = bool((turn + number) % 2)
        items = [seed.external(seed.seconds(*attempt)) for attempt in wanted]
        given = {"flowId": flow_id, "segments": items, "atomic": atomic}
        found, error = await outcome(gql, seed.REGISTER, given)
        if found is None:
            assert atomic
            assert error is not None
            failed = error["extensions"]["failed"]
            assert error["extensions"]["code"] == failed[0]["code"]
            assert error["message"] == failed[0]["message"]
        else:
            failed = [
                {"index": result["index"], **result["error"]}
                for result in found["results"]
                if result["error"] is not None
            ]
            missed = {item["index"] for item in failed}
            claims.stored.extend(a for index, a in enumerate(wanted) if index not in missed)
        for item in failed:
            check_refusal(item, wanted)
            claims.refused.append(wanted[item["index"]])
    return claims


def check_refusal(item: Data, wanted: list[Attempt]) -> None:
    """The message names the item, its range, and the one that is in the way."""
    path, given = f"input.segments.{item['index']}.timerange", wanted[item["index"]]
    assert (item["code"], item["field"]) == ("CONFLICT", path)
    told = rf"{re.escape(path)}: {re.escape(seed.seconds(*given))} overlaps the segment (.+)"
    match = re.fullmatch(told, item["message"])
    assert match is not None, item["message"]
    assert overlap(given, seconds_of(match[1])), item["message"]


async def timeline(crowd: Crowd, flow_id: str) -> list[Attempt]:
    query = """
    query Timeline($id: ID!) {
      flow(id: $id) { segments(first: 1000) { nodes { timerange } totalCount } }
    }
    """
    segments = (await crowd.execute(query, id=flow_id))["flow"]["segments"]
    assert segments["totalCount"] == len(segments["nodes"])
    return [seconds_of(node["timerange"]) for node in segments["nodes"]]


def seconds_of(timerange: str) -> Attempt:
    match = re.fullmatch(r"\[(\d+):0_(\d+):0\)", timerange)
    assert match is not None, timerange
    return int(match[1]), int(match[2])


def overlap(one: Attempt, other: Attempt) -> bool:
    return one[0] < other[1] and other[0] < one[1]


async def test_an_object_that_all_register_at_once_is_one(crowd: Crowd) -> None:
    """Its first registration makes it; the others use it, whichever is first."""
    source_id = new_id()
    flows = [
        (await payload(gql, seed.PUT_FLOW, seed.flow_input(sourceId=source_id)))["flow"]["id"]
        for gql in crowd.clients
    ]
    for number in range(5):
        item = seed.external(seed.seconds(number, number + 1))

        async def register(gql: GraphQL, at: int, item: Data = item) -> Data:
            return await payload(gql, seed.REGISTER, {"flowId": flows[at], "segments": [item]})

        answers = await crowd.each(register)
        assert [answer["registeredCount"] for answer in answers] == [1] * CLIENTS
        query = "query Object($id: ID!) { object(id: $id) { referenceCount } }"
        found = await crowd.execute(query, id=item["objectId"])
        assert found["object"] == {"referenceCount": CLIENTS}
    await crowd.audit()


# Flows and sources


async def test_a_new_flow_that_all_put_at_once_is_made_once(crowd: Crowd) -> None:
    for _ in range(5):
        given = seed.flow_input("data")
        answers = await crowd.each(lambda gql, _: payload(gql, seed.PUT_FLOW, given))  # noqa: B023
        assert sorted(answer["created"] for answer in answers) == [False] * 7 + [True]
        assert await version_of(crowd, given["data"]["id"]) == CLIENTS
    await crowd.audit()


async def test_a_flow_that_must_be_new_is_made_by_one_and_refused_to_the_others(
    crowd: Crowd,
) -> None:
    for _ in range(5):
        given = seed.flow_input("data", expectedVersion=0)
        answers = await crowd.each(lambda gql, _: outcome(gql, seed.PUT_FLOW, given))  # noqa: B023
        (made,) = [found for found, _ in answers if found is not None]
        assert made["created"] is True
        told = [(e["extensions"], e["message"]) for _, e in answers if e is not None]
        field = "input.data.expectedVersion"
        assert told == [
            (
                {"code": "CONFLICT", "field": field, "version": 1},
                f"{field}: 0 is stale; the flow has version 1",
            )
        ] * (CLIENTS - 1)
    await crowd.audit()


async def version_of(crowd: Crowd, flow_id: str) -> int:
    data = await crowd.execute("query V($id: ID!) { flow(id: $id) { version } }", id=flow_id)
    version: int = data["flow"]["version"]
    return version


async def test_each_version_is_won_by_exactly_one_edit(crowd: Crowd) -> None:
    # given
    flow_id = (await payload(crowd.clients[0], seed.PUT_FLOW, seed.flow_input()))["flow"]["id"]

    async def edit(gql: GraphQL, number: int) -> list[int]:
        """Edit what was seen; the versions that were won."""
        won, seen = [], 1
        for turn in range(12):
            given = {"id": flow_id, "label": f"{number} {turn}", "expectedVersion": seen}
            found, error = await outcome(gql, seed.PATCH_FLOW, given)
            if found is not None:
                won.append(seen)
                seen += 1
                continue
            assert error is not None
            assert (error["extensions"]["code"], error["extensions"]["field"]) == (
                "CONFLICT",
                "input.expectedVersion",
            )
            assert error["extensions"]["version"] > seen
            seen = error["extensions"]["version"]
        return won

    # when
    won = sorted(version for versions in await crowd.each(edit) for version in versions)
    # then
    assert won == list(range(1, len(won) + 1))
    assert await version_of(crowd, flow_id) == len(won) + 1
    await crowd.audit()


@pytest.mark.parametrize("kind", ["flow", "source"])
async def test_tags_of_different_names_set_at_once_all_stay(crowd: Crowd, kind: str) -> None:
    # given
    given = seed.flow_input("data")
    await payload(crowd.clients[0], seed.PUT_FLOW, given)
    node_id = given["data"]["id" if kind == "flow" else "sourceId"]

    async def tag(gql: GraphQL, number: int) -> None:
        for turn in range(6):
            name = f"{number} {turn}"
            tags = {"set": [{"name": name, "values": [name]}]}
            await payload(gql, SET_TAGS, {"id": node_id, **tags})

    # when
    await crowd.each(tag)
    # then
    query = "query Tags($id: ID!) { node(id: $id) { ... on Flow { tags { name values } }"
    query += " ... on Source { tags { name values } } } }"
    found = (await crowd.execute(query, id=node_id))["node"]["tags"]
    names = [f"{number} {turn}" for number in range(CLIENTS) for turn in range(6)]
    assert sorted((tag["name"], tag["values"]) for tag in found) == sorted((n, [n]) for n in names)
    await crowd.audit()


async def test_a_source_exists_exactly_as_long_as_a_flow_of_it(crowd: Crowd) -> None:
    # given
    source_id, busy = new_id(), True

    async def come_and_go(gql: GraphQL, number: int) -> int:
        removed = 0
        for _ in range(8):
            given = seed.flow_input("data", sourceId=source_id)
            await payload(gql, seed.PUT_FLOW, given)
            done = await payload(gql, seed.DELETE_FLOW, {"id": given["data"]["id"]})
            removed += done["sourceDeleted"]
        return removed

    async def watch() -> set[int]:
        query = """
        query Watch($id: ID!) {
          source(id: $id) { flows { totalCount } }
          flows(filter: { sourceIds: [$id] }) { totalCount nodes { source { id } } }
        }
        """
        seen = set()
        while busy:
            data = await crowd.execute(query, id=source_id)
            count = data["flows"]["totalCount"]
            assert data["source"] == ({"flows": {"totalCount": count}} if count else None)
            seen.add(count)
        return seen

    # when
    watching = asyncio.create_task(watch())
    removed = sum(await crowd.each(come_and_go))
    busy = False
    # then
    assert max(await watching) > 1
    assert removed >= 1
    query = """
    query Left($id: ID!) {
      source(id: $id) { id }
      events(first: 1000, filter: { types: [SOURCE_DELETED], sourceIds: [$id] }) { nodes { type } }
    }
    """
    left = await crowd.execute(query, id=source_id)
    assert left == {"source": None, "events": {"nodes": [{"type": "SOURCE_DELETED"}] * removed}}
    await crowd.audit()


async def test_collections_that_grow_into_each_other_never_close_a_circle(crowd: Crowd) -> None:
    # given
    flows = [seed.flow_input("multi") for _ in range(3)]
    ids = [flow["multi"]["id"] for flow in flows]
    for flow in flows:
        await payload(crowd.clients[0], seed.PUT_FLOW, flow)

    async def collect(gql: GraphQL, number: int) -> list[str]:
        chance, refused = random.Random(), []
        for _ in range(8):
            parent, *members = chance.sample(ids, chance.randint(1, 3))
            collection = [{"flowId": member} for member in members]
            given = {"id": parent, "collection": collection}
            _, error = await outcome(gql, seed.PATCH_FLOW, given)
            if error is not None:
                refused.append(f"{error['extensions']['code']} {error['message']}")
        return refused

    # when
    refused = [text for texts in await crowd.each(collect) for text in texts]
    # then
    circle = "would contain itself through its members"
    assert [text for text in refused if circle not in text] == []
    await crowd.audit()


async def test_a_flow_that_goes_while_others_collect_it_leaves_every_collection(
    crowd: Crowd,
) -> None:
    for _ in range(6):
        # given
        child = seed.flow_input("data")
        await payload(crowd.clients[0], seed.PUT_FLOW, child)
        child_id = child["data"]["id"]

        async def act(gql: GraphQL, number: int, child_id: str = child_id) -> str:
            if number == 3:
                await payload(gql, seed.DELETE_FLOW, {"id": child_id})
                return "deleted"
            given = seed.flow_input("multi", collection=[{"flowId": child_id}])
            _, error = await outcome(gql, seed.PUT_FLOW, given)
            return "collected" if error is None else error["message"]

        # when
        answers = await crowd.each(act)
        # then
        unknown = f"input.multi.collection.0.flowId: there is no flow {child_id}"
        assert set(answers) <= {"deleted", "collected", unknown}
        query = "query Left($id: ID!) { flow(id: $id) { collectedBy { id } } }"
        assert await crowd.execute(query, id=child_id) == {"flow": None}
    await crowd.audit()
