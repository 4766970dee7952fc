"""Collections: kept in order, seen from both ends, derived for sources, never in circles."""

from __future__ import annotations

import asyncio

import pytest

from tams_gql.model.ids import new_id
from tests.catalog import Catalog
from tests.gql import Data, GraphQL, refusal
from tests.schema.full_flows import MAPPING, completed, every_field
from tests.seed import PATCH_FLOW, PUT_FLOW, Seed, flow_input

COLLECTION = f"""
query Collection($id: ID!) {{
  flow(id: $id) {{
    collection {{ role containerMapping {every_field("ContainerMapping")} flow {{ id format }} }}
    collectedBy {{ id }}
  }}
}}
"""

SOURCES = """
query Sources($ids: [ID!]!) {
  nodes(ids: $ids) {
    ... on Source { collects { role source { id format } } collectedBy { id } }
  }
}
"""


def members(*flow_ids: str) -> list[Data]:
    return [{"flowId": flow_id} for flow_id in flow_ids]


async def collect(gql: GraphQL, parent: str, *flow_ids: str) -> Data:
    """The answer to putting the flows, and no others, into the collection."""
    changes = {"id": parent, "collection": members(*flow_ids)}
    return await gql.answer(PATCH_FLOW, {"input": changes})


async def test_a_collection_is_returned_in_its_order_with_roles_and_mappings(
    gql: GraphQL, seed: Seed
) -> None:
    # given
    video, audio, data = [await seed.flow(format) for format in ("video", "audio", "data")]
    given: list[Data] = [
        {"flowId": data, "role": "subtitles"},
        {"flowId": video, "containerMapping": MAPPING},
        {"flowId": audio, "role": "a b/ü", "containerMapping": {"trackIndex": 0}},
    ]
    # when
    parent = await seed.flow("multi", collection=given)
    # then
    formats = {video: "VIDEO", audio: "AUDIO", data: "DATA"}
    flow = (await gql.execute(COLLECTION, {"id": parent}))["flow"]
    assert flow["collection"] == [
        {
            "role": member.get("role"),
            "containerMapping": completed("ContainerMapping", member.get("containerMapping")),
            "flow": {"id": member["flowId"], "format": formats[member["flowId"]]},
        }
        for member in given
    ]
    for member in (video, audio, data):
        flow = (await gql.execute(COLLECTION, {"id": member}))["flow"]
        assert flow == {"collection": [], "collectedBy": [{"id": parent}]}


async def test_a_flow_can_be_in_many_collections(gql: GraphQL, seed: Seed) -> None:
    member = await seed.flow("audio")
    parents = [await seed.flow("multi", collection=members(member)) for _ in range(3)]
    flow = (await gql.execute(COLLECTION, {"id": member}))["flow"]
    assert flow["collectedBy"] == [{"id": parent} for parent in sorted(parents)]


async def test_the_collections_of_sources_follow_from_those_of_their_flows(
    gql: GraphQL, seed: Seed
) -> None:
    # given
    programme, picture, sound, text = (new_id() for _ in range(4))
    video = await seed.flow("video", sourceId=picture)
    proxy = await seed.flow("video", sourceId=picture)
    stereo = await seed.flow("audio", sourceId=sound)
    subtitles = await seed.flow("data", sourceId=text)
    first = [{"flowId": stereo, "role": "sound"}, {"flowId": video, "role": "picture"}]
    await seed.flow("multi", sourceId=programme, collection=first)
    second = [*members(proxy), {"flowId": subtitles, "role": "text"}]
    other = await seed.flow("multi", sourceId=programme, collection=second)
    # when, then: each source once, in the order of the flows' collections
    everything = [programme, picture, sound, text]
    answer = (await gql.execute(SOURCES, {"ids": everything}))["nodes"]
    collects = answer[0]["collects"]
    assert {member["source"]["id"] for member in collects} == {picture, sound, text}
    assert len(collects) == 3
    assert collects[-1]["source"]["id"] in (picture, text)  # position 1 of either collection
    roles = {member["source"]["id"]: member["role"] for member in collects}
    assert (roles[sound], roles[text]) == ("sound", "text")
    assert answer[0]["collectedBy"] == []
    above = [{"id": programme}]
    assert answer[1:] == [{"collects": [], "collectedBy": above}] * 3
    # when one of the two flows goes, so does what only its collection had
    await seed.delete(other)
    answer = (await gql.execute(SOURCES, {"ids": everything}))["nodes"]
    assert answer[0]["collects"] == [
        {"role": "sound", "source": {"id": sound, "format": "AUDIO"}},
        {"role": "picture", "source": {"id": picture, "format": "VIDEO"}},
    ]
    assert answer[3] == {"collects": [], "collectedBy": []}


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
async def test_a_flow_cannot_be_below_itself_at_any_depth(
    catalog: Catalog, seed: Seed, depth: int
) -> None:
    # given: a chain, the first at the top
    chain = [await seed.flow("multi")]
    for _ in range(depth):
        chain.insert(0, await seed.flow("multi", collection=members(chain[0])))
    before = await catalog.dump()
    # when the last one collects the first one
    top, bottom = chain[0], chain[-1]
    errors = await catalog.gql.errors(
        PATCH_FLOW, {"input": {"id": bottom, "collection": members(top)}}
    )
    # then
    assert errors == [
        refusal(
            "BAD_USER_INPUT",
            f"input.collection: flow {bottom} would contain itself through its members",
            "patchFlow",
            field="input.collection",
        )
    ]
    assert await catalog.dump() == before


async def test_putting_a_flow_anew_cannot_close_a_circle_either(
    catalog: Catalog, seed: Seed
) -> None:
    given = flow_input("multi")
    await catalog.gql.execute(PUT_FLOW, {"input": given})
    top = await seed.flow("multi", collection=members(given["multi"]["id"]))
    before = await catalog.dump()
    given["multi"]["collection"] = members(top)
    (error,) = await catalog.gql.errors(PUT_FLOW, {"input": given})
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "field": "input.multi.collection"}
    assert await catalog.dump() == before


async def test_the_same_flow_on_two_ways_is_no_circle(gql: GraphQL, seed: Seed) -> None:
    bottom = await seed.flow("audio")
    middle = [await seed.flow("multi", collection=members(bottom)) for _ in range(2)]
    top = await seed.flow("multi", collection=members(*middle, bottom))
    flow = (await gql.execute(COLLECTION, {"id": top}))["flow"]
    assert [member["flow"]["id"] for member in flow["collection"]] == [*middle, bottom]


@pytest.mark.parametrize("length", [2, 3, 4])
async def test_of_clients_that_close_a_circle_together_one_is_refused(
    gql: GraphQL, seed: Seed, length: int
) -> None:
    # given
    ring = [await seed.flow("multi") for _ in range(length)]
    # when each collects the next one
    answers = await asyncio.gather(
        *(collect(gql, flow, ring[(at + 1) % length]) for at, flow in enumerate(ring))
    )
    # then
    codes = [a["errors"][0]["extensions"]["code"] for a in answers if "errors" in a]
    assert codes == ["BAD_USER_INPUT"]
    refused = next(at for at, answer in enumerate(answers) if "errors" in answer)
    for at, flow_id in enumerate(ring):
        flow = (await gql.execute(COLLECTION, {"id": flow_id}))["flow"]
        below = [] if at == refused else [ring[(at + 1) % length]]
        assert [member["flow"]["id"] for member in flow["collection"]] == below


async def test_a_member_that_does_not_exist_is_named(catalog: Catalog, seed: Seed) -> None:
    known, unknown, parent = await seed.flow("audio"), new_id(), await seed.flow("multi")
    before = await catalog.dump()
    answer = await collect(catalog.gql, parent, known, unknown)
    (error,) = answer["errors"]
    field = "input.collection.1.flowId"
    assert error["message"] == f"{field}: there is no flow {unknown}"
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "field": field}
    assert await catalog.dump() == before


async def test_a_collection_shows_its_members_as_they_are_now(gql: GraphQL, seed: Seed) -> None:
    member = await seed.flow("audio", label="before")
    parent = await seed.flow("multi", collection=members(member))
    await seed.patch(member, label="after")
    data = await gql.execute(
        "query($id: ID!) { flow(id: $id) { version collection { flow { label } } } }",
        {"id": parent},
    )
    assert data["flow"] == {"version": 1, "collection": [{"flow": {"label": "after"}}]}
