"""``node`` and ``nodes``: sources and flows by UUID, each kind in one store round trip."""

from __future__ import annotations

import pytest

from tams_gql.model.ids import new_id
from tests.catalog import Catalog
from tests.gql import GraphQL, refusal
from tests.recording import watched
from tests.seed import Seed

NODES = "query Nodes($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }"
NODE = """
query Node($id: ID!) {
  node(id: $id) {
    __typename id ... on Source { label } ... on Flow { label codec } ... on AudioFlow { version }
  }
}
"""

FORMATS = ("video", "audio", "image", "data", "multi")


async def test_flows_of_every_format_and_sources_are_nodes(gql: GraphQL, seed: Seed) -> None:
    sources = [new_id() for _ in FORMATS]
    flows = [
        await seed.flow(format, sourceId=source)
        for format, source in zip(FORMATS, sources, strict=True)
    ]
    unknown = new_id()
    asked = [flows[4], sources[0], unknown, *flows[:4], sources[0], flows[0].upper()]
    nodes = (await gql.execute(NODES, {"ids": asked}))["nodes"]
    types = [f"{format.title()}Flow" for format in FORMATS]
    assert nodes == [
        {"__typename": types[4], "id": flows[4]},
        {"__typename": "Source", "id": sources[0]},
        None,
        *({"__typename": type, "id": id} for type, id in zip(types[:4], flows[:4], strict=True)),
        {"__typename": "Source", "id": sources[0]},
        {"__typename": types[0], "id": flows[0]},
    ]


async def test_one_node(gql: GraphQL, seed: Seed) -> None:
    source_id = new_id()
    flow_id = await seed.flow("audio", sourceId=source_id, label="Commentary")
    assert (await gql.execute(NODE, {"id": flow_id}))["node"] == {
        "__typename": "AudioFlow",
        "id": flow_id,
        "label": "Commentary",
        "codec": "audio/aac",
        "version": 1,
    }
    assert (await gql.execute(NODE, {"id": source_id}))["node"] == {
        "__typename": "Source",
        "id": source_id,
        "label": "Commentary",
    }
    assert (await gql.execute(NODE, {"id": new_id()}))["node"] is None


@pytest.mark.parametrize("pairs", [1, 50])
async def test_nodes_cost_one_round_trip_for_flows_and_one_for_sources(
    catalog: Catalog, seed: Seed, pairs: int
) -> None:
    ids = []
    for _ in range(pairs):
        source_id = new_id()
        ids += [source_id, await seed.flow("video", sourceId=source_id)]
    with watched() as calls:
        nodes = (await catalog.gql.execute(NODES, {"ids": ids}))["nodes"]
    assert [node["id"] for node in nodes] == ids
    assert calls == ["scan flows", "scan sources"]


async def test_flows_alone_cost_one_round_trip(catalog: Catalog, seed: Seed) -> None:
    flow_id = await seed.flow("video")
    with watched() as calls:
        await catalog.gql.execute(NODES, {"ids": [flow_id]})
    assert calls == ["scan flows"]


async def test_no_ids_cost_nothing(catalog: Catalog) -> None:
    with watched() as calls:
        assert await catalog.gql.execute(NODES, {"ids": []}) == {"nodes": []}
    assert calls == []


async def test_a_thousand_ids_are_the_limit(gql: GraphQL) -> None:
    ids = [new_id() for _ in range(1000)]
    assert (await gql.execute(NODES, {"ids": ids}))["nodes"] == [None] * 1000
    assert await gql.errors(NODES, {"ids": [*ids, new_id()]}) == [
        refusal(
            "LIMIT_EXCEEDED",
            "ids: 1001 ids are above the limit of 1000",
            "nodes",
            field="ids",
            limit=1000,
            requested=1001,
        )
    ]


async def test_what_is_no_uuid_is_named(gql: GraphQL) -> None:
    (error,) = await gql.errors(NODES, {"ids": [new_id(), "x"]})
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "field": "ids.1"}
    (error,) = await gql.errors(NODE, {"id": ""})
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "field": "id"}
    assert error["message"].startswith("id: '' is not allowed; a UUID of version 1 to 5")
