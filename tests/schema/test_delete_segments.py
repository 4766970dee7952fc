"""``deleteSegments``: what lies wholly inside a range goes, what it only touches stays."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tams_gql.model.ids import new_id
from tests.catalog import Catalog
from tests.gql import Data, GraphQL, refusal
from tests.seed import DELETE_SEGMENTS, Seed, external, seconds

FLOW = """
query Flow($id: ID!) {
  flow(id: $id) {
    version timerange segments { totalCount nodes { timerange } }
  }
}
"""

RANGES = ["[0:0_10:0)", "[10:0_20:0)", "[30:0_40:0)"]


async def read(gql: GraphQL, flow_id: str) -> Data:
    flow: Data = (await gql.execute(FLOW, {"id": flow_id}))["flow"]
    flow["segments"] = [node["timerange"] for node in flow["segments"]["nodes"]]
    return flow


@pytest.mark.parametrize(
    ("covered_by", "gone"),
    [
        (None, [0, 1, 2]),
        ("_", [0, 1, 2]),
        ("()", []),
        ("[0:0_10:0)", [0]),
        ("[0:0_10:0]", [0]),
        ("(0:0_10:0)", []),
        ("[0:0_9:999999999)", []),
        ("[0:0_9:999999999]", [0]),
        ("[5:0_25:0)", [1]),
        ("[5:0_15:0)", []),
        ("_20:0)", [0, 1]),
        ("[10:0_", [1, 2]),
        ("[10:0_40:0)", [1, 2]),
        ("[100:0_200:0)", []),
    ],
)
async def test_only_what_is_covered_goes(
    catalog: Catalog, seed: Seed, covered_by: str | None, gone: list[int]
) -> None:
    # given
    flow_id = await seed.flow("video")
    await seed.external(flow_id, *RANGES)
    other = await seed.flow("video")
    await seed.external(other, *RANGES)
    events = await catalog.event_types()
    # when
    payload = await seed.delete_segments(flow_id, coveredBy=covered_by)
    # then
    left = [text for number, text in enumerate(RANGES) if number not in gone]
    flow = await read(catalog.gql, flow_id)
    assert (payload["deletedCount"], flow["segments"], flow["version"]) == (len(gone), left, 1)
    first, last = (left[0], left[-1]) if left else ("", "")
    hull = f"{first.partition('_')[0]}_{last.partition('_')[2]}" if left else "()"
    assert flow["timerange"] == hull
    assert (await read(catalog.gql, other))["segments"] == RANGES
    # and the event is there exactly if something went
    new = (await catalog.event_types())[len(events) :]
    assert new == (["flows/segments_deleted"] if gone else [])
    assert payload["event"] == catalog.services.feed.cursor(await catalog.services.store.log.head())


async def test_the_segments_of_one_object(catalog: Catalog, seed: Seed) -> None:
    flow_id = await seed.flow("video")
    shared = external("[0:0_10:0)")
    again = {"objectId": shared["objectId"], "timerange": "[20:0_30:0)", "tsOffset": "20:0"}
    await seed.register(flow_id, [shared, external("[10:0_20:0)"), again])
    payload = await seed.delete_segments(
        flow_id, objectId=shared["objectId"], coveredBy="[0:0_15:0)"
    )
    assert payload["deletedCount"] == 1
    assert (await read(catalog.gql, flow_id))["segments"] == ["[10:0_20:0)", "[20:0_30:0)"]
    assert (await seed.delete_segments(flow_id, objectId="unknown"))["deletedCount"] == 0
    payload = await seed.delete_segments(flow_id, objectId=shared["objectId"])
    assert payload["deletedCount"] == 1
    assert (await read(catalog.gql, flow_id))["segments"] == ["[10:0_20:0)"]


async def test_what_is_deleted_makes_room(gql: GraphQL, seed: Seed) -> None:
    flow_id = await seed.flow("video")
    await seed.external(flow_id, *RANGES)
    await seed.delete_segments(flow_id, coveredBy="[0:0_20:0)")
    await seed.external(flow_id, "[5:0_25:0)")
    assert (await read(gql, flow_id))["segments"] == ["[5:0_25:0)", "[30:0_40:0)"]


async def test_deleting_while_registering_never_leaves_an_overlap(gql: GraphQL, seed: Seed) -> None:
    flow_id = await seed.flow("video")
    await seed.external(flow_id, "[0:0_10:0)")
    answers = await asyncio.gather(
        *(seed.try_register(flow_id, [external("[5:0_15:0)")]) for _ in range(4)),
        seed.delete_segments(flow_id, coveredBy="[0:0_10:0)"),
        *(seed.try_register(flow_id, [external("[5:0_15:0)")]) for _ in range(4)),
    )
    registered = sum(answer.get("registeredCount", 0) for answer in answers)
    segments = (await read(gql, flow_id))["segments"]
    assert segments == ["[5:0_15:0)"] * registered
    assert registered <= 1


async def test_what_cannot_be_done_leaves_no_trace(catalog: Catalog, seed: Seed) -> None:
    flow_id, unknown = await seed.flow("video"), new_id()
    await seed.external(flow_id, *RANGES)
    before = await catalog.dump()

    async def errors(**given: object) -> list[Data]:
        return await catalog.gql.errors(DELETE_SEGMENTS, {"input": given})

    assert await errors(flowId=unknown) == [
        refusal("NOT_FOUND", f"there is no flow {unknown}", "deleteSegments", field="input.flowId")
    ]
    (error,) = await errors(flowId="x")
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "field": "input.flowId"}
    (error,) = await errors(flowId=flow_id, coveredBy="[0:0_x)")
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "field": "input.coveredBy"}
    assert error["message"].startswith("input.coveredBy: '[0:0_x)' is not allowed")
    assert await catalog.dump() == before


bounds = st.tuples(st.integers(-1, 25), st.integers(-1, 25))


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    starts=st.lists(st.integers(0, 22), min_size=1, max_size=10, unique=True).map(sorted),
    windows=st.lists(bounds, min_size=1, max_size=3),
)
async def test_counters_stay_exact_whatever_is_deleted(
    catalog: Catalog, starts: list[int], windows: list[tuple[int, int]]
) -> None:
    # given
    seed = Seed(catalog.gql, catalog.http)
    flow_id = await seed.flow("video")
    ends = [min(a + 2, b) for a, b in zip(starts, [*starts[1:], 99], strict=True)]
    left = list(zip(starts, ends, strict=True))
    await seed.external(flow_id, *(seconds(a, b) for a, b in left))
    for start, end in windows:
        # when
        payload = await seed.delete_segments(flow_id, coveredBy=seconds(start, end))
        # then
        gone = [(a, b) for a, b in left if start <= a and b <= end]
        left = [span for span in left if span not in gone]
        assert payload["deletedCount"] == len(gone)
        found = (await catalog.gql.execute(FLOW, {"id": flow_id}))["flow"]
        hull = seconds(left[0][0], left[-1][1]) if left else "()"
        assert (found["timerange"], found["segments"]["totalCount"]) == (hull, len(left))
        ranges = [node["timerange"] for node in found["segments"]["nodes"]]
        assert ranges == [seconds(a, b) for a, b in left]
