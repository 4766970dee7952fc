"""Bounds on what one operation may ask, checked before anything runs.

Each fragment is measured once, however often it is spread: fragments that spread each other twice
would otherwise cost twice as much time with every line of the document.
"""

from __future__ import annotations

from typing import NamedTuple

from graphql import (
    ASTValidationRule,
    FieldNode,
    FragmentSpreadNode,
    GraphQLError,
    OperationDefinitionNode,
    SelectionSetNode,
    ValidationContext,
)

# Counts double with every level of fragments; beyond this the exact number tells nothing more.
_MOST = 1_000_000_000


class _Asked(NamedTuple):
    """What a selection asks: levels of fields, and how many of them have an alias."""

    depth: int
    aliases: int


_NOTHING = _Asked(0, 0)


def limit_rule(*, depth: int, aliases: int) -> type[ASTValidationRule]:
    """The rule that refuses operations with more levels or aliases than allowed.

    Make it once for a schema: the cache of validated documents is keyed by the rules.
    """

    class Limits(ASTValidationRule):
        def __init__(self, context: ValidationContext) -> None:
            super().__init__(context)
            self._measure = _Measure(context)

        def enter_operation_definition(self, node: OperationDefinitionNode, *_: object) -> None:
            try:
                asked = self._measure.of(node.selection_set)
            except RecursionError:  # a chain of many hundred fragments
                asked = _Asked(_MOST, 0)
            for name, limit, found in (
                ("depth", depth, asked.depth),
                ("aliases", aliases, asked.aliases),
            ):
                if found > limit:
                    self.report_error(_exceeded(name, limit, found, node))

    return Limits


def _exceeded(name: str, limit: int, found: int, node: OperationDefinitionNode) -> GraphQLError:
    what = "levels deep" if name == "depth" else "aliases"
    return GraphQLError(
        f"max_query_{name}: the operation asks for {found} {what}; the limit is {limit}",
        node,
        extensions={"code": "LIMIT_EXCEEDED", "limit": limit, "requested": found},
    )


class _Measure:
    """Measures the selections of one document."""

    def __init__(self, context: ValidationContext) -> None:
        self._fragment = context.get_fragment
        self._fragments: dict[str, _Asked] = {}

    def of(self, selections: SelectionSetNode | None) -> _Asked:
        """What the selections ask, those of their fragments included."""
        deepest = aliases = 0
        for selection in () if selections is None else selections.selections:
            if isinstance(selection, FragmentSpreadNode):
                asked = self._of_fragment(selection.name.value)
            elif isinstance(selection, FieldNode):
                asked = self._of_field(selection)
            else:
                asked = self.of(selection.selection_set)  # type: ignore[attr-defined]
            deepest = max(deepest, asked.depth)
            aliases = min(aliases + asked.aliases, _MOST)
        return _Asked(deepest, aliases)

    def _of_field(self, field: FieldNode) -> _Asked:
        # Introspection has bounds of its own (`MaxIntrospectionDepthRule`), and tools rely on it.
        inside = _NOTHING if field.name.value.startswith("__") else self.of(field.selection_set)
        return _Asked(1 + inside.depth, inside.aliases + (field.alias is not None))

    def _of_fragment(self, name: str) -> _Asked:
        if name not in self._fragments:
            self._fragments[name] = _NOTHING  # one that spreads itself is refused by another rule
            fragment = self._fragment(name)
            if fragment is not None:
                self._fragments[name] = self.of(fragment.selection_set)
        return self._fragments[name]
