"""Filters that combine, and text search: what matches is exactly what the words say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tams_gql.model.ids import new_id
from tests.catalog import Catalog
from tests.gql import Data, GraphQL
from tests.recording import watched
from tests.seed import Seed

FLOWS = """
query Flows($filter: FlowFilter, $search: String, $first: Int, $after: String) {
  flows(filter: $filter, search: $search, first: $first, after: $after) {
    totalCount nodes { id } pageInfo { hasNextPage endCursor }
  }
}
"""

SOURCES = """
query Sources($filter: SourceFilter, $search: String) {
  sources(filter: $filter, search: $search) { totalCount nodes { id } }
}
"""

FORMATS = ("video", "audio", "data")
LABELS = ("a", "b", None)


class Shelf:
    """Flows that differ in format, label, mark and tag; the same for all examples of a test."""

    def __init__(self) -> None:
        self.flows: dict[str, Data] = {}

    async def fill(self, seed: Seed) -> None:
        for number in range(12):
            format, label = FORMATS[number % 3], LABELS[number // 4]
            tags = [{"name": "n", "values": [str(number % 2)]}] if number % 5 else []
            flow_id = await seed.flow(format, label=label, readOnly=number % 4 == 1, tags=tags)
            self.flows[flow_id] = {
                "format": format.upper(),
                "label": label,
                "readOnly": number % 4 == 1,
                "n": str(number % 2) if number % 5 else None,
            }


leaves = st.one_of(
    st.builds(lambda f: {"format": [f.upper()]}, st.sampled_from(FORMATS)),
    st.builds(lambda text: {"label": text}, st.sampled_from(["a", "b", "c"])),
    st.builds(lambda flag: {"readOnly": flag}, st.booleans()),
    st.builds(lambda v: {"tags": [{"name": "n", "in": [v]}]}, st.sampled_from("01")),
    st.builds(lambda flag: {"tags": [{"name": "n", "exists": flag}]}, st.booleans()),
    st.just({}),
)

trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(lambda parts: {"AND": parts}, st.lists(inner, max_size=3)),
        st.builds(lambda parts: {"OR": parts}, st.lists(inner, max_size=3)),
        st.builds(lambda part: {"NOT": part}, inner),
        st.builds(lambda leaf, part: {**leaf, "NOT": part}, leaves, inner),
    ),
    max_leaves=6,
)


def matches(flow: Data, chosen: Data) -> bool:
    """Whether a flow matches, as the descriptions of the filter say."""
    tests: dict[str, Callable[[Any], bool]] = {
        "format": lambda formats: flow["format"] in formats,
        "label": lambda label: flow["label"] == label,
        "readOnly": lambda flag: flow["readOnly"] is flag,
        "tags": lambda tags: all(_has(flow, tag) for tag in tags),
        "AND": lambda parts: all(matches(flow, part) for part in parts),
        "OR": lambda parts: any(matches(flow, part) for part in parts),
        "NOT": lambda part: not matches(flow, part),
    }
    return all(tests[name](value) for name, value in chosen.items())


def _has(flow: Data, tag: Data) -> bool:
    if "exists" in tag:
        return (flow["n"] is not None) is tag["exists"]
    return flow["n"] in tag["in"]


@pytest.fixture
async def shelf(seed: Seed) -> Shelf:
    shelf = Shelf()
    await shelf.fill(seed)
    return shelf


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chosen=trees, size=st.integers(1, 5))
async def test_filters_combine_as_logic_says(
    catalog: Catalog, shelf: Shelf, chosen: Data, size: int
) -> None:
    wanted = [id for id, flow in reversed(shelf.flows.items()) if matches(flow, chosen)]
    found: list[str] = []
    cursor = None
    while True:
        variables = {"filter": chosen, "first": size, "after": cursor}
        flows = (await catalog.gql.execute(FLOWS, variables))["flows"]
        assert flows["totalCount"] == len(wanted)
        found += [node["id"] for node in flows["nodes"]]
        if not flows["pageInfo"]["hasNextPage"]:
            break
        cursor = flows["pageInfo"]["endCursor"]
    assert found == wanted


async def test_a_combined_filter_costs_one_round_trip(catalog: Catalog, shelf: Shelf) -> None:
    chosen = {
        "OR": [{"label": "a"}, {"NOT": {"format": ["VIDEO"]}}],
        "tags": [{"name": "n", "in": ["1"]}],
        "timerange": "_",
    }
    query = 'query($f: FlowFilter) { flows(filter: $f, search: "b") { nodes { id } } }'
    with watched() as calls:
        await catalog.gql.execute(query, {"f": chosen})
    assert calls == ["scan flows"]


async def test_filters_are_bounded(gql: GraphQL) -> None:
    deep: Data = {}
    for _ in range(9):
        deep = {"NOT": deep}
    wide = {"OR": [{"label": str(n)} for n in range(65)]}
    for chosen in (deep, wide):
        (error,) = await gql.errors(FLOWS, {"filter": chosen})
        assert error["extensions"]["code"] == "LIMIT_EXCEEDED"
        assert error["extensions"]["limit"] in (8, 64)


async def test_technical_parameters(gql: GraphQL, seed: Seed) -> None:
    init = {"sampleRate": 44100, "channels": 6, "initSegments": True}
    one = await seed.flow("audio", essenceParameters=init, generation=2)
    two = await seed.flow("audio", generation=0)
    three = await seed.flow("video")
    for chosen, wanted in (
        ({"sampleRate": 44100}, [one]),
        ({"channels": 2}, [two]),
        ({"initSegments": True}, [one]),
        ({"initSegments": False}, [three, two]),  # left out means no
        ({"generation": 0}, [two]),
        ({"generation": 2, "channels": 6}, [one]),
        ({"generation": 1}, []),
        ({"profileId": new_id()}, []),
    ):
        flows = (await gql.execute(FLOWS, {"filter": chosen}))["flows"]
        assert [node["id"] for node in flows["nodes"]] == wanted, chosen


async def test_times_of_records(gql: GraphQL, seed: Seed) -> None:
    flows = [await seed.flow() for _ in range(3)]
    await seed.patch(flows[0], label="x")
    read = (
        "query($id: ID!) { flow(id: $id) { created metadataUpdated source { created updated } } }"
    )
    times = [(await gql.execute(read, {"id": flow_id}))["flow"] for flow_id in flows]
    middle = times[1]["created"]
    for chosen, wanted in (
        ({"createdAfter": middle}, [flows[2]]),
        ({"createdBefore": middle}, [flows[0]]),
        ({"updatedAfter": times[2]["metadataUpdated"]}, [flows[0]]),
        ({"createdAfter": middle, "createdBefore": middle}, []),
        ({"createdAfter": middle.replace("Z", "+00:00")}, [flows[2]]),
    ):
        found = (await gql.execute(FLOWS, {"filter": chosen}))["flows"]
        assert [node["id"] for node in found["nodes"]] == wanted, chosen
    found = await gql.execute(SOURCES, {"filter": {"createdAfter": times[0]["source"]["created"]}})
    assert found["sources"]["totalCount"] == 2
    for wrong in ("yesterday", "2024-01-01T00:00:00", 5):
        (error,) = await gql.errors(FLOWS, {"filter": {"createdAfter": wrong}})
        assert error["extensions"]["code"] == "BAD_USER_INPUT"


async def test_the_timerange_of_a_flow(gql: GraphQL, seed: Seed) -> None:
    empty, one, two = [await seed.flow() for _ in range(3)]
    await seed.external(one, "[0:0_10:0)", "[20:0_30:0)")
    await seed.external(two, "[30:0_40:0)")
    for timerange, wanted in (
        ("_", [two, one]),
        ("[12:0_13:0)", [one]),  # from the first to the last segment, gaps and all
        ("[30:0]", [two]),
        ("_0:0)", []),
        ("[29:0_31:0)", [two, one]),
        ("()", [empty]),
    ):
        found = (await gql.execute(FLOWS, {"filter": {"timerange": timerange}}))["flows"]
        assert [node["id"] for node in found["nodes"]] == wanted, timerange
    found = (await gql.execute(FLOWS, {"filter": {"NOT": {"timerange": "_"}}}))["flows"]
    assert [node["id"] for node in found["nodes"]] == [empty]


TEXTS: dict[str, Data] = {
    "match": {"label": "Cup Final 2024", "description": "Wembley, second half"},
    "news": {"label": "News at Ten", "tags": [{"name": "Desk", "values": ["Final edition", "x"]}]},
    "odd": {"label": '100% _pure_ *gold* "quoted" back\\slash'},
    "sharp": {"label": "Straße nach ÅRHUS"},
    "bare": {},
}

SEARCHES: list[tuple[str | None, set[str]]] = [
    (None, set(TEXTS)),
    ("", set(TEXTS)),
    ("  ", set(TEXTS)),
    ("final", {"match", "news"}),
    ("FINAL cup", {"match"}),
    ("cup final", {"match"}),
    ("wem", {"match"}),  # inside a word
    ("embl", {"match"}),
    ("al 20", {"match"}),
    ("half ten", set()),  # all words in one resource
    ("desk", set()),  # names of tags are not searched
    ("edition", {"news"}),
    ("%", {"odd"}),
    ("_pure_", {"odd"}),
    ("*gold*", {"odd"}),
    ('"quoted"', {"odd"}),
    ("back\\slash", {"odd"}),
    ("strasse", {"sharp"}),
    ("STRASSE århus", {"sharp"}),
    ("x", {"news"}),
    ("final\u00a0cup", {"match"}),
]


@pytest.mark.parametrize("query", [FLOWS, SOURCES])
async def test_search_looks_for_every_word(gql: GraphQL, seed: Seed, query: str) -> None:
    # given the texts on flows, and on sources
    ids = {name: new_id() for name in TEXTS}
    for name, texts in TEXTS.items():
        if query is FLOWS:
            await seed.flow("data", id=ids[name], **texts)
        else:
            create = (
                "mutation($input: CreateSourceInput!) { createSource(input: $input) { event } }"
            )
            await gql.execute(create, {"input": {"id": ids[name], "format": "DATA", **texts}})
    # when, then
    for search, wanted in SEARCHES:
        (found,) = (await gql.execute(query, {"search": search})).values()
        assert {node["id"] for node in found["nodes"]} == {ids[n] for n in wanted}, search
        assert found["totalCount"] == len(wanted)
    (error,) = await gql.errors(query, {"search": " ".join(map(str, range(17)))})
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "field": "search"}


async def test_search_follows_changes_and_goes_with_filters(gql: GraphQL, seed: Seed) -> None:
    flow_id = await seed.flow("data", label="old words")
    await seed.flow("audio", label="old words")

    async def found(search: str, **chosen: object) -> int:
        flows = (await gql.execute(FLOWS, {"search": search, "filter": chosen}))["flows"]
        assert len(flows["nodes"]) == flows["totalCount"]
        count: int = flows["totalCount"]
        return count

    assert (await found("old"), await found("old", format=["DATA"])) == (2, 1)
    await seed.patch(flow_id, label="new words", tags=[{"name": "t", "values": ["tagged"]}])
    assert [await found(text) for text in ("old", "new", "words", "tagged")] == [1, 1, 2, 1]
    await seed.delete(flow_id)
    assert [await found(text) for text in ("new", "words", "tagged")] == [0, 1, 0]
    assert await found("words", NOT={"format": ["AUDIO"]}) == 0


async def test_a_cursor_is_bound_to_the_search(gql: GraphQL, seed: Seed) -> None:
    for _ in range(2):
        await seed.flow(label="same")
    first = (await gql.execute(FLOWS, {"search": "same", "first": 1}))["flows"]
    cursor = first["pageInfo"]["endCursor"]
    (error,) = await gql.errors(FLOWS, {"search": "sam", "after": cursor})
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "field": "after"}
    rest = (await gql.execute(FLOWS, {"search": "SAME", "after": cursor}))["flows"]
    assert len(rest["nodes"]) == 1
