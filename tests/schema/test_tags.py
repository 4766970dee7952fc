"""Tags as they are read, and filters on them for flows and sources."""

from __future__ import annotations

from typing import Any

import pytest

from tests.catalog import Catalog
from tests.gql import Data, GraphQL, refusal
from tests.seed import Seed

TAGS: dict[str, list[Data]] = {
    "one": [{"name": "genre", "values": ["news"]}],
    "two": [{"name": "genre", "values": ["news", "sport"]}],
    "near": [{"name": "genre", "values": ["newsroom"]}],
    "upper": [{"name": "GENRE", "values": ["news"]}],
    "other": [{"name": "desk", "values": ["news"]}],
    "empty": [{"name": "genre", "values": []}],
    "odd": [{"name": 'x"y\\z.%_', "values": ['a"b\\c%_', ""]}],
    "both": [{"name": "genre", "values": ["sport"]}, {"name": "desk", "values": ["4"]}],
    "none": [],
}
"""The tags of flows by their labels."""

ODD = 'x"y\\z.%_'

FILTERS: list[tuple[list[Data], set[str]]] = [
    ([{"name": "genre", "in": ["news"]}], {"one", "two"}),
    ([{"name": "genre", "in": ["sport", "newsroom"]}], {"two", "near", "both"}),
    ([{"name": "genre", "in": []}], set()),
    ([{"name": "genre", "in": ["new"]}], set()),
    ([{"name": "genre", "in": ["News"]}], set()),
    ([{"name": "genre", "all": ["news", "sport"]}], {"two"}),
    ([{"name": "genre", "all": ["sport"]}], {"two", "both"}),
    ([{"name": "genre", "prefix": "news"}], {"one", "two", "near"}),
    ([{"name": "genre", "prefix": "newsr"}], {"near"}),
    ([{"name": "genre", "prefix": "%"}], set()),
    ([{"name": "genre", "exists": True}], {"one", "two", "near", "empty", "both"}),
    ([{"name": "genre", "exists": False}], {"upper", "other", "odd", "none"}),
    ([{"name": "GENRE", "in": ["news"]}], {"upper"}),
    ([{"name": ODD, "exists": True}], {"odd"}),
    ([{"name": ODD, "in": ['a"b\\c%_']}], {"odd"}),
    ([{"name": ODD, "in": [""]}], {"odd"}),
    ([{"name": ODD, "prefix": 'a"b\\c%'}], {"odd"}),
    ([{"name": "genre", "in": ["sport"]}, {"name": "desk", "exists": True}], {"both"}),
    ([{"name": "genre", "in": ["sport"]}, {"name": "desk", "exists": False}], {"two"}),
]

FLOWS = """
query Flows($tags: [TagFilter!]) {
  flows(filter: {tags: $tags}) { totalCount nodes { label } }
}
"""


@pytest.fixture
async def tagged(seed: Seed) -> Seed:
    """A flow for each entry of ``TAGS``."""
    for label, tags in TAGS.items():
        await seed.flow("data", label=label, tags=tags)
    return seed


def labels(connection: Any) -> set[str]:
    found = [node["label"] for node in connection["nodes"]]
    assert len(found) == len(set(found)) == connection["totalCount"]
    return set(found)


async def test_every_filter_matches_exactly(gql: GraphQL, tagged: Seed) -> None:
    for tags, wanted in FILTERS:
        assert labels((await gql.execute(FLOWS, {"tags": tags}))["flows"]) == wanted, tags


async def test_no_filter_is_everything(gql: GraphQL, tagged: Seed) -> None:
    both: tuple[list[Data] | None, ...] = (None, [])
    for tags in both:
        assert labels((await gql.execute(FLOWS, {"tags": tags}))["flows"]) == set(TAGS)


async def test_filters_apply_to_the_flows_of_a_source(gql: GraphQL, tagged: Seed) -> None:
    data = await gql.execute(
        "query($tags: [TagFilter!]) { sources { nodes { flows(filter: {tags: $tags})"
        " { totalCount nodes { label } } } } }",
        {"tags": [{"name": "genre", "prefix": "news"}]},
    )
    connections = [node["flows"] for node in data["sources"]["nodes"]]
    assert set().union(*map(labels, connections)) == {"one", "two", "near"}
    assert sorted(connection["totalCount"] for connection in connections) == [0] * 6 + [1] * 3


async def test_filters_follow_changes_and_deletion(gql: GraphQL, tagged: Seed) -> None:
    tags = [{"name": "mood", "in": ["calm"]}]

    async def found() -> set[str]:
        return labels((await gql.execute(FLOWS, {"tags": tags}))["flows"])

    flow_id = await tagged.flow("data", label="new", tags=[{"name": "mood", "values": ["calm"]}])
    assert await found() == {"new"}
    await tagged.patch(flow_id, tags=[{"name": "mood", "values": ["wild"]}])
    assert await found() == set()
    await tagged.patch(flow_id, tags=[{"name": "mood", "values": ["wild", "calm"]}])
    assert await found() == {"new"}
    await tagged.delete(flow_id)
    assert await found() == set()


async def test_tags_are_read_in_their_order_and_one_by_name(gql: GraphQL, seed: Seed) -> None:
    tags = [
        {"name": "z", "values": ["1"]},
        {"name": "a", "values": ["2", "1", "2"]},
        {"name": ODD, "values": []},
    ]
    flow_id = await seed.flow("data", tags=tags)
    data = await gql.execute(
        "query($id: ID!, $odd: String!) { flow(id: $id) { tags { name values }"
        ' a: tag(name: "a") { name values } odd: tag(name: $odd) { values }'
        ' missing: tag(name: "A") { name } } }',
        {"id": flow_id, "odd": ODD},
    )
    assert data["flow"] == {
        "tags": tags,
        "a": tags[1],
        "odd": {"values": []},
        "missing": None,
    }


@pytest.mark.parametrize(
    ("test", "count"),
    [({}, 0), ({"in": ["a"], "prefix": "a"}, 2), ({"exists": True, "all": [], "in": []}, 3)],
)
async def test_exactly_one_test_is_given(gql: GraphQL, test: Data, count: int) -> None:
    tags = [{"name": "a", "exists": True}, {"name": "b", **test}]
    assert await gql.errors(FLOWS, {"tags": tags}) == [
        refusal(
            "BAD_USER_INPUT",
            f"filter.tags.1: give exactly one of in, all, prefix, exists; got {count}",
            "flows",
            field="filter.tags.1",
        )
    ]


async def test_the_limits_of_tags_can_be_used_up(catalog: Catalog, seed: Seed) -> None:
    tags = [{"name": "n" * 128, "values": ["v" * 1024] * 32}]
    tags += [{"name": f"n{number}", "values": ["v"]} for number in range(63)]
    flow_id = await seed.flow("data", tags=tags)
    data = await catalog.gql.execute(
        "query($id: ID!) { flow(id: $id) { tags { name values } } }", {"id": flow_id}
    )
    assert data["flow"]["tags"] == tags
