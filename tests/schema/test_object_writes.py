"""Objects as a list, what refers to them, their copies, and their end when nothing does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tams_gql.context import Services
from tams_gql.model.errors import Unavailable
from tams_gql.model.ids import new_id
from tams_gql.resolvers.reclaim import reclaim_objects
from tests.catalog import Catalog, quick_settings, running
from tests.failing import Breakable
from tests.gql import Data, GraphQL, refusal
from tests.recording import watched
from tests.schema.full_flows import INIT_VIDEO
from tests.seed import Seed, external
from tests.waiting import eventually, until

OBJECTS = """
query Objects($filter: ObjectFilter, $first: Int, $after: String) {
  objects(filter: $filter, first: $first, after: $after) {
    totalCount nodes { id } pageInfo { hasNextPage endCursor }
  }
}
"""
USERS = """
query Users($id: ID!, $first: Int, $after: String, $filter: FlowFilter) {
  object(id: $id) {
    referenceCount orphaned
    references(first: $first, after: $after) {
      totalCount nodes { timerange flow { id } } pageInfo { hasNextPage endCursor }
    }
    flows(filter: $filter) { totalCount nodes { id } }
  }
}
"""
ADD = """
mutation Add($input: AddObjectInstanceInput!) {
  addObjectInstance(input: $input) { object { id instances { label controlled getUrl } } }
}
"""
REMOVE = """
mutation Remove($input: RemoveObjectInstanceInput!) {
  removeObjectInstance(input: $input) { object { instances { label } } }
}
"""
ELSEWHERE = "https://media.example.com/copy.ts"


async def users(gql: GraphQL, object_id: str, **arguments: object) -> Data:
    found: Data = (await gql.execute(USERS, {"id": object_id, **arguments}))["object"]
    return found


def use(object_id: str, timerange: str, **fields: object) -> Data:
    return {"objectId": object_id, "timerange": timerange, **fields}


async def test_objects_are_listed_newest_first_and_filtered(catalog: Catalog, seed: Seed) -> None:
    # given
    (media,) = catalog.services.media
    one, two = await seed.flow("video"), await seed.flow("image")
    ids = []
    for flow_id, body in ((one, b"1"), (one, b"22"), (two, b"333")):
        ids += await seed.objects(flow_id, body)
        at = len(ids)
        await seed.register(flow_id, [use(ids[-1], f"[{at}:0_{at + 1}:0)")])
    ids += await seed.external(one, "[50:0_51:0)")
    again = use(ids[0], "[60:0_61:0)", tsOffset="59:0")
    await seed.register(one, [again])
    await seed.objects(one, b"only uploaded")
    # when, then
    for chosen, wanted in (
        ({}, [3, 2, 1, 0]),
        ({"ids": [ids[1], ids[0], "x"]}, [1, 0]),
        ({"ids": []}, []),
        ({"contentType": "image/jpeg"}, [2]),
        ({"storageId": media.backend.id}, [2, 1, 0]),
        ({"storageId": new_id()}, []),
        ({"minSize": 2}, [2, 1]),
        ({"maxSize": 2}, [1, 0]),
        ({"minSize": 2, "maxSize": 2}, [1]),
        ({"minReferences": 2}, [0]),
        ({"maxReferences": 1}, [3, 2, 1]),
        ({"orphaned": True}, []),
        ({"orphaned": False}, [3, 2, 1, 0]),
    ):
        found = (await catalog.gql.execute(OBJECTS, {"filter": chosen}))["objects"]
        assert [ids.index(node["id"]) for node in found["nodes"]] == wanted, chosen
        assert found["totalCount"] == len(wanted)
    first = (await catalog.gql.execute(OBJECTS, {"first": 3}))["objects"]
    after = first["pageInfo"]["endCursor"]
    rest = (await catalog.gql.execute(OBJECTS, {"after": after}))["objects"]
    assert [ids.index(n["id"]) for n in [*first["nodes"], *rest["nodes"]]] == [3, 2, 1, 0]


async def test_an_object_knows_its_segments_and_flows(gql: GraphQL, seed: Seed) -> None:
    # given
    one, two, other = [await seed.flow() for _ in range(3)]
    item = external("[0:0_10:0)")
    object_id = item["objectId"]
    await seed.register(one, [item, use(object_id, "[20:0_30:0)", tsOffset="20:0")])
    await seed.register(two, [use(object_id, "[0:0_5:0)")])
    await seed.external(other, "[0:0_10:0)")
    # when, then
    found = await users(gql, object_id)
    assert (found["referenceCount"], found["orphaned"]) == (3, None)
    segments = {
        flow_id: [
            n["timerange"] for n in found["references"]["nodes"] if n["flow"]["id"] == flow_id
        ]
        for flow_id in (one, two)
    }
    assert segments == {one: ["[0:0_10:0)", "[20:0_30:0)"], two: ["[0:0_5:0)"]}
    assert found["references"]["totalCount"] == 3
    flows = found["flows"]
    assert ([node["id"] for node in flows["nodes"]], flows["totalCount"]) == ([two, one], 2)
    # pages
    first = (await users(gql, object_id, first=2))["references"]
    assert first["pageInfo"]["hasNextPage"] is True
    rest = await users(gql, object_id, first=2, after=first["pageInfo"]["endCursor"])
    assert len(rest["references"]["nodes"]) == 1
    found = await users(gql, object_id, filter={"ids": [one]})
    assert found["flows"] == {"totalCount": 1, "nodes": [{"id": one}]}
    # and what goes is no longer counted
    await seed.delete_segments(one, coveredBy="[20:0_30:0)")
    assert (await users(gql, object_id))["referenceCount"] == 2
    await seed.delete(two)
    found = await users(gql, object_id)
    assert (found["referenceCount"], found["flows"]["totalCount"]) == (1, 1)


async def test_an_initialisation_object_is_used_through_media_objects(
    gql: GraphQL, seed: Seed
) -> None:
    # given two media objects of one flow, one of which another flow uses too
    one, two = [await seed.flow("video", **INIT_VIDEO) for _ in range(2)]
    init, first, second = await seed.objects(one, b"init", b"1", b"2")
    await seed.register(
        one,
        [
            use(first, "[0:0_10:0)", initObjectId=init),
            use(second, "[10:0_20:0)", initObjectId=init),
        ],
    )
    await seed.register(two, [use(first, "[0:0_10:0)")])
    # when, then
    found = await users(gql, init)
    assert found["references"]["totalCount"] == 3
    places = {(n["flow"]["id"], n["timerange"]) for n in found["references"]["nodes"]}
    assert places == {(one, "[0:0_10:0)"), (one, "[10:0_20:0)"), (two, "[0:0_10:0)")}
    assert {node["id"] for node in found["flows"]["nodes"]} == {one, two}
    assert found["flows"]["totalCount"] == 2


@pytest.mark.parametrize("count", [1, 50])
async def test_users_cost_one_round_trip_each_whatever_the_objects(
    catalog: Catalog, seed: Seed, count: int
) -> None:
    flow_id = await seed.flow()
    await seed.external(flow_id, *(f"[{n}:0_{n + 1}:0)" for n in range(count)))
    query = """
    { objects(first: 50) { nodes {
      references(first: 2) { nodes { timerange } } flows(first: 2) { nodes { id } } } } }
    """
    with watched() as calls:
        data = await catalog.gql.execute(query)
    assert [o["flows"]["nodes"] for o in data["objects"]["nodes"]] == [[{"id": flow_id}]] * count
    assert len(calls) == 3, calls


async def test_copies_are_added_and_removed(catalog: Catalog, seed: Seed) -> None:
    # given
    flow_id = await seed.flow()
    (object_id,) = await seed.segments(flow_id, "[0:0_10:0)", body=b"bytes")
    url = (
        await catalog.gql.execute(
            "query($id: ID!) { object(id: $id) { getUrls { url } } }", {"id": object_id}
        )
    )["object"]["getUrls"][0]["url"]
    # when a copy is added, twice
    given = {"objectId": object_id, "url": ELSEWHERE, "label": "copy"}
    for _ in range(2):
        done = (await catalog.gql.execute(ADD, {"input": given}))["addObjectInstance"]["object"]
        assert [i["label"] for i in done["instances"]] == ["local", "copy"]
        assert done["instances"][1] == {"label": "copy", "controlled": False, "getUrl": ELSEWHERE}
    # and the one in our storage is removed, its bytes go too
    assert (await catalog.http.get(url)).status_code == 200
    given = {"objectId": object_id, "label": "local"}
    done = await catalog.gql.execute(REMOVE, {"input": given})
    assert done["removeObjectInstance"]["object"] == {"instances": [{"label": "copy"}]}

    async def is_gone() -> bool:
        return (await catalog.http.get(url)).status_code == 404

    await eventually(is_gone)


async def test_copies_that_are_refused_leave_no_trace(catalog: Catalog, seed: Seed) -> None:
    (object_id,) = await seed.segments(await seed.flow(), "[0:0_10:0)")
    (media,) = catalog.services.media
    copy = {"objectId": object_id, "url": ELSEWHERE, "label": "copy"}
    await catalog.gql.execute(ADD, {"input": copy})
    before = await catalog.dump()
    for query, given, code, field in (
        (ADD, {**copy, "url": f"{ELSEWHERE}?2"}, "CONFLICT", "label"),
        (ADD, {**copy, "label": "local"}, "CONFLICT", "label"),
        (ADD, {**copy, "label": ""}, "BAD_USER_INPUT", "label"),
        (ADD, {**copy, "url": "ftp://x.example.com/"}, "BAD_USER_INPUT", "url"),
        (ADD, {**copy, "objectId": "unknown"}, "NOT_FOUND", "objectId"),
        (REMOVE, {"objectId": object_id}, "BAD_USER_INPUT", "label"),
        (
            REMOVE,
            {"objectId": object_id, "label": "copy", "storageId": media.backend.id},
            "BAD_USER_INPUT",
            "label",
        ),
        (REMOVE, {"objectId": object_id, "label": "x"}, "NOT_FOUND", "label"),
        (REMOVE, {"objectId": object_id, "storageId": new_id()}, "NOT_FOUND", "storageId"),
        (REMOVE, {"objectId": "unknown", "label": "copy"}, "NOT_FOUND", "objectId"),
    ):
        (error,) = await catalog.gql.errors(query, {"input": given})
        found = (error["extensions"]["code"], error["extensions"].get("field"))
        assert found == (code, f"input.{field}"), given
    assert await catalog.dump() == before
    # The last copy stays.
    await catalog.gql.execute(REMOVE, {"input": {"objectId": object_id, "label": "copy"}})
    last = {"objectId": object_id, "storageId": media.backend.id}
    assert await catalog.gql.errors(REMOVE, {"input": last}) == [
        refusal("CONFLICT", "the last copy of an object cannot be removed", "removeObjectInstance")
    ]


class Clock:
    """The time of the services, which a test can move on."""

    def __init__(self) -> None:
        self.ahead_us = 0

    def refit(self, services: Services) -> Services:
        now = services.now_us
        return replace(services, now_us=lambda: now() + self.ahead_us)


async def test_an_object_without_users_is_kept_for_a_while_and_then_goes(tmp_path: Path) -> None:
    clock = Clock()
    async with running(quick_settings(tmp_path), clock.refit) as catalog:
        # given a used, an orphaned and an only allocated object
        seed, gql = Seed(catalog.gql, catalog.http), catalog.gql
        flow_id = await seed.flow()
        used, orphan = await seed.segments(flow_id, "[0:0_10:0)", "[10:0_20:0)")
        await seed.objects(flow_id, b"never registered")
        await seed.delete_segments(flow_id, coveredBy="[10:0_20:0)")
        found = await users(gql, orphan)
        assert (found["referenceCount"], found["flows"]["nodes"]) == (0, [])
        assert found["orphaned"].endswith("Z")
        chosen = (await gql.execute(OBJECTS, {"filter": {"orphaned": True}}))["objects"]
        assert [node["id"] for node in chosen["nodes"]] == [orphan]
        # when less than the promised time has passed
        clock.ahead_us = 540 * 1_000_000  # the test itself may take a while
        assert (await reclaim_objects(catalog.services)).objects == 0
        # then it can be used again, and is no orphan any more
        again = use(orphan, "[30:0_40:0)", tsOffset="20:0")
        await seed.register(flow_id, [again])
        assert (await users(gql, orphan))["orphaned"] is None
        await seed.delete_segments(flow_id, coveredBy="[30:0_40:0)")
        # when all of it has passed
        clock.ahead_us += 700 * 1_000_000
        done = await reclaim_objects(catalog.services)
        # then what nobody uses is gone, bytes and all
        assert done.objects == 2
        rows = {row[0] for row in (await catalog.dump())["objects"]}
        assert rows == {used}
        folder = tmp_path / "media" / "objects"

        async def only_the_used_one_is_there() -> bool:
            names = [path.name for path in folder.rglob("*") if path.is_file()]
            return [name for name in names if "." in name] == [f"{used}.object"]

        await eventually(only_the_used_one_is_there)


async def test_reclaiming_outlives_its_failures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tams_gql.resolvers.reclaim._PAUSE_SECONDS", 0.01)
    refit = Breakable()
    async with running(quick_settings(tmp_path), refit) as catalog:
        for failure, told in (
            (
                Unavailable("the disk is gone"),
                "objects could not be reclaimed, trying again later: the disk is gone",
            ),
            (RuntimeError("a defect"), "reclaiming objects failed, trying again later"),
        ):
            caplog.clear()
            refit.store.on_read = failure
            await until(lambda: len(caplog.records) > 4)
            refit.store.on_read = None
            assert told in {record.getMessage() for record in caplog.records}
        # and in the end it does its work
        catalog.store.calls.clear()
        await until(lambda: len(catalog.store.calls) > 1)
