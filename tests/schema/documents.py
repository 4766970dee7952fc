"""Hypothesis strategies: queries with fragments, directives and variables."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from graphql import (
    GraphQLArgument,
    GraphQLField,
    GraphQLNamedType,
    GraphQLObjectType,
    get_named_type,
    is_leaf_type,
    is_required_argument,
)
from hypothesis import strategies as st

from tests.schema.pricing import schema

INTS = ("n", "m")
FLAGS = ("a", "b")
DEEPEST = 4

_LITERALS = {
    "ID": '"x"',
    "String": '"x"',
    "Timestamp": '"0:0"',
    "PutFlowInput": "{}",
    "PatchFlowInput": "{}",
}
_CONDITIONS = ("true", "false", "$a", "$b")
_SIZES = ("null", "0", "1", "3", "40", "$n", "$m")


@dataclass
class _Writer:
    """Writes one document; keeps the fragments that it has named on the way."""

    draw: Any
    fragments: dict[str, tuple[str, str]] = field(default_factory=dict)

    def selection(self, type_name: str, depth: int) -> str:
        """A selection set of some fields and fragments."""
        parts = [
            self.part(type_name, depth) for _ in range(self.draw(st.integers(1, 3 if depth else 1)))
        ]
        return "{ " + " ".join(parts) + " }"

    def part(self, type_name: str, depth: int) -> str:
        kinds = ["field", "field", "field", "inline", "spread"] if depth else ["leaf"]
        kind = self.draw(st.sampled_from(kinds))
        if kind == "inline":
            condition = self.draw(st.sampled_from(["", *_conditions(type_name)]))
            on = f"on {condition} " if condition else ""
            inside = self.selection(condition or type_name, depth - 1)
            return f"... {on}{self.directives()}{inside}"
        if kind == "spread":
            return f"...{self.fragment(type_name, depth)} {self.directives()}"
        return self.one_field(type_name, depth if kind == "field" else 0)

    def fragment(self, type_name: str, depth: int) -> str:
        """The name of a fragment: one from before, which is then used twice, or a new one."""
        fitting = _conditions(type_name)
        known = sorted(name for name, (kind, _) in self.fragments.items() if kind in fitting)
        if known and self.draw(st.booleans()):
            chosen: str = self.draw(st.sampled_from(known))
            return chosen
        condition = self.draw(st.sampled_from(fitting))
        body = self.selection(condition, depth - 1)
        name = f"F{len(self.fragments)}"
        self.fragments[name] = (condition, body)
        return name

    def one_field(self, type_name: str, depth: int) -> str:
        kind: Any = schema().type_map[type_name]
        fields: dict[str, GraphQLField] = kind.fields
        leaves = [name for name, f in fields.items() if _is_leaf(f)] or ["__typename"]
        branches = [name for name, f in fields.items() if not _is_leaf(f)]
        name = self.draw(st.sampled_from(branches if branches and depth else leaves))
        alias = self.draw(st.sampled_from(["", "", "x: ", "y: "]))
        if name == "__typename":
            return f"{alias}__typename"
        found = fields[name]
        head = f"{alias}{name}{self.arguments(found)} {self.directives()}"
        if _is_leaf(found):
            return head
        return head + self.selection(get_named_type(found.type).name, max(depth - 1, 0))

    def arguments(self, found: GraphQLField) -> str:
        given = [text for name, arg in found.args.items() if (text := self.argument(name, arg))]
        return f"({', '.join(given)})" if given else ""

    def argument(self, name: str, argument: GraphQLArgument) -> str:
        if name in ("first", "last"):
            size = self.draw(st.sampled_from(["", *_SIZES]))
            return f"{name}: {size}" if size else ""
        if name == "ids":
            ids: str = self.draw(st.sampled_from(["$ids", "[]", '["x", "y"]']))
            return f"ids: {ids}"
        if is_required_argument(argument):
            return f"{name}: {_LITERALS[get_named_type(argument.type).name]}"
        return ""

    def directives(self) -> str:
        name = self.draw(st.sampled_from(["", "", "", "@skip", "@include"]))
        return f"{name}(if: {self.draw(st.sampled_from(_CONDITIONS))}) " if name else ""


@st.composite
def documents(draw: st.DrawFn) -> str:
    """The text of a query. Unused variables are declared and fields may not merge."""
    writer = _Writer(draw)
    body = writer.selection("Query", DEEPEST)
    declared = [f"${name}: Int{draw(st.sampled_from(['', ' = 2', ' = null']))}" for name in INTS]
    declared += [f"${name}: Boolean{draw(st.sampled_from(['', ' = true']))}" for name in FLAGS]
    fragments = [f"fragment {n} on {kind} {text}" for n, (kind, text) in writer.fragments.items()]
    head = f"query ({', '.join(declared)}, $ids: [ID!]! = [])"
    return "\n".join([f"{head} {body}", *fragments])


def variables() -> st.SearchStrategy[dict[str, Any]]:
    """Values for the variables of ``documents``, or some of them."""
    sizes = st.one_of(st.none(), st.integers(-2, 1000))
    return st.fixed_dictionaries(
        {},
        optional={
            **dict.fromkeys(INTS, sizes),
            **dict.fromkeys(FLAGS, st.booleans()),
            "ids": st.lists(st.just("x"), max_size=4),
        },
    )


def _is_leaf(found: GraphQLField) -> bool:
    return is_leaf_type(get_named_type(found.type))


def _conditions(type_name: str) -> list[str]:
    """The types that a fragment inside a type may be on."""
    kind: GraphQLNamedType = schema().type_map[type_name]
    if isinstance(kind, GraphQLObjectType):
        return [kind.name, *(interface.name for interface in kind.interfaces)]
    abstract: Any = kind
    return [kind.name, *(found.name for found in schema().get_possible_types(abstract))]
