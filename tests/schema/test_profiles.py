"""Profiles: made once, never changed, and the technical part of the flows that name them."""

from __future__ import annotations

import pytest

from tams_gql.model.ids import new_id
from tests.catalog import Catalog
from tests.gql import Data, GraphQL, refusal
from tests.recording import watched
from tests.schema.full_flows import ESSENCES, MAPPING
from tests.seed import PATCH_FLOW, PUT_FLOW, Seed

FIELDS = """
__typename id label description codec container format createdBy created flowMetadata
tags { name values } segmentDuration { numerator denominator }
"""
PROFILE = f"query Profile($id: ID!) {{ profile(id: $id) {{ {FIELDS} }} }}"
CREATE = f"""
mutation Create($input: CreateProfileInput!) {{
  createProfile(input: $input) {{ profile {{ {FIELDS} }} }}
}}
"""
FLOW = """
query Flow($id: ID!) {
  flow(id: $id) {
    __typename codec container avgBitRate label version profile { id label }
    segmentDuration { numerator denominator } containerMapping { trackIndex }
    ... on VideoFlow { essenceParameters { frameWidth frameHeight vfr } }
  }
}
"""

HD: Data = {
    "label": "HD",
    "description": "High definition",
    "tags": [{"name": "tier", "values": ["1", "2"]}],
    "codec": "video/h264",
    "container": "video/mp2t",
    "avgBitRate": 5000,
    "segmentDuration": {"numerator": 4},
    "containerMapping": {"trackIndex": 1},
    "essenceParameters": {"video": {"frameWidth": 1920, "frameHeight": 1080, "vfr": True}},
}


async def create(gql: GraphQL, **fields: object) -> str:
    profile_id = new_id()
    await gql.execute(CREATE, {"input": {"id": profile_id, **HD, **fields}})
    return profile_id


def from_profile(profile_id: str, **fields: object) -> Data:
    return {"profile": {"id": new_id(), "sourceId": new_id(), "profileId": profile_id, **fields}}


async def test_every_field_is_returned_as_given(catalog: Catalog) -> None:
    profile_id = new_id()
    given = {"id": profile_id.upper(), **HD}
    payload = (await catalog.gql.execute(CREATE, {"input": given}))["createProfile"]
    found = (await catalog.gql.execute(PROFILE, {"id": profile_id}))["profile"]
    assert payload["profile"] == found
    assert found.pop("created").endswith("Z")
    assert found == {
        "__typename": "Profile",
        "id": profile_id,
        "label": "HD",
        "description": "High definition",
        "codec": "video/h264",
        "container": "video/mp2t",
        "format": "VIDEO",
        "createdBy": None,
        "tags": HD["tags"],
        "segmentDuration": {"numerator": 4, "denominator": 1},
        "flowMetadata": {
            "format": "urn:x-nmos:format:video",
            "codec": "video/h264",
            "container": "video/mp2t",
            "avg_bit_rate": 5000,
            "segment_duration": {"numerator": 4, "denominator": 1},
            "container_mapping": {"track_index": 1},
            "essence_parameters": {"frame_width": 1920, "frame_height": 1080, "vfr": True},
        },
    }


CASES = [case for case, (format, codec, _) in ESSENCES.items() if format != "multi" and codec]


@pytest.mark.parametrize("case", CASES)
async def test_a_profile_of_every_format_makes_flows_of_that_format(
    gql: GraphQL, case: str
) -> None:
    format, codec, essence = ESSENCES[case]
    profile_id = await create(
        gql, codec=codec, containerMapping=MAPPING, essenceParameters={format: essence}
    )
    given = from_profile(profile_id)
    await gql.execute(PUT_FLOW, {"input": given})
    flow = (await gql.execute(FLOW, {"id": given["profile"]["id"]}))["flow"]
    assert (flow["__typename"], flow["codec"]) == (f"{format.title()}Flow", codec)
    profile = (await gql.execute(PROFILE, {"id": profile_id}))["profile"]
    assert profile["format"] == format.upper()


async def test_a_flow_takes_its_technical_part_from_its_profile(gql: GraphQL, seed: Seed) -> None:
    profile_id = await create(gql)
    given = from_profile(profile_id, label="Camera 1", vendorParameters={"x_desk": 4})
    await gql.execute(PUT_FLOW, {"input": given})
    flow_id = given["profile"]["id"]
    wanted = {
        "__typename": "VideoFlow",
        "codec": "video/h264",
        "container": "video/mp2t",
        "avgBitRate": 5000,
        "label": "Camera 1",
        "version": 1,
        "profile": {"id": profile_id, "label": "HD"},
        "segmentDuration": {"numerator": 4, "denominator": 1},
        "containerMapping": {"trackIndex": 1},
        "essenceParameters": {"frameWidth": 1920, "frameHeight": 1080, "vfr": True},
    }
    assert (await gql.execute(FLOW, {"id": flow_id}))["flow"] == wanted
    # Its own parts can be changed, and it can take segments.
    await seed.patch(flow_id, label="Camera 2")
    await seed.segments(flow_id, "[0:0_4:0)")
    flow = (await gql.execute(FLOW, {"id": flow_id}))["flow"]
    assert flow == {**wanted, "label": "Camera 2", "version": 2}


async def test_what_came_from_the_profile_stays_until_the_flow_lets_go_of_it(
    catalog: Catalog, seed: Seed
) -> None:
    gql = catalog.gql
    profile_id = await create(gql)
    given = from_profile(profile_id)
    await gql.execute(PUT_FLOW, {"input": given})
    ids = {name: given["profile"][name] for name in ("id", "sourceId")}
    before = await catalog.dump()
    (error,) = await gql.errors(PATCH_FLOW, {"input": {"id": ids["id"], "avgBitRate": 1}})
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "field": "input.avgBitRate"}
    assert await catalog.dump() == before
    await seed.put("video", **ids, avgBitRate=1)
    flow = (await gql.execute(FLOW, {"id": ids["id"]}))["flow"]
    assert (flow["profile"], flow["avgBitRate"], flow["version"]) == (None, 1, 2)


async def test_flows_are_found_by_their_profile(catalog: Catalog, seed: Seed) -> None:
    profile_id = await create(catalog.gql)
    flows = []
    for _ in range(3):
        given = from_profile(profile_id)
        await catalog.gql.execute(PUT_FLOW, {"input": given})
        flows.append(given["profile"]["id"])
    await seed.flow()
    query = """
    query($p: ID!) { flows(filter: {profileId: $p}) { totalCount nodes { id profile { label } } } }
    """
    with watched() as calls:
        found = (await catalog.gql.execute(query, {"p": profile_id}))["flows"]
    assert [node["id"] for node in found["nodes"]] == flows[::-1]
    assert {node["profile"]["label"] for node in found["nodes"]} == {"HD"}
    assert sorted(calls) == ["count flows", "scan flows", "scan profiles"]


async def test_profiles_are_listed_and_filtered(gql: GraphQL) -> None:
    sound = {"audio": {"sampleRate": 48000, "channels": 2}}
    ids = [
        await create(gql),
        await create(gql, label="SD", tags=None),
        await create(gql, codec="audio/aac", essenceParameters=sound, label=None),
    ]
    query = """
    query($filter: ProfileFilter, $first: Int, $after: String) {
      profiles(filter: $filter, first: $first, after: $after) {
        totalCount nodes { id } pageInfo { endCursor }
      }
    }
    """
    for chosen, wanted in (
        ({}, [2, 1, 0]),
        ({"format": ["AUDIO"]}, [2]),
        ({"codec": "video/h264"}, [1, 0]),
        ({"label": "SD"}, [1]),
        ({"tags": [{"name": "tier", "in": ["2"]}]}, [2, 0]),
        ({"tags": [{"name": "tier", "exists": False}], "format": ["VIDEO"]}, [1]),
        ({"format": []}, []),
    ):
        found = (await gql.execute(query, {"filter": chosen}))["profiles"]
        assert [ids.index(node["id"]) for node in found["nodes"]] == wanted, chosen
        assert found["totalCount"] == len(wanted)
    first = (await gql.execute(query, {"first": 2}))["profiles"]
    rest = (await gql.execute(query, {"after": first["pageInfo"]["endCursor"]}))["profiles"]
    assert [ids.index(n["id"]) for n in [*first["nodes"], *rest["nodes"]]] == [2, 1, 0]


async def test_a_profile_never_changes(catalog: Catalog) -> None:
    profile_id = await create(catalog.gql)
    before = await catalog.dump()
    assert await catalog.gql.errors(CREATE, {"input": {"id": profile_id, **HD}}) == [
        refusal(
            "CONFLICT",
            f"input.id: profile {profile_id} exists and cannot be changed",
            "createProfile",
            field="input.id",
        )
    ]
    assert await catalog.dump() == before
    assert await catalog.gql.execute(PROFILE, {"id": new_id()}) == {"profile": None}


async def test_what_is_refused_leaves_no_trace(catalog: Catalog) -> None:
    unknown = new_id()
    before = await catalog.dump()
    (error,) = await catalog.gql.errors(PUT_FLOW, {"input": from_profile(unknown)})
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "field": "input.profile.profileId"}
    assert error["message"] == f"input.profile.profileId: there is no profile {unknown}"
    both = {"video": {"frameWidth": 1, "frameHeight": 1}, "data": {}}
    no_frame_rate = {"video": {"frameWidth": 1, "frameHeight": 1}}
    wrong: list[Data] = [
        {"id": "x"},
        {"codec": "x"},
        {"label": "x" * 1025},
        {"essenceParameters": no_frame_rate},
        {"essenceParameters": both},
        {"essenceParameters": {}},
        {"tags": [{"name": "", "values": []}]},
    ]
    for fields in wrong:
        given = {"id": new_id(), **HD, **fields}
        errors = await catalog.gql.errors(CREATE, {"input": given})
        assert {error["extensions"]["code"] for error in errors} == {"BAD_USER_INPUT"}, fields
    assert await catalog.dump() == before
