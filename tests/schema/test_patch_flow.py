"""``patchFlow``: what is left out stays, null removes, and a read-only flow stays as it is."""

from __future__ import annotations

import asyncio

import pytest

from tams_gql.model.ids import new_id
from tests.catalog import Catalog
from tests.gql import Data, GraphQL, refusal
from tests.seed import PATCH_FLOW, Seed, external

FLOW = """
query Flow($id: ID!) {
  flow(id: $id) {
    label description tags { name values } status readOnly avgBitRate maxBitRate generation codec
    version metadataVersion metadataUpdated vendorParameters
    segmentDuration { numerator denominator }
    containerMapping { trackIndex }
    collection { role flow { id } containerMapping { trackIndex } }
  }
}
"""

FULL: Data = {
    "label": "Camera 1",
    "description": "Wide",
    "tags": [{"name": "a", "values": ["1"]}, {"name": "b", "values": ["2", "3"]}],
    "status": "INGESTING",
    "avgBitRate": 5000,
    "maxBitRate": 6000,
}

CHANGES: dict[str, object] = {
    "label": "Camera 2",
    "description": "Close",
    "tags": [{"name": "c", "values": ["4"]}],
    "status": "CLOSED_COMPLETE",
    "readOnly": True,
    "avgBitRate": 1,
    "maxBitRate": 2,
}


async def read(gql: GraphQL, flow_id: str) -> Data:
    flow: Data = (await gql.execute(FLOW, {"id": flow_id}))["flow"]
    return flow


async def full_flow(seed: Seed) -> str:
    """A flow of which everything is set that can be patched, and more."""
    member = await seed.flow("audio")
    return await seed.flow(
        "video",
        **FULL,
        generation=1,
        collection=[{"flowId": member, "role": "sound", "containerMapping": {"trackIndex": 1}}],
        segmentDuration={"numerator": 2},
        containerMapping={"trackIndex": 0},
        vendorParameters={"x_desk": 4},
    )


@pytest.mark.parametrize("name", CHANGES)
async def test_one_change_leaves_the_rest_as_it_is(gql: GraphQL, seed: Seed, name: str) -> None:
    flow_id = await full_flow(seed)
    before = await read(gql, flow_id)
    payload = await seed.patch(flow_id, **{name: CHANGES[name]})
    after = await read(gql, flow_id)
    assert payload["flow"]["id"] == flow_id
    assert after["metadataUpdated"] > before["metadataUpdated"]
    now = after["metadataUpdated"]
    counted = {"version": 2, "metadataVersion": now, "metadataUpdated": now}
    assert after == {**before, **counted, name: CHANGES[name]}


@pytest.mark.parametrize("name", FULL)
async def test_null_removes(gql: GraphQL, seed: Seed, name: str) -> None:
    flow_id = await full_flow(seed)
    await seed.patch(flow_id, **{name: None})
    flow = await read(gql, flow_id)
    wanted = {**FULL, name: [] if name == "tags" else None}
    assert {key: flow[key] for key in FULL} == wanted


async def test_a_collection_is_replaced_or_removed(gql: GraphQL, seed: Seed) -> None:
    flow_id, other = await full_flow(seed), await seed.flow("data")
    await seed.patch(flow_id, collection=[{"flowId": other}])
    replaced = (await read(gql, flow_id))["collection"]
    assert replaced == [{"role": None, "flow": {"id": other}, "containerMapping": None}]
    both: tuple[list[Data] | None, ...] = ([], None)
    for nothing in both:
        await seed.patch(flow_id, collection=nothing)
        assert (await read(gql, flow_id))["collection"] == []


async def test_no_change_is_still_a_new_version(gql: GraphQL, seed: Seed) -> None:
    flow_id = await full_flow(seed)
    before = await read(gql, flow_id)
    await seed.patch(flow_id)
    after = await read(gql, flow_id)
    assert (before.pop("version"), after.pop("version")) == (1, 2)
    times = [flow.pop("metadataUpdated") for flow in (before, after)]
    assert times[0] < times[1]
    assert [flow.pop("metadataVersion") for flow in (before, after)] == times
    assert after == before


async def test_an_unknown_flow_is_not_found(catalog: Catalog) -> None:
    before = await catalog.dump()
    flow_id = new_id()
    assert await catalog.gql.errors(PATCH_FLOW, {"input": {"id": flow_id, "label": "x"}}) == [
        refusal("NOT_FOUND", f"there is no flow {flow_id}", "patchFlow", field="input.id")
    ]
    assert await catalog.dump() == before


@pytest.mark.parametrize(
    ("changes", "field", "reason"),
    [
        ({"label": "x" * 1025}, "label", "1024"),
        ({"avgBitRate": -1}, "avgBitRate", "-1 is not allowed"),
        ({"tags": [{"name": "a", "values": ["x"]}] * 2}, "tags", "the tag 'a' is given twice"),
        ({"collection": [{"flowId": "x"}]}, "collection.0.flowId", "a UUID"),
    ],
)
async def test_a_change_that_breaks_a_rule_leaves_no_trace(
    catalog: Catalog, seed: Seed, changes: Data, field: str, reason: str
) -> None:
    flow_id = await full_flow(seed)
    before = await catalog.dump()
    (error,) = await catalog.gql.errors(PATCH_FLOW, {"input": {"id": flow_id, **changes}})
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "field": f"input.{field}"}
    assert error["message"].startswith(f"input.{field}: ")
    assert reason in error["message"]
    assert await catalog.dump() == before


async def test_a_stale_version_is_refused(catalog: Catalog, seed: Seed) -> None:
    flow_id = await full_flow(seed)
    await seed.patch(flow_id, label="x", expectedVersion=1)
    before = await catalog.dump()
    stale = {"id": flow_id, "label": "y", "expectedVersion": 1}
    assert await catalog.gql.errors(PATCH_FLOW, {"input": stale}) == [
        refusal(
            "CONFLICT",
            "input.expectedVersion: 1 is stale; the flow has version 2",
            "patchFlow",
            field="input.expectedVersion",
            version=2,
        )
    ]
    assert await catalog.dump() == before


async def test_changes_of_many_clients_at_once_are_all_kept(gql: GraphQL, seed: Seed) -> None:
    flow_id = await full_flow(seed)
    changes = dict(CHANGES)
    del changes["readOnly"]
    await asyncio.gather(*(seed.patch(flow_id, **{name: changes[name]}) for name in changes))
    flow = await read(gql, flow_id)
    assert {name: flow[name] for name in changes} == changes
    assert flow["version"] == 1 + len(changes)


# Everything that would change a read-only flow or its segments, by the field of the mutation.
WRITES = {
    "putFlow": "mutation($id: ID!, $source: ID!) { putFlow(input: {data: {id: $id,"
    ' sourceId: $source, codec: "application/json", container: "application/json",'
    " essenceParameters: {}}}) { event } }",
    "patchFlow": 'mutation($id: ID!) { patchFlow(input: {id: $id, label: "x"}) { event } }',
    "deleteFlow": "mutation($id: ID!) { deleteFlow(input: {id: $id}) { event } }",
    "allocateStorage": "mutation($id: ID!)"
    " { allocateStorage(input: {flowId: $id}) { mediaObjects { objectId } } }",
    "registerSegments": "mutation($id: ID!, $segment: SegmentInput!)"
    " { registerSegments(input: {flowId: $id, segments: [$segment]}) { event } }",
    "deleteSegments": "mutation($id: ID!) { deleteSegments(input: {flowId: $id}) { event } }",
}


@pytest.mark.parametrize("field", WRITES)
async def test_of_a_read_only_flow_nothing_but_the_mark_can_be_changed(
    catalog: Catalog, seed: Seed, field: str
) -> None:
    # given
    source_id = new_id()
    flow_id = await seed.flow("data", sourceId=source_id)
    await seed.external(flow_id, "[0:0_10:0)")
    await seed.patch(flow_id, readOnly=True)
    before = await catalog.dump()
    # when
    given = {"id": flow_id, "source": source_id, "segment": external("[10:0_20:0)")}
    variables = {name: value for name, value in given.items() if f"${name}:" in WRITES[field]}
    (error,) = await catalog.gql.errors(WRITES[field], variables)
    # then
    assert error["path"] == [field]
    assert error["message"] == f"flow {flow_id} is read-only"
    assert error["extensions"]["code"] == "READ_ONLY"
    assert await catalog.dump() == before
    # and after the mark is gone
    await seed.patch(flow_id, readOnly=False)
    await catalog.gql.execute(WRITES[field], variables)


async def test_the_mark_cannot_be_taken_away_together_with_another_change(
    catalog: Catalog, seed: Seed
) -> None:
    flow_id = await seed.flow("data", readOnly=True)
    before = await catalog.dump()
    change = {"id": flow_id, "readOnly": False, "label": "x"}
    assert await catalog.gql.errors(PATCH_FLOW, {"input": change}) == [
        refusal("READ_ONLY", f"flow {flow_id} is read-only", "patchFlow", field="input.id")
    ]
    assert await catalog.dump() == before


async def test_a_registration_that_races_with_the_mark_either_came_first_or_is_refused(
    catalog: Catalog, seed: Seed
) -> None:
    flow_id = await seed.flow("data")
    register = {"id": flow_id, "segment": external("[0:0_10:0)")}
    answer, _ = await asyncio.gather(
        catalog.gql.answer(WRITES["registerSegments"], register),
        seed.patch(flow_id, readOnly=True),
    )
    flow = await catalog.gql.execute(
        "query($id: ID!) { flow(id: $id) { readOnly segments { totalCount } } }", {"id": flow_id}
    )
    count = 0 if "errors" in answer else 1
    assert flow["flow"] == {"readOnly": True, "segments": {"totalCount": count}}
    if count == 0:
        assert answer["errors"][0]["extensions"]["code"] == "READ_ONLY"
