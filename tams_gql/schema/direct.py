"""Short ways from the executor to what a field shows, and from a client's values to inputs.

Strawberry calls a resolver through five functions that convert arguments, make an ``Info`` and run
field extensions. Most fields have none of that, and are resolved for every row of a page. It also
asks anew for the name and type of every field of every input object, which for a batch of a
thousand segments costs more than registering them. Here both are worked out once. The results are
the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING
from functools import cached_property
from typing import Any

import strawberry
from graphql import (
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
)
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.base import StrawberryObjectDefinition
from strawberry.types.field import StrawberryField

Resolve = Callable[..., Any]
Convert = Callable[[Any], Any]

_MADE_FROM = GraphQLCoreConverter.DEFINITION_BACKREF


def take_short_ways(schema: GraphQLSchema) -> None:
    """Shorten the way to every field without arguments, and into every input object."""
    for kind in schema.type_map.values():
        if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType):
            for field in kind.fields.values():
                field.resolve = _short_way(field) or field.resolve
        elif isinstance(kind, GraphQLInputObjectType):
            _definition(kind).from_input = _Builder(kind)


def _short_way(field: GraphQLField) -> Resolve | None:
    """The resolver alone; None where the library is needed between it and the executor."""
    made = field.extensions.get(_MADE_FROM)
    if not isinstance(made, StrawberryField) or made.extensions or made.is_subscription:
        return None
    if made.is_basic_field:
        return _attribute(made.python_name)
    resolver = made.base_resolver
    if resolver is None or made.arguments:
        return None
    row = resolver.self_parameter or resolver.parent_parameter
    taken = list(resolver.signature.parameters.values())
    if taken == [row]:
        return _of_row(resolver.wrapped_func)
    if taken == [row, resolver.info_parameter]:
        return _of_row_and_info(resolver.wrapped_func, made)
    return None


def _attribute(name: str) -> Resolve:
    def resolve(row: Any, _info: Any) -> Any:
        return getattr(row, name)

    return resolve


def _of_row(resolver: Any) -> Resolve:
    def resolve(row: Any, _info: Any) -> Any:
        return resolver(row)

    return resolve


def _of_row_and_info(resolver: Any, field: StrawberryField) -> Resolve:
    def resolve(row: Any, info: Any) -> Any:
        return resolver(row, strawberry.Info(_raw_info=info, _field=field))

    return resolve


class _Builder:
    """Makes objects of one input type from values that are checked and coerced already."""

    def __init__(self, kind: GraphQLInputObjectType) -> None:
        self._kind = kind

    def __call__(self, made: type, value: Mapping[str, Any], _context: object) -> Any:
        """One object, asked for by Strawberry."""
        values: dict[str, Any] = dict(self._absent)
        fields = self._fields
        for name, item in value.items():
            python_name, convert = fields[name]
            if convert is None or item is None or item is strawberry.UNSET:
                values[python_name] = item
            else:
                values[python_name] = convert(item)
        return made(**values)

    def build(self, value: Mapping[str, Any]) -> Any:
        """One object, inside another one."""
        return self(_definition(self._kind).origin, value, None)

    @cached_property
    def _fields(self) -> dict[str, tuple[str, Convert | None]]:
        """By name in GraphQL: the name in Python, and how a value is converted."""
        return {
            name: (field.extensions[_MADE_FROM].python_name, _conversion(field.type))
            for name, field in self._kind.fields.items()
        }

    @cached_property
    def _absent(self) -> dict[str, None]:
        """What takes the place of fields that are left out and have no default of their own."""
        return {
            field.python_name: None
            for field in _definition(self._kind).fields
            if field.default_value is MISSING and field.default_factory is MISSING
        }


def _conversion(kind: GraphQLInputType) -> Convert | None:
    """How values of a type are converted; None where they stay as they are."""
    if isinstance(kind, GraphQLNonNull):
        return _conversion(kind.of_type)
    if isinstance(kind, GraphQLInputObjectType):
        builder: _Builder = _definition(kind).from_input
        return builder.build
    if not isinstance(kind, GraphQLList):
        return None
    convert = _conversion(kind.of_type)
    if convert is None:
        return list  # a copy, because all requests that leave it out share one default
    return lambda items: [None if item is None else convert(item) for item in items]


def _definition(kind: GraphQLInputObjectType) -> Any:
    definition: StrawberryObjectDefinition = kind.extensions[_MADE_FROM]
    return definition
