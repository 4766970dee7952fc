"""``allocateStorage``: places for new objects, and requests that really upload them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tams_gql.model.ids import new_id
from tests.catalog import Catalog, quick_settings, running
from tests.gql import Data, GraphQL, refusal
from tests.recording import watched
from tests.seed import ALLOCATE, MPEG_TS, Seed, header_of

OBJECT = "query Object($id: ID!) { object(id: $id) { id } }"


async def errors(gql: GraphQL, **given: object) -> list[Data]:
    return await gql.errors(ALLOCATE, {"input": given})


async def test_ten_places_are_the_default(catalog: Catalog, seed: Seed) -> None:
    # given
    flow_id = await seed.flow("video")
    asked = datetime.now(UTC)
    # when
    with watched() as calls:
        places = await seed.allocate(flow_id)
    # then
    assert calls == ["scan flows", "sign 10 PUT", "commit"]
    assert len({place["objectId"] for place in places}) == len(places) == 10
    (media,) = catalog.services.media
    for place in places:
        assert (place["storageId"], place["presigned"]) == (media.backend.id, True)
        put = place["putUrl"]
        assert put["url"].startswith(f"{catalog.settings.public_url}/media/")
        assert header_of(put) == {"Content-Type": MPEG_TS}
        lifetime = datetime.fromisoformat(put["expires"]) - asked
        assert timedelta(seconds=595) < lifetime < timedelta(seconds=700)


async def test_an_allocated_object_does_not_exist_before_a_segment_uses_it(
    catalog: Catalog, seed: Seed
) -> None:
    flow_id = await seed.flow("video")
    before = await catalog.event_types()
    (object_id,) = await seed.objects(flow_id, b"bytes")
    assert await catalog.gql.execute(OBJECT, {"id": object_id}) == {"object": None}
    assert await catalog.event_types() == before
    await seed.register(flow_id, [{"objectId": object_id, "timerange": "[0:0_1:0)"}])
    assert await catalog.gql.execute(OBJECT, {"id": object_id}) == {"object": {"id": object_id}}


async def test_clients_may_choose_the_ids(gql: GraphQL, seed: Seed) -> None:
    flow_id = await seed.flow("video")
    ids = ["a/b c", "ä+%2F?#", new_id(), "x" * 256]
    places = await seed.allocate(flow_id, objectIds=ids)
    assert [place["objectId"] for place in places] == ids
    for place in places:
        await seed.upload(place["putUrl"], b"bytes")
    segments = [
        {"objectId": object_id, "timerange": f"[{at}:0_{at + 1}:0)"}
        for at, object_id in enumerate(ids)
    ]
    await seed.register(flow_id, segments)
    for object_id in ids:
        found = await gql.execute(OBJECT, {"id": object_id})
        assert found == {"object": {"id": object_id}}


async def test_the_backend_can_be_named(catalog: Catalog, seed: Seed) -> None:
    flow_id = await seed.flow("video")
    (media,) = catalog.services.media
    (place,) = await seed.allocate(flow_id, limit=1, storageId=media.backend.id)
    assert place["storageId"] == media.backend.id
    unknown = new_id()
    before = await catalog.dump()
    assert await errors(catalog.gql, flowId=flow_id, storageId=unknown) == [
        refusal(
            "BAD_USER_INPUT",
            f"input.storageId: storage backend '{unknown}' is unknown;"
            f" there are: {media.backend.id}",
            "allocateStorage",
            field="input.storageId",
        )
    ]
    assert await catalog.dump() == before


async def test_initialisation_objects_may_have_a_type_of_their_own(seed: Seed) -> None:
    flow_id = await seed.flow("video", container="video/iso.segment")
    (place,) = await seed.allocate(flow_id, limit=1, contentType="video/mp4")
    assert header_of(place["putUrl"]) == {"Content-Type": "video/mp4"}


@pytest.mark.parametrize(
    ("signed", "kept", "seconds"), [(60, 600, 60), (3600, 300, 300), (3600, 900, 900)]
)
async def test_requests_live_as_long_as_set_but_not_longer_than_the_allocation(
    tmp_path: Path, signed: int, kept: int, seconds: int
) -> None:
    settings = quick_settings(
        tmp_path, presign_ttl=signed, min_object_timeout=kept, min_presigned_url_timeout=60
    )
    async with running(settings) as catalog:
        seed = Seed(catalog.gql, catalog.http)
        asked = datetime.now(UTC)
        (place,) = await seed.allocate(await seed.flow("video"), limit=1)
    lifetime = datetime.fromisoformat(place["putUrl"]["expires"]) - asked
    assert timedelta(seconds=seconds - 5) < lifetime < timedelta(seconds=seconds + 60)


async def test_a_thousand_places_are_the_limit(catalog: Catalog, seed: Seed) -> None:
    flow_id = await seed.flow("video")
    assert len(await seed.allocate(flow_id, limit=1000)) == 1000
    before = await catalog.dump()
    for given, name in (
        ({"limit": 1001}, "limit"),
        ({"objectIds": [str(n) for n in range(1001)]}, "objectIds"),
    ):
        assert await errors(catalog.gql, flowId=flow_id, **given) == [
            refusal(
                "LIMIT_EXCEEDED",
                f"input.{name}: 1001 objects are above the limit of 1000",
                "allocateStorage",
                field=f"input.{name}",
                limit=1000,
                requested=1001,
            )
        ]
    assert await catalog.dump() == before


WRONG: list[tuple[Data, str, str]] = [
    ({"limit": 0}, "limit", "input.limit: at least one object must be asked for"),
    ({"limit": -1}, "limit", "input.limit: at least one object must be asked for"),
    ({"objectIds": []}, "objectIds", "input.objectIds: at least one object must be asked for"),
    ({"limit": 1, "objectIds": ["a"]}, "limit", "limit and objectIds cannot both be given"),
    ({"objectIds": ["a", "b", "a"]}, "objectIds", "input.objectIds: an id is given twice"),
    ({"objectIds": ["a", ""]}, "objectIds.1", "input.objectIds.1: '' is not allowed; 1 to 256"),
    ({"objectIds": [".."]}, "objectIds.0", "input.objectIds.0: '..' is not allowed; 1 to 256"),
    ({"objectIds": ["a\n"]}, "objectIds.0", "input.objectIds.0: 'a\\n' is not allowed; 1 to 256"),
    ({"contentType": "mp4"}, "contentType", "input.contentType: 'mp4' is not allowed; type/sub"),
    ({"flowId": "x"}, "flowId", "input.flowId: 'x' is not allowed; a UUID"),
]


async def test_what_breaks_a_rule_is_named_and_leaves_no_trace(
    catalog: Catalog, seed: Seed
) -> None:
    flow_id = await seed.flow("video")
    before = await catalog.dump()
    for given, field, message in WRONG:
        (error,) = await errors(catalog.gql, **{"flowId": flow_id, **given})
        assert error["extensions"] == {"code": "BAD_USER_INPUT", "field": f"input.{field}"}
        assert error["message"].startswith(message), error["message"]
    assert await catalog.dump() == before


async def test_ids_must_be_new(catalog: Catalog, seed: Seed) -> None:
    flow_id, other = await seed.flow("video"), await seed.flow("video")
    (allocated,) = await seed.allocate(flow_id, limit=1)
    (registered,) = await seed.external(flow_id, "[0:0_1:0)")
    before = await catalog.dump()
    for taken in (allocated["objectId"], registered):
        assert await errors(catalog.gql, flowId=other, objectIds=["new", taken]) == [
            refusal(
                "BAD_USER_INPUT",
                f"input.objectIds: {taken} is already in use",
                "allocateStorage",
                field="input.objectIds",
            )
        ]
    assert await catalog.dump() == before


async def test_of_clients_that_choose_the_same_id_one_gets_it(gql: GraphQL, seed: Seed) -> None:
    flows = [await seed.flow("video") for _ in range(6)]
    answers = await asyncio.gather(
        *(gql.answer(ALLOCATE, {"input": {"flowId": f, "objectIds": ["same"]}}) for f in flows)
    )
    refused = [answer["errors"][0]["extensions"] for answer in answers if "errors" in answer]
    assert refused == [{"code": "BAD_USER_INPUT", "field": "input.objectIds"}] * 5


@pytest.mark.parametrize("format", ["video", "multi"])
async def test_a_flow_without_container_or_none_at_all(
    catalog: Catalog, seed: Seed, format: str
) -> None:
    without, unknown = await seed.flow(format, container=None), new_id()
    before = await catalog.dump()
    assert await errors(catalog.gql, flowId=without) == [
        refusal(
            "BAD_USER_INPUT",
            f"flow {without} has no container, so it cannot hold objects",
            "allocateStorage",
            field="input.flowId",
        )
    ]
    assert await errors(catalog.gql, flowId=unknown) == [
        refusal("NOT_FOUND", f"there is no flow {unknown}", "allocateStorage", field="input.flowId")
    ]
    assert await catalog.dump() == before


async def test_a_place_takes_only_its_type_and_only_puts(catalog: Catalog, seed: Seed) -> None:
    (place,) = await seed.allocate(await seed.flow("video"), limit=1)
    url = place["putUrl"]["url"]
    wrong = await catalog.http.put(url, content=b"x", headers={"Content-Type": "video/mp4"})
    assert wrong.status_code in (400, 403)
    assert (await catalog.http.get(url)).status_code in (403, 404)
    other = url.replace(place["objectId"], new_id())
    assert other != url
    refused = await catalog.http.put(other, content=b"x", headers=header_of(place["putUrl"]))
    assert refused.status_code == 403
