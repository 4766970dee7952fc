"""Random documents over the whole schema: any fields and arguments, literals or variables."""

from __future__ import annotations

import random
from typing import Any

from graphql import (
    GraphQLArgument,
    GraphQLField,
    GraphQLNonNull,
    GraphQLSchema,
    OperationType,
    Undefined,
    get_named_type,
    is_abstract_type,
    is_leaf_type,
)

from tests.proof.random_values import Values, literal

_LEAF_SHARE, _MOST_FIELDS = 0.5, 5


class Writer:
    """Writes one operation."""

    def __init__(self, schema: GraphQLSchema, values: Values, depth: int) -> None:
        self.variables: dict[str, Any] = {}
        self._schema = schema
        self._values = values
        self._chance: random.Random = values.chance
        self._depth = depth
        self._declared: list[str] = []
        self._aliases = 0
        self._fragments: list[str] = []

    def operation(self, kind: OperationType) -> str:
        """The text; its variables are in ``variables``."""
        root: Any = self._schema.get_root_type(kind)
        selection = self._selection(root, 0)
        declared = f"({', '.join(self._declared)})" if self._declared else ""
        return "\n".join([f"{kind.value} Q{declared} {selection}", *self._fragments])

    def _selection(self, kind: Any, depth: int) -> str:
        if is_abstract_type(kind) and self._chance.random() < 0.7:
            chosen = self._chance.choice(self._schema.get_possible_types(kind))
            inner = self._selection(chosen, depth)
            return f"{{ __typename ... on {chosen.name}{self._directive()} {inner} }}"
        names = [*getattr(kind, "fields", {})]
        if depth >= self._depth:
            names = [n for n in names if is_leaf_type(get_named_type(kind.fields[n].type))]
        count = self._chance.randint(1, 2 if depth == 0 else _MOST_FIELDS)
        chosen_names = self._chance.sample(names, min(count, len(names)))
        parts = [self._field(name, kind.fields[name], depth) for name in chosen_names]
        if depth == 0 and self._chance.random() < 0.05:
            parts.append("__schema { queryType { name } types { name kind } }")
        text = "{ " + " ".join(parts or ["__typename"]) + " }"
        if depth and self._chance.random() < 0.05:
            name = f"F{len(self._fragments)}"
            self._fragments.append(f"fragment {name} on {kind.name} {text}")
            return f"{{ ...{name} }}"
        return text

    def _field(self, name: str, field: GraphQLField, depth: int) -> str:
        given = [
            f"{argument}: {self._argument(argument, made)}"
            for argument, made in field.args.items()
            if self._is_given(made)
        ]
        arguments = f"({', '.join(given)})" if given else ""
        named = get_named_type(field.type)
        below = "" if is_leaf_type(named) else " " + self._selection(named, depth + 1)
        # Under a name of its own no field gets into the way of another one.
        self._aliases += 1
        return f"a{self._aliases}: {name}{arguments}{self._directive()}{below}"

    def _argument(self, name: str, argument: GraphQLArgument) -> str:
        value = self._values.of(argument.type, name)
        if self._chance.random() < 0.5:
            return literal(value)
        variable = f"v{len(self.variables)}"
        kind = argument.type
        self._declared.append(f"${variable}: {kind}")
        if value is not None or isinstance(kind, GraphQLNonNull) or self._chance.random() < 0.5:
            self.variables[variable] = value
        else:
            self.variables[f"unused{variable}"] = value
        return f"${variable}"

    def _is_given(self, argument: GraphQLArgument) -> bool:
        if isinstance(argument.type, GraphQLNonNull) and argument.default_value is Undefined:
            return self._chance.random() < 0.995
        return self._chance.random() < 0.35

    def _directive(self) -> str:
        if self._chance.random() > 0.03:
            return ""
        return self._chance.choice([" @skip(if: false)", " @include(if: true)", " @skip(if: true)"])
