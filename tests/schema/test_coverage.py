"""What of a timeline is covered, and which segment holds a moment."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tams_gql.model.ids import new_id
from tests.catalog import Catalog
from tests.gql import Data, GraphQL, refusal
from tests.recording import watched
from tests.seed import Seed, seconds

FLOW = """
query Coverage($id: ID!, $window: TimeRange, $maxGap: Timestamp) {
  flow(id: $id) {
    coverage(window: $window, maxGap: $maxGap) { ranges gaps duration segmentCount bytes }
  }
}
"""

SOURCE = """
query Coverage($id: ID!, $window: TimeRange) {
  source(id: $id) {
    timerange(window: $window)
    coverage(window: $window) { ranges gaps duration segmentCount bytes }
  }
}
"""

AT = """
query At($id: ID!, $at: Timestamp!) {
  flow(id: $id) { segmentAt(timestamp: $at) { timerange } }
}
"""


async def coverage(gql: GraphQL, flow_id: str, **arguments: Any) -> Data:
    found: Data = (await gql.execute(FLOW, {"id": flow_id, **arguments}))["flow"]["coverage"]
    return found


async def test_a_flow_without_segments_covers_nothing(gql: GraphQL, seed: Seed) -> None:
    flow_id = await seed.flow()
    nothing = {"ranges": [], "duration": "0:0", "segmentCount": 0, "bytes": 0}
    assert await coverage(gql, flow_id) == {**nothing, "gaps": []}
    window = "[5:0_15:0)"
    assert await coverage(gql, flow_id, window=window) == {**nothing, "gaps": [window]}
    assert await coverage(gql, flow_id, window="()") == {**nothing, "gaps": []}


@pytest.fixture
async def gapped(seed: Seed) -> str:
    """A flow with [0, 20) in two segments, [30, 40) and [41, 50)."""
    flow_id = await seed.flow()
    await seed.segments(
        flow_id, "[0:0_10:0)", "[10:0_20:0)", "[30:0_40:0)", "[41:0_50:0)", body=b"12345"
    )
    return flow_id


async def test_touching_segments_are_one_range(gql: GraphQL, gapped: str) -> None:
    assert await coverage(gql, gapped) == {
        "ranges": ["[0:0_20:0)", "[30:0_40:0)", "[41:0_50:0)"],
        "gaps": ["[20:0_30:0)", "[40:0_41:0)"],
        "duration": "39:0",
        "segmentCount": 4,
        "bytes": 20,
    }


async def test_short_gaps_can_be_bridged(gql: GraphQL, gapped: str) -> None:
    for most, ranges in (
        ("0:999999999", ["[0:0_20:0)", "[30:0_40:0)", "[41:0_50:0)"]),
        ("1:0", ["[0:0_20:0)", "[30:0_50:0)"]),
        ("10:0", ["[0:0_50:0)"]),
    ):
        found = await coverage(gql, gapped, maxGap=most)
        # The gaps that are bridged are not covered all the same.
        assert (found["ranges"], found["duration"]) == (ranges, "39:0")
        assert len(found["gaps"]) == len(ranges) - 1
    assert await gql.errors(FLOW, {"id": gapped, "maxGap": "-1:0"}) == [
        refusal(
            "BAD_USER_INPUT",
            "maxGap: a gap is not negative",
            *("flow", "coverage"),
            field="maxGap",
        )
    ]


async def test_a_window_has_gaps_at_its_ends(gql: GraphQL, gapped: str) -> None:
    found = await coverage(gql, gapped, window="[-5:0_45:0)")
    assert found["gaps"] == ["[-5:0_0:0)", "[20:0_30:0)", "[40:0_41:0)"]
    found = await coverage(gql, gapped, window="[22:0_28:0)")
    assert (found["ranges"], found["gaps"]) == ([], ["[22:0_28:0)"])
    found = await coverage(gql, gapped, window="[25:0_")
    assert found["gaps"] == ["[25:0_30:0)", "[40:0_41:0)"]
    found = await coverage(gql, gapped, window="_60:0)")
    assert found["gaps"] == ["[20:0_30:0)", "[40:0_41:0)", "[50:0_60:0)"]


async def test_the_segment_at_a_moment(gql: GraphQL, gapped: str) -> None:
    for at, wanted in (
        ("0:0", "[0:0_10:0)"),
        ("9:999999999", "[0:0_10:0)"),
        ("10:0", "[10:0_20:0)"),
        ("-0:1", None),
        ("20:0", None),
        ("40:500000000", None),
        ("49:0", "[41:0_50:0)"),
        ("50:0", None),
        ("9223372036:854775806", None),
        ("-9223372036:854775807", None),
    ):
        found = (await gql.execute(AT, {"id": gapped, "at": at}))["flow"]["segmentAt"]
        assert found == (wanted and {"timerange": wanted}), at
    (error,) = await gql.errors(AT, {"id": gapped, "at": "x"})
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "field": "timestamp"}


async def test_a_source_is_covered_by_any_of_its_flows(gql: GraphQL, seed: Seed) -> None:
    # given
    source_id = new_id()
    one, two, empty = [await seed.flow("video", sourceId=source_id) for _ in range(3)]
    await seed.segments(one, "[0:0_10:0)", "[20:0_30:0)", body=b"123")
    await seed.segments(two, "[5:0_15:0)", "[40:0_50:0)", body=b"12345")
    # when, then
    source = (await gql.execute(SOURCE, {"id": source_id}))["source"]
    assert source == {
        "timerange": "[0:0_50:0)",
        "coverage": {
            "ranges": ["[0:0_15:0)", "[20:0_30:0)", "[40:0_50:0)"],
            "gaps": ["[15:0_20:0)", "[30:0_40:0)"],
            "duration": "35:0",
            "segmentCount": 4,
            "bytes": 16,
        },
    }
    source = (await gql.execute(SOURCE, {"id": source_id, "window": "[16:0_25:0)"}))["source"]
    assert source["timerange"] == "[20:0_30:0)"
    assert source["coverage"]["segmentCount"] == 1
    assert source["coverage"]["gaps"] == ["[16:0_20:0)"]
    await seed.delete(one)
    await seed.delete(two)
    source = (await gql.execute(SOURCE, {"id": source_id}))["source"]
    assert (source["timerange"], source["coverage"]["ranges"]) == ("()", [])
    assert empty


spans = st.lists(st.integers(0, 25), min_size=0, max_size=10, unique=True).map(sorted)
windows = st.tuples(st.integers(-2, 30), st.integers(-2, 30))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(starts=spans, window=windows, bridge=st.integers(0, 4))
async def test_coverage_is_what_counting_gives(
    catalog: Catalog, starts: list[int], window: tuple[int, int], bridge: int
) -> None:
    # given segments of two seconds or up to the next one
    seed = Seed(catalog.gql, catalog.http)
    flow_id = await seed.flow()
    ends = [min(a + 2, b) for a, b in zip(starts, [*starts[1:], 99], strict=False)]
    held = list(zip(starts, ends, strict=True))
    if held:
        await seed.external(flow_id, *(seconds(a, b) for a, b in held))
    # when
    found = await coverage(catalog.gql, flow_id, window=seconds(*window), maxGap=f"{bridge}:0")
    # then
    start, end = window
    clipped = [(max(a, start), min(b, end)) for a, b in held if a < end and b > start]
    clipped = clipped if start < end else []
    merged: list[tuple[int, int]] = []
    for a, b in clipped:
        if merged and a - merged[-1][1] <= bridge:
            merged[-1] = (merged[-1][0], b)
        else:
            merged.append((a, b))
    edges = [start, *(edge for stretch in merged for edge in stretch), end]
    gaps = [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if a < b]
    assert found == {
        "ranges": [seconds(a, b) for a, b in merged],
        "gaps": [seconds(a, b) for a, b in gaps],
        "duration": f"{sum(b - a for a, b in clipped)}:0",
        "segmentCount": len(clipped),
        "bytes": 0,
    }


@pytest.mark.parametrize("count", [1, 50])
async def test_coverage_costs_one_round_trip_whatever_the_flows(
    catalog: Catalog, seed: Seed, count: int
) -> None:
    for _ in range(count):
        await seed.external(await seed.flow(), "[0:0_10:0)")
    query = "{ flows(first: 50) { nodes { coverage { ranges } } } }"
    with watched() as calls:
        data = await catalog.gql.execute(query)
    assert [flow["coverage"]["ranges"] for flow in data["flows"]["nodes"]] == [
        ["[0:0_10:0)"]
    ] * count
    assert sorted(calls) == ["coverage", "scan flows"]
    query = "{ sources(first: 50) { nodes { timerange coverage { ranges } } } }"
    with watched() as calls:
        data = await catalog.gql.execute(query)
    assert len(data["sources"]["nodes"]) == count
    assert sorted(calls) == [
        "coverage",
        "partitions flows by source_id",
        "scan flow_counters",
        "scan sources",
    ]
