"""Pages of sources and flows: complete, in order, exact at both ends, and refused when misused."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tams_gql.context import Services
from tams_gql.model.ids import new_id
from tests.catalog import Catalog, quick_settings, running
from tests.gql import Data, GraphQL, Variables, refusal
from tests.recording import watched
from tests.seed import Seed

PAGE = """
query Page(
  $filter: FlowFilter, $order: FlowOrder, $first: Int, $after: String, $last: Int, $before: String
) {
  flows(
    filter: $filter, orderBy: $order, first: $first, after: $after, last: $last, before: $before
  ) {
    totalCount
    nodes { id }
    edges { cursor node { id } }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
  }
}
"""

SOURCES = """
query Page($order: SourceOrder, $first: Int, $after: String, $last: Int, $before: String) {
  sources(orderBy: $order, first: $first, after: $after, last: $last, before: $before) {
    totalCount
    nodes { id }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
  }
}
"""

NOWHERE = {
    "hasNextPage": False,
    "hasPreviousPage": False,
    "startCursor": None,
    "endCursor": None,
}


async def page(gql: GraphQL, variables: Variables, query: str = PAGE) -> Data:
    (connection,) = (await gql.execute(query, variables)).values()
    found: Data = connection
    return found


def ids(found: Data) -> list[str]:
    return [node["id"] for node in found["nodes"]]


async def all_pages(gql: GraphQL, size: int, chosen: Variables, query: str = PAGE) -> list[str]:
    """What all pages hold, read forwards; every page but the last one is full."""
    found, cursor = [], None
    while True:
        part = await page(gql, {**chosen, "first": size, "after": cursor}, query)
        assert part["pageInfo"]["hasPreviousPage"] is (cursor is not None)
        found += ids(part)
        cursor = part["pageInfo"]["endCursor"]
        if not part["pageInfo"]["hasNextPage"]:
            assert part["totalCount"] == len(found)
            return found
        assert len(part["nodes"]) == size


async def all_pages_backwards(
    gql: GraphQL, size: int, chosen: Variables, query: str = PAGE
) -> list[str]:
    """The same, read from the end."""
    found: list[str] = []
    cursor = None
    while True:
        part = await page(gql, {**chosen, "last": size, "before": cursor}, query)
        assert part["pageInfo"]["hasNextPage"] is (cursor is not None)
        found = ids(part) + found
        cursor = part["pageInfo"]["startCursor"]
        if not part["pageInfo"]["hasPreviousPage"]:
            assert part["totalCount"] == len(found)
            return found
        assert len(part["nodes"]) == size


labels = st.lists(st.sampled_from(["a", "b", "B", "", "ä", None]), min_size=0, max_size=9)
orders = st.fixed_dictionaries(
    {
        "field": st.sampled_from(["CREATED", "METADATA_UPDATED", "LABEL"]),
        "direction": st.sampled_from(["ASC", "DESC", None]),
    }
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(given=labels, order=orders, size=st.integers(1, 4))
async def test_pages_laid_together_are_the_whole_list(
    catalog: Catalog, given: list[str | None], order: Data, size: int
) -> None:
    # given
    seed, source_id = Seed(catalog.gql, catalog.http), new_id()
    made = [await seed.flow("data", sourceId=source_id, label=label) for label in given]
    chosen = {"filter": {"sourceIds": [source_id]}, "order": order}
    # when
    whole = ids(await page(catalog.gql, chosen))
    # then
    assert sorted(whole) == sorted(made)
    assert await all_pages(catalog.gql, size, chosen) == whole
    assert await all_pages_backwards(catalog.gql, size, chosen) == whole
    field, direction = order["field"], order["direction"]
    descending = direction == "DESC" or (direction is None and field != "LABEL")
    if field == "LABEL":
        label_of = dict(zip(made, given, strict=True))
        key = [(label is None, label or "", flow_id) for flow_id, label in label_of.items()]
        made = [flow_id for _, _, flow_id in sorted(key)]
    assert whole == (made[::-1] if descending else made)


@pytest.mark.parametrize("direction", ["ASC", "DESC"])
@pytest.mark.parametrize("field", ["CREATED", "METADATA_UPDATED", "LABEL"])
async def test_pages_are_stable_when_everything_was_made_at_once(
    tmp_path: Path, field: str, direction: str
) -> None:
    # given a clock that stands still
    def stopped(services: Services) -> Services:
        return replace(services, now_us=lambda: 1_700_000_000_000_000)

    async with running(quick_settings(tmp_path), stopped) as catalog:
        seed = Seed(catalog.gql, catalog.http)
        made = sorted([await seed.flow("data", label="same") for _ in range(7)])
        # when, then
        chosen = {"order": {"field": field, "direction": direction}}
        wanted = made if direction == "ASC" else made[::-1]
        for size in (1, 2, 3, 7, 8):
            assert await all_pages(catalog.gql, size, chosen) == wanted
            assert await all_pages_backwards(catalog.gql, size, chosen) == wanted


@pytest.mark.parametrize("field", ["CREATED", "UPDATED", "LABEL"])
async def test_sources_are_paged_in_the_same_way(gql: GraphQL, seed: Seed, field: str) -> None:
    for label in ("b", None, "a", "b", None):
        await seed.flow("data", label=label)
    chosen = {"order": {"field": field, "direction": "DESC"}}
    whole = ids(await page(gql, chosen, SOURCES))
    assert len(whole) == 5
    for size in (1, 2, 5):
        assert await all_pages(gql, size, chosen, SOURCES) == whole
        assert await all_pages_backwards(gql, size, chosen, SOURCES) == whole


async def test_what_comes_between_two_pages_moves_nothing(gql: GraphQL, seed: Seed) -> None:
    made = [await seed.flow("data") for _ in range(4)][::-1]
    first = await page(gql, {"first": 2})
    await seed.flow("data")  # newer than all
    await seed.delete(made[1])  # the one that the cursor names
    second = await page(gql, {"first": 2, "after": first["pageInfo"]["endCursor"]})
    assert (ids(first), ids(second)) == (made[:2], made[2:])


async def test_edges_carry_the_cursor_of_each_item(gql: GraphQL, seed: Seed) -> None:
    made = [await seed.flow("data") for _ in range(3)][::-1]
    found = await page(gql, {"first": 2})
    assert [edge["node"] for edge in found["edges"]] == found["nodes"]
    cursors = [edge["cursor"] for edge in found["edges"]]
    assert cursors == [found["pageInfo"]["startCursor"], found["pageInfo"]["endCursor"]]
    for at, cursor in enumerate(cursors):
        assert ids(await page(gql, {"after": cursor})) == made[at + 1 :]
        assert ids(await page(gql, {"before": cursor})) == made[:at]


async def test_an_empty_list_and_an_empty_page(gql: GraphQL, seed: Seed) -> None:
    assert await page(gql, {}) == {
        "totalCount": 0,
        "nodes": [],
        "edges": [],
        "pageInfo": NOWHERE,
    }
    await seed.flow("data")
    for name in ("first", "last"):
        found = await page(gql, {name: 0})
        assert (found["totalCount"], found["nodes"]) == (1, [])
        # More is there in the direction of reading.
        more = {"first": "hasNextPage", "last": "hasPreviousPage"}[name]
        assert found["pageInfo"] == {**NOWHERE, more: True}


async def test_the_default_page_and_the_largest_one(tmp_path: Path) -> None:
    settings = quick_settings(tmp_path, default_page_size=2, max_page_size=3)
    async with running(settings) as catalog:
        made = [await Seed(catalog.gql, catalog.http).flow("data") for _ in range(4)][::-1]
        assert ids(await page(catalog.gql, {})) == made[:2]
        assert ids(await page(catalog.gql, {"first": 3})) == made[:3]
        for name in ("first", "last"):
            assert await catalog.gql.errors(PAGE, {name: 4}) == [
                refusal(
                    "LIMIT_EXCEEDED",
                    f"{name}: max_page_size: the operation asks for 4; the limit is 3",
                    field=name,
                    name="max_page_size",
                    limit=3,
                    requested=4,
                )
            ]


MISUSES: list[tuple[Data, str, str]] = [
    ({"first": -1}, "first", "first: -1 is not allowed; it must be 0 or more"),
    ({"last": -1}, "last", "last: -1 is not allowed; it must be 0 or more"),
    ({"first": 1, "last": 1}, "last", "first and last cannot both be given"),
    ({"first": 1, "before": "x"}, "before", "before cannot be combined with first"),
    ({"last": 1, "after": "x"}, "after", "after cannot be combined with last"),
    ({"after": "x", "before": "y"}, "after", "after cannot be combined with last"),
]


async def test_arguments_that_contradict_each_other_are_named(gql: GraphQL) -> None:
    for arguments, field, message in MISUSES:
        (error,) = await gql.errors(PAGE, arguments)
        assert error == refusal("BAD_USER_INPUT", message, "flows", field=field), arguments


def encoded(value: object) -> str:
    return urlsafe_b64encode(orjson.dumps(value)).decode().rstrip("=")


async def test_what_is_no_cursor_is_refused(gql: GraphQL, seed: Seed) -> None:
    await seed.flow("data")
    real = (await page(gql, {"first": 1}))["pageInfo"]["endCursor"]
    digest, created, _ = orjson.loads(urlsafe_b64decode(real + "=" * (-len(real) % 4)))
    garbage = [
        *("", "x", "é", "a" * 10_000, real[:-3], real + "!x", "AAAA"),
        *map(encoded, (None, 1, [], {})),
        # The right list, but places that no row can have.
        *(encoded([digest, created, bad]) for bad in ([1], {"a": 1}, 1.5, True, 2**64 - 1)),
    ]
    for cursor in garbage:
        for name in ("after", "before"):
            (error,) = await gql.errors(PAGE, {name: cursor})
            assert error["extensions"] == {"code": "BAD_USER_INPUT", "field": name}, cursor
            assert error["message"] == f"{name}: {cursor[:80]!r} is not a cursor of this list"
    for parts in ([digest], [digest, created], [digest] * 4, "x"):
        (error,) = await gql.errors(PAGE, {"after": encoded(parts)})
        assert error["extensions"] == {"code": "BAD_USER_INPUT", "field": "after"}


async def test_a_cursor_only_fits_the_list_it_came_from(gql: GraphQL, seed: Seed) -> None:
    # given
    await seed.flow("data", label="a")
    chosen: dict[str, Any] = {"filter": {"label": "a"}, "order": {"field": "LABEL"}}
    cursor = (await page(gql, chosen))["pageInfo"]["endCursor"]
    others: list[dict[str, Any]] = [
        {},
        {"filter": {"label": "a"}},
        {"order": {"field": "LABEL"}},
        {**chosen, "filter": {"label": "b"}},
        {**chosen, "filter": {"label": "a", "readOnly": False}},
        {**chosen, "filter": {"label": "a", "tags": [{"name": "a", "exists": False}]}},
        {**chosen, "order": {"field": "LABEL", "direction": "DESC"}},
        {**chosen, "order": {"field": "CREATED"}},
    ]
    # when, then
    for name in ("after", "before"):
        wanted = refusal(
            "BAD_USER_INPUT",
            f"{name}: the cursor came from a list with other arguments (filter or order)",
            "flows",
            field=name,
        )
        for other in others:
            assert await gql.errors(PAGE, {**other, name: cursor}) == [wanted], other
        (error,) = await gql.errors(SOURCES, {name: cursor})
        assert error["extensions"] == {"code": "BAD_USER_INPUT", "field": name}
    # The page size may change, and the order that is the default may be written out.
    spelled = {**chosen, "order": {"field": "LABEL", "direction": "ASC"}}
    assert ids(await page(gql, {**spelled, "after": cursor, "first": 7})) == []


@pytest.mark.parametrize("flows", [1, 50])
async def test_a_page_costs_one_round_trip_and_its_total_one_more(
    catalog: Catalog, seed: Seed, flows: int
) -> None:
    for _ in range(flows):
        await seed.flow("data")
    query = "{ flows(first: 50) { nodes { id label codec tags { name } } } }"
    with watched() as calls:
        assert len((await catalog.gql.execute(query))["flows"]["nodes"]) == flows
    assert calls == ["scan flows"]
    with watched() as calls:
        assert (await page(catalog.gql, {"first": 1}))["totalCount"] == flows
    assert calls == ["scan flows", "count flows"]
