"""``deleteFlow``: a flow goes with its segments, its places in collections and its last source."""

from __future__ import annotations

import asyncio

from tams_gql.model.ids import new_id
from tests.catalog import Catalog
from tests.gql import Data, GraphQL, refusal
from tests.seed import DELETE_FLOW, Seed

SOURCE = "query Source($id: ID!) { source(id: $id) { version flows { totalCount } } }"


async def source(gql: GraphQL, source_id: str) -> Data | None:
    found: Data | None = (await gql.execute(SOURCE, {"id": source_id}))["source"]
    return found


async def test_a_flow_goes_with_its_segments_and_its_objects_stay(
    catalog: Catalog, seed: Seed
) -> None:
    # given
    flow_id = await seed.flow("video")
    (object_id,) = await seed.segments(flow_id, "[0:0_10:0)")
    await seed.external(flow_id, "[10:0_20:0)", "[30:0_40:0)")
    # when
    payload = await seed.delete(flow_id)
    # then
    event = payload.pop("event")
    assert payload == {
        "deletedFlowId": flow_id,
        "deletedSegmentCount": 3,
        "sourceDeleted": True,
    }
    assert event == catalog.services.feed.cursor(await catalog.services.store.log.head())
    data = await catalog.gql.execute(
        "query($id: ID!, $object: ID!) { flow(id: $id) { id } node(id: $id) { id }"
        " flows { totalCount nodes { id } }"
        " object(id: $object) { id firstReferencedByFlow { id } } }",
        {"id": flow_id, "object": object_id},
    )
    assert data == {
        "flow": None,
        "node": None,
        "flows": {"totalCount": 0, "nodes": []},
        "object": {"id": object_id, "firstReferencedByFlow": None},
    }


async def test_what_happened_is_in_the_log_in_order(catalog: Catalog, seed: Seed) -> None:
    flow_id = await seed.flow("video")
    await seed.external(flow_id, "[0:0_10:0)")
    before = len(await catalog.event_types())
    await seed.delete(flow_id)
    assert (await catalog.event_types())[before:] == [
        "flows/segments_deleted",
        "flows/deleted",
        "sources/deleted",
    ]


async def test_the_source_goes_with_its_last_flow(gql: GraphQL, seed: Seed) -> None:
    source_id = new_id()
    flows = [await seed.flow("video", sourceId=source_id) for _ in range(3)]
    for left in (2, 1):
        payload = await seed.delete(flows.pop())
        assert payload["sourceDeleted"] is False
        assert await source(gql, source_id) == {"version": 1, "flows": {"totalCount": left}}
    assert (await seed.delete(flows.pop()))["sourceDeleted"] is True
    assert await source(gql, source_id) is None


async def test_a_source_that_went_can_come_back_in_another_format(gql: GraphQL, seed: Seed) -> None:
    source_id = new_id()
    await seed.delete(await seed.flow("video", sourceId=source_id))
    await seed.flow("audio", sourceId=source_id)
    assert await source(gql, source_id) == {"version": 1, "flows": {"totalCount": 1}}


async def test_flows_of_one_source_deleted_at_once_take_it_with_them(
    catalog: Catalog, seed: Seed
) -> None:
    source_id = new_id()
    flows = [await seed.flow("video", sourceId=source_id) for _ in range(6)]
    payloads = await asyncio.gather(*(seed.delete(flow_id) for flow_id in flows))
    assert [payload["sourceDeleted"] for payload in payloads].count(True) == 1
    assert await source(catalog.gql, source_id) is None
    assert (await catalog.event_types()).count("sources/deleted") == 1


async def test_collections_lose_the_flow_and_their_flows_get_a_new_version(
    catalog: Catalog, seed: Seed
) -> None:
    # given
    member, other = await seed.flow("audio"), await seed.flow("data")
    parents = [
        await seed.flow("multi", collection=[{"flowId": member}, {"flowId": other, "role": "r"}]),
        await seed.flow("video", collection=[{"flowId": member}], metadataVersion="mine"),
    ]
    without = await seed.flow("multi", collection=[{"flowId": other}])
    # when
    await seed.delete(member)
    # then
    data = await catalog.gql.execute(
        "query($ids: [ID!]!) { nodes(ids: $ids) { ... on Flow"
        " { version metadataVersion metadataUpdated collection { role flow { id } } } } }",
        {"ids": [*parents, without]},
    )
    left = {"role": "r", "flow": {"id": other}}
    for flow in data["nodes"]:
        assert flow.pop("metadataVersion") == flow.pop("metadataUpdated")
    assert data["nodes"] == [
        {"version": 2, "collection": [left]},
        {"version": 2, "collection": []},
        {"version": 1, "collection": [{**left, "role": None}]},
    ]
    assert (await catalog.event_types())[-4:] == [
        "flows/deleted",
        "flows/updated",
        "flows/updated",
        "sources/deleted",
    ]


async def test_a_collecting_flow_leaves_its_members_alone(gql: GraphQL, seed: Seed) -> None:
    member = await seed.flow("audio")
    await seed.delete(await seed.flow("multi", collection=[{"flowId": member}]))
    data = await gql.execute(
        "query($id: ID!) { flow(id: $id) { version collectedBy { id } } }", {"id": member}
    )
    assert data["flow"] == {"version": 1, "collectedBy": []}


async def test_a_member_deleted_while_it_is_collected_is_in_no_collection(
    gql: GraphQL, seed: Seed
) -> None:
    member, parent = await seed.flow("audio"), await seed.flow("multi")
    collect = (
        "mutation($id: ID!, $member: ID!) { patchFlow(input: {id: $id, collection:"
        " [{flowId: $member}]}) { event } }"
    )
    answer, _ = await asyncio.gather(
        gql.answer(collect, {"id": parent, "member": member}), seed.delete(member)
    )
    data = await gql.execute(
        "query($id: ID!) { flow(id: $id) { collection { flow { id } } } }", {"id": parent}
    )
    assert data["flow"] == {"collection": []}
    for error in answer.get("errors", []):
        assert error["extensions"]["field"] == "input.collection.0.flowId"


async def test_an_unknown_flow_is_not_found(catalog: Catalog, seed: Seed) -> None:
    flow_id = await seed.flow("video")
    await seed.delete(flow_id)
    before = await catalog.dump()
    assert await catalog.gql.errors(DELETE_FLOW, {"input": {"id": flow_id}}) == [
        refusal("NOT_FOUND", f"there is no flow {flow_id}", "deleteFlow", field="input.id")
    ]
    assert await catalog.dump() == before


async def test_a_stale_version_is_refused(catalog: Catalog, seed: Seed) -> None:
    flow_id = await seed.flow("video")
    await seed.patch(flow_id, label="x")
    before = await catalog.dump()
    stale = {"id": flow_id, "expectedVersion": 1}
    assert await catalog.gql.errors(DELETE_FLOW, {"input": stale}) == [
        refusal(
            "CONFLICT",
            "input.expectedVersion: 1 is stale; the flow has version 2",
            "deleteFlow",
            field="input.expectedVersion",
            version=2,
        )
    ]
    assert await catalog.dump() == before
    assert (await seed.delete(flow_id, expectedVersion=2))["deletedFlowId"] == flow_id
