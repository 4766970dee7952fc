"""Media objects, their copies and the URLs that really give out the bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tams_gql.model.ids import new_id
from tests.catalog import Catalog, quick_settings, running
from tests.gql import GraphQL, refusal
from tests.recording import watched
from tests.seed import Seed, external
from tests.waiting import PATIENCE_SECONDS

OBJECT = """
query Object($id: ID!) {
  object(id: $id) {
    id size contentType timerange keyFrameCount created
    initObject { id }
    firstReferencedByFlow { id }
    instances { label storageId controlled getUrl headUrl }
  }
}
"""

URLS = """
query Urls(
  $id: ID!, $labels: [String!], $storageIds: [ID!], $presigned: Boolean, $expiresIn: Int
) {
  object(id: $id) {
    getUrls(
      labels: $labels, storageIds: $storageIds, presigned: $presigned, expiresIn: $expiresIn
    ) { url label presigned controlled storageId }
  }
}
"""

BODY = bytes(range(256)) * 40
ELSEWHERE = "https://media.example.com/1.ts"


async def urls(gql: GraphQL, object_id: str, **arguments: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await gql.execute(URLS, {"id": object_id, **arguments}))[
        "object"
    ]["getUrls"]
    return found


async def test_every_field_of_an_uploaded_object(catalog: Catalog, seed: Seed) -> None:
    # given
    flow_id = await seed.flow("video")
    (object_id,) = await seed.objects(flow_id, BODY)
    segment = {"objectId": object_id, "timerange": "[10:0_20:0)", "tsOffset": "10:0"}
    await seed.register(flow_id, [{**segment, "keyFrameCount": 5}])
    # when
    found = (await catalog.gql.execute(OBJECT, {"id": object_id}))["object"]
    # then
    (media,) = catalog.services.media
    (instance,) = found.pop("instances")
    created = found.pop("created")
    assert created.endswith("Z")
    assert found == {
        "id": object_id,
        "size": len(BODY),
        "contentType": "video/mp2t",
        "timerange": "[0:0_10:0)",
        "keyFrameCount": 5,
        "initObject": None,
        "firstReferencedByFlow": {"id": flow_id},
    }
    get, head = instance.pop("getUrl"), instance.pop("headUrl")
    assert instance == {"label": "local", "storageId": media.backend.id, "controlled": True}
    assert get != head


async def test_every_field_of_an_object_that_is_elsewhere(gql: GraphQL, seed: Seed) -> None:
    flow_id = await seed.flow("audio")
    given = external("[0:0_10:0)")
    second = {"url": "https://backup.example.com/1.ts", "label": "backup"}
    given["getUrls"].append(second)
    await seed.register(flow_id, [given])
    found = (await gql.execute(OBJECT, {"id": given["objectId"]}))["object"]
    found.pop("created")
    plain = {"storageId": None, "controlled": False}
    assert found == {
        "id": given["objectId"],
        "size": None,
        "contentType": "video/mp2t",
        "timerange": "[0:0_10:0)",
        "keyFrameCount": None,
        "initObject": None,
        "firstReferencedByFlow": {"id": flow_id},
        "instances": [
            {**plain, "label": "elsewhere", "getUrl": ELSEWHERE, "headUrl": ELSEWHERE},
            {**plain, "label": "backup", "getUrl": second["url"], "headUrl": second["url"]},
        ],
    }


async def test_an_object_that_is_not_there_is_null(gql: GraphQL) -> None:
    for object_id in (new_id(), "no such object", "x" * 10_000):
        assert await gql.execute(OBJECT, {"id": object_id}) == {"object": None}
    (error,) = await gql.errors(OBJECT, {"id": ""})
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "field": "id"}


async def test_the_urls_give_the_bytes_over_a_real_socket(served: Catalog) -> None:
    # given
    seed = Seed(served.gql, served.http)
    flow_id = await seed.flow("video")
    (object_id,) = await seed.objects(flow_id, BODY)
    await seed.register(flow_id, [{"objectId": object_id, "timerange": "[0:0_10:0)"}])
    found = (await served.gql.execute(OBJECT, {"id": object_id}))["object"]
    (url,) = await urls(served.gql, object_id)
    get, head = found["instances"][0]["getUrl"], found["instances"][0]["headUrl"]
    # when, then
    async with httpx.AsyncClient(timeout=PATIENCE_SECONDS, trust_env=False) as client:
        for address in (url["url"], get):
            answer = await client.get(address)
            assert (answer.status_code, answer.content) == (200, BODY)
            assert answer.headers["content-type"] == "video/mp2t"
        part = await client.get(get, headers={"Range": "bytes=256-511"})
        assert (part.status_code, part.content) == (206, bytes(range(256)))
        answer = await client.head(head)
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["content-length"] == str(len(BODY))
        assert (await client.get(head)).status_code == 403
        assert (await client.put(get, content=b"x")).status_code in (403, 405)


@pytest.fixture
async def copied(catalog: Catalog, seed: Seed) -> str:
    """An object with a copy in the local backend and two elsewhere."""
    flow_id = await seed.flow("video")
    (object_id,) = await seed.objects(flow_id, BODY)
    copies = [{"url": f"{ELSEWHERE}?{label}", "label": label} for label in ("a", "b")]
    item = {"objectId": object_id, "timerange": "[0:0_10:0)", "getUrls": copies}
    await seed.register(flow_id, [item])
    return object_id


async def test_urls_can_be_chosen(catalog: Catalog, copied: str) -> None:
    (media,) = catalog.services.media
    ours, other = media.backend.id, new_id()
    for arguments, wanted in (
        ({}, ["local", "a", "b"]),
        ({"labels": None, "storageIds": None, "presigned": None}, ["local", "a", "b"]),
        ({"labels": ["b", "local"]}, ["local", "b"]),
        ({"labels": ["c"]}, []),
        ({"labels": []}, []),
        ({"storageIds": [ours]}, ["local"]),
        ({"storageIds": [other]}, []),
        ({"storageIds": []}, ["local", "a", "b"]),
        ({"presigned": True}, ["local"]),
        ({"presigned": False}, ["a", "b"]),
        ({"presigned": False, "labels": ["local", "a"]}, ["a"]),
        ({"presigned": True, "labels": ["a"]}, []),
        ({"expiresIn": 300}, ["local", "a", "b"]),
    ):
        found = await urls(catalog.gql, copied, **arguments)
        assert [url["label"] for url in found] == wanted, arguments


async def test_the_same_choices_work_on_a_segment(catalog: Catalog, copied: str) -> None:
    query = """
    query($labels: [String!], $presigned: Boolean, $expiresIn: Int) {
      flows { nodes { segments { nodes {
        getUrls(labels: $labels, presigned: $presigned, expiresIn: $expiresIn) { label }
      } } } }
    }
    """
    for arguments, wanted in (
        ({}, ["local", "a", "b"]),
        ({"labels": ["a"]}, ["a"]),
        ({"presigned": True, "expiresIn": 600}, ["local"]),
    ):
        (flow,) = (await catalog.gql.execute(query, arguments))["flows"]["nodes"]
        (segment,) = flow["segments"]["nodes"]
        assert [url["label"] for url in segment["getUrls"]] == wanted


async def test_the_life_span_has_limits(tmp_path: Path) -> None:
    settings = quick_settings(tmp_path, presign_ttl=900, min_presigned_url_timeout=45)
    async with running(settings) as catalog:
        seed = Seed(catalog.gql, catalog.http)
        (object_id,) = await seed.segments(await seed.flow("video"), "[0:0_10:0)")
        for seconds in (45, 900):
            assert len(await urls(catalog.gql, object_id, expiresIn=seconds)) == 1
        for seconds in (44, 901, 0, -1):
            variables = {"id": object_id, "expiresIn": seconds}
            assert await catalog.gql.errors(URLS, variables) == [
                refusal(
                    "BAD_USER_INPUT",
                    f"expiresIn: {seconds} is not allowed; 45 to 900 seconds",
                    *("object", "getUrls"),
                    field="expiresIn",
                )
            ]


async def test_an_expired_url_gives_nothing(catalog: Catalog, seed: Seed) -> None:
    (object_id,) = await seed.segments(await seed.flow("video"), "[0:0_10:0)")
    (url,) = await urls(catalog.gql, object_id)
    head, _, signature = url["url"].rpartition("=")
    assert (await catalog.http.get(url["url"])).status_code == 200
    assert (await catalog.http.get(f"{head}={signature[::-1]}")).status_code == 403


async def test_urls_are_only_minted_where_they_are_selected(catalog: Catalog, seed: Seed) -> None:
    # given
    flow_id = await seed.flow("video")
    await seed.segments(flow_id, "[0:0_10:0)", "[10:0_20:0)", "[20:0_30:0)")
    part = "query($id: ID!, $urls: Boolean!) { flow(id: $id) { segments { nodes { objectId"
    for selected, calls_wanted in (
        ("getUrls { url }", ["scan objects", "sign 3 GET"]),
        ("getUrls(presigned: false) { url }", ["scan objects"]),
        ("object { getUrls { url } }", ["scan objects", "sign 3 GET"]),
        ("object { instances { label } }", ["scan objects"]),
        ("object { instances { getUrl } }", ["scan objects", "sign 3 GET"]),
        ("object { instances { headUrl } }", ["scan objects", "sign 3 HEAD"]),
        ("a: getUrls { url } b: getUrls { label }", ["scan objects", "sign 3 GET"]),
    ):
        query = f"{part} ... @include(if: $urls) {{ {selected} }} }} }} }} }}"
        for wanted, extra in ((True, calls_wanted), (False, [])):
            with watched() as calls:
                await catalog.gql.execute(query, {"id": flow_id, "urls": wanted})
            # then
            assert calls == ["scan flows", "windows", *extra], selected


async def test_get_and_head_urls_of_one_request_are_signed_side_by_side(
    catalog: Catalog, seed: Seed
) -> None:
    ids = await seed.segments(await seed.flow("video"), "[0:0_10:0)", "[10:0_20:0)")
    query = """
    query($a: ID!, $b: ID!) {
      a: object(id: $a) { instances { getUrl headUrl short: getUrl(expiresIn: 300) } }
      b: object(id: $b) { instances { getUrl headUrl } }
    }
    """
    with watched() as calls:
        await catalog.gql.execute(query, dict(zip("ab", ids, strict=True)))
    assert calls[0] == "scan objects"
    assert sorted(calls[1:]) == ["sign 1 GET", "sign 2 GET", "sign 2 HEAD"]


async def test_objects_of_unknown_initialisation_have_none(gql: GraphQL, seed: Seed) -> None:
    flow_id = await seed.flow(
        "video",
        container="video/mp4",
        essenceParameters={"frameWidth": 1, "frameHeight": 1, "vfr": True, "initSegments": True},
    )
    init, media = await seed.objects(flow_id, b"init", b"media")
    item = {"objectId": media, "timerange": "[0:0_10:0)", "initObjectId": init}
    await seed.register(flow_id, [item])
    found = (await gql.execute(OBJECT, {"id": media}))["object"]
    assert found["initObject"] == {"id": init}
    found = (await gql.execute(OBJECT, {"id": init}))["object"]
    shown = {name: found[name] for name in ("size", "timerange", "initObject", "keyFrameCount")}
    assert shown == {"size": 4, "timerange": None, "initObject": None, "keyFrameCount": None}
    assert found["firstReferencedByFlow"] == {"id": flow_id}
