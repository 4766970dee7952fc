"""``Query.flows`` and the fields of a flow that depend on others."""

from __future__ import annotations

from typing import Any

import pytest

from tams_gql.model.ids import new_id
from tests.catalog import Catalog
from tests.gql import Data, GraphQL, refusal
from tests.recording import watched
from tests.seed import Seed

FLOWS = """
query Flows($filter: FlowFilter, $order: FlowOrder) {
  flows(filter: $filter, orderBy: $order) { totalCount nodes { id label } }
}
"""

SOURCES = [new_id() for _ in range(3)]
IDS = [new_id() for _ in range(6)]

GIVEN: list[tuple[str, Data]] = [
    ("video", {"label": "b", "sourceId": SOURCES[0], "status": "INGESTING"}),
    ("video", {"label": "a", "sourceId": SOURCES[0], "codec": "video/h265", "readOnly": True}),
    ("audio", {"label": "c", "sourceId": SOURCES[1], "container": "audio/mp4"}),
    ("image", {"label": "a", "sourceId": SOURCES[2], "status": "CLOSED_COMPLETE"}),
    ("data", {}),
    ("multi", {"label": "", "readOnly": False}),
]
"""The flows of ``six``, from the oldest to the newest: number 0 to 5."""

FILTERS: list[tuple[Data, list[int]]] = [
    ({}, [5, 4, 3, 2, 1, 0]),
    ({"ids": [IDS[4], IDS[1]]}, [4, 1]),
    ({"ids": [IDS[4].upper(), new_id()]}, [4]),
    ({"ids": []}, []),
    ({"sourceIds": [SOURCES[0], SOURCES[1]]}, [2, 1, 0]),
    ({"format": ["VIDEO"]}, [1, 0]),
    ({"format": ["DATA", "MULTI"]}, [5, 4]),
    ({"format": []}, []),
    ({"codec": "video/h265"}, [1]),
    ({"codec": "video/H265"}, []),
    ({"container": "audio/mp4"}, [2]),
    ({"label": "a"}, [3, 1]),
    ({"label": ""}, [5]),
    ({"status": ["INGESTING", "CLOSED_COMPLETE"]}, [3, 0]),
    ({"status": ["AWAITING_CONTENT"]}, []),
    ({"readOnly": True}, [1]),
    ({"readOnly": False}, [5, 4, 3, 2, 0]),
    ({"frameWidth": 1920}, [1, 0]),
    ({"frameHeight": 180}, [3]),
    ({"frameWidth": 1920, "frameHeight": 180}, []),
    ({"format": ["VIDEO"], "readOnly": False, "sourceIds": SOURCES}, [0]),
]

ORDERS: list[tuple[Data | None, list[int]]] = [
    (None, [5, 4, 3, 2, 1, 0]),
    ({}, [5, 4, 3, 2, 1, 0]),
    ({"field": "CREATED"}, [5, 4, 3, 2, 1, 0]),
    ({"field": "CREATED", "direction": "ASC"}, [0, 1, 2, 3, 4, 5]),
    ({"field": "METADATA_UPDATED"}, [0, 5, 4, 3, 2, 1]),
    ({"field": "METADATA_UPDATED", "direction": "ASC"}, [1, 2, 3, 4, 5, 0]),
]


@pytest.fixture
async def six(seed: Seed) -> Seed:
    """The flows of ``GIVEN``; then number 0 is changed."""
    for flow_id, (format, fields) in zip(IDS, GIVEN, strict=True):
        await seed.flow(format, id=flow_id, **fields)
    await seed.patch(IDS[0], maxBitRate=1)
    return seed


def numbers(connection: Any) -> list[int]:
    found = [IDS.index(node["id"]) for node in connection["nodes"]]
    assert connection["totalCount"] == len(found)
    return found


async def test_every_filter_gives_what_matches_newest_first(gql: GraphQL, six: Seed) -> None:
    for chosen, wanted in FILTERS:
        flows = (await gql.execute(FLOWS, {"filter": chosen}))["flows"]
        assert numbers(flows) == wanted, chosen


async def test_every_order(gql: GraphQL, six: Seed) -> None:
    for order, wanted in ORDERS:
        flows = (await gql.execute(FLOWS, {"order": order}))["flows"]
        assert numbers(flows) == wanted, order


async def test_labels_are_ordered_alphabetically_and_flows_without_come_last(
    gql: GraphQL, six: Seed
) -> None:
    equal = sorted([1, 3], key=lambda number: IDS[number])
    ascending = [5, *equal, 0, 2, 4]
    for direction, wanted in (
        (None, ascending),
        ("ASC", ascending),
        ("DESC", ascending[::-1]),
    ):
        order = {"field": "LABEL", "direction": direction}
        flows = (await gql.execute(FLOWS, {"order": order}))["flows"]
        assert numbers(flows) == wanted


async def test_filters_name_what_is_wrong(gql: GraphQL) -> None:
    for name in ("ids", "sourceIds"):
        (error,) = await gql.errors(FLOWS, {"filter": {name: [new_id(), "x"]}})
        field = f"filter.{name}.1"
        assert error["message"].startswith(f"{field}: 'x' is not allowed; a UUID")
        assert error["extensions"] == {"code": "BAD_USER_INPUT", "field": field}
        ids = [new_id()] * 1001
        assert await gql.errors(FLOWS, {"filter": {name: ids}}) == [
            refusal(
                "LIMIT_EXCEEDED",
                f"filter.{name}: 1001 ids are above the limit of 1000",
                "flows",
                field=f"filter.{name}",
                limit=1000,
                requested=1001,
            )
        ]


async def test_a_flow_that_is_not_there_is_null_without_an_error(gql: GraphQL) -> None:
    query = "query($id: ID!) { flow(id: $id) { id } }"
    assert await gql.execute(query, {"id": new_id()}) == {"flow": None}
    (error,) = await gql.errors(query, {"id": "x"})
    assert error["path"] == ["flow"]
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "field": "id"}


async def test_segments_updated_follows_registration_and_deletion(gql: GraphQL, seed: Seed) -> None:
    flow_id = await seed.flow("video")
    query = "query($id: ID!) { flow(id: $id) { segmentsUpdated metadataUpdated version } }"

    async def read() -> Data:
        flow: Data = (await gql.execute(query, {"id": flow_id}))["flow"]
        return flow

    new = await read()
    assert new["segmentsUpdated"] is None
    await seed.external(flow_id, "[0:0_10:0)")
    registered = await read()
    assert registered["segmentsUpdated"] > new["metadataUpdated"]
    await seed.delete_segments(flow_id)
    deleted = await read()
    assert deleted["segmentsUpdated"] > registered["segmentsUpdated"]
    for after in (registered, deleted):
        assert (after["metadataUpdated"], after["version"]) == (new["metadataUpdated"], 1)


async def test_the_timerange_spans_the_segments_that_overlap_the_window(
    gql: GraphQL, seed: Seed
) -> None:
    flow_id = await seed.flow("video")
    query = "query($id: ID!, $w: TimeRange) { flow(id: $id) { timerange(window: $w) } }"

    async def timerange(window: str | None = None) -> str:
        text: str = (await gql.execute(query, {"id": flow_id, "w": window}))["flow"]["timerange"]
        return text

    assert [await timerange(window) for window in (None, "_", "[0:0_1:0)")] == ["()"] * 3
    await seed.external(flow_id, "[-10:0_0:0)", "[5:1_10:0]", "[20:0_30:0)")
    windows = {
        None: "[-10:0_30:0)",
        "_": "[-10:0_30:0)",
        "()": "()",
        "[0:0_5:0]": "()",
        "[0:0_5:1]": "[5:1_10:1)",
        "[10:0]": "[5:1_10:1)",
        "[10:1_20:0)": "()",
        "[-5:0_6:0)": "[-10:0_10:1)",
        "_-1:0": "[-10:0_0:0)",
        "[8:0_": "[5:1_30:0)",
        "[29:999999999_40:0)": "[20:0_30:0)",
        "[30:0_40:0)": "()",
    }
    assert {window: await timerange(window) for window in windows} == windows


async def test_a_malformed_window_is_named(gql: GraphQL, seed: Seed) -> None:
    flow_id = await seed.flow("video")
    for field in ("timerange(window: $w)", "segments(window: $w) { totalCount }"):
        query = f"query($id: ID!, $w: TimeRange) {{ flow(id: $id) {{ {field} }} }}"
        (error,) = await gql.errors(query, {"id": flow_id, "w": "[1:0_x)"})
        assert error["extensions"] == {"code": "BAD_USER_INPUT", "field": "window"}
        assert error["message"].startswith("window: '[1:0_x)' is not allowed")


async def test_a_fields_answer_does_not_depend_on_its_siblings(
    catalog: Catalog, seed: Seed
) -> None:
    """The same field under several aliases, with other arguments, is answered for each alone."""
    flow_id = await seed.flow("video")
    await seed.external(flow_id, "[0:0_10:0)", "[10:0_20:0)")
    query = """
    query($id: ID!) {
      a: flow(id: $id) { all: timerange first: timerange(window: "[0:0_1:0)") }
      b: flow(id: $id) { id segments(first: 1) { nodes { timerange } } }
      c: flow(id: $id) { segments(reverse: true) { nodes { timerange } } }
    }
    """
    with watched() as calls:
        data = await catalog.gql.execute(query, {"id": flow_id})
    first, second = {"timerange": "[0:0_10:0)"}, {"timerange": "[10:0_20:0)"}
    assert data == {
        "a": {"all": "[0:0_20:0)", "first": "[0:0_10:0)"},
        "b": {"id": flow_id, "segments": {"nodes": [first]}},
        "c": {"segments": {"nodes": [second, first]}},
    }
    assert sorted(calls) == ["scan flow_counters", "scan flows", "windows"]
