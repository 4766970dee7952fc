"""Operations that would take too much are refused before they reach the store."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from graphql import GraphQLError, get_introspection_query, parse
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tams_gql.schema import QueryLimits
from tams_gql.schema.limits import Analyses
from tams_gql.schema.limits.bounds import CEILING
from tams_gql.schema.limits.costing import Costing
from tams_gql.schema.limits.shapes import Measure, check_inputs, fragments_of
from tests.catalog import Catalog, quick_settings, running
from tests.gql import Data, refusal
from tests.gql_ws import Refused, connected
from tests.recording import watched
from tests.schema.pricing import prices, schema
from tests.seed import Seed, external


def too_much(name: str, limit: int, requested: int, *, least: bool = False) -> Data:
    """The refusal of a limit."""
    asked = f"{'at least ' if least else ''}{requested:,}"
    message = f"{name}: the operation asks for {asked}; the limit is {limit:,}"
    return refusal("LIMIT_EXCEEDED", message, name=name, limit=limit, requested=requested)


def large_page(argument: str, requested: int) -> Data:
    """The refusal of a page."""
    message = f"{argument}: max_page_size: the operation asks for {requested:,}; the limit is 1,000"
    details = {"name": "max_page_size", "limit": 1000, "requested": requested}
    return refusal("LIMIT_EXCEEDED", message, field=argument, **details)


def nested(before: str, repeated: str, times: int, end: str) -> str:
    """``repeated`` with itself inside, and all brackets closed."""
    opened = before + repeated * times + end
    return opened + "}" * (opened.count("{") - opened.count("}"))


def numbered(template: str, times: int) -> str:
    """The template with 0, 1 and so on in the place of ``#``."""
    return " ".join(template.replace("#", str(n)) for n in range(times))


def doubling(levels: int, body: str, end: str) -> str:
    """Fragments of which each spreads the next twice."""
    fragments = " ".join(
        f"fragment F{n} on Flow {{ {body.replace('...', f'...F{n + 1}')} }}" for n in range(levels)
    )
    last = f"fragment F{levels} on Flow {{ {end} }}"
    return f'{{ flow(id: "x") {{ ...F0 }} }} {fragments} {last}'


def in_lists(levels: int) -> Any:
    """A list in a list, and so on."""
    value: Any = []
    for _ in range(levels - 1):
        value = [value]
    return value


REGISTER = "mutation ($input: RegisterSegmentsInput!) { registerSegments(input: $input) { event } }"
PUT = "mutation ($input: PutFlowInput!) { putFlow(input: $input) { event } }"
PAGES = "query ($n: Int) { flows(first: $n) { nodes { segments(last: $n) { nodes { id } } } } }"
ALL_PAGES = "{ sources(first: 1000) { nodes { flows(first: 1000) { nodes { id } } } } }"

HOSTILE: dict[str, tuple[str, Data, Data]] = {
    "recursion through collections": (
        nested('{ flow(id: "x") {', "collection { flow {", 5, "id"),
        {},
        too_much("max_query_cost", 100_000, 222_221),
    ),
    "deep recursion through collections": (
        nested('{ flow(id: "x") {', "collection { flow {", 50, "id"),
        {},
        too_much("max_query_depth", 16, 102),
    ),
    "recursion through sources and flows": (
        nested("{ sources { nodes {", "flows { nodes { source {", 4, "id"),
        {},
        too_much("max_query_cost", 100_000, 644_132_601),
    ),
    "fragments in fragments": (
        '{ flow(id: "x") { ...F0 } } '
        + " ".join(
            nested(f"fragment F{n} on Flow {{", "... {", 80, f"...F{n + 1}") for n in range(3)
        )
        + " fragment F3 on Flow { id }",
        {},
        too_much("nesting", 200, 201, least=True),
    ),
    "selections as deep as the parser goes": (
        nested("", "{ a ", 199, "{ a"),
        {},
        too_much("max_query_depth", 16, 200),
    ),
    "selections deeper than the parser goes": (
        nested("", "{ a ", 200, "{ a"),
        {},
        too_much("nesting", 200, 201, least=True),
    ),
    "selections much deeper": ("{a" * 90_000, {}, too_much("nesting", 200, 201, least=True)),
    "lists deeper than the parser goes": (
        "{ flow(id: " + "[" * 1000 + "]" * 1000 + ") { id } }",
        {},
        too_much("nesting", 200, 201, least=True),
    ),
    "objects deeper than the parser goes": (
        nested("{ flow(id: ", "{ a: ", 1000, "1"),
        {},
        too_much("nesting", 200, 201, least=True),
    ),
    "types deeper than the parser goes": (
        "query ($id: " + "[" * 1000 + "ID" + "]" * 1000 + ") { flow(id: $id) { id } }",
        {},
        too_much("nesting", 200, 201, least=True),
    ),
    "aliases": (
        "{ " + numbered("a#: service { name }", 101) + " }",
        {},
        too_much("max_query_aliases", 100, 101),
    ),
    "aliases below a page": (
        "{ flows { nodes { " + numbered("a#: source { id }", 101) + " } } }",
        {},
        too_much("max_query_aliases", 100, 101),
    ),
    "aliases of scalars in large pages": (
        "{ flows(first: 1000) { nodes { " + numbered("a#: label", 100) + " } } }",
        {},
        too_much("max_query_cost", 100_000, 101_001),
    ),
    "the same field again and again": (
        "{ flows { nodes { " + "source { id } " * 102 + " } } }",
        {},
        too_much("max_query_aliases", 100, 101),
    ),
    "the same field in fragments without a name": (
        "{ flows { nodes { " + "... { source { id } } " * 102 + " } } }",
        {},
        too_much("max_query_aliases", 100, 101),
    ),
    "the same field in a fragment that is not used": (
        "{ service { name } } fragment F on Flow { " + "id " * 102 + "}",
        {},
        too_much("max_query_aliases", 100, 101),
    ),
    "doubling fragments with aliases": (
        doubling(45, "... ...", "a: id"),
        {},
        too_much("max_query_aliases", 100, 10**12, least=True),
    ),
    "doubling fragments with pages": (
        doubling(3, "source { flows { nodes { ... } } } collectedBy { ... }", "label"),
        {},
        too_much("max_query_cost", 100_000, 175_618),
    ),
    "many fragments": (
        "{ " + numbered("...F#", 50) + " } " + numbered("fragment F# on Query { __typename }", 50),
        {},
        too_much("max_query_definitions", 50, 51),
    ),
    "directives on one field": (
        "{ service { name " + "@skip(if: false) " * 101 + "} }",
        {},
        too_much("max_query_directives", 100, 101),
    ),
    "directives everywhere": (
        "{ service { " + "... @include(if: true) { name @skip(if: false) } " * 51 + "} }",
        {},
        too_much("max_query_directives", 100, 102),
    ),
    "a huge page": (
        "{ flows(first: 1001) { nodes { id } } }",
        {},
        large_page("first", 1001),
    ),
    "a huge page from the end": (
        "{ sources { nodes { flows(last: 2000000000) { totalCount } } } }",
        {},
        large_page("last", 2_000_000_000),
    ),
    "a huge page in a variable": (PAGES, {"n": 5000}, large_page("first", 5000)),
    "a huge page in a default": (
        PAGES.replace("Int)", "Int = 5000)"),
        {},
        large_page("first", 5000),
    ),
    "large pages in large pages": (
        ALL_PAGES,
        {},
        too_much("max_query_cost", 100_000, 1_002_001),
    ),
    "large pages in variables": (
        PAGES,
        {"n": 400},
        too_much("max_query_cost", 100_000, 160_801),
    ),
    "a number that takes long to read": (
        "{ flows(first: " + "9" * 50_000 + ") { nodes { id } } }",
        {},
        too_much("digits of a number", 1000, 50_000),
    ),
    "many root fields": (
        "{ " + numbered("a#: service { name }", 51) + " }",
        {},
        too_much("max_query_root_fields", 50, 51),
    ),
    "many root fields in fragments": (
        "mutation { ...A ...A } fragment A on Mutation { "
        + numbered('a#: deleteFlow(input: {id: "x"}) { event }', 26)
        + " }",
        {},
        too_much("max_query_root_fields", 50, 52),
    ),
    "introspection in every direction": (
        "{ " + numbered("a#: __schema { ...S }", 50) + " } fragment S on __Schema { types {"
        " fields { type { fields { args { name } } } } } }",
        {},
        too_much("max_query_cost", 100_000, 2_466_050),
    ),
    "deep introspection": (
        nested('{ __type(name: "Flow") {', "ofType {", 20, "name"),
        {},
        too_much("introspection_depth", 20, 21),
    ),
    "deep lists in a variable": (
        PUT,
        {"input": {"video": {"vendorParameters": in_lists(39)}}},
        too_much("max_input_depth", 40, 41, least=True),
    ),
    "deep lists in the document": (
        "{ nodes(ids: " + "[" * 41 + "]" * 41 + ") { id } }",
        {},
        too_much("max_input_depth", 40, 41, least=True),
    ),
    "a batch beyond all bounds": (
        REGISTER,
        {"input": {"flowId": "x", "segments": [{}] * 60_000}},
        too_much("max_query_cost", 100_000, 120_010),
    ),
    "a list of ids beyond all bounds": (
        "query ($ids: [ID!]!) { nodes(ids: $ids) { ... on Flow { source { id } } } }",
        {"ids": ["x"] * 60_000},
        too_much("max_query_cost", 100_000, 120_000),
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_it_is_refused_and_the_store_is_not_asked(catalog: Catalog, name: str) -> None:
    query, variables, error = HOSTILE[name]
    with watched() as calls:
        assert await catalog.gql.errors(query, variables) == [error]
        assert await catalog.gql.errors(query, variables) == [error]
    assert calls == []


async def test_a_document_that_is_too_long_is_not_even_read(catalog: Catalog) -> None:
    limit = QueryLimits().characters
    for length in (limit + 1, 7_000_000):
        message = (
            f"max_query_characters: the document has {length} characters; the limit is {limit}"
        )
        assert await catalog.gql.errors("{".ljust(length)) == [
            refusal("LIMIT_EXCEEDED", message, limit=limit, requested=length)
        ]


async def test_reading_stops_at_the_limit_of_tokens(catalog: Catalog) -> None:
    allowed = "{ service { " + "name " * 101 + "} }"
    await catalog.gql.execute(allowed)
    (error,) = await catalog.gql.errors("{" + "a " * 99_000)
    assert error["extensions"] == {"code": "LIMIT_EXCEEDED", "limit": 5000}
    assert error["message"].startswith("max_query_tokens: ")


async def test_a_fragment_that_spreads_itself_is_no_document(catalog: Catalog) -> None:
    query = "{ flows { nodes { ...A } } } fragment A on Flow { collectedBy { ...B } }"
    query += " fragment B on Flow { collectedBy { ...A } }"
    with watched() as calls:
        (error,) = await catalog.gql.errors(query)
    assert error["message"] == "Cannot spread fragment 'A' within itself via 'B'."
    assert error["extensions"] == {"code": "BAD_USER_INPUT"}
    assert calls == []


async def test_a_few_errors_of_many_are_told(catalog: Catalog) -> None:
    """Each of them repeats the whole filter."""
    query = "{ flows(filter: {" + numbered("f#: 1", 1000) + "}) { nodes { id } } }"
    errors = await catalog.gql.errors(query)
    assert len(errors) == 6
    assert "error limit reached" in errors[-1]["message"]


async def test_a_refused_batch_leaves_nothing_behind(tmp_path: Path) -> None:
    async with running(quick_settings(tmp_path, max_query_cost=40)) as catalog:
        seed = Seed(catalog.gql, catalog.http)
        flow_id = await seed.flow()
        before = await catalog.dump()
        items = [external(f"[{n}:0_{n + 1}:0)") for n in range(16)]
        errors = await catalog.gql.errors(
            REGISTER, {"input": {"flowId": flow_id, "segments": items}}
        )
        assert errors == [too_much("max_query_cost", 40, 42)]
        assert await catalog.dump() == before
        done = await catalog.gql.execute(
            REGISTER, {"input": {"flowId": flow_id, "segments": items[:15]}}
        )
        assert done["registerSegments"]["event"] is not None


async def test_a_subscription_pays_for_one_event(served: Catalog) -> None:
    dear = "subscription { segmentsAdded { segments { flow { segments(first: 1000) { nodes {"
    dear += " object { flows { nodes { id } } } } } } } } }"
    async with connected(served.settings.public_url) as socket:
        with pytest.raises(Refused) as refused:
            await (await socket.subscribe(dear)).next()
    assert refused.value.errors == [too_much("max_query_cost", 100_000, 1_060_061)]


SETTINGS: list[tuple[str, int, str, Data]] = [
    ("max_query_depth", 3, "{ flows { nodes { source { id } } } }", {}),
    ("max_query_aliases", 1, "{ a: service { name } b: service { name } }", {}),
    ("max_query_root_fields", 1, "{ service { name } flows { totalCount } }", {}),
    ("max_query_directives", 0, "{ service { name @skip(if: false) } }", {}),
    ("max_query_definitions", 1, "{ ...F } fragment F on Query { service { name } }", {}),
    ("max_query_cost", 6, "query ($n: Int) { flows(first: $n) { nodes { id } } }", {"n": 6}),
    ("max_query_cost", 50, "{ flows { nodes { id } } }", {}),
]


@pytest.mark.parametrize(("name", "limit", "query", "variables"), SETTINGS)
async def test_limits_are_settings(
    tmp_path: Path, name: str, limit: int, query: str, variables: Data
) -> None:
    async with running(quick_settings(tmp_path / "low", **{name: limit})) as catalog:
        (error,) = await catalog.gql.errors(query, variables)
        assert error == too_much(name, limit, limit + 1)
    async with running(quick_settings(tmp_path / "high", **{name: limit + 1})) as catalog:
        await catalog.gql.execute(query, variables)


async def test_page_sizes_are_settings(tmp_path: Path) -> None:
    query = "query ($n: Int) { flows(first: $n) { nodes { id } } }"
    sizes = {"default_page_size": 8, "max_page_size": 9, "max_query_cost": 9}
    async with running(quick_settings(tmp_path, **sizes)) as catalog:
        await catalog.gql.execute(query)
        assert await catalog.gql.errors(query, {"n": 9}) == [too_much("max_query_cost", 9, 10)]
        (error,) = await catalog.gql.errors(query, {"n": 10})
        assert error["extensions"]["name"] == "max_page_size"


@pytest.mark.parametrize("depth", [1, 16])
async def test_tools_can_always_read_the_schema(tmp_path: Path, depth: int) -> None:
    query = get_introspection_query(
        specified_by_url=True,
        directive_is_repeatable=True,
        schema_description=True,
        input_value_deprecation=True,
        one_of=True,
    )
    async with running(quick_settings(tmp_path, max_query_depth=depth)) as catalog:
        found = await catalog.gql.execute(query)
    assert len(found["__schema"]["types"]) == len(schema().type_map)


_TOKENS = (
    *("{", "}", "{", "}", "(", ")", "[", "]", ":", "...", "$n", "$ids", "=", "!", "@skip(if: $b)"),
    *("query", "mutation", "fragment F on Flow", "fragment G on Query", "on Flow", "...F", "...G"),
    *("flow", "flows", "nodes", "segments", "source", "collection", "__schema", "ids", "first"),
    *("registerSegments(input: $n)", "flows(first: $n)", "nodes(ids: $ids)", "null", "1", '"x"'),
)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


# Two of three texts are no documents, and chance may begin with many of those.
@settings(max_examples=300, suppress_health_check=[HealthCheck.filter_too_much])
@given(
    tokens=st.lists(st.sampled_from(_TOKENS), max_size=14),
    variables=st.dictionaries(st.sampled_from(["n", "b", "ids"]), _VALUES),
)
def test_nonsense_is_looked_at_without_failing(tokens: list[str], variables: Data) -> None:
    text = "query ($n: Int = 1, $b: Boolean, $ids: [ID!]! = []) { " + " ".join(tokens)
    text += " }" * max(0, text.count("{") - text.count("}"))
    try:
        document = parse(text)
    except GraphQLError:
        assume(False)
    limits = QueryLimits()
    Analyses(schema(), limits).errors(document)
    with suppress(GraphQLError):  # which is what a limit raises
        ((operation, _), *_) = Measure(document, limits).operations()
        check_inputs(variables, limits.input_depth)
        plan = Costing(prices(), limits, fragments_of(document), operation).plan("Query")
        assert 0 <= plan.cost(variables) <= CEILING
        plan.check_pages(variables, limits.max_page_size)
