"""What an object is counted for, and what a flow must be like to use it again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tams_gql.resolvers.reclaim import reclaim_objects
from tests.catalog import Catalog, quick_settings, running
from tests.gql import Data, GraphQL
from tests.schema.full_flows import INIT_VIDEO
from tests.seed import Seed, external, seconds

OBJECT = "query O($id: ID!) { object(id: $id) { referenceCount orphaned contentType } }"


async def seen(gql: GraphQL, object_id: str) -> Data | None:
    found: Data | None = (await gql.execute(OBJECT, {"id": object_id}))["object"]
    return found


async def count(gql: GraphQL, object_id: str) -> int:
    found = await seen(gql, object_id)
    assert found is not None
    references: int = found["referenceCount"]
    return references


async def test_an_initialisation_object_counts_objects_elsewhere_too(
    gql: GraphQL, seed: Seed
) -> None:
    flow_id = await seed.flow("video", **INIT_VIDEO)
    init, stored = await seed.objects(flow_id, b"init", b"media")
    items = [external(seconds(n, n + 1), initObjectId=init) for n in range(3)]
    # when: alone, together with one that is stored, and used once more
    await seed.register(flow_id, items[:1])
    assert await count(gql, init) == 1
    here = {"objectId": stored, "timerange": seconds(10, 11), "initObjectId": init}
    await seed.register(flow_id, [*items[1:], here])
    assert await count(gql, init) == 4
    again = {"objectId": items[0]["objectId"], "timerange": seconds(20, 21), "tsOffset": "20:0"}
    await seed.register(flow_id, [again])
    # then
    assert await count(gql, init) == 4
    assert await count(gql, items[0]["objectId"]) == 2


async def test_an_initialisation_object_goes_after_the_last_object_that_needs_it(
    tmp_path: Path,
) -> None:
    settings = quick_settings(tmp_path, min_object_timeout=300)
    async with running(settings) as catalog:
        seed, gql = Seed(catalog.gql, catalog.http), catalog.gql
        flow_id = await seed.flow("video", **INIT_VIDEO)
        init, stored = await seed.objects(flow_id, b"init", b"media")
        elsewhere = external(seconds(0, 1), initObjectId=init)
        here = {"objectId": stored, "timerange": seconds(1, 2), "initObjectId": init}
        await seed.register(flow_id, [elsewhere, here])
        for item, left in ((here, 1), (elsewhere, 0)):
            # when
            await seed.delete_segments(flow_id, objectId=item["objectId"])
            await reclaimed_later(catalog, 301)
            # then
            assert await seen(gql, item["objectId"]) is None
            found = await seen(gql, init)
            assert found is not None
            assert (found["referenceCount"], found["orphaned"] is None) == (left, left > 0)
        await reclaimed_later(catalog, 602)
        assert await seen(gql, init) is None


async def reclaimed_later(catalog: Catalog, seconds_later: int) -> None:
    """Reclaim as it would be done after some time."""
    services = catalog.services
    later = services.now_us() + seconds_later * 1_000_000
    await reclaim_objects(replace(services, now_us=lambda: later))


async def test_a_flow_of_another_container_cannot_use_an_object(
    catalog: Catalog, seed: Seed
) -> None:
    # given
    one, same, other = [
        await seed.flow("video", container=kind)
        for kind in ("video/mp2t", "video/MP2T", "video/mp4")
    ]
    (stored,) = await seed.segments(one, "[0:0_1:0)")
    (elsewhere,) = await seed.external(one, "[1:0_2:0)")
    items = [
        {"objectId": stored, "timerange": "[0:0_1:0)"},
        {"objectId": elsewhere, "timerange": "[1:0_2:0)"},
    ]
    before = await catalog.dump()
    # when, then
    results = (await seed.try_register(other, items))["results"]
    assert [(r["error"]["code"], r["error"]["message"]) for r in results] == [
        (
            "BAD_USER_INPUT",
            f"input.segments.{n}.objectId: {item['objectId']} is video/mp2t, but the flow's"
            " container is video/mp4",
        )
        for n, item in enumerate(items)
    ]
    assert await catalog.dump() == before
    await seed.register(same, items)


async def test_flows_of_pictures_and_of_sound_may_share_an_object_with_both(
    gql: GraphQL, seed: Seed
) -> None:
    pictures = await seed.flow("video", container="video/mp4")
    sound = await seed.flow("audio", container="audio/mp4")
    (stored,) = await seed.segments(pictures, "[0:0_1:0)")
    await seed.register(sound, [{"objectId": stored, "timerange": "[0:0_1:0)"}])
    found = await seen(gql, stored)
    assert found is not None
    assert (found["referenceCount"], found["contentType"]) == (2, "video/mp4")


async def test_a_copy_given_again_has_its_label(catalog: Catalog, seed: Seed) -> None:
    flow_id = await seed.flow()
    item = external("[0:0_1:0)")
    await seed.register(flow_id, [item])
    (url,) = item["getUrls"]
    again = {**item, "timerange": "[1:0_2:0)", "tsOffset": "1:0"}
    before = await catalog.dump()
    renamed = {**again, "getUrls": [{**url, "label": "another"}]}
    (result,) = (await seed.try_register(flow_id, [renamed]))["results"]
    assert (result["error"]["code"], result["error"]["field"]) == (
        "CONFLICT",
        "input.segments.0.getUrls",
    )
    assert await catalog.dump() == before
    await seed.register(flow_id, [again])
