"""What may change of a flow that has segments, is collected, or came from another service."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tams_gql.model.ids import new_id
from tests.catalog import Catalog
from tests.gql import Data, GraphQL, refusal
from tests.schema.full_flows import INIT_VIDEO
from tests.seed import DELETE_FLOW, MPEG_TS, PUT_FLOW, Seed, external, flow_input, seconds

MP4: Data = {"container": "video/mp4"}
_ESSENCE: Data = INIT_VIDEO["essenceParameters"]

FLOW = """
query Flow($id: ID!) {
  flow(id: $id) {
    version metadataVersion container readOnly vendorParameters segments { totalCount }
    collection { flow { id } }
  }
}
"""


async def flow(gql: GraphQL, flow_id: str) -> Data:
    found: Data = (await gql.execute(FLOW, {"id": flow_id}))["flow"]
    return found


REPLACED: dict[str, tuple[Data, str, str]] = {
    "another container": (MP4, "container", MPEG_TS),
    "no container": ({"container": None}, "container", MPEG_TS),
    "initialisation objects": (
        {"essenceParameters": {**_ESSENCE, "initSegments": True}},
        "essenceParameters.initSegments",
        "without initialisation objects",
    ),
}


@pytest.mark.parametrize("case", REPLACED)
async def test_what_the_segments_rest_on_stays_while_there_are_any(
    catalog: Catalog, seed: Seed, case: str
) -> None:
    changed, field, kept = REPLACED[case]
    ids = {"id": new_id(), "sourceId": new_id()}
    given: Data = {"essenceParameters": {**_ESSENCE, "initSegments": None}, **ids}
    flow_id = await seed.flow("video", **given)
    await seed.segments(flow_id, "[0:0_1:0)", "[1:0_2:0)")
    before = await catalog.dump()
    # when
    anew = {"input": flow_input("video", **{**given, **changed})}
    # then
    message = f"flow {flow_id} has 2 segments, registered as {kept}; delete them first"
    assert await catalog.gql.errors(PUT_FLOW, anew) == [
        refusal(
            "CONFLICT", f"input.video.{field}: {message}", "putFlow", field=f"input.video.{field}"
        )
    ]
    assert await catalog.dump() == before
    # when they have gone, then it can
    await seed.delete_segments(flow_id)
    await catalog.gql.execute(PUT_FLOW, anew)


async def test_initialisation_objects_stay_required_too(catalog: Catalog, seed: Seed) -> None:
    ids = {"id": new_id(), "sourceId": new_id()}
    flow_id = await seed.flow("video", **ids, **INIT_VIDEO)
    init, media = await seed.objects(flow_id, b"init", b"media")
    item = {"objectId": media, "timerange": "[0:0_1:0)", "initObjectId": init}
    await seed.register(flow_id, [item])
    without = {**INIT_VIDEO, "essenceParameters": {**_ESSENCE, "initSegments": False}}
    (error,) = await catalog.gql.errors(PUT_FLOW, {"input": flow_input("video", **ids, **without)})
    assert error["extensions"] == {
        "code": "CONFLICT",
        "field": "input.video.essenceParameters.initSegments",
    }


async def test_a_profile_cannot_change_it_either(catalog: Catalog, seed: Seed) -> None:
    flow_id, source_id, profile_id = new_id(), new_id(), new_id()
    await seed.flow("video", id=flow_id, sourceId=source_id)
    await seed.external(flow_id, "[0:0_1:0)")
    essence = {"frameWidth": 1, "frameHeight": 1, "vfr": True}
    profile = {"id": profile_id, "codec": "video/h264", "essenceParameters": {"video": essence}}
    await catalog.gql.execute(
        "mutation P($input: CreateProfileInput!)"
        " { createProfile(input: $input) { profile { id } } }",
        {"input": {**profile, **MP4}},
    )
    asked = {"id": flow_id, "sourceId": source_id, "profileId": profile_id}
    (error,) = await catalog.gql.errors(PUT_FLOW, {"input": {"profile": asked}})
    assert error["extensions"] == {"code": "CONFLICT", "field": "input.profile.container"}


async def test_everything_else_can_change_and_the_case_of_a_type_means_nothing(
    gql: GraphQL, seed: Seed
) -> None:
    ids = {"id": new_id(), "sourceId": new_id()}
    flow_id = await seed.flow("video", **ids)
    (object_id,) = await seed.segments(flow_id, "[0:0_1:0)")
    await seed.flow("video", **ids, container="video/MP2T", codec="video/h265", label="new")
    again = {"objectId": object_id, "timerange": "[1:0_2:0)", "tsOffset": "1:0"}
    await seed.register(flow_id, [again])
    found = await flow(gql, flow_id)
    assert (found["container"], found["segments"]["totalCount"]) == ("video/MP2T", 2)


async def test_a_container_that_changes_while_segments_come_never_disagrees_with_them(
    gql: GraphQL, seed: Seed
) -> None:
    for _ in range(4):
        ids = {"id": new_id(), "sourceId": new_id()}
        flow_id = await seed.flow("video", **ids)
        items = [external(seconds(n, n + 1)) for n in range(4)]
        put, *registered = await asyncio.gather(
            gql.answer(PUT_FLOW, {"input": flow_input("video", **ids, **MP4)}),
            *(seed.try_register(flow_id, [item]) for item in items),
        )
        assert [r["results"][0]["error"] for r in registered] == [None] * 4
        refused = "errors" in put
        container = MPEG_TS if refused else MP4["container"]
        assert (await flow(gql, flow_id))["container"] == container
        for item in items:
            data = await gql.execute(
                "query O($id: ID!) { object(id: $id) { contentType } }", {"id": item["objectId"]}
            )
            assert data["object"]["contentType"] == container


async def test_a_metadata_version_never_comes_back(gql: GraphQL, seed: Seed) -> None:
    """A flow that came from another service with its version there, a number or not."""
    flow_id = await seed.flow("video", metadataVersion="2")
    seen = ["2"]
    for label in "abc":
        await seed.patch(flow_id, label=label)
        seen.append((await flow(gql, flow_id))["metadataVersion"])
    assert len(set(seen)) == 4, seen
    # and a flow that is made anew under the same id has other versions than the first
    ids = {"id": new_id(), "sourceId": new_id()}
    for _ in range(2):
        await seed.flow("video", **ids)
        seen.append((await flow(gql, ids["id"]))["metadataVersion"])
        await seed.delete(ids["id"])
    assert len(set(seen)) == 6, seen


async def test_a_read_only_collection_keeps_its_members(catalog: Catalog, seed: Seed) -> None:
    member = await seed.flow("audio")
    open_one = await seed.flow("multi", collection=[{"flowId": member}])
    parent = await seed.flow("multi", collection=[{"flowId": member}], readOnly=True)
    before = await catalog.dump()
    # when, then
    message = f"flow {member} is in the collection of flow {parent}, which is read-only"
    assert await catalog.gql.errors(DELETE_FLOW, {"input": {"id": member}}) == [
        refusal("READ_ONLY", message, "deleteFlow", field="input.id")
    ]
    assert await catalog.dump() == before
    # when the mark is gone, then the member can go
    await seed.patch(parent, readOnly=False)
    await seed.delete(member)
    for flow_id in (open_one, parent):
        assert (await flow(catalog.gql, flow_id))["collection"] == []


async def test_a_member_that_goes_while_its_collection_is_closed_goes_first_or_stays(
    gql: GraphQL, seed: Seed
) -> None:
    for _ in range(4):
        member = await seed.flow("audio")
        parent = await seed.flow("multi", collection=[{"flowId": member}])
        closed, deleted = await asyncio.gather(
            seed.patch(parent, readOnly=True), gql.answer(DELETE_FLOW, {"input": {"id": member}})
        )
        left: list[Any] = [{"flow": {"id": member}}] if "errors" in deleted else []
        found = await flow(gql, parent)
        assert closed["flow"] == {"id": parent}
        assert (found["readOnly"], found["collection"]) == (True, left)


async def test_vendor_keys_that_are_null_outlive_other_changes(gql: GraphQL, seed: Seed) -> None:
    vendor = {"empty": None, "deep": {"empty": None, "list": [None]}}
    flow_id = await seed.flow("video", vendorParameters=vendor)
    await seed.patch(flow_id, label="x")
    await gql.execute(
        "mutation T($input: SetTagsInput!) { setTags(input: $input) { event } }",
        {"input": {"id": flow_id, "set": [{"name": "a", "values": ["b"]}]}},
    )
    found = await flow(gql, flow_id)
    assert (found["vendorParameters"], found["version"]) == (vendor, 3)
