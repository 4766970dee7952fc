"""The short ways of the schema: what they give is what the library gives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Any

import strawberry
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLScalarType,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.arguments import convert_argument

from tams_gql.schema import build_schema
from tams_gql.schema.direct import take_short_ways

CATALOG = build_schema()
INPUTS = {
    name: kind
    for name, kind in CATALOG._schema.type_map.items()
    if isinstance(kind, GraphQLInputObjectType)
}
DEEPEST = 3


@strawberry.enum
class Colour(Enum):
    RED = "red"


class Row:
    """What stands behind an object."""

    name = "row"
    nothing = None


@strawberry.type
class Shapes:
    """One field of every shape a resolver can have."""

    name: str
    nothing: str | None
    renamed: str = strawberry.field(name="other", default="")

    @strawberry.field
    def of_row(parent: strawberry.Parent[Row]) -> str:  # noqa: N805
        return parent.name

    @strawberry.field
    def of_row_and_info(parent: strawberry.Parent[Row], info: strawberry.Info) -> str:  # noqa: N805
        return f"{parent.name} {info.field_name} {info.python_name} {info.context}"

    @strawberry.field
    def of_info_and_row(info: strawberry.Info, parent: strawberry.Parent[Row]) -> str:  # noqa: N805
        return f"{parent.name} {info.field_name}"

    @strawberry.field
    def of_self(self) -> str:
        return self.name

    @strawberry.field
    async def later(self, info: strawberry.Info) -> str:
        return f"{self.name} {info.path.key}"

    @strawberry.field
    def alone() -> str:
        return "alone"

    @strawberry.field
    def of_argument(self, times: int = 2) -> str:
        return self.name * times

    @strawberry.field
    def colour(self) -> Colour:
        return Colour.RED

    @strawberry.field
    def failing(self) -> str | None:
        raise ValueError(f"no {self.name}")

    @strawberry.field
    def wrongly_null(self) -> str:
        return None  # type: ignore[return-value]


@strawberry.type
class Query:
    """The root."""

    @strawberry.field(graphql_type=Shapes | None)
    def shapes(self) -> Any:
        row: Any = Row()
        row.renamed = "new"
        return row


ALL_SHAPES = """{ shapes {
    name nothing other ofRow ofRowAndInfo ofInfoAndRow ofSelf later alone ofArgument
    threefold: ofArgument(times: 3) colour failing } }"""


async def test_every_shape_of_resolver_answers_as_before() -> None:
    schema = strawberry.Schema(Query)
    before = await schema.execute(ALL_SHAPES, context_value="context")
    take_short_ways(schema._schema)
    after = await schema.execute(ALL_SHAPES, context_value="context")
    assert before.data is not None
    assert before.data["shapes"]["ofRowAndInfo"] == "row ofRowAndInfo of_row_and_info context"
    assert after.data == before.data
    assert [error.formatted for error in after.errors or ()] == [
        error.formatted for error in before.errors or ()
    ]


async def test_a_null_where_none_may_be_is_the_same_error() -> None:
    schema = strawberry.Schema(Query)
    before = await schema.execute("{ shapes { wronglyNull } }")
    take_short_ways(schema._schema)
    after = await schema.execute("{ shapes { wronglyNull } }")
    assert (after.data, before.data) == ({"shapes": None}, {"shapes": None})
    assert str(after.errors) == str(before.errors)


def test_every_field_without_arguments_takes_the_short_way() -> None:
    roots = {CATALOG._schema.mutation_type, CATALOG._schema.subscription_type}
    long_ways = {
        f"{kind.name}.{name}"
        for kind in CATALOG._schema.type_map.values()
        if isinstance(kind, GraphQLObjectType) and kind not in roots
        for name, field in kind.fields.items()
        if not kind.name.startswith("__") and not field.args
        if field.resolve is None or field.resolve.__module__ != take_short_ways.__module__
    }
    assert long_ways == set()


@given(data=st.data())
@settings(max_examples=100)
def test_inputs_are_built_as_the_library_builds_them(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(INPUTS)))
    value = data.draw(values_of(INPUTS[name], 0))
    made = definition(INPUTS[name]).origin
    short = converted(value, made)
    with the_long_way():
        assert short == converted(value, made)


def test_an_input_that_is_left_out_or_null_keeps_the_difference() -> None:
    patch = definition(INPUTS["PatchFlowInput"]).origin
    given_null = converted({"id": "1", "label": None}, patch)
    assert given_null.label is None
    assert given_null.description is strawberry.UNSET


def converted(value: Any, made: type) -> Any:
    config = CATALOG.config
    return convert_argument(value, made, CATALOG.schema_converter.scalar_registry, config)


@contextmanager
def the_long_way() -> Iterator[None]:
    """Let the library build input objects itself."""
    builders = {name: definition(kind).from_input for name, kind in INPUTS.items()}
    for kind in INPUTS.values():
        definition(kind).from_input = None
    try:
        yield
    finally:
        for name, builder in builders.items():
            definition(INPUTS[name]).from_input = builder


def definition(kind: GraphQLInputObjectType) -> Any:
    return kind.extensions[GraphQLCoreConverter.DEFINITION_BACKREF]


def values_of(kind: GraphQLInputType, depth: int) -> st.SearchStrategy[Any]:
    """Values of a type as they are after the library has checked and coerced them."""
    if isinstance(kind, GraphQLNonNull):
        return values_of(kind.of_type, depth).filter(lambda value: value is not None)
    if isinstance(kind, GraphQLList):
        return st.none() | st.lists(values_of(kind.of_type, depth), max_size=2)
    if isinstance(kind, GraphQLEnumType):
        return st.none() | st.sampled_from([kind.parse_value(name) for name in kind.values])
    if isinstance(kind, GraphQLScalarType):
        return st.none() | st.integers() | st.text(max_size=5)
    assert isinstance(kind, GraphQLInputObjectType)
    return st.deferred(lambda: objects_of(kind, depth))


def objects_of(kind: GraphQLInputObjectType, depth: int) -> st.SearchStrategy[Any]:
    required, optional = {}, {}
    for name, field in kind.fields.items():
        if isinstance(field.type, GraphQLNonNull):
            required[name] = values_of(field.type, depth + 1)
        elif depth < DEEPEST:
            optional[name] = values_of(field.type, depth + 1)
    return st.fixed_dictionaries(required, optional=optional)
