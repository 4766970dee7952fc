"""Query requests read back with the SDK's own flatbuffer classes."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

_ARROW = "vastdb.vast_flatbuf.org.apache.arrow"
_LITERALS = {1: "BooleanLiteral", 5: "Int64Literal", 22: "StringLiteral"}


@dataclass(frozen=True, slots=True)
class Read:
    """A request. A filter is a set of ORs by column name, each a set of comparisons."""

    columns: tuple[str, ...]
    types: tuple[int, ...]
    projection: tuple[int, ...]
    filter: frozenset[tuple[str, frozenset[Any]]]


def read_request(body: bytes) -> Read:
    """The request in ``body``, whose alignment is checked as a strict reader would."""
    relation = _class("computeir.flatbuf.Relation").GetRootAs(body)
    source = _table("computeir.flatbuf.Source", relation.Impl())
    schema = source.Schema()
    fields = [schema.Fields(i) for i in range(schema.FieldsLength())]
    names = tuple(field.Name().decode() for field in fields)
    function, *domains = _expression(source.Filter())
    assert function == "and"
    read = set()
    for operator, *ranges in domains:
        assert operator == "or"
        (position,) = {_position(each) for each in ranges}
        read.add((names[position], frozenset(ranges)))
    projection = (source.Projection(i).Position() for i in range(source.ProjectionLength()))
    types = tuple(field.TypeType() for field in fields)
    return Read(names, types, tuple(projection), frozenset(read))


def _position(of: tuple[Any, ...]) -> int:
    if of[0] == "and":
        (position,) = {_position(each) for each in of[1:]}
        return position
    return int(of[1])


def _expression(expression: Any) -> tuple[Any, ...]:
    _aligned(expression, 4)
    kind = expression.ImplType()
    if kind == 3:
        call = _table("computeir.flatbuf.Call", expression.Impl())
        arguments = [_expression(call.Arguments(i)) for i in range(call.ArgumentsLength())]
        name = call.Name().decode()
        if name in ("and", "or"):
            return (name, *arguments)
        (_, position), *literals = arguments
        return (name, position, *literals)
    if kind == 2:
        reference = _table("computeir.flatbuf.FieldRef", expression.Impl())
        assert reference.RefType() == 5
        index = _table("computeir.flatbuf.FieldIndex", reference.Ref())
        return ("column", index.Position())
    assert kind == 1
    return _literal(_table("computeir.flatbuf.Literal", expression.Impl()))


def _literal(literal: Any) -> tuple[Any, ...]:
    value = _table(f"computeir.flatbuf.{_LITERALS[literal.ImplType()]}", literal.Impl())
    if literal.ImplType() == 5 and (offset := value._tab.Offset(4)):  # absent: it is 0
        assert (value._tab.Pos + offset) % 8 == 0
    field = literal.Type()
    _aligned(field, 4)
    number = field.TypeType()
    details = None
    if number == 2:
        integer = _table("flatbuf.Int", field.Type())
        details = (integer.BitWidth(), integer.IsSigned())
    return (value.Value(), number, details, field.Nullable(), field.Name())


def _aligned(table: Any, to: int) -> None:
    position = table._tab.Pos
    assert position % to == 0
    vtable = position - table._tab.Get(_int32(), position)
    assert vtable % 2 == 0
    assert 0 <= vtable < len(table._tab.Bytes)


def _int32() -> Any:
    return importlib.import_module("flatbuffers.number_types").SOffsetTFlags


def _class(name: str) -> Any:
    return getattr(importlib.import_module(f"{_ARROW}.{name}"), name.rpartition(".")[2])


def _table(name: str, union: Any) -> Any:
    table = _class(name)()
    table.Init(union.Bytes, union.Pos)
    _aligned(table, 4)
    return table
