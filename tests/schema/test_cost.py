"""What operations cost: exact numbers, worked out from the price list by hand."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from graphql import build_schema, get_introspection_query, parse

from tams_gql.http.explorer.queries import QUERIES
from tams_gql.schema import QueryLimits
from tams_gql.schema.limits import Analyses
from tams_gql.schema.limits.bounds import CEILING
from tams_gql.schema.limits.costs import FIELD_COSTS
from tests.catalog import Catalog
from tests.schema.pricing import asked, prices, refused, schema

# A page costs 1 and each of its items 1; two URLs of an object 1 + 2 * 2; tags 4; a member of a
# collection, of which there may be ten, 1.
COSTS: list[tuple[int, str]] = [
    (1, "{ service { name } }"),
    (1 + 4 * (1 + 4), "{ service { storageBackends { id tags { name } } } }"),
    (1, '{ flow(id: "x") { id label codec } }'),
    (1 + 1, '{ flow(id: "x") { source { id } } }'),
    (0, "{ __typename }"),
    # Pages
    (1 + 50, "{ flows { nodes { id } } }"),
    (1 + 7, "{ flows(first: 7) { nodes { id } } }"),
    (1 + 7, "{ flows(last: 7) { nodes { id } } }"),
    (1 + 7, "{ flows(first: 7) { edges { cursor node { id } } } }"),
    (1 + 7, "{ flows(first: 7) { pageInfo { hasNextPage } } }"),
    (1 + 7 + 10, "{ flows(first: 7) { totalCount } }"),
    (1 + 50, "{ flows(first: null) { nodes { id } } }"),
    (1, "{ flows(first: 0) { nodes { source { id } } } }"),
    (1, "{ flows(first: -5) { nodes { source { id } } } }"),
    (1 + 7 + 7 * 1, "{ flows(first: 7) { nodes { source { id } } } }"),
    (1 + 7 + 7 * (1 + 1),
     "{ flows(first: 7) { nodes { source { id } } edges { node { source { id } } } } }"),
    (1 + 2 + 2 * (1 + 3), '{ sources(first: 2) { nodes { flows(first: 3) { nodes { id } } } } }'),
    # Lists of a size that the data decides
    (1 + 4, '{ flow(id: "x") { tags { name values } } }'),
    (1 + 10 * (1 + 1), '{ flow(id: "x") { collection { role flow { id } } } }'),
    (1 + 10 * (1 + 1 + 10 * (1 + 1)),
     '{ flow(id: "x") { collection { flow { collection { flow { id } } } } } }'),
    (1 + 5 * (1 + 5), '{ flow(id: "x") { collectedBy { collectedBy { id } } } }'),
    (1 + 10 * (1 + 1) + 5, '{ source(id: "x") { collects { source { id } } collectedBy { id } } }'),
    # Scalars that are more than a column of the row
    (1 + 2 + 1 + 1, '{ flow(id: "x") { timerange segmentsUpdated vendorParameters } }'),
    (1 + 21 + 2,
     '{ flow(id: "x") { coverage { ranges bytes } segmentAt(timestamp: "0:0") { id } } }'),
    (1 + 6 + 61, '{ source(id: "x") { timerange coverage { bytes } } }'),
    # URLs
    (1 + 5, '{ object(id: "x") { getUrls { url } } }'),
    (1 + 2 * (1 + 2 + 2), '{ object(id: "x") { instances { getUrl headUrl } } }'),
    (1 + 1 + 1000 + 1000 * 5,
     '{ flow(id: "x") { segments(first: 1000) { nodes { getUrls { url } } } } }'),
    # An alias of a scalar is not free: there may be any number of them
    (1 + 2, '{ flow(id: "x") { id a: id b: id } }'),
    (1 + 2 + 2, '{ flow(id: "x") { timerange a: timerange(window: "_") } }'),
    # Ids in a list
    (3 + 3 * 1, '{ nodes(ids: ["a", "b", "c"]) { ... on Flow { source { id } } } }'),
    (1, '{ nodes(ids: "a") { id } }'),
    (0, "{ nodes(ids: []) { id } }"),
    # An interface counts as the dearest of its types
    (1, '{ node(id: "x") { id } }'),
    (1 + 2, '''{ node(id: "x") {
       ... on Flow { source { id } containerMapping { trackIndex } }
       ... on Source { tag(name: "a") { name } }
     } }'''),
    (1 + 4, '''{ node(id: "x") {
       ... on VideoFlow { source { id } }
       ... on Source { tags { name } }
     } }'''),
    (1 + 2, '''{ flow(id: "x") {
       ... on VideoFlow { essenceParameters { frameRate { numerator } } }
       ... on AudioFlow { essenceParameters { channels } }
     } }'''),
    (1 + 1 + 2, '''{ flow(id: "x") {
       source { id }
       ... on VideoFlow { essenceParameters { frameRate { numerator } } }
     } }'''),
    # Fragments
    (1 + 7 + 7 * 1, '''{ flows(first: 7) { ...P } }
     fragment P on FlowConnection { nodes { ...F } }
     fragment F on Flow { source { id } }'''),
    (1 + 7 + 7 * 2, '''{ flows(first: 7) { ...P nodes { ...F } } }
     fragment P on FlowConnection { nodes { ...F } }
     fragment F on Flow { source { id } }'''),
    (1, '''{ flow(id: "x") { ...S } }
     fragment S on Node { ... on Source { collects { role } } }'''),
    # Directives
    (1, '{ flow(id: "x") { source @skip(if: true) { id } } }'),
    (1 + 1, '{ flow(id: "x") { source @skip(if: false) { id } } }'),
    (1, '{ flow(id: "x") { ... @include(if: false) { source { id } } } }'),
    (1 + 1, '{ flow(id: "x") { ...S @include(if: true) } } fragment S on Flow { source { id } }'),
    # Writes
    (11, 'mutation { putFlow(input: {}) { created } }'),
    (11 + 1, 'mutation { patchFlow(input: {id: "x"}) { flow { id } } }'),
    (101, 'mutation { deleteFlow(input: {id: "x"}) { event } }'),
    (10 + 3 * 2,
     'mutation { registerSegments(input: {flowId: "x", segments: [{}, {}, {}]}) { event } }'),
    (10 + 3 * 2 + 1 + 3 * (1 + 1 + 1), '''mutation {
       registerSegments(input: {flowId: "x", segments: [{}, {}, {}]}) {
         flow { id } results { segment { object { id } } }
       } }'''),
    (10 + 10, '''mutation {
       allocateStorage(input: {flowId: "x"}) { mediaObjects @skip(if: true) { objectId } } }'''),
    (10 + 4 + 4 * (1 + 2), '''mutation {
       allocateStorage(input: {flowId: "x", limit: 4}) {
         mediaObjects { putUrl { url headers { name } } }
       } }'''),
    (10 + 2 + 2 * 1, '''mutation {
       allocateStorage(input: {flowId: "x", objectIds: ["a", "b"], limit: null}) {
         mediaObjects { objectId }
       } }'''),
    # One event
    (1 + 20 * (1 + 1), "subscription { segmentsAdded { segments { object { id } } } }"),
]  # fmt: skip


@pytest.mark.parametrize(("cost", "query"), COSTS, ids=[query for _, query in COSTS])
def test_a_document_has_this_cost(cost: int, query: str) -> None:
    looks, document = Analyses(schema(), QueryLimits()), parse(query)
    assert looks.asked(document, None, {}).cost == cost


PAGED = """query ($n: Int, $m: Int = 4) {
  flows(first: $n) { nodes { segments(last: $m) { nodes { id } } } }
}"""
GATED = """query ($skip: Boolean = true, $include: Boolean!) {
  flow(id: "x") {
    source @skip(if: $skip) { id }
    tags @include(if: $include) { name }
    collection @skip(if: $skip) @include(if: $include) { role }
  }
}"""
GATED_NODES = """query ($include: Boolean!) {
  flows(first: 3) { nodes @include(if: $include) { source { id } } }
}"""
REGISTER = """mutation ($input: RegisterSegmentsInput!, $more: [SegmentInput!] = [{}, {}]) {
  registerSegments(input: $input) { results { index } }
  again: registerSegments(input: {flowId: "x", segments: $more}) { event }
}"""
NODES = """query ($ids: [ID!]! = ["a"], $id: ID!) {
  nodes(ids: $ids) { id }
  one: nodes(ids: [$id]) { id }
}"""


@pytest.mark.parametrize(
    ("cost", "query", "variables"),
    [
        (1 + 50 + 50 * (1 + 4), PAGED, {}),
        (1 + 3 + 3 * (1 + 4), PAGED, {"n": 3}),
        (1 + 3 + 3 * (1 + 2), PAGED, {"n": 3, "m": 2}),
        (1 + 3 + 3 * (1 + 50), PAGED, {"n": 3, "m": None}),
        (1 + 3 + 3 * (1 + 4), PAGED, {"n": 3.0}),
        (1, PAGED, {"n": -3}),
        (1 + 1 + 1 * (1 + 4), PAGED, {"n": "3"}),  # no Int: refused when variables are read
        (1 + 4, GATED, {"include": True}),
        (1, GATED, {"include": False}),
        (1 + 1 + 4 + 10, GATED, {"skip": False, "include": True}),
        (1 + 1, GATED, {"skip": False, "include": False}),
        (1 + 1 + 4 + 10, GATED, {"skip": None}),  # not known: counted
        (1 + 3 + 3, GATED_NODES, {"include": True}),
        (1 + 3, GATED_NODES, {"include": False}),
        (10 + 5 * 2 + 5 * 1 + 10 + 2 * 2, REGISTER, {"input": {"segments": [{}] * 5}}),
        (10 + 10, REGISTER, {"input": {}, "more": []}),
        (10 + 10 + 2, REGISTER, {"input": "x", "more": {"objectId": "one for a list"}}),
        (1 + 1, NODES, {"id": "x"}),
        (3 + 1, NODES, {"ids": ["a", "b", "c"], "id": "x"}),
        (1 + 1, NODES, {"ids": "a", "id": "x"}),
    ],
)  # fmt: skip
def test_variables_decide(cost: int, query: str, variables: dict[str, Any]) -> None:
    looks, document = Analyses(schema(), QueryLimits()), parse(query)
    assert looks.asked(document, None, variables).cost == cost


def test_a_page_that_is_left_out_may_be_of_any_size() -> None:
    query = "{ service { name } flows(first: 5000) @skip(if: true) { nodes { id } } }"
    assert asked(query).plan.pages == ()
    kept = asked(query.replace("true", "false"))
    assert [(argument, size.count) for argument, size, _ in kept.plan.pages] == [("first", 5000)]


def test_the_default_page_is_a_limit_too() -> None:
    query = "{ flows { nodes { id } } }"
    assert asked(query, default_page_size=8).cost == 1 + 8


def test_each_operation_of_a_document_has_its_own_cost() -> None:
    document = parse(
        'query A { flow(id: "x") { id } } query B($n: Int) { flows(first: $n) { nodes { id } } }'
    )
    looks = Analyses(schema(), QueryLimits())
    assert looks.asked(document, "A", {}).cost == 1
    assert looks.asked(document, "B", {"n": 9}).cost == 1 + 9
    assert looks.asked(document, "A", {"n": 9}).cost == 1
    assert looks.asked(document, None, {}).cost == 1


def test_a_plan_is_made_once_for_a_document_and_goes_with_it() -> None:
    looks, document, other = Analyses(schema(), QueryLimits()), parse(PAGED), parse(PAGED)
    first = looks.asked(document, None, {"n": 1}).plan
    again = looks.asked(document, None, {"n": 2}).plan
    assert again is first
    assert looks.asked(other, None, {"n": 2}).plan is not first
    assert len(looks) == 2
    del document
    gc.collect()
    assert len(looks) == 1


@pytest.mark.parametrize(
    ("cost", "query", "variables"),
    [
        (  # a grid of sources with their newest segments
            21_161,
            """query ($sources: Int, $flows: Int) { sources(first: $sources) { nodes {
              id label flows(first: $flows) { nodes {
                id codec segments(first: 50) { nodes {
                  id timerange object { id size getUrls { label url } } } } } } } } }""",
            {"sources": 20, "flows": 3},
        ),
        (  # the timeline of a flow with its media
            6_002,
            """query ($id: ID!) { flow(id: $id) { segments(first: 1000, window: "[0:0_9:0)") {
              nodes { timerange getUrls { url } } } } }""",
            {"id": "x"},
        ),
        (  # a wall of timelines
            5_701,
            """{ flows(first: 100) { nodes { id label timerange source { label }
              tags { name values } segments(first: 48) { nodes { timerange objectId } } } } }""",
            {},
        ),
        (  # the same with all that one may want of the segments
            65_401,
            """{ flows(first: 100) { nodes { id timerange segments(first: 50) { nodes {
              timerange tags { name values } object { id size initObject { id } }
              objectTimerange getUrls { label url } } } } } }""",
            {},
        ),
        (  # a batch as large as it may be
            5_010,
            """mutation ($input: RegisterSegmentsInput!) { registerSegments(input: $input) {
              results { segment { id timerange object { id } tags { name } } error { message } }
            } }""",
            {"input": {"segments": [{}] * 500}},
        ),
    ],
)
def test_the_screens_of_a_user_interface_are_within_the_limit(
    cost: int, query: str, variables: dict[str, Any]
) -> None:
    assert asked(query, variables).cost == cost <= QueryLimits().cost


def test_the_queries_of_the_explorer_are_far_within_the_limit() -> None:
    assert {name: asked(query).cost for name, query in QUERIES.items()} == {
        "The catalog": 2841,
        "Ten seconds of every timeline, with media URLs": 1241,
        "New segments, live": 22,
    }


def test_what_tools_ask_of_the_schema_is_within_the_limit() -> None:
    query = get_introspection_query(
        specified_by_url=True,
        directive_is_repeatable=True,
        schema_description=True,
        input_value_deprecation=True,
        one_of=True,
    )
    found = asked(query)
    assert found.cost == 7708
    assert (found.shape.depth, found.shape.introspection) == (1, 14)


def test_arithmetic_stops_at_a_ceiling() -> None:
    deep = "collection { flow { " * 90 + "id" + " } }" * 90
    query = f"query ($n: Int) {{ flows(first: $n) {{ nodes {{ {deep} }} }} }}"
    looks, document = Analyses(schema(), QueryLimits(depth=1000)), parse(query)
    assert looks.errors(document) == []
    assert looks.asked(document, None, {"n": 10**15}).cost == CEILING
    assert looks.asked(document, None, {"n": 0}).cost == 1
    error = refused(query, {"n": 1}, depth=1000)
    assert error.message == (
        "max_query_cost: the operation asks for at least 1,000,000,000,000; the limit is 100,000"
    )


def test_the_price_list_has_no_row_for_nothing() -> None:
    used = {price.row for _, price in prices().all()}
    assert FIELD_COSTS.keys() - used == set()


def test_every_field_has_a_price_and_every_list_a_size() -> None:
    found = dict(prices().all())
    composite = {
        f"{kind.name}.{name}"
        for kind in schema().type_map.values()
        for name in getattr(kind, "fields", {})
        if prices().concrete(kind.name) == (kind.name,)
    }
    assert composite <= found.keys()
    guessed = sorted(name for name, price in found.items() if not price.sized)
    assert guessed == [], "give these lists a row in tams_gql/schema/limits/costs.py"


def test_only_fields_below_one_with_a_size_take_the_size_of_their_parent() -> None:
    found = dict(prices().all())
    takers = {name.split(".")[0] for name, price in found.items() if price.size == "parent"}
    givers = {
        price.result
        for price in found.values()
        if not price.is_list and (price.ends or not isinstance(price.size, int))
    }
    # A playlist has its items in one text.
    assert takers == givers - {"HlsManifest"}
    assert all(len(prices().concrete(name)) == 1 for name in takers)


def test_a_list_without_a_row_is_not_taken_for_one_item() -> None:
    other = build_schema("type Query { things: [Thing!]! } type Thing { id: ID! }")
    looks = Analyses(other, QueryLimits())
    assert looks.asked(parse("{ things { id } }"), None, {}).cost == 10


async def test_a_client_may_ask_for_the_cost(catalog: Catalog) -> None:
    body = {"query": PAGED, "variables": {"n": 3}}
    plain = await catalog.http.post("/graphql", json=body)
    assert "extensions" not in plain.json()
    told = await catalog.http.post("/graphql", json=body, headers={"X-GraphQL-Cost": "1"})
    assert told.json() == plain.json() | {
        "extensions": {
            "cost": {"requested": 19, "limit": 100_000, "depth": 5, "aliases": 0, "rootFields": 1}
        }
    }


async def test_a_refused_client_is_told_the_cost_as_well(catalog: Catalog) -> None:
    body = {"query": PAGED, "variables": {"n": 1000, "m": 1000}}
    told = await catalog.http.post("/graphql", json=body, headers={"X-GraphQL-Cost": "1"})
    assert told.json()["extensions"]["cost"] == {
        "requested": 1_002_001,
        "limit": 100_000,
        "depth": 5,
        "aliases": 0,
        "rootFields": 1,
    }
