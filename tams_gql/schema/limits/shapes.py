"""How deep and how wide the operations of a document are, before anything is looked up in a schema.

Each fragment is measured once, however often it is spread: fragments that spread each other twice
would otherwise take twice the time with every line of the document.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from graphql import (
    DirectiveNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    Node,
    ObjectValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    ValueNode,
)

from tams_gql.schema.limits.bounds import CEILING, QueryLimits, exceeded

NESTING = 200
"""Selections inside each other, those of fragments included: what the parser allows of one
definition. Deeper ones could not be walked."""

DIGITS = 1000
"""Of a whole number in a document. Python refuses to read some thousand digits."""

_INTROSPECTION = ("__schema", "__type")


class Shape(NamedTuple):
    """The measures of a selection, its fragments included.

    ``depth`` counts levels of fields and ``introspection`` those below ``__schema`` and ``__type``,
    which are left out of ``depth``. ``aliases`` counts fields with an alias, and fields that one
    selection repeats, also in a fragment without a name. ``fields`` counts those of the topmost
    level.
    """

    depth: int = 0
    introspection: int = 0
    aliases: int = 0
    fields: int = 0
    nesting: int = 0


_NOTHING = Shape()


class Measure:
    """Measures one document. ``visited`` counts the nodes that were looked at."""

    def __init__(self, document: DocumentNode, limits: QueryLimits) -> None:
        self._limits = limits
        self._definitions = document.definitions
        self._fragments = fragments_of(document)
        self._measured: dict[str, Shape] = {}
        self._directives = 0
        self.visited = 0

    def operations(self) -> list[tuple[OperationDefinitionNode, Shape]]:
        """The operations with their shapes.

        Raises the ``GraphQLError`` of the first limit that is passed.
        """
        _within("max_query_definitions", self._limits.definitions, len(self._definitions))
        found = []
        for node in self._definitions:
            if isinstance(node, OperationDefinitionNode):
                found.append((node, self._of_operation(node)))
            elif isinstance(node, FragmentDefinitionNode):
                self._check_fragment(node)
        _within("max_query_directives", self._limits.directives, self._directives)
        return found

    def _check_fragment(self, node: FragmentDefinitionNode) -> None:
        """Refuse what would make it slow to validate a fragment, used or not."""
        shape = self._of_fragment(node.name.value, 0)
        if self._fragments[node.name.value] is not node:  # another one has the same name
            shape = self._of_selections(node.selection_set, 0, set())
        _within("max_query_aliases", self._limits.aliases, shape.aliases, node)

    def _of_operation(self, node: OperationDefinitionNode) -> Shape:
        for variable in node.variable_definitions or ():
            self._count_directives(variable.directives)
            self._check_value(variable.default_value)
        self._count_directives(node.directives)
        shape, limits = self._of_selections(node.selection_set, 0, set()), self._limits
        for name, limit, asked in (
            ("max_query_depth", limits.depth, shape.depth),
            ("introspection_depth", limits.introspection_depth, shape.introspection),
            ("max_query_aliases", limits.aliases, shape.aliases),
            ("max_query_root_fields", limits.root_fields, shape.fields),
        ):
            _within(name, limit, asked, node)
        return shape

    def _of_selections(
        self, selections: SelectionSetNode | None, level: int, names: set[str]
    ) -> Shape:
        """The shape of a selection that is nested in ``level`` others.

        ``names`` are those that the answer has already from the selection around a fragment.
        """
        if selections is None:
            return _NOTHING
        _within("nesting", NESTING, level)
        depth = introspection = aliases = fields = nesting = 0
        for node in selections.selections:
            self.visited += 1
            self._count_directives(node.directives)
            if isinstance(node, FieldNode):
                name = (node.alias or node.name).value
                aliases += node.alias is not None or name in names
                names.add(name)
                self._check_arguments(node)
                shape = _below(node, self._of_selections(node.selection_set, level + 1, set()))
            elif isinstance(node, InlineFragmentNode):
                shape = self._of_selections(node.selection_set, level + 1, names)
            elif isinstance(node, FragmentSpreadNode):
                shape = self._of_fragment(node.name.value, level + 1)
            depth = max(depth, shape.depth)
            introspection = max(introspection, shape.introspection)
            nesting = max(nesting, shape.nesting)
            aliases = min(aliases + shape.aliases, CEILING)
            fields = min(fields + shape.fields, CEILING)
        return Shape(depth, introspection, aliases, fields, nesting + 1)

    def _of_fragment(self, name: str, level: int) -> Shape:
        shape = self._measured.get(name)
        if shape is None:
            # One that spreads itself has no shape; validation refuses it.
            self._measured[name] = _NOTHING
            fragment = self._fragments.get(name)
            if fragment is not None:
                self._count_directives(fragment.directives)
                shape = self._of_selections(fragment.selection_set, level, set())
                self._measured[name] = shape
        shape = self._measured[name]
        _within("nesting", NESTING, level + shape.nesting)
        return shape

    def _count_directives(self, directives: Sequence[DirectiveNode] | None) -> None:
        if not directives:
            return
        self._directives += len(directives)
        self.visited += len(directives)

    def _check_arguments(self, field: FieldNode) -> None:
        for argument in field.arguments or ():
            self._check_value(argument.value)

    def _check_value(self, value: ValueNode | None) -> None:
        """Refuse a literal that is nested too deep, or has a number that Python cannot read.

        Level by level, so that the depth of the literal is not the depth of our own calls.
        """
        depth = 0
        level: list[ValueNode] = [] if value is None else [value]
        while level:
            self.visited += len(level)
            inside: list[ValueNode] = []
            for node in level:
                if isinstance(node, ListValueNode):
                    inside += node.values
                elif isinstance(node, ObjectValueNode):
                    inside += [entry.value for entry in node.fields]
                elif isinstance(node, IntValueNode):
                    _within("digits of a number", DIGITS, len(node.value))
            depth += any(isinstance(node, ListValueNode | ObjectValueNode) for node in level)
            _within("max_input_depth", self._limits.input_depth, depth)
            level = inside


def fragments_of(document: DocumentNode) -> Mapping[str, FragmentDefinitionNode]:
    """The fragments of a document by name."""
    return {
        node.name.value: node
        for node in document.definitions
        if isinstance(node, FragmentDefinitionNode)
    }


def check_inputs(variables: Mapping[str, object], limit: int) -> None:
    """Refuse variables that nest lists and objects deeper than ``limit``.

    Raises ``GraphQLError``. One pass over the containers; large batches of segments come this way.
    """
    depth = 0
    level: list[object] = [value for value in variables.values() if isinstance(value, dict | list)]
    while level:
        depth += 1
        _within("max_input_depth", limit, depth)
        level = [
            inner
            for container in level
            for inner in (container.values() if isinstance(container, dict) else container)  # type: ignore[attr-defined]
            if isinstance(inner, dict | list)
        ]


def _below(field: FieldNode, inside: Shape) -> Shape:
    """The shape of a field from that of its selection."""
    if field.name.value in _INTROSPECTION:
        deepest = max(inside.depth, inside.introspection)
        return Shape(1, deepest, inside.aliases, 1, inside.nesting)
    return Shape(1 + inside.depth, inside.introspection, inside.aliases, 1, inside.nesting)


def _within(name: str, limit: int, asked: int, node: Node | None = None) -> None:
    if asked > limit:
        raise exceeded(name, limit, asked, at_least=name in _STOPS, node=node)


_STOPS = ("nesting", "max_input_depth")
