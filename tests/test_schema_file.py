"""``schema.graphql`` is the schema of the code, and says what everything in it means."""

from __future__ import annotations

from collections.abc import Iterator

from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    build_schema,
    is_specified_scalar_type,
)

from tams_gql.schema import committed_sdl, print_sdl


def _described(kind: GraphQLNamedType) -> Iterator[tuple[str, str | None]]:
    """Everything of a type that can have a description, by its path."""
    yield kind.name, kind.description
    match kind:
        case GraphQLEnumType():
            pass  # the enum explains its values
        case GraphQLInputObjectType():
            for name, field in kind.fields.items():
                yield f"{kind.name}.{name}", field.description
        case GraphQLObjectType() | GraphQLInterfaceType():
            for name, output in kind.fields.items():
                yield f"{kind.name}.{name}", output.description
                for argument, given in output.args.items():
                    yield f"{kind.name}.{name}({argument})", given.description


def test_the_committed_schema_is_that_of_the_code() -> None:
    assert committed_sdl() == print_sdl()


def test_everything_has_a_description() -> None:
    schema = build_schema(committed_sdl())
    types = [
        kind
        for name, kind in schema.type_map.items()
        if not name.startswith("__") and not is_specified_scalar_type(kind)
    ]
    described = [pair for kind in types for pair in _described(kind)]
    assert len(described) > 300
    assert [path for path, text in described if not (text or "").strip()] == []


def test_descriptions_are_sentences() -> None:
    schema = build_schema(committed_sdl())
    for kind in schema.type_map.values():
        if kind.name.startswith("__") or is_specified_scalar_type(kind):
            continue
        for path, text in _described(kind):
            assert (text or "").strip().endswith((".", ":", "`")), path
            assert "  " not in (text or ""), path


def test_lists_that_can_grow_are_connections() -> None:
    """Names, arguments and fields of connections are the same everywhere."""
    schema = build_schema(committed_sdl())
    connections = [name for name in schema.type_map if name.endswith("Connection")]
    assert connections
    for name in connections:
        kind = schema.type_map[name]
        assert isinstance(kind, GraphQLObjectType)
        assert {"edges", "nodes", "pageInfo"} <= set(kind.fields)
        edge = schema.type_map[name.removesuffix("Connection") + "Edge"]
        assert isinstance(edge, GraphQLObjectType)
        assert list(edge.fields) == ["cursor", "node"]
    for kind in schema.type_map.values():
        if not isinstance(kind, GraphQLObjectType | GraphQLInterfaceType):
            continue
        for name, field in kind.fields.items():
            if str(field.type).rstrip("!").endswith("Connection"):
                assert {"first", "after"} <= set(field.args), f"{kind.name}.{name}"


def test_mutations_take_one_input_and_answer_with_a_payload() -> None:
    schema = build_schema(committed_sdl())
    assert schema.mutation_type is not None
    for name, field in schema.mutation_type.fields.items():
        assert list(field.args) == ["input"], name
        assert str(field.args["input"].type).endswith("Input!"), name
        assert str(field.type).endswith("Payload!"), name
