"""``putFlow``: whatever is put can be read back, and rules refuse the rest without a trace."""

from __future__ import annotations

import asyncio
import re

import pytest

from tams_gql.model.ids import new_id
from tests.catalog import Catalog
from tests.gql import Data, GraphQL, refusal
from tests.schema.full_flows import (
    ESSENCES,
    MAPPING,
    completed,
    every_field,
    given_fields,
    input_fields,
)
from tests.seed import PUT_FLOW, Seed, flow_input

COMMON = f"""
id codec container label description readOnly generation avgBitRate maxBitRate metadataVersion
version createdBy updatedBy created metadataUpdated segmentsUpdated format status vendorParameters
source {{ id }}
tags {{ name values }}
segmentDuration {{ numerator denominator }}
containerMapping {every_field("ContainerMapping")}
collection {{ flow {{ id }} }}
collectedBy {{ id }}
timerange
segments {{ totalCount nodes {{ id }} }}
"""

TYPES = ("Video", "Audio", "Image", "Data", "Multi")

FLOW = f"""
query Flow($id: ID!) {{
  flow(id: $id) {{
    __typename {COMMON}
    {
    " ".join(
        f"... on {kind}Flow {{ {kind.lower()}: essenceParameters"
        f" {every_field(f'{kind}EssenceParameters')} }}"
        for kind in TYPES
    )
}
  }}
}}
"""

VENDOR: Data = {
    "x_studio": {"desk": 4, "open": True, "names": ["a", None, 1.5]},
    "x_empty": None,
    "x_big": 9_007_199_254_740_993,
}

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")

BARE: Data = {
    "label": None,
    "description": None,
    "readOnly": False,
    "generation": None,
    "avgBitRate": None,
    "maxBitRate": None,
    "version": 1,
    "createdBy": None,
    "updatedBy": None,
    "segmentsUpdated": None,
    "status": None,
    "vendorParameters": None,
    "tags": [],
    "segmentDuration": None,
    "containerMapping": None,
    "collection": [],
    "collectedBy": [],
    "timerange": "()",
    "segments": {"totalCount": 0, "nodes": []},
}
"""What a flow answers of which nothing but the necessary was put."""


async def read(gql: GraphQL, flow_id: str) -> Data:
    """All of a flow, its record times checked and taken out."""
    flow: Data = (await gql.execute(FLOW, {"id": flow_id}))["flow"]
    created, updated = flow.pop("created"), flow.pop("metadataUpdated")
    assert TIME.fullmatch(created)
    assert TIME.fullmatch(updated)
    assert created <= updated
    if flow["metadataVersion"] == updated:
        del flow["metadataVersion"]  # the service's own
    return flow


@pytest.mark.parametrize("case", ESSENCES)
async def test_every_essence_parameter_is_returned_as_put(
    gql: GraphQL, seed: Seed, case: str
) -> None:
    # given
    format, codec, essence = ESSENCES[case]
    given = flow_input(format, codec=codec, essenceParameters=essence)
    wanted = given[format]
    # when
    done = await gql.execute(PUT_FLOW, {"input": given})
    # then
    assert done["putFlow"]["created"] is True
    kind = format.title()
    assert await read(gql, wanted["id"]) == {
        **BARE,
        "__typename": f"{kind}Flow",
        "id": wanted["id"],
        "source": {"id": wanted["sourceId"]},
        "format": format.upper(),
        "codec": codec,
        "container": wanted["container"],
        format: completed(f"{kind}EssenceParameters", essence),
    }


@pytest.mark.parametrize("format", [kind.lower() for kind in TYPES])
def test_the_cases_cover_every_essence_parameter(format: str) -> None:
    given = [given_fields(essence) for kind, _, essence in ESSENCES.values() if kind == format]
    left = {"numerator", "denominator"}  # of a fraction, which has cases with and without
    covered = {path for paths in given for path in paths if path.split(".")[-1] not in left}
    wanted = input_fields(f"{format.title()}EssenceInput")
    assert covered == {path for path in wanted if path.split(".")[-1] not in left}


def test_the_mapping_covers_every_field() -> None:
    assert given_fields(MAPPING) == input_fields("ContainerMappingInput")


@pytest.mark.parametrize("format", [kind.lower() for kind in TYPES])
async def test_everything_else_is_returned_as_put(gql: GraphQL, seed: Seed, format: str) -> None:
    # given
    members = [await seed.flow("audio"), await seed.flow("data")]
    fields: Data = {
        "label": "Camera 1 / Kamera Ü",
        "description": "Wide shot\nof the studio",
        "tags": [
            {"name": "camera", "values": ["1"]},
            {"name": "genre", "values": ["news", "sport"]},
            {"name": "empty", "values": []},
        ],
        "status": "CLOSED_COMPLETE",
        "readOnly": True,
        "generation": 0,
        "container": "application/mxf",
        "avgBitRate": 5000,
        "maxBitRate": 2_147_483_647,
        "segmentDuration": {"numerator": 32032, "denominator": 3003},
        "containerMapping": MAPPING,
        "collection": [
            {"flowId": members[1], "role": "subtitles", "containerMapping": MAPPING},
            {"flowId": members[0]},
        ],
        "metadataVersion": "a7",
        "vendorParameters": VENDOR,
    }
    # when
    flow_id = await seed.flow(format, **fields)
    # then
    flow = await read(gql, flow_id)
    collection = fields.pop("collection")
    assert {name: flow[name] for name in fields} == fields
    assert flow["collection"] == [{"flow": {"id": member["flowId"]}} for member in collection]


async def test_ids_are_kept_in_lower_case(gql: GraphQL, seed: Seed) -> None:
    ids = {"id": new_id(), "sourceId": new_id()}
    payload = await seed.put("data", **{name: text.upper() for name, text in ids.items()})
    assert payload["flow"]["id"] == ids["id"]
    found = await gql.execute(
        "query($id: ID!) { flow(id: $id) { id source { id } } }", {"id": ids["id"].upper()}
    )
    assert found["flow"] == {"id": ids["id"], "source": {"id": ids["sourceId"]}}


async def test_putting_again_replaces_everything_and_counts_the_version(
    gql: GraphQL, seed: Seed
) -> None:
    # given
    given = flow_input("video", label="First", tags=[{"name": "a", "values": ["1"]}], generation=2)
    member = await seed.flow("audio")
    given["video"]["collection"] = [{"flowId": member, "role": "sound"}]
    await gql.execute(PUT_FLOW, {"input": given})
    before = (await gql.execute(FLOW, {"id": given["video"]["id"]}))["flow"]
    # when
    ids = {name: given["video"][name] for name in ("id", "sourceId")}
    payload = await seed.put("video", **ids, description="Second")
    # then
    assert payload["created"] is False
    after = (await gql.execute(FLOW, {"id": ids["id"]}))["flow"]
    assert after["created"] == before["created"]
    assert after["metadataUpdated"] > before["metadataUpdated"]
    shown = ("label", "description", "tags", "generation", "collection", "version")
    assert [after[name] for name in shown] == [None, "Second", [], None, [], 2]
    assert after["metadataVersion"] == after["metadataUpdated"]


async def test_putting_again_keeps_the_segments(gql: GraphQL, seed: Seed) -> None:
    given = flow_input("video")
    await gql.execute(PUT_FLOW, {"input": given})
    flow_id = given["video"]["id"]
    await seed.external(flow_id, "[0:0_10:0)", "[10:0_20:0)")
    given["video"]["label"] = "Renamed"
    await gql.execute(PUT_FLOW, {"input": given})
    flow = (await gql.execute(FLOW, {"id": flow_id}))["flow"]
    assert (flow["timerange"], flow["segments"]["totalCount"]) == ("[0:0_20:0)", 2)


async def test_the_metadata_version_is_the_clients_or_a_new_one_for_each_change(
    gql: GraphQL, seed: Seed
) -> None:
    given = flow_input("video")
    seen = []
    for own in (None, None, "mine", "mine", "theirs", None):
        given["video"]["metadataVersion"] = own
        await gql.execute(PUT_FLOW, {"input": given})
        flow = (await gql.execute(FLOW, {"id": given["video"]["id"]}))["flow"]
        made = flow["metadataVersion"] == flow["metadataUpdated"]
        seen.append((flow["version"], None if made else flow["metadataVersion"]))
    # A version text that is sent back unchanged does not say that the client counts itself.
    assert seen == [(1, None), (2, None), (3, "mine"), (4, None), (5, "theirs"), (6, None)]


async def test_expected_version_0_asks_that_the_flow_be_new(catalog: Catalog, seed: Seed) -> None:
    given = flow_input("video", expectedVersion=0)
    flow_id = given["video"]["id"]
    assert (await catalog.gql.execute(PUT_FLOW, {"input": given}))["putFlow"]["created"] is True
    before = await catalog.dump()
    for expected, version in ((0, 1), (2, 1)):
        given["video"]["expectedVersion"] = expected
        assert await catalog.gql.errors(PUT_FLOW, {"input": given}) == [
            refusal(
                "CONFLICT",
                f"input.video.expectedVersion: {expected} is stale; the flow has version {version}",
                "putFlow",
                field="input.video.expectedVersion",
                version=version,
            )
        ]
    assert await catalog.dump() == before
    given["video"]["expectedVersion"] = 1
    await catalog.gql.execute(PUT_FLOW, {"input": given})
    assert (await read(catalog.gql, flow_id))["version"] == 2


async def test_of_clients_that_expect_the_same_version_one_wins(
    catalog: Catalog, seed: Seed
) -> None:
    # given
    given = flow_input("video")
    await catalog.gql.execute(PUT_FLOW, {"input": given})
    # when
    writes = [
        {"video": {**given["video"], "label": str(number), "expectedVersion": 1}}
        for number in range(8)
    ]
    answers = await asyncio.gather(
        *(catalog.gql.answer(PUT_FLOW, {"input": write}) for write in writes)
    )
    # then
    won = [number for number, answer in enumerate(answers) if "errors" not in answer]
    codes = [a["errors"][0]["extensions"]["code"] for a in answers if "errors" in a]
    assert (len(won), codes) == (1, ["CONFLICT"] * 7)
    flow = await read(catalog.gql, given["video"]["id"])
    assert (flow["version"], flow["label"]) == (2, str(won[0]))


async def test_eight_clients_that_create_flows_of_one_new_source_make_it_once(
    catalog: Catalog,
) -> None:
    source_id = new_id()
    given = [flow_input("video", sourceId=source_id) for _ in range(8)]
    await asyncio.gather(*(catalog.gql.execute(PUT_FLOW, {"input": flow}) for flow in given))
    data = await catalog.gql.execute(
        "query($id: ID!) { source(id: $id) { version flows { totalCount nodes { id } } } }",
        {"id": source_id},
    )
    flows = data["source"]["flows"]
    assert (data["source"]["version"], flows["totalCount"]) == (1, 8)
    assert {flow["id"] for flow in flows["nodes"]} == {flow["video"]["id"] for flow in given}
    types = await catalog.event_types()
    assert sorted(types) == ["flows/created"] * 8 + ["sources/created"]


async def test_a_flow_keeps_to_the_format_and_source_it_has(catalog: Catalog, seed: Seed) -> None:
    # given
    flow_id, source_id, other = new_id(), new_id(), new_id()
    await seed.put("video", id=flow_id, sourceId=source_id)
    await seed.put("audio", sourceId=other)
    before = await catalog.dump()

    async def errors(format: str, **fields: object) -> list[Data]:
        return await catalog.gql.errors(PUT_FLOW, {"input": flow_input(format, **fields)})

    # when, then
    video, audio = "urn:x-nmos:format:video", "urn:x-nmos:format:audio"
    assert await errors("audio", sourceId=source_id) == [
        refusal(
            "BAD_USER_INPUT",
            f"input.audio.format: source {source_id} is {video}, so its flow cannot be {audio}",
            "putFlow",
            field="input.audio.format",
        )
    ]
    assert await errors("audio", id=flow_id, sourceId=source_id) == [
        refusal(
            "BAD_USER_INPUT",
            f"input.audio.format: flow {flow_id} is {video} and cannot become {audio}",
            "putFlow",
            field="input.audio.format",
        )
    ]
    assert await errors("video", id=flow_id, sourceId=other) == [
        refusal(
            "BAD_USER_INPUT",
            f"input.video.sourceId: flow {flow_id} belongs to source {source_id} and cannot move",
            "putFlow",
            field="input.video.sourceId",
        )
    ]
    assert await catalog.dump() == before


async def test_of_two_formats_for_one_new_source_the_first_one_wins(catalog: Catalog) -> None:
    source_id = new_id()
    given = [flow_input(format, sourceId=source_id) for format in ("video", "audio")]
    answers = await asyncio.gather(
        *(catalog.gql.answer(PUT_FLOW, {"input": flow}) for flow in given)
    )
    refused = [answer["errors"][0]["extensions"] for answer in answers if "errors" in answer]
    assert [error["code"] for error in refused] == ["BAD_USER_INPUT"]
    assert refused[0]["field"] in ("input.video.format", "input.audio.format")


WRONG: dict[str, tuple[Data, str, str]] = {
    "id": ({"id": "42"}, "id", "'42' is not allowed; a UUID of version 1 to 5"),
    "source id": ({"sourceId": ""}, "sourceId", "'' is not allowed; a UUID of version 1 to 5"),
    "label": ({"label": "x" * 1025}, "label", "1024"),
    "description": ({"description": "x" * 16_385}, "description", "16384"),
    "codec": ({"codec": "h264"}, "codec", "type/subtype"),
    "container": ({"container": "video/"}, "container", "type/subtype"),
    "bit rate": ({"avgBitRate": -1}, "avgBitRate", "-1 is not allowed"),
    "maximal bit rate": ({"maxBitRate": -1}, "maxBitRate", "-1 is not allowed"),
    "generation": ({"generation": -1}, "generation", "-1 is not allowed"),
    "segment duration": (
        {"segmentDuration": {"numerator": 1, "denominator": 0}},
        "segmentDuration.denominator",
        "0 is not allowed",
    ),
    "no frame rate": (
        {"essenceParameters": {"frameWidth": 1, "frameHeight": 1}},
        "essenceParameters.frameRate",
        "is required unless vfr is true",
    ),
    "both frame rates": (
        {
            "essenceParameters": {
                "frameWidth": 1,
                "frameHeight": 1,
                "vfr": True,
                "frameRate": {"numerator": 25},
            }
        },
        "essenceParameters.frameRate",
        "must be left out when vfr is true",
    ),
    "frame width": (
        {"essenceParameters": {"frameWidth": 0, "frameHeight": 1, "vfr": True}},
        "essenceParameters.frameWidth",
        "0 is not allowed",
    ),
    "packet id": (
        {"containerMapping": {"mp2tsContainer": {"pid": 8192}}},
        "containerMapping.mp2tsContainer.pid",
        "8192 is not allowed",
    ),
    "channel numbers": (
        {"containerMapping": {"audioTrack": {"channelNumbers": []}}},
        "containerMapping.audioTrack.channelNumbers",
        "[] is not allowed",
    ),
    "a tag twice": (
        {"tags": [{"name": "a", "values": ["1"]}, {"name": "a", "values": ["2"]}]},
        "tags",
        "the tag 'a' is given twice",
    ),
    "tag without name": ({"tags": [{"name": "", "values": ["1"]}]}, "tags", "1 to 128 characters"),
    "long tag value": (
        {"tags": [{"name": "x_y", "values": ["x" * 1025]}]},
        "tags.x_y",
        "1024 characters",
    ),
    "65 tags": (
        {"tags": [{"name": str(n), "values": ["1"]} for n in range(65)]},
        "tags",
        "65 tags; at most 64",
    ),
    "unknown member": (
        {"collection": [{"flowId": "4f79cfd1-c057-47f4-8e4d-1b126ca7bf34"}]},
        "collection.0.flowId",
        "there is no flow 4f79cfd1-c057-47f4-8e4d-1b126ca7bf34",
    ),
    "malformed member": (
        {"collection": [{"flowId": "x"}]},
        "collection.0.flowId",
        "'x' is not allowed; a UUID",
    ),
    "vendor list": ({"vendorParameters": [1]}, "vendorParameters", "a JSON object is expected"),
    "vendor key of the specification": (
        {"vendorParameters": {"label": "x"}},
        "vendorParameters",
        "'label' is a key of the specification",
    ),
    "vendor key of the catalog": (
        {"vendorParameters": {"created_by": "x"}},
        "vendorParameters",
        "'created_by' is a key of the specification",
    ),
    "too large": ({"vendorParameters": {"x": "y" * 131_072}}, "", "at most 131072"),
}


@pytest.mark.parametrize("case", WRONG)
async def test_a_flow_that_breaks_a_rule_is_refused_without_a_trace(
    catalog: Catalog, case: str
) -> None:
    # given
    fields, field, reason = WRONG[case]
    before = await catalog.dump()
    # when
    (error,) = await catalog.gql.errors(PUT_FLOW, {"input": flow_input("video", **fields)})
    # then
    path = f"input.video.{field}" if field else None
    assert error["path"] == ["putFlow"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert error["extensions"].get("field") == path
    assert error["message"].startswith(f"{path}: " if path else "")
    assert reason in error["message"]
    assert await catalog.dump() == before


async def test_a_flow_cannot_hold_itself_or_a_member_twice(catalog: Catalog, seed: Seed) -> None:
    given, member = flow_input("multi"), await seed.flow("audio")
    flow_id = given["multi"]["id"]
    before = await catalog.dump()
    for members, at, reason in (
        ([flow_id], 0, f"'{flow_id}' is not allowed; a flow cannot collect itself"),
        ([member, member], 1, f"'{member}' is not allowed; a flow is collected once"),
    ):
        given["multi"]["collection"] = [{"flowId": id} for id in members]
        field = f"input.multi.collection.{at}.flowId"
        assert await catalog.gql.errors(PUT_FLOW, {"input": given}) == [
            refusal("BAD_USER_INPUT", f"{field}: {reason}", "putFlow", field=field)
        ]
    assert await catalog.dump() == before


async def test_exactly_one_format_is_given(gql: GraphQL) -> None:
    none: Data = {}
    two, null = flow_input("video") | flow_input("audio"), {"video": None}
    for given, reason in (
        (none, "exactly one"),
        (two, "exactly one"),
        (null, "must be non-null"),
    ):
        (error,) = await gql.errors(PUT_FLOW, {"input": given})
        assert error["extensions"] == {"code": "BAD_USER_INPUT"}
        assert reason in error["message"].lower()
