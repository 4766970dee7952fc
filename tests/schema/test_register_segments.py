"""``registerSegments``: each item alone or all together, and never an overlap."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from tams_gql.model.ids import new_id
from tams_gql.store.records import CountersRecord, records
from tams_gql.store.scan import Scan, eq
from tams_gql.store.tables import FLOW_COUNTERS
from tests.catalog import Catalog
from tests.gql import Data, GraphQL, refusal
from tests.recording import watched
from tests.seed import REGISTER, Seed, external, seconds

FLOW = """
query Flow($id: ID!) {
  flow(id: $id) {
    timerange segments(first: 1000) { totalCount nodes { timerange object { size } } }
  }
}
"""


async def read(gql: GraphQL, flow_id: str) -> tuple[str, int, list[str]]:
    """The flow's hull, its count of segments, and their ranges."""
    flow = (await gql.execute(FLOW, {"id": flow_id}))["flow"]
    found = [node["timerange"] for node in flow["segments"]["nodes"]]
    return flow["timerange"], flow["segments"]["totalCount"], found


async def counters(catalog: Catalog, flow_id: str) -> CountersRecord:
    scan = Scan(FLOW_COUNTERS, FLOW_COUNTERS.columns, where=(eq("flow_id", flow_id),))
    async with catalog.services.store.session() as session:
        (batch,) = await session.scan([scan])
    (row,) = records(batch, CountersRecord)
    return row


def codes(payload: Data) -> list[str | None]:
    """The code of each item's error, None for a success."""
    return [None if r["error"] is None else r["error"]["code"] for r in payload["results"]]


async def test_the_answer_has_the_segments_in_the_order_of_the_request(
    catalog: Catalog, seed: Seed
) -> None:
    flow_id = await seed.flow("video")
    items = [external("[10:0_20:0)"), external("[0:0_10:0)")]
    payload = await seed.register(flow_id, items)
    head = await catalog.services.store.log.head()
    assert payload["event"] == catalog.services.feed.cursor(head)
    assert payload["registeredCount"] == 2
    for index, (item, result) in enumerate(zip(items, payload["results"], strict=True)):
        segment = result.pop("segment")
        assert segment.pop("id")
        assert segment == {name: item[name] for name in ("objectId", "timerange")}
        assert result == {"index": index, "error": None}
    assert await read(catalog.gql, flow_id) == (
        "[0:0_20:0)",
        2,
        ["[0:0_10:0)", "[10:0_20:0)"],
    )


async def test_the_payload_shows_the_flow_after_the_registration(gql: GraphQL, seed: Seed) -> None:
    flow_id = await seed.flow("video")
    await seed.external(flow_id, "[0:0_10:0)")
    query = """
    mutation($input: RegisterSegmentsInput!) {
      registerSegments(input: $input) {
        flow { id timerange segments { totalCount } }
        results { segment { flow { id } object { id size } getUrls { label } } }
      }
    }
    """
    (object_id,) = await seed.objects(flow_id, b"12345")
    item = {"objectId": object_id, "timerange": "[10:0_20:0)"}
    given = {"flowId": flow_id, "segments": [item]}
    payload = (await gql.execute(query, {"input": given}))["registerSegments"]
    assert payload == {
        "flow": {"id": flow_id, "timerange": "[0:0_20:0)", "segments": {"totalCount": 2}},
        "results": [
            {
                "segment": {
                    "flow": {"id": flow_id},
                    "object": {"id": object_id, "size": 5},
                    "getUrls": [{"label": "local"}],
                }
            }
        ],
    }


MIXED: list[tuple[Data, str | None, str | None]] = [
    (external("[0:0_10:0)"), None, None),
    (external("[5:0_15:0)"), "CONFLICT", "timerange"),
    (external("[10:0_20:0)"), None, None),
    (external("[20:0_20:0)"), "BAD_USER_INPUT", "timerange"),
    ({"objectId": "unknown", "timerange": "[30:0_40:0)"}, "BAD_USER_INPUT", "objectId"),
    (external("[50:0_60:0)", lastDuration="-1:0"), "BAD_USER_INPUT", "lastDuration"),
    (external("[60:0_70:0)", tags=[{"name": "a", "values": []}] * 2), "BAD_USER_INPUT", "tags"),
    (external("[100:0_110:0)"), "CONFLICT", "timerange"),
    (external("[80:0_90:0)"), None, None),
]
"""Items, and the code and field of the error that each meets on a flow with [100, 110)."""


async def test_each_item_stands_alone(catalog: Catalog, seed: Seed) -> None:
    # given
    flow_id = await seed.flow("video")
    await seed.external(flow_id, "[100:0_110:0)")
    events = await catalog.event_types()
    # when
    payload = await seed.try_register(flow_id, [item for item, _, _ in MIXED])
    # then
    assert codes(payload) == [code for _, code, _ in MIXED]
    assert payload["registeredCount"] == 3
    for index, (result, (_, code, field)) in enumerate(zip(payload["results"], MIXED, strict=True)):
        assert result["index"] == index
        assert (result["segment"] is None) is (code is not None)
        if code is not None:
            path = f"input.segments.{index}.{field}"
            assert result["error"]["field"] == path
            assert result["error"]["message"].startswith(f"{path}: ")
    _, count, ranges = await read(catalog.gql, flow_id)
    wanted = ["[0:0_10:0)", "[10:0_20:0)", "[80:0_90:0)", "[100:0_110:0)"]
    assert (count, ranges) == (4, wanted)
    assert await catalog.event_types() == [*events, "flows/segments_added"]


async def test_atomic_is_all_or_nothing(catalog: Catalog, seed: Seed) -> None:
    # given
    flow_id = await seed.flow("video")
    await seed.external(flow_id, "[100:0_110:0)")
    before = await catalog.dump()
    # when
    items = [item for item, _, _ in MIXED]
    given = {"flowId": flow_id, "segments": items, "atomic": True}
    (error,) = await catalog.gql.errors(REGISTER, {"input": given})
    # then
    details = error["extensions"]
    failed = details.pop("failed")
    assert details == {"code": "CONFLICT", "field": "input.segments.1.timerange"}
    assert error["message"].startswith("input.segments.1.timerange: [5:0_15:0) overlaps")
    wanted = [(index, code) for index, (_, code, _) in enumerate(MIXED) if code is not None]
    assert [(item["index"], item["code"]) for item in failed] == wanted
    for item in failed:
        assert item["message"].startswith(f"input.segments.{item['index']}.")
    assert await catalog.dump() == before
    # and what has no failure is registered as a whole
    good = [item for item, code, _ in MIXED if code is None]
    payload = await seed.register(flow_id, good, atomic=True)
    assert payload["registeredCount"] == 3


async def test_nothing_registered_is_no_event(catalog: Catalog, seed: Seed) -> None:
    flow_id = await seed.flow("video")
    before = await catalog.dump()
    payload = await seed.try_register(flow_id, [external("()"), external("_")])
    assert (payload["registeredCount"], payload["event"]) == (0, None)
    assert codes(payload) == ["BAD_USER_INPUT"] * 2
    assert await catalog.dump() == before


TAKEN = "[10:0_20:0)"

OVERLAPS = {
    "[10:0_20:0)": True,
    "[9:0_10:0)": False,
    "[9:0_10:0]": True,
    "[20:0_21:0)": False,
    "[19:999999999_21:0)": True,
    "[0:0_30:0)": True,
    "[12:0_13:0)": True,
    "[10:0]": True,
    "[20:0]": False,
    "9:999999999": False,
}


@pytest.mark.parametrize("stored", [True, False])
async def test_segments_never_overlap(gql: GraphQL, seed: Seed, stored: bool) -> None:
    """Neither what is stored nor what comes before in the same request."""
    for timerange, overlaps in OVERLAPS.items():
        flow_id = await seed.flow("video")
        items = [external(TAKEN), external(timerange)]
        if stored:
            await seed.register(flow_id, items[:1])
            payload = await seed.try_register(flow_id, items[1:])
        else:
            payload = await seed.try_register(flow_id, items)
        error = payload["results"][-1]["error"]
        assert (error is not None) is overlaps, timerange
        if error is not None:
            path = f"input.segments.{len(payload['results']) - 1}.timerange"
            assert error == {
                "code": "CONFLICT",
                "message": f"{path}: {timerange} overlaps the segment {TAKEN}",
                "field": path,
            }
        _, count, ranges = await read(gql, flow_id)
        assert (count, TAKEN in ranges) == (1 if overlaps else 2, True)


async def test_a_gap_can_be_filled_exactly(gql: GraphQL, seed: Seed) -> None:
    flow_id = await seed.flow("video")
    await seed.external(flow_id, "[0:0_10:0)", "[20:0_30:0)")
    payload = await seed.try_register(
        flow_id,
        [external("[10:0_20:1)"), external("[9:999999999_20:0)"), external("[10:0_20:0)")],
    )
    assert codes(payload) == ["CONFLICT", "CONFLICT", None]
    assert (await read(gql, flow_id))[:2] == ("[0:0_30:0)", 3)


async def test_the_timerange_must_be_one_that_samples_can_have(gql: GraphQL, seed: Seed) -> None:
    flow_id = await seed.flow("video")
    for timerange in ("_", "[0:0_", "_10:0)", "()", "[1:0_0:0)", "(0:0_10:0)", "x", "", "10"):
        payload = await seed.try_register(flow_id, [external(timerange)])
        error = payload["results"][0]["error"]
        assert (error["code"], error["field"]) == (
            "BAD_USER_INPUT",
            "input.segments.0.timerange",
        ), timerange
    for timerange in ("[0:0_0:1)", "0:1", "1:0_1:5)", "[-9223372036:0_-9223372035:0]"):
        await seed.register(flow_id, [external(timerange)])


@pytest.mark.parametrize("atomic", [True, False])
async def test_a_thousand_items_are_the_limit(catalog: Catalog, seed: Seed, atomic: bool) -> None:
    # given
    flow_id = await seed.flow("video")
    items = [external(seconds(at, at + 1)) for at in range(1001)]
    # when one too many, or none
    before = await catalog.dump()
    for given, expected in (
        (
            items,
            refusal(
                "LIMIT_EXCEEDED",
                "input.segments: 1001 items are above the limit of 1000",
                "registerSegments",
                field="input.segments",
                limit=1000,
                requested=1001,
            ),
        ),
        (
            [],
            refusal(
                "BAD_USER_INPUT",
                "input.segments: at least one segment is required",
                "registerSegments",
                field="input.segments",
            ),
        ),
    ):
        variables = {"input": {"flowId": flow_id, "segments": given, "atomic": atomic}}
        assert await catalog.gql.errors(REGISTER, variables) == [expected]
    assert await catalog.dump() == before
    # when exactly as many as allowed
    events = len(await catalog.event_types())
    with watched() as calls:
        payload = await seed.register(flow_id, items[:1000], atomic=atomic)
    # then
    assert payload["registeredCount"] == 1000
    assert calls.count("commit") == 1
    assert len(calls) <= 4  # flow, objects, counters, commit
    hull, count, ranges = await read(catalog.gql, flow_id)
    assert (hull, count) == ("[0:0_1000:0)", 1000)
    assert ranges == [item["timerange"] for item in items[:1000]]
    # An event is bounded in size, so they are several.
    assert set((await catalog.event_types())[events:]) == {"flows/segments_added"}


async def test_a_flow_that_cannot_take_segments(catalog: Catalog, seed: Seed) -> None:
    without, unknown = await seed.flow("multi", container=None), new_id()
    before = await catalog.dump()
    for flow_id, code, message in (
        (unknown, "NOT_FOUND", f"there is no flow {unknown}"),
        (
            without,
            "BAD_USER_INPUT",
            f"flow {without} has no container, so it cannot hold segments",
        ),
    ):
        given = {"flowId": flow_id, "segments": [external("[0:0_1:0)")]}
        assert await catalog.gql.errors(REGISTER, {"input": given}) == [
            refusal(code, message, "registerSegments", field="input.flowId")
        ]
    assert await catalog.dump() == before


@pytest.mark.parametrize("atomic", [True, False])
async def test_eight_clients_on_one_timeline_never_overlap(
    catalog: Catalog, seed: Seed, atomic: bool
) -> None:
    # given 40 places, and eight clients that each want all of them in an order of their own
    flow_id = await seed.flow("video")
    places = [seconds(at, at + 1) for at in range(40)]
    dice = random.Random(8)

    async def client() -> list[Data]:
        order = dice.sample(places, len(places))
        batches = [order[at : at + 10] for at in range(0, 40, 10)]
        answers = []
        for batch in batches:
            given: dict[str, Any] = {"flowId": flow_id, "atomic": atomic}
            given["segments"] = [external(timerange) for timerange in batch]
            answers.append(await catalog.gql.answer(REGISTER, {"input": given}))
        return answers

    # when
    answers = [a for mine in await asyncio.gather(*(client() for _ in range(8))) for a in mine]
    # then every place has one winner, and everybody else was told of a conflict
    won, lost = [], []
    for answer in answers:
        if "errors" in answer:
            assert atomic
            assert [e["extensions"]["code"] for e in answer["errors"]] == ["CONFLICT"]
            continue
        for result in answer["data"]["registerSegments"]["results"]:
            if result["segment"] is None:
                lost.append(result["error"]["code"])
            else:
                won.append(result["segment"]["timerange"])
    assert len(won) == len(set(won))
    assert set(lost) <= {"CONFLICT"}
    if not atomic:
        assert (sorted(won), len(lost)) == (sorted(places), 7 * 40)
    _, count, ranges = await read(catalog.gql, flow_id)
    assert (count, sorted(ranges)) == (len(won), sorted(won))
    row = await counters(catalog, flow_id)
    assert (row.segment_count, row.duration_ns) == (len(won), len(won) * 1_000_000_000)


async def test_eight_clients_that_split_the_timeline_all_succeed(
    catalog: Catalog, seed: Seed
) -> None:
    flow_id = await seed.flow("video")

    async def client(number: int) -> None:
        for at in range(5):
            start = 100 * at + 10 * number
            await seed.external(flow_id, *(seconds(s, s + 1) for s in range(start, start + 10)))

    await asyncio.gather(*(client(number) for number in range(8)))
    _, count, ranges = await read(catalog.gql, flow_id)
    wanted = [s for at in range(5) for s in range(100 * at, 100 * at + 80)]
    assert (count, ranges) == (400, [seconds(s, s + 1) for s in wanted])


async def test_counters_are_exact_right_after_the_answer(catalog: Catalog, seed: Seed) -> None:
    # given
    flow_id = await seed.flow("video")
    sizes = [1, 10, 100]
    objects = await seed.objects(flow_id, *(b"x" * size for size in sizes))
    # when: the first object is used twice
    items: list[Data] = [
        {"objectId": object_id, "timerange": seconds(10 * at, 10 * at + 10), "tsOffset": f"{at}0:0"}
        for at, object_id in enumerate(objects)
    ]
    items[0]["tsOffset"] = "0:0"
    items.append({"objectId": objects[0], "timerange": "[50:0_60:0)", "tsOffset": "50:0"})
    items.append(external("[70:0_75:0)"))
    await seed.register(flow_id, items)
    # then
    row = await counters(catalog, flow_id)
    assert (row.segment_count, row.duration_ns, row.bytes) == (5, 45_000_000_000, 112)
    assert (row.min_start_ns, row.max_end_ns) == (0, 75_000_000_000)
    flow = (await catalog.gql.execute(FLOW, {"id": flow_id}))["flow"]
    found = [node["object"]["size"] for node in flow["segments"]["nodes"]]
    assert found == [1, 10, 100, 1, None]
    assert (flow["timerange"], flow["segments"]["totalCount"]) == ("[0:0_75:0)", 5)
    # and when some go
    await seed.delete_segments(flow_id, coveredBy="[10:0_60:0)")
    row = await counters(catalog, flow_id)
    assert (row.segment_count, row.duration_ns, row.bytes) == (2, 15_000_000_000, 1)
