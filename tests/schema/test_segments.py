"""A flow's segments: by window, object and direction, in pages, with exact totals."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tams_gql.model.ids import new_id
from tests.catalog import Catalog
from tests.gql import Data, GraphQL, refusal
from tests.recording import watched
from tests.seed import Seed, external, seconds

SEGMENT = """
query Segments($id: ID!) {
  flow(id: $id) {
    segments {
      nodes {
        id objectId timerange tsOffset objectTimerange lastDuration sampleOffset sampleCount
        keyFrameCount created tags { name values } flow { id } object { id timerange }
        getUrls { url label presigned controlled storageId }
      }
    }
  }
}
"""

SEGMENTS = """
query Segments(
  $id: ID!, $window: TimeRange, $objectId: ID, $reverse: Boolean!,
  $first: Int, $after: String, $last: Int, $before: String
) {
  flow(id: $id) {
    segments(
      window: $window, objectId: $objectId, reverse: $reverse,
      first: $first, after: $after, last: $last, before: $before
    ) {
      totalCount
      nodes { timerange }
      pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    }
  }
}
"""

RANGES = ["[-20:0_-10:0)", "[-10:0_0:0)", "[0:0_10:0)", "[20:0_30:0)", "[30:0_40:0)"]
"""The segments of ``five``: number 0 to 4, with a gap after number 2."""


async def page(gql: GraphQL, flow_id: str, **arguments: Any) -> Data:
    """A page of a flow's segments."""
    variables = {"id": flow_id, "reverse": False, **arguments}
    segments: Data = (await gql.execute(SEGMENTS, variables))["flow"]["segments"]
    return segments


def ranges(found: Data) -> list[str]:
    return [node["timerange"] for node in found["nodes"]]


@pytest.fixture
async def five(seed: Seed) -> str:
    """A flow with the segments of ``RANGES``, registered in another order."""
    flow_id = await seed.flow("video")
    await seed.external(flow_id, *RANGES[3:], *RANGES[:3])
    return flow_id


async def test_every_field_is_returned_as_registered(catalog: Catalog, seed: Seed) -> None:
    # given
    flow_id = await seed.flow("video")
    (stored,) = await seed.objects(flow_id, b"0123456789")
    full = {
        "objectId": stored,
        "timerange": "[100:40000000_110:0)",
        "tsOffset": "90:0",
        "objectTimerange": "[10:0_20:0]",
        "lastDuration": "0:40000000",
        "sampleOffset": 1,
        "sampleCount": 249,
        "keyFrameCount": 5,
        "tags": [{"name": "b", "values": ["1"]}, {"name": "a", "values": ["2", "3"]}],
    }
    bare = external("[10:0]")
    # when
    await seed.register(flow_id, [full, bare])
    # then
    first, second = (await catalog.gql.execute(SEGMENT, {"id": flow_id}))["flow"]["segments"][
        "nodes"
    ]
    assert len({first.pop("id"), second.pop("id")}) == 2
    assert first.pop("created") == second.pop("created")
    assert first == {
        "objectId": bare["objectId"],
        "timerange": "[10:0]",
        "tsOffset": "0:0",
        "objectTimerange": "[10:0]",
        "lastDuration": None,
        "sampleOffset": None,
        "sampleCount": None,
        "keyFrameCount": None,
        "tags": [],
        "flow": {"id": flow_id},
        "object": {"id": bare["objectId"], "timerange": "[10:0]"},
        "getUrls": [
            {**bare["getUrls"][0], "presigned": False, "controlled": False, "storageId": None}
        ],
    }
    (url,) = second.pop("getUrls")
    (media,) = catalog.services.media
    assert url.pop("url").startswith(f"{catalog.settings.public_url}/media/")
    assert url == {
        "label": "local",
        "presigned": True,
        "controlled": True,
        "storageId": media.backend.id,
    }
    assert second == {
        **full,
        "flow": {"id": flow_id},
        "object": {"id": stored, "timerange": "[10:0_20:0]"},
    }


async def test_the_id_of_a_segment_stays_until_it_is_deleted(gql: GraphQL, seed: Seed) -> None:
    flow_id = await seed.flow("video")
    item = external("[0:0_10:0)")
    query = "query($id: ID!) { flow(id: $id) { segments { nodes { id } } } }"

    async def read() -> list[str]:
        nodes = (await gql.execute(query, {"id": flow_id}))["flow"]["segments"]["nodes"]
        return [node["id"] for node in nodes]

    (result,) = (await seed.register(flow_id, [item]))["results"]
    first = result["segment"]["id"]
    assert await read() == [first]
    await seed.external(flow_id, "[10:0_20:0)")
    assert (await read())[0] == first
    await seed.delete_segments(flow_id)
    await seed.register(flow_id, [item])
    (anew,) = await read()
    assert anew != first


WINDOWS = {
    None: [0, 1, 2, 3, 4],
    "_": [0, 1, 2, 3, 4],
    "()": [],
    "[0:0_0:0)": [],
    "[5:0_1:0)": [],
    "[0:0]": [2],
    "0:0": [2],
    "[10:0]": [],
    "[10:0_20:0)": [],
    "[10:0_20:0]": [3],
    "(9:999999999_20:0)": [],
    "[9:999999999_20:0)": [2],
    "[-10:0_10:0)": [1, 2],
    "(-10:0_-0:1)": [1],
    "_0:0)": [0, 1],
    "_0:0]": [0, 1, 2],
    "[29:0_": [3, 4],
    "[40:0_": [],
    "_-20:0)": [],
    "[-1000:0_1000:0)": [0, 1, 2, 3, 4],
    "[5:0_25:0)": [2, 3],
}
"""The numbers of the segments that overlap each window."""


async def test_a_window_selects_what_overlaps_it(gql: GraphQL, five: str) -> None:
    for window, wanted in WINDOWS.items():
        chosen = [RANGES[number] for number in wanted]
        found = await page(gql, five, window=window)
        assert (ranges(found), found["totalCount"]) == (chosen, len(chosen)), window
        found = await page(gql, five, window=window, reverse=True)
        assert (ranges(found), found["totalCount"]) == (chosen[::-1], len(chosen)), window


async def test_segments_of_one_object(gql: GraphQL, seed: Seed) -> None:
    # given an object that is used three times
    flow_id = await seed.flow("video")
    shared = external("[0:0_10:0)")
    reused = [
        {"objectId": shared["objectId"], "timerange": seconds(at, at + 10), "tsOffset": f"{at}:0"}
        for at in (20, 40)
    ]
    await seed.register(flow_id, [shared, external("[10:0_20:0)"), *reused])
    # when, then
    for window, wanted in (
        (None, ["[0:0_10:0)", "[20:0_30:0)", "[40:0_50:0)"]),
        ("[5:0_25:0)", ["[0:0_10:0)", "[20:0_30:0)"]),
        ("[10:0_20:0)", []),
    ):
        chosen = {"window": window, "objectId": shared["objectId"]}
        found = await page(gql, flow_id, **chosen)
        assert (ranges(found), found["totalCount"]) == (wanted, len(wanted))
        found = await page(gql, flow_id, reverse=True, first=1, **chosen)
        assert (ranges(found), found["totalCount"]) == (wanted[-1:], len(wanted))
    found = await page(gql, flow_id, objectId="unknown")
    assert (ranges(found), found["totalCount"]) == ([], 0)


async def test_pages_say_where_they_are(gql: GraphQL, five: str) -> None:
    first = await page(gql, five, first=2)
    assert ranges(first) == RANGES[:2]
    info = first["pageInfo"]
    assert (info["hasPreviousPage"], info["hasNextPage"]) == (False, True)
    second = await page(gql, five, first=3, after=info["endCursor"])
    assert ranges(second) == RANGES[2:]
    info = second["pageInfo"]
    assert (info["hasPreviousPage"], info["hasNextPage"]) == (True, False)
    back = await page(gql, five, last=1, before=info["startCursor"])
    assert ranges(back) == RANGES[1:2]
    info = back["pageInfo"]
    assert (info["hasPreviousPage"], info["hasNextPage"]) == (True, True)
    end = await page(gql, five, last=2)
    assert ranges(end) == RANGES[3:]
    info = end["pageInfo"]
    assert (info["hasPreviousPage"], info["hasNextPage"]) == (True, False)
    assert {found["totalCount"] for found in (first, second, back, end)} == {5}


async def test_a_cursor_is_bound_to_window_object_and_direction(gql: GraphQL, five: str) -> None:
    cursor = (await page(gql, five, first=1))["pageInfo"]["endCursor"]
    for other in ({"window": "[0:0_10:0)"}, {"objectId": "x"}, {"reverse": True}):
        variables = {"id": five, "reverse": False, "after": cursor, **other}
        assert await gql.errors(SEGMENTS, variables) == [
            refusal(
                "BAD_USER_INPUT",
                "after: the cursor came from a list with other arguments (filter or order)",
                *("flow", "segments"),
                field="after",
            )
        ]
    # The same range in another spelling is the same list, and the default is everything.
    found = await page(gql, five, window="_", after=cursor)
    assert ranges(found) == RANGES[1:]


async def test_a_cursor_of_one_flow_is_a_place_on_the_timeline_of_another(
    gql: GraphQL, seed: Seed, five: str
) -> None:
    other = await seed.flow("video")
    await seed.external(other, "[-15:0_-5:0)", "[0:0_10:0)")
    cursor = (await page(gql, five, first=1))["pageInfo"]["endCursor"]  # at -20
    assert ranges(await page(gql, other, after=cursor)) == ["[-15:0_-5:0)", "[0:0_10:0)"]


spans = st.lists(st.integers(0, 30), min_size=1, max_size=14, unique=True).map(sorted)
edges = st.tuples(st.integers(-2, 34), st.integers(-2, 34))


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(starts=spans, edge=edges, size=st.integers(1, 5), reverse=st.booleans())
async def test_pages_laid_together_are_the_whole_window(
    catalog: Catalog, starts: list[int], edge: tuple[int, int], size: int, reverse: bool
) -> None:
    # given segments of one second or up to the next one
    seed = Seed(catalog.gql, catalog.http)
    flow_id = await seed.flow("video")
    ends = [min(a + 2, b) for a, b in zip(starts, [*starts[1:], 99], strict=True)]
    spans = list(zip(starts, ends, strict=True))
    await seed.external(flow_id, *(seconds(a, b) for a, b in spans))
    window = seconds(*edge)
    wanted = [seconds(a, b) for a, b in spans if edge[0] < edge[1] and a < edge[1] and b > edge[0]]
    wanted = wanted[::-1] if reverse else wanted
    chosen = {"window": window, "reverse": reverse}
    # when
    forwards: list[str] = []
    cursor = None
    while True:
        found = await page(catalog.gql, flow_id, first=size, after=cursor, **chosen)
        assert found["totalCount"] == len(wanted)
        forwards += ranges(found)
        cursor = found["pageInfo"]["endCursor"]
        if not found["pageInfo"]["hasNextPage"]:
            break
    backwards: list[str] = []
    cursor = None
    while True:
        found = await page(catalog.gql, flow_id, last=size, before=cursor, **chosen)
        backwards = ranges(found) + backwards
        cursor = found["pageInfo"]["startCursor"]
        if not found["pageInfo"]["hasPreviousPage"]:
            break
    # then
    assert forwards == backwards == wanted


@pytest.mark.parametrize("flows", [1, 50])
async def test_a_page_of_segments_costs_one_round_trip_whatever_the_flows(
    catalog: Catalog, seed: Seed, flows: int
) -> None:
    # given
    ids = [await seed.flow("video") for _ in range(flows)]
    for flow_id in ids:
        await seed.external(flow_id, "[0:0_10:0)", "[10:0_20:0)")
    # when
    query = """
    query($ids: [ID!]!) {
      nodes(ids: $ids) { ... on Flow { segments(window: "[0:0_5:0)") { nodes { timerange } } } }
    }
    """
    with watched() as calls:
        nodes = (await catalog.gql.execute(query, {"ids": ids}))["nodes"]
    # then
    assert nodes == [{"segments": {"nodes": [{"timerange": "[0:0_10:0)"}]}}] * flows
    assert calls == ["scan flows", "windows"]


@pytest.mark.parametrize("flows", [1, 50])
@pytest.mark.parametrize(
    ("arguments", "call"),
    [("", "scan flow_counters"), ('(window: "[0:0_5:0)")', "count_windows")],
)
async def test_totals_cost_one_more_round_trip(
    catalog: Catalog, seed: Seed, flows: int, arguments: str, call: str
) -> None:
    ids = [await seed.flow("video") for _ in range(flows)]
    await seed.external(ids[0], "[0:0_10:0)")
    query = (
        "query($ids: [ID!]!) { nodes(ids: $ids) { ... on Flow"
        f" {{ segments{arguments} {{ totalCount nodes {{ id }} }} }} }} }}"
    )
    with watched() as calls:
        nodes = (await catalog.gql.execute(query, {"ids": ids}))["nodes"]
    assert [node["segments"]["totalCount"] for node in nodes] == [1] + [0] * (flows - 1)
    assert sorted(calls) == sorted(["scan flows", "windows", call])


async def test_an_empty_window_costs_nothing_but_the_flow(catalog: Catalog, five: str) -> None:
    with watched() as calls:
        found = await page(catalog.gql, five, window="()", first=10)
    assert (ranges(found), found["totalCount"], calls) == ([], 0, ["scan flows"])


async def test_a_window_that_is_nowhere_has_no_segments(gql: GraphQL, seed: Seed) -> None:
    unknown = {"id": new_id(), "reverse": False}
    assert await gql.execute(SEGMENTS, unknown) == {"flow": None}
    empty = await page(gql, await seed.flow("video"))
    assert (empty["nodes"], empty["totalCount"]) == ([], 0)
    assert empty["pageInfo"] == {
        "hasNextPage": False,
        "hasPreviousPage": False,
        "startCursor": None,
        "endCursor": None,
    }
