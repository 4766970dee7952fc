"""What arguments say about how much is asked: page sizes, lengths of lists, ``@skip``.

An argument is a literal or a variable, as a whole or somewhere inside it. A value of the wrong kind
is read as harmless: validation or execution refuses it with a better message.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from graphql import (
    BooleanValueNode,
    DirectiveNode,
    FieldNode,
    IntValueNode,
    ListValueNode,
    NullValueNode,
    ObjectValueNode,
    ValueNode,
    VariableNode,
)

from tams_gql.schema.limits.bounds import CEILING
from tams_gql.schema.limits.formulas import Amount, Formula, Variables

Defaults: TypeAlias = Mapping[str, ValueNode]
"""What an operation declares for variables that are left out."""

_LONGEST_INT = 18
_SKIPPED_WHEN: Mapping[str, bool] = {"skip": True, "include": False}


@dataclass(frozen=True, slots=True)
class Given:
    """The amount in an argument: known now, or to be read from a variable.

    ``count`` is the amount of a literal, or of a left-out variable; None where nothing is given.
    """

    count: int | None
    variable: str | None = None
    path: tuple[str, ...] = ()

    def value(self, variables: Variables) -> int | None:
        """The amount for these variables; None where none is given."""
        if self.variable is None or self.variable not in variables:
            return self.count
        return _count(variables[self.variable], self.path)


@dataclass(frozen=True, slots=True)
class PageSize:
    """The size of a page. Both ends at once are refused by the resolver; the larger counts here."""

    ends: tuple[Given, ...]
    default: int

    def value(self, variables: Variables) -> int:
        asked = [size for end in self.ends if (size := end.value(variables)) is not None]
        return max(0, *asked) if asked else self.default


@dataclass(frozen=True, slots=True)
class Length:
    """How many items an input asks for: of the first place in it that says anything."""

    places: tuple[Given, ...]
    default: int

    def value(self, variables: Variables) -> int:
        for place in self.places:
            count = place.value(variables)
            if count is not None:
                return max(0, count)
        return self.default


@dataclass(frozen=True, slots=True)
class Included:
    """1 or 0: whether ``@skip`` or ``@include`` lets a selection take part."""

    variable: str
    skipped_when: bool
    default: bool | None

    def value(self, variables: Variables) -> int:
        return int(variables.get(self.variable, self.default) is not self.skipped_when)


def amount_of(reading: PageSize | Length, formula: Formula) -> Amount:
    """The amount now if no variable is in it, else a step of the formula."""
    parts = reading.ends if isinstance(reading, PageSize) else reading.places
    if any(part.variable is not None for part in parts):
        return formula.read(reading)
    return reading.value({})


def given(field: FieldNode, path: Sequence[str], defaults: Defaults) -> Given:
    """What a field is given at ``path``: the name of an argument, then names of input fields."""
    value, rest = _inside(_named(field.arguments or (), path[0]), tuple(path[1:]))
    if isinstance(value, VariableNode):
        name = value.name.value
        return Given(_literal(*_inside(defaults.get(name), rest)), name, rest)
    return Given(_literal(value, rest))


def included(directives: Iterable[DirectiveNode], defaults: Defaults, formula: Formula) -> Amount:
    """1, 0, or what variables decide: whether the directives let a selection take part."""
    amount: Amount = 1
    for directive in directives:
        skipped_when = _SKIPPED_WHEN.get(directive.name.value)
        if skipped_when is None:
            continue
        condition = _named(directive.arguments or (), "if")
        if isinstance(condition, VariableNode):
            name = condition.name.value
            reading = Included(name, skipped_when, _boolean(defaults.get(name)))
            amount = formula.times(amount, formula.read(reading))
        elif _boolean(condition) is skipped_when:
            return 0
    return amount


def _named(nodes: Iterable[Any], name: str) -> ValueNode | None:
    for node in nodes:
        if node.name.value == name:
            value: ValueNode = node.value
            return value
    return None


def _inside(
    value: ValueNode | None, path: tuple[str, ...]
) -> tuple[ValueNode | None, tuple[str, ...]]:
    """Follow a path into a literal; what is left of the path where it ends."""
    while isinstance(value, ObjectValueNode) and path:
        value, path = _named(value.fields, path[0]), path[1:]
    return value, path


def _boolean(value: ValueNode | None) -> bool | None:
    return value.value if isinstance(value, BooleanValueNode) else None


def _literal(value: ValueNode | None, path: tuple[str, ...]) -> int | None:
    if path or value is None or isinstance(value, NullValueNode):
        return None
    if isinstance(value, ListValueNode):
        return len(value.values)
    if isinstance(value, IntValueNode):
        return _int(value.value)
    return 1  # where a list is meant, one value stands for a list of one


def _int(text: str) -> int:
    """The number, without making one of a million digits."""
    if len(text) > _LONGEST_INT:
        return -CEILING if text.startswith("-") else CEILING
    return int(text)


def _count(value: object, path: tuple[str, ...]) -> int | None:
    for name in path:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    if value is None:
        return None
    if isinstance(value, list | tuple):
        return len(value)
    if isinstance(value, float) and value.is_integer():  # GraphQL reads 5.0 as the Int 5
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return max(-CEILING, min(value, CEILING))
    return 1
