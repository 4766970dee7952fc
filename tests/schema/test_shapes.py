"""How deep and wide documents are, and how much work it is to find out."""

from __future__ import annotations

import pytest
from graphql import DocumentNode, Visitor, parse, visit

from tams_gql.schema import QueryLimits
from tams_gql.schema.limits.bounds import CEILING
from tams_gql.schema.limits.costing import Costing
from tams_gql.schema.limits.shapes import Measure, Shape, fragments_of
from tests.schema.pricing import prices, refused

ANYTHING = QueryLimits(
    definitions=10_000,
    depth=1000,
    introspection_depth=1000,
    aliases=CEILING,
    root_fields=CEILING,
    directives=CEILING,
)

# depth, introspection, aliases, root fields
SHAPES: list[tuple[tuple[int, int, int, int], str]] = [
    ((1, 0, 0, 1), "{ a }"),
    ((3, 0, 0, 1), "{ a { b { c } d } }"),
    ((2, 0, 0, 2), "{ a b { c } }"),
    ((2, 0, 0, 1), "{ a { ... { ... on T { b } } } }"),
    ((3, 0, 0, 1), "{ a { ...F } } fragment F on T { b { c } }"),
    ((1, 0, 0, 3), "{ a ...F } fragment F on T { b ...G } fragment G on T { c }"),
    ((2, 0, 2, 2), "{ x: a { y: b } b }"),
    ((1, 0, 3, 4), "{ a a a: b b: a }"),  # repeated, and two with an alias
    ((1, 0, 1, 3), "{ a ... { a } ... { b } }"),
    ((2, 0, 0, 2), "{ a { c } b { c } }"),
    ((1, 0, 0, 2), "{ a ...F } fragment F on T { a }"),  # fragments may have the same field
    ((2, 0, 4, 2), "{ x: a { ...F } y: b { ...F } } fragment F on T { z: c }"),
    ((1, 3, 0, 1), "{ __schema { types { fields { name } } } }"),
    ((2, 2, 1, 2), '{ __type(name: "T") { n: name fields { name } } a { b } }'),
    ((1, 3, 0, 1), "{ __schema { ...S } } fragment S on __Schema { types { fields { name } } }"),
    ((1, 0, 0, 1), "{ a ...Unknown }"),
]


@pytest.mark.parametrize(("shape", "text"), SHAPES, ids=[text for _, text in SHAPES])
def test_a_document_has_this_shape(shape: tuple[int, int, int, int], text: str) -> None:
    ((_, found),) = Measure(parse(text), ANYTHING).operations()
    assert (found.depth, found.introspection, found.aliases, found.fields) == shape


def test_every_operation_is_measured() -> None:
    found = Measure(parse("query A { a } query B { a { b } } fragment F on T { b }"), ANYTHING)
    assert [shape.depth for _, shape in found.operations()] == [1, 2]


def _bomb(levels: int) -> str:
    """Fragments that spread each other twice: the last one is reached 2 ** levels times."""
    fragments = [
        f"fragment F{n} on Flow {{ source {{ flows(first: 1) {{ nodes {{ ...F{n + 1} }} }} }} "
        f"collectedBy {{ ...F{n + 1} }} }}"
        for n in range(levels)
    ]
    return "\n".join(
        [
            '{ flow(id: "x") { ...F0 } }',
            *fragments,
            f"fragment F{levels} on Flow {{ id a: source {{ id }} }}",
        ]
    )


def _nodes(document: DocumentNode) -> int:
    """How many nodes a document has."""
    count = 0

    class Count(Visitor):
        def enter(self, *_: object) -> None:
            nonlocal count
            count += 1

    visit(document, Count())
    return count


@pytest.mark.parametrize("levels", [5, 10, 20, 40])
def test_fragments_that_double_are_walked_once(levels: int) -> None:
    document = parse(_bomb(levels))
    measure = Measure(document, ANYTHING)
    ((operation, shape),) = measure.operations()
    assert shape.aliases == min(2**levels, CEILING)
    # The flow with its argument and its spread; six fields and spreads with one argument a level;
    # three fields at the end. Each is looked at once.
    assert measure.visited == 3 + levels * 7 + 3
    plan = Costing(prices(), ANYTHING, fragments_of(document), operation).plan("Query")
    # What is selected of a Flow is priced for each of its five kinds: four of six in a level.
    assert plan.visited == 1 + 5 * 1 + levels * (5 * 4 + 2) + (5 * 2 + 1)
    assert plan.cost({}) == min(1 + _bomb_cost(levels), CEILING)


def _bomb_cost(levels: int) -> int:
    """Each level has a source with a page of one flow, and five flows that collect."""
    cost = 1
    for _ in range(levels):
        cost = 1 + (1 + 1 + cost) + 5 * (1 + cost)
    return cost


@pytest.mark.parametrize("size", [10, 100, 1000])
def test_the_work_grows_with_the_document(size: int) -> None:
    text = "{ " + "flow(id: [1, {a: 2}]) { id ...F @skip(if: false) } " * size + "}"
    document = parse(text + " fragment F on Flow { label }")
    measure = Measure(document, ANYTHING)
    ((operation, _),) = measure.operations()
    assert measure.visited == size * 8 + 1 < _nodes(document)
    plan = Costing(prices(), ANYTHING, fragments_of(document), operation).plan("Query")
    assert plan.visited == size + size * 5 * 2 + 5


def test_a_fragment_that_spreads_itself_is_left_to_validation() -> None:
    document = parse(
        "{ a { ...F } } fragment F on Flow { id b { ...G } } fragment G on Flow { ...F }"
    )
    ((operation, shape),) = Measure(document, ANYTHING).operations()
    assert shape == Shape(depth=2, introspection=0, aliases=0, fields=1, nesting=5)
    plan = Costing(prices(), ANYTHING, fragments_of(document), operation).plan("Query")
    assert plan.cost({}) == 0


def test_the_deepest_document_that_can_be_walked_is_walked() -> None:
    # 200 selections in each other, nearly half of them fields, on an interface of five types.
    deep = "source { ... { flows(first: 0) { nodes { " * 40 + "id" + " } } } }" * 40
    text = f'{{ flow(id: "x") {{ {"... { " * 38}{deep}{" }" * 38} }} }}'
    ((operation, shape),) = Measure(parse(text), ANYTHING).operations()
    assert (shape.depth, shape.nesting) == (122, 200)
    assert Costing(prices(), ANYTHING, {}, operation).plan("Query").cost({}) == 1 + 2


@pytest.mark.parametrize(
    ("name", "limit", "requested", "text"),
    [
        ("max_query_definitions", 2, 3, "{ a } fragment F on T { a } fragment G on T { a }"),
        ("max_query_depth", 2, 3, "{ a { b { c } } }"),
        ("introspection_depth", 2, 3, "{ __schema { types { fields { name } } } }"),
        ("max_query_aliases", 2, 3, "{ x: a y: a z: a }"),
        ("max_query_aliases", 2, 3, "{ a } fragment Unused on T { b b b b }"),
        ("max_query_aliases", 2, 3, "{ a } fragment F on T { b b b b } fragment F on T { b }"),
        ("max_query_aliases", 2, 3, "{ a } fragment F on T { b } fragment F on T { b b b b }"),
        ("max_query_root_fields", 2, 3, "{ a b c }"),
        ("max_query_directives", 2, 3, "query @x { a @y ... @z { b } }"),
        ("max_query_directives", 2, 3, "query ($v: Int @x) { ...F @y } fragment F on T @z { a }"),
        ("max_input_depth", 2, 3, "{ a(b: [{c: [1]}]) }"),
        ("max_input_depth", 2, 3, "query ($v: Int = [[[1]]]) { a }"),
    ],
)
def test_a_limit_is_named_with_its_value_and_what_was_asked(
    name: str, limit: int, requested: int, text: str
) -> None:
    limits = {name.removeprefix("max_").removeprefix("query_"): limit}
    error = refused(text, None, **limits)
    least = "at least " if name == "max_input_depth" else ""  # it stops there
    assert error.message == (
        f"{name}: the operation asks for {least}{requested}; the limit is {limit}"
    )


def test_what_is_at_the_limit_is_allowed() -> None:
    text = """query ($v: Int = [[1]]) { x: a @x { b @y } y: b }
      fragment F on T { c(d: {e: [1]}) }"""
    limits = QueryLimits(
        definitions=2, depth=2, aliases=2, root_fields=2, directives=2, input_depth=2
    )
    ((_, shape),) = Measure(parse(text), limits).operations()
    assert shape == Shape(depth=2, introspection=0, aliases=2, fields=2, nesting=2)
