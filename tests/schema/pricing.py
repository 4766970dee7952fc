"""What tests of limits share: the analyses of the schema, and a cost that is worked out plainly."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLObjectType,
    GraphQLSchema,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    Undefined,
    get_named_type,
    get_nullable_type,
    is_leaf_type,
    is_list_type,
    parse,
    value_from_ast_untyped,
)

from tams_gql.schema import QueryLimits, build_schema
from tams_gql.schema.limits import Analyses
from tams_gql.schema.limits.analysis import Asked
from tams_gql.schema.limits.costs import FIELD_COSTS, PAGE, WRITE, Cost, Items
from tams_gql.schema.limits.prices import Prices
from tams_gql.schema.limits.shapes import fragments_of

Variables = Mapping[str, Any]


@cache
def schema() -> GraphQLSchema:
    """The schema of the catalog."""
    return build_schema()._schema


@cache
def prices() -> Prices:
    """Its prices."""
    return Prices(schema())


def analyses(**limits: int) -> Analyses:
    """Analyses with some limits of their own."""
    return Analyses(schema(), QueryLimits(**limits))


def asked(query: str, variables: Variables | None = None, **limits: int) -> Asked:
    """What the first operation of a valid document asks."""
    looks, document = analyses(**limits), parse(query)
    assert looks.errors(document) == []
    return looks.asked(document, None, variables or {})


def refused(query: str, variables: Variables | None = None, **limits: int) -> GraphQLError:
    """The limit that an operation passes; validation must not be what refuses it."""
    looks, document = analyses(**limits), parse(query)
    found = looks.errors(document)
    if not found:
        try:
            looks.check(looks.asked(document, None, variables or {}), variables or {})
        except GraphQLError as refusal:
            found = [refusal]
    (error,) = found
    assert error.original_error is not None, error
    return error


class NaiveCost:
    """The cost of a document with its variables, by walking through it as often as it says.

    Written from the meaning of the price list, without a formula and without remembering anything.
    """

    def __init__(self, document: DocumentNode, variables: Variables, limits: QueryLimits) -> None:
        self._schema = schema()
        self._limits = limits
        self._fragments = fragments_of(document)
        (operation,) = (d for d in document.definitions if isinstance(d, OperationDefinitionNode))
        self._operation = operation
        declared = operation.variable_definitions or ()
        self._variables = {
            d.variable.name.value: value_from_ast_untyped(d.default_value)
            for d in declared
            if d.default_value is not None
        } | dict(variables)

    def cost(self) -> int:
        """The cost."""
        root = self._schema.get_root_type(self._operation.operation)
        assert root is not None
        return self._selected(self._operation.selection_set, root.name, 1)

    def _selected(self, selections: SelectionSetNode, type_name: str, items: int) -> int:
        """What a selection costs on the dearest object of a type whose field has ``items``."""
        kind = self._schema.type_map[type_name]
        kinds = [kind] if isinstance(kind, GraphQLObjectType) else self._possible(type_name)
        return max(self._on_object(selections, kind, items) for kind in kinds)

    def _possible(self, type_name: str) -> list[GraphQLObjectType]:
        kind: Any = self._schema.type_map[type_name]
        return list(self._schema.get_possible_types(kind))

    def _on_object(self, selections: SelectionSetNode, kind: GraphQLObjectType, items: int) -> int:
        return sum(
            self._one(node, kind, items) for node in selections.selections if self._takes_part(node)
        )

    def _one(self, node: SelectionNode, kind: GraphQLObjectType, items: int) -> int:
        if isinstance(node, FieldNode):
            return self._field(node, kind, items)
        if isinstance(node, FragmentSpreadNode):
            node = self._fragments[node.name.value]  # type: ignore[assignment]
        condition = node.type_condition  # type: ignore[attr-defined]
        name = kind.name if condition is None else condition.name.value
        if name != kind.name and name not in {i.name for i in kind.interfaces}:
            return 0
        inside: SelectionSetNode = node.selection_set  # type: ignore[attr-defined]
        return self._on_object(inside, kind, items)

    def _takes_part(self, node: SelectionNode) -> bool:
        for directive in node.directives or ():
            (argument,) = directive.arguments or ()
            condition = value_from_ast_untyped(argument.value, self._variables)
            if condition is (directive.name.value == "skip"):
                return False
        return True

    def _field(self, node: FieldNode, kind: GraphQLObjectType, items: int) -> int:
        field = self._schema.get_field(kind, node.name.value)
        assert field is not None
        result = get_named_type(field.type)
        paged = "first" in field.args
        cost = _row(kind, node.name.value)
        if cost is None:
            cost = PAGE if paged else WRITE if kind.name == "Mutation" else Cost()
        if is_leaf_type(result):
            return cost.once or int(node.alias is not None)
        assert node.selection_set is not None
        each = 1 if cost.each is None else cost.each
        if cost.size == "parent":
            return cost.once + items * (each + self._selected(node.selection_set, result.name, 1))
        size = self._page(node) if paged else self._size(node, cost)
        if is_list_type(get_nullable_type(field.type)):
            return cost.once + size * (each + self._selected(node.selection_set, result.name, 1))
        return cost.once + size * each + self._selected(node.selection_set, result.name, size)

    def _page(self, node: FieldNode) -> int:
        arguments = self._arguments(node)
        given = [arguments[end] for end in ("first", "last") if arguments.get(end) is not None]
        return max(0, *given) if given else self._limits.default_page_size

    def _size(self, node: FieldNode, cost: Cost) -> int:
        if cost.size is None:
            return 1
        if isinstance(cost.size, int):
            return cost.size
        assert isinstance(cost.size, Items)
        for path in cost.size.paths:
            value: Any = self._arguments(node)
            for name in path.split("."):
                value = value.get(name) if isinstance(value, dict) else None
            if value is not None:
                return len(value) if isinstance(value, list) else max(0, value)
        return cost.size.default

    def _arguments(self, node: FieldNode) -> dict[str, Any]:
        return {
            argument.name.value: value
            for argument in node.arguments or ()
            if (value := value_from_ast_untyped(argument.value, self._variables)) is not Undefined
        }


def _row(kind: GraphQLObjectType, field: str) -> Cost | None:
    names = [kind.name, *(interface.name for interface in kind.interfaces)]
    if kind.name.endswith("Connection"):
        names.append("Connection")
    if kind.name.endswith("Edge"):
        names.append("Edge")
    for name in names:
        if f"{name}.{field}" in FIELD_COSTS:
            return FIELD_COSTS[f"{name}.{field}"]
    return None
