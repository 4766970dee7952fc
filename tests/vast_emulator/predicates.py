"""The filter of a query, decoded into ranges per column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from .errors import bad_request
from .flatbuf import Record

_LITERAL, _FIELD_REF, _CALL = 1, 2, 3
_LAYOUTS = {
    1: "?", 2: "b", 3: "h", 4: "i", 5: "q", 6: "B", 7: "H", 8: "I", 9: "Q",
    10: "q", 11: "q", 12: "q", 16: "H", 17: "f", 18: "d",
}  # fmt: skip
_DECIMAL, _FLOAT16, _LIST, _STRING, _BINARY = 15, 16, 19, 22, 23
_COMPARE = {
    "equal": "==",
    "not_equal": "!=",
    "greater": ">",
    "greater_equal": ">=",
    "less": "<",
    "less_equal": "<=",
    "match_substring": "contains",
    "is_null": "is_null",
    "is_valid": "is_valid",
}


@dataclass(frozen=True)
class Range:
    """One range of a domain: an operator with its values.

    ``==``, ``!=``, ``>``, ``>=``, ``<``, ``<=`` and ``contains`` have one value, ``between`` (both
    ends included) and ``from_to`` (the end excluded, of ``startswith``) two, ``is_null`` and
    ``is_valid`` none. Strings may arrive as bytes where they are not valid UTF-8.
    """

    operator: str
    values: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Domain:
    """Ranges of one column, joined by OR; ``column`` is ``a.b`` for a field of a struct."""

    column: str
    path: tuple[str, ...]
    ranges: tuple[Range, ...]


@dataclass(frozen=True)
class Node:
    """A node of the request schema; ``steps`` lead from the column to it."""

    name: str
    steps: tuple[Any, ...]
    type: Any
    leaf: bool


def nodes_of(fields: Sequence[Any]) -> list[Node]:
    """All nodes of columns, depth first, in the order the protocol numbers them."""
    found: list[Node] = []

    def visit(name: str, steps: tuple[Any, ...], kind: Any) -> None:
        inner: list[tuple[Any, Any]] = []
        if pa.types.is_struct(kind):
            inner = [(index, kind.field(index).type) for index in range(kind.num_fields)]
        elif pa.types.is_map(kind):
            entries = pa.struct([kind.key_field, kind.item_field])
            inner = [("entries", entries)]
        elif pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
            inner = [("item", kind.value_type)]
        found.append(Node(name, steps, kind, not inner))
        for step, child in inner:
            visit(name, (*steps, step), child)

    for item in fields:
        visit(item.name, (), item.type)
    return found


def decode_filter(expression: Record | None, nodes: list[Node]) -> tuple[Domain, ...]:
    """The AND-ed domains of a filter."""
    if expression is None:
        return ()
    name, arguments = _call(expression)
    if name != "and":
        raise bad_request(f"a filter must be an and(), not {name}()")
    return tuple(_domain(argument, nodes) for argument in arguments)


def _call(expression: Record) -> tuple[str, list[Record]]:
    call = expression.record(1)
    if call is None or expression.number(0, "B") != _CALL:
        raise bad_request("expected a function call in the filter")
    return call.text(0), list(call.records(1))


def _domain(expression: Record, nodes: list[Node]) -> Domain:
    name, arguments = _call(expression)
    if name != "or":
        raise bad_request(f"a domain must be an or(), not {name}()")
    positions: set[int] = set()
    ranges = tuple(_range(argument, positions) for argument in arguments)
    if len(positions) != 1 or max(positions) >= len(nodes):
        raise bad_request("the ranges of a domain must all be on one column of the request")
    node = nodes[positions.pop()]
    path = _names(node, nodes)
    return Domain(".".join(path), path, ranges)


def _names(node: Node, nodes: list[Node]) -> tuple[str, ...]:
    """Field names on the way to a node; the item of a fixed-size list stands for the list."""
    names = [node.name]
    kind = next(n for n in nodes if n.name == node.name and not n.steps).type
    for step in node.steps:
        if pa.types.is_struct(kind):
            names.append(kind.field(step).name)
            kind = kind.field(step).type
    return tuple(names)


def _range(expression: Record, positions: set[int]) -> Range:
    name, arguments = _call(expression)
    if name == "and":
        (low_name, low), (high_name, high) = (_bound(a, positions) for a in arguments)
        operator = {"less_equal": "between", "less": "from_to"}.get(high_name)
        if low_name != "greater_equal" or operator is None:
            raise bad_request("an and() in a range must be greater_equal with less or less_equal")
        return Range(operator, (low, high))
    if name not in _COMPARE:
        raise bad_request(f"unknown function {name!r} in the filter")
    positions.add(_position(arguments[0]))
    return Range(_COMPARE[name], tuple(_literal(argument) for argument in arguments[1:]))


def _bound(expression: Record, positions: set[int]) -> tuple[str, Any]:
    name, arguments = _call(expression)
    positions.add(_position(arguments[0]))
    return name, _literal(arguments[1])


def _position(expression: Record) -> int:
    reference = expression.record(1)
    if reference is None or expression.number(0, "B") != _FIELD_REF:
        raise bad_request("expected a column in the filter")
    return field_position(reference.record(1))


def field_position(index: Record | None) -> int:
    """The node number of a FieldIndex."""
    position: int = index.number(0, "I") if index is not None else 0
    return position


def _literal(expression: Record) -> Any:
    literal = expression.record(1)
    if literal is None or expression.number(0, "B") != _LITERAL:
        raise bad_request("expected a literal in the filter")
    return _value(literal)


def _value(literal: Record) -> Any:
    kind = literal.number(0, "B")
    value = literal.record(1)
    if value is None:
        raise bad_request("a literal has no value")
    if kind == _STRING:
        raw = value.raw(0)
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return raw
    if kind in (_BINARY, _DECIMAL):
        raw = value.raw(0)
        return raw if kind == _BINARY else int.from_bytes(raw, "little", signed=True)
    if kind == _LIST:
        return tuple(_value(item) for item in value.records(0))
    if kind not in _LAYOUTS:
        raise bad_request(f"unsupported literal kind {kind}")
    number = value.number(0, _LAYOUTS[kind])
    return np.uint16(number).view(np.float16).item() if kind == _FLOAT16 else number
