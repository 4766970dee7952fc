"""What the objects of new segments must fulfil, one item at a time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tams_gql.model.ids import new_id
from tests.catalog import Catalog, quick_settings, running
from tests.gql import Data
from tests.schema.full_flows import INIT_VIDEO
from tests.seed import Seed, external, header_of


async def answer(seed: Seed, flow_id: str, **item: Any) -> tuple[str, str, str] | None:
    """Code, field inside the item and reason of the item's error; None if it was registered."""
    payload = await seed.try_register(flow_id, [item])
    error = payload["results"][0]["error"]
    if error is None:
        return None
    prefix = "input.segments.0."
    field = error["field"].removeprefix(prefix)
    return error["code"], field, error["message"].removeprefix(f"{prefix}{field}: ")


def use(object_id: str, timerange: str = "[0:0_10:0)", **fields: Any) -> Data:
    return {"objectId": object_id, "timerange": timerange, **fields}


async def test_an_unknown_object_needs_urls(catalog: Catalog, seed: Seed) -> None:
    flow_id = await seed.flow("video")
    before = await catalog.dump()
    assert await answer(seed, flow_id, **use("nowhere")) == (
        "BAD_USER_INPUT",
        "objectId",
        "nowhere is unknown; allocate storage for it or give it URLs of its own",
    )
    assert await answer(seed, flow_id, **use("nowhere", getUrls=[])) is not None
    assert await catalog.dump() == before


async def test_the_bytes_must_have_arrived(catalog: Catalog, seed: Seed) -> None:
    flow_id = await seed.flow("video")
    (place,) = await seed.allocate(flow_id, limit=1)
    object_id = place["objectId"]
    before = await catalog.dump()
    assert await answer(seed, flow_id, **use(object_id)) == (
        "BAD_USER_INPUT",
        "objectId",
        f"the bytes of {object_id} have not been uploaded",
    )
    assert await catalog.dump() == before
    await seed.upload(place["putUrl"], b"bytes")
    assert await answer(seed, flow_id, **use(object_id)) is None


async def test_the_look_at_the_bytes_is_a_setting(tmp_path: Path) -> None:
    async with running(quick_settings(tmp_path, verify_uploads=False)) as catalog:
        seed = Seed(catalog.gql, catalog.http)
        flow_id = await seed.flow("video")
        (place,) = await seed.allocate(flow_id, limit=1)
        assert await answer(seed, flow_id, **use(place["objectId"])) is None


async def test_an_object_belongs_to_the_flow_it_was_allocated_for(
    catalog: Catalog, seed: Seed
) -> None:
    flow_id, other = await seed.flow("video"), await seed.flow("video")
    (object_id,) = await seed.objects(other, b"bytes")
    before = await catalog.dump()
    assert await answer(seed, flow_id, **use(object_id)) == (
        "BAD_USER_INPUT",
        "objectId",
        f"{object_id} was allocated for another flow",
    )
    assert await catalog.dump() == before
    # Once a segment uses it, every flow may.
    assert await answer(seed, other, **use(object_id)) is None
    assert await answer(seed, flow_id, **use(object_id)) is None


async def test_the_bytes_must_be_of_the_flows_container(catalog: Catalog, seed: Seed) -> None:
    flow_id = await seed.flow("video")
    (object_id,) = await seed.objects(flow_id, b"bytes", contentType="video/mp4")
    before = await catalog.dump()
    assert await answer(seed, flow_id, **use(object_id)) == (
        "BAD_USER_INPUT",
        "objectId",
        f"{object_id} was uploaded as video/mp4, but the flow's container is video/mp2t",
    )
    assert await catalog.dump() == before


async def test_a_container_changed_after_allocation_is_what_counts(gql: Any, seed: Seed) -> None:
    ids = {"id": new_id(), "sourceId": new_id()}
    flow_id = await seed.flow("video", **ids)
    (object_id,) = await seed.objects(flow_id, b"bytes")
    await seed.flow("video", **ids, container="video/mp4")
    found = await answer(seed, flow_id, **use(object_id))
    assert found is not None
    assert found[:2] == ("BAD_USER_INPUT", "objectId")


OBJECT_RANGE = "[100:0_110:0)"

# An object with OBJECT_RANGE on its own timeline, used with an offset of 50 seconds or less.
INSIDE = {
    ("[150:0_160:0)", "50:0"): True,
    ("[150:0_160:0]", "50:0"): False,
    ("[149:999999999_155:0)", "50:0"): False,
    ("[155:0_156:0)", "50:0"): True,
    ("[105:0_110:0)", None): True,
    ("[105:0_110:0)", "0:0"): True,
    ("[105:0_110:0)", "10:0"): False,
    ("[0:0_5:0)", "-100:0"): True,
    ("[0:0_5:0)", "-106:0"): False,
    ("[-1:0_0:0)", "-110:0"): True,
}


async def test_a_segment_lies_inside_its_object_once_offset(seed: Seed) -> None:
    for (timerange, offset), inside in INSIDE.items():
        flow_id = await seed.flow("video")
        item = external(timerange, objectTimerange=OBJECT_RANGE, tsOffset=offset)
        found = await answer(seed, flow_id, **item)
        if inside:
            assert found is None, timerange
        else:
            assert found is not None, timerange
            assert found[:2] == ("BAD_USER_INPUT", "timerange")
            assert found[2].endswith(f"which only has {OBJECT_RANGE}")


async def test_the_range_of_an_object_follows_from_its_first_use(gql: Any, seed: Seed) -> None:
    query = "query($id: ID!) { object(id: $id) { timerange } }"
    for timerange, offset, wanted in (
        ("[10:0_20:0]", None, "[10:0_20:0]"),
        ("[10:0_20:0)", "10:0", "[0:0_10:0)"),
        ("[10:0_20:0]", "-5:500000000", "[15:500000000_25:500000001)"),
    ):
        flow_id = await seed.flow("video")
        item = external(timerange, tsOffset=offset)
        assert await answer(seed, flow_id, **item) is None
        found = await gql.execute(query, {"id": item["objectId"]})
        assert found["object"]["timerange"] == wanted


async def test_an_object_in_use_keeps_its_properties(catalog: Catalog, seed: Seed) -> None:
    # given
    flow_id = await seed.flow("video")
    first = external("[0:0_10:0)", objectTimerange="[0:0_20:0)", keyFrameCount=3)
    await seed.register(flow_id, [first])
    object_id = first["objectId"]
    before = await catalog.dump()
    # when what is given again is not the same
    again = use(object_id, "[10:0_20:0)")
    for fields, field in (
        ({"objectTimerange": "[0:0_10:0)"}, "objectTimerange"),
        ({"keyFrameCount": 4}, "keyFrameCount"),
        ({"initObjectId": "other"}, "initObjectId"),
        ({"getUrls": [{"url": "https://x.example.com/", "label": "x"}]}, "getUrls"),
    ):
        found = await answer(seed, flow_id, **again, **fields)
        assert found is not None, field
        assert found[:2] == ("CONFLICT", field)
        assert "is refused; the object already has" in found[2]
    found = await answer(seed, flow_id, **use(object_id, "[15:0_25:0)"))
    assert found is not None
    assert found[:2] == ("BAD_USER_INPUT", "timerange")
    assert await catalog.dump() == before
    # when it is the same, in another spelling even
    same = {"objectTimerange": "[0:0_19:999999999]", "keyFrameCount": 3}
    assert await answer(seed, flow_id, **again, **same, getUrls=first["getUrls"]) is None


async def test_items_of_one_request_build_on_each_other(gql: Any, seed: Seed) -> None:
    flow_id = await seed.flow("video")
    first = external("[0:0_10:0)")
    second = use(first["objectId"], "[20:0_30:0)", tsOffset="20:0")
    too_long = use(first["objectId"], "[40:0_51:0)", tsOffset="40:0")
    payload = await seed.try_register(flow_id, [first, second, too_long])
    errors = [result["error"] and result["error"]["field"] for result in payload["results"]]
    assert errors == [None, None, "input.segments.2.timerange"]
    # In the other order the object is not known yet.
    third = external("[60:0_70:0)")
    early = use(third["objectId"], "[80:0_90:0)", tsOffset="20:0")
    payload = await seed.try_register(flow_id, [early, third])
    errors = [result["error"] and result["error"]["field"] for result in payload["results"]]
    assert errors == ["input.segments.0.objectId", None]


@pytest.mark.parametrize("verify", [True, False])
async def test_an_initialisation_object_is_required_or_forbidden(
    tmp_path: Path, verify: bool
) -> None:
    async with running(quick_settings(tmp_path, verify_uploads=verify)) as catalog:
        seed = Seed(catalog.gql, catalog.http)
        # given
        needs = await seed.flow("video", **INIT_VIDEO)
        plain = await seed.flow("video", container=INIT_VIDEO["container"])
        init, first, second = await seed.objects(needs, b"init", b"one", b"two")
        (other,) = await seed.objects(plain, b"three")
        # when, then
        assert await answer(seed, needs, **use(first)) == (
            "BAD_USER_INPUT",
            "initObjectId",
            "is required, because the flow has init_segments",
        )
        assert await answer(seed, needs, **use(first, initObjectId=init)) is None
        again = use(second, "[10:0_20:0)", initObjectId=init)
        assert await answer(seed, needs, **again) is None
        assert await answer(seed, plain, **use(other, initObjectId=init)) == (
            "BAD_USER_INPUT",
            "initObjectId",
            "is not allowed, because the flow does not have init_segments",
        )
        # An object with an initialisation object cannot be used by a flow without them.
        assert await answer(seed, plain, **use(first)) == (
            "BAD_USER_INPUT",
            "initObjectId",
            "is not allowed, because the flow does not have init_segments",
        )
        # In use already, it need not be named again.
        assert await answer(seed, needs, **use(first, "[50:0_60:0)", tsOffset="50:0")) is None


async def test_media_and_initialisation_are_never_the_same_object(
    catalog: Catalog, seed: Seed
) -> None:
    # given
    flow_id = await seed.flow("video", **INIT_VIDEO)
    init, media, fresh = await seed.objects(flow_id, b"init", b"media", b"fresh")
    await seed.register(flow_id, [use(media, initObjectId=init)])
    before = await catalog.dump()
    # when, then
    later = "[10:0_20:0)"
    for item, wanted in (
        (
            use(init, later, initObjectId=fresh),
            ("CONFLICT", "objectId", f"{init} is an initialisation object, not a media object"),
        ),
        (
            use(fresh, later, initObjectId=media),
            (
                "CONFLICT",
                "initObjectId",
                f"{media} is a media object, not an initialisation object",
            ),
        ),
        (
            use(fresh, later, initObjectId="nowhere"),
            ("BAD_USER_INPUT", "initObjectId", "object nowhere is unknown"),
        ),
        (
            use(fresh, later, initObjectId=fresh),
            (
                "BAD_USER_INPUT",
                "initObjectId",
                f"'{fresh}' is not allowed; a media object cannot be its own initialisation"
                " segment",
            ),
        ),
    ):
        assert await answer(seed, flow_id, **item) == wanted
    assert await catalog.dump() == before


async def test_an_initialisation_object_must_be_uploaded_too(seed: Seed) -> None:
    flow_id = await seed.flow("video", **INIT_VIDEO)
    (media,) = await seed.objects(flow_id, b"media")
    (place,) = await seed.allocate(flow_id, limit=1)
    init = place["objectId"]
    assert await answer(seed, flow_id, **use(media, initObjectId=init)) == (
        "BAD_USER_INPUT",
        "initObjectId",
        f"the bytes of {init} have not been uploaded",
    )


URLS: dict[str, tuple[list[Data], str]] = {
    "relative": ([{"url": "/1.ts", "label": "a"}], "getUrls.0.url"),
    "another scheme": ([{"url": "s3://bucket/1.ts", "label": "a"}], "getUrls.0.url"),
    "a blank": ([{"url": "https://x.example.com/ 1", "label": "a"}], "getUrls.0.url"),
    "no label": ([{"url": "https://x.example.com/1", "label": ""}], "getUrls.0.label"),
    "a label twice": (
        [{"url": f"https://x.example.com/{n}", "label": "a"} for n in range(2)],
        "getUrls.1.label",
    ),
    "33 of them": (
        [{"url": f"https://x.example.com/{n}", "label": str(n)} for n in range(33)],
        "getUrls",
    ),
    "our own label": ([{"url": "https://x.example.com/1", "label": "local"}], "getUrls"),
}


@pytest.mark.parametrize("case", URLS)
async def test_urls_that_are_refused(catalog: Catalog, seed: Seed, case: str) -> None:
    flow_id = await seed.flow("video")
    urls, field = URLS[case]
    before = await catalog.dump()
    found = await answer(seed, flow_id, **use("elsewhere", getUrls=urls))
    assert found is not None
    assert found[:2] == ("BAD_USER_INPUT", field)
    assert await catalog.dump() == before


async def test_an_uploaded_object_may_have_copies_elsewhere(gql: Any, seed: Seed) -> None:
    flow_id = await seed.flow("video")
    (object_id,) = await seed.objects(flow_id, b"bytes")
    copies = [{"url": "https://x.example.com/1", "label": "x"}]
    assert await answer(seed, flow_id, **use(object_id, getUrls=copies)) is None
    found = await gql.execute(
        "query($id: ID!) { object(id: $id) { instances { label controlled } } }", {"id": object_id}
    )
    assert found["object"]["instances"] == [
        {"label": "local", "controlled": True},
        {"label": "x", "controlled": False},
    ]


async def test_flows_that_register_one_new_object_at_once_agree_on_it(
    catalog: Catalog, seed: Seed
) -> None:
    flows = [await seed.flow("video") for _ in range(6)]
    item = external("[0:0_10:0)")
    payloads = await asyncio.gather(*(seed.register(flow_id, [item]) for flow_id in flows))
    assert [payload["registeredCount"] for payload in payloads] == [1] * 6
    objects = (await catalog.dump())["objects"]
    assert [row[0] for row in objects] == [item["objectId"]]


async def test_an_object_first_used_as_media_and_as_initialisation_at_once_is_one_of_them(
    seed: Seed,
) -> None:
    flow_id = await seed.flow("video", **INIT_VIDEO)
    init, disputed, media = await seed.objects(flow_id, b"1", b"2", b"3")
    found = await asyncio.gather(
        answer(seed, flow_id, **use(disputed, "[0:0_1:0)", initObjectId=init)),
        answer(seed, flow_id, **use(media, "[1:0_2:0)", initObjectId=disputed)),
    )
    refused = [error for error in found if error is not None]
    assert [error[0] for error in refused] == ["CONFLICT"]


async def test_an_upload_that_is_replaced_counts_as_it_is_at_registration(
    gql: Any, seed: Seed
) -> None:
    flow_id = await seed.flow("video")
    (place,) = await seed.allocate(flow_id, limit=1)
    assert header_of(place["putUrl"]) == {"Content-Type": "video/mp2t"}
    for body in (b"a first try", b"better"):
        await seed.upload(place["putUrl"], body)
    assert await answer(seed, flow_id, **use(place["objectId"])) is None
    found = await gql.execute(
        "query($id: ID!) { object(id: $id) { size } }", {"id": place["objectId"]}
    )
    assert found["object"]["size"] == len(b"better")
