"""``Query.sources``: sources are made by their first flow and show its label and format."""

from __future__ import annotations

import pytest

from tams_gql.model.ids import new_id
from tests.gql import Data, GraphQL
from tests.seed import Seed

SOURCE = """
query Source($id: ID!) {
  source(id: $id) {
    __typename id format label description createdBy updatedBy created updated version
    tags { name values } tag(name: "a") { name }
    flows { totalCount nodes { id } }
    collects { role } collectedBy { id }
  }
}
"""

SOURCES = """
query Sources($filter: SourceFilter, $order: SourceOrder) {
  sources(filter: $filter, orderBy: $order) { totalCount nodes { id } }
}
"""

FORMATS = ("video", "audio", "image", "data", "multi")


@pytest.mark.parametrize("format", FORMATS)
async def test_a_source_is_made_with_its_first_flow(gql: GraphQL, seed: Seed, format: str) -> None:
    # given
    source_id = new_id()
    assert await gql.execute(SOURCE, {"id": source_id}) == {"source": None}
    # when
    tags = [{"name": "a", "values": ["1"]}]
    fields = {"label": "Match", "description": "A match", "tags": tags}
    first = await seed.flow(format, sourceId=source_id, **fields)
    # then
    source = (await gql.execute(SOURCE, {"id": source_id}))["source"]
    created, updated = source.pop("created"), source.pop("updated")
    assert created == updated
    assert source == {
        "__typename": "Source",
        "id": source_id,
        "format": format.upper(),
        "label": "Match",
        "description": "A match",
        "createdBy": None,
        "updatedBy": None,
        "version": 1,
        "tags": [],
        "tag": None,
        "flows": {"totalCount": 1, "nodes": [{"id": first}]},
        "collects": [],
        "collectedBy": [],
    }


async def test_later_flows_leave_the_source_as_it_is(gql: GraphQL, seed: Seed) -> None:
    source_id = new_id()
    first = await seed.flow("video", sourceId=source_id, label="First")
    before = (await gql.execute(SOURCE, {"id": source_id}))["source"]
    second = await seed.flow("video", sourceId=source_id, label="Second")
    await seed.patch(first, label="Renamed")
    after = (await gql.execute(SOURCE, {"id": source_id}))["source"]
    assert after.pop("flows") == {"totalCount": 2, "nodes": [{"id": second}, {"id": first}]}
    before.pop("flows")
    assert after == before


async def test_filters_and_orders(gql: GraphQL, seed: Seed) -> None:
    # given: the oldest first
    ids = sorted(new_id() for _ in range(5))
    labels = ("b", "a", None, "a", "c")
    for source_id, label, format in zip(ids, labels, FORMATS, strict=True):
        await seed.flow(format, sourceId=source_id, label=label)

    async def numbers(chosen: Data | None = None, order: Data | None = None) -> list[int]:
        found = await gql.execute(SOURCES, {"filter": chosen, "order": order})
        nodes = found["sources"]["nodes"]
        assert found["sources"]["totalCount"] == len(nodes)
        return [ids.index(node["id"]) for node in nodes]

    # when, then
    assert await numbers() == [4, 3, 2, 1, 0]
    assert await numbers({"format": ["VIDEO", "MULTI"]}) == [4, 0]
    assert await numbers({"label": "a"}) == [3, 1]
    assert await numbers({"ids": [ids[2], ids[0], new_id()]}) == [2, 0]
    assert await numbers({"ids": [], "label": "a"}) == []
    assert await numbers({"label": "a", "format": ["DATA"]}) == [3]
    assert await numbers(order={"field": "CREATED", "direction": "ASC"}) == [0, 1, 2, 3, 4]
    assert await numbers(order={"field": "UPDATED"}) == [4, 3, 2, 1, 0]
    assert await numbers(order={"field": "LABEL"}) == [1, 3, 0, 4, 2]
    assert await numbers(order={"field": "LABEL", "direction": "DESC"}) == [2, 4, 0, 3, 1]


async def test_the_flows_of_a_source_can_be_filtered_ordered_and_counted(
    gql: GraphQL, seed: Seed
) -> None:
    source_id = new_id()
    labels = ("x", "z", "y", "x")
    flows = [await seed.flow("video", sourceId=source_id, label=label) for label in labels]
    await seed.flow("video", label="x")  # of another source
    query = """
    query($id: ID!, $other: [ID!]!) {
      source(id: $id) {
        all: flows { totalCount nodes { id } }
        byLabel: flows(orderBy: {field: LABEL, direction: DESC}) { nodes { label } }
        one: flows(filter: {label: "y"}) { totalCount nodes { id } }
        none: flows(filter: {sourceIds: $other}) { totalCount nodes { id } }
      }
    }
    """
    data = await gql.execute(query, {"id": source_id, "other": [new_id()]})
    assert data["source"] == {
        "all": {"totalCount": 4, "nodes": [{"id": flow_id} for flow_id in flows[::-1]]},
        "byLabel": {"nodes": [{"label": label} for label in ("z", "y", "x", "x")]},
        "one": {"totalCount": 1, "nodes": [{"id": flows[2]}]},
        "none": {"totalCount": 0, "nodes": []},
    }
