"""The filter of a query as the flatbuffer that the cluster reads, written directly.

The SDK builds expressions object by object, which costs 60 to 100 microseconds of processor time
per literal: 30 ms for a page of 300 keys. Here each comparison is one ``struct.pack`` of a fixed
layout, and names, types and columns are written once and shared. Tests read the result back with
the SDK's own classes and compare it with what the SDK builds.

In a flatbuffer a reference counts bytes forward from where it stands, only a table's reference to
its description (vtable) may point anywhere. So the order is: root, descriptions, functions and
literals, then what they share. All parts begin at multiples of 8, as ``int64`` wants.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from tams_gql.store.vast.wire.comparisons import Alternative, Comparison, alternatives
from tams_gql.store.vast.wire.domains import Domain, Key

# Numbers of the unions in Arrow's Expression.fbs, Literal.fbs and Schema.fbs.
_LITERAL, _FIELD_REF, _CALL = 1, 2, 3
_FIELD_INDEX = 5
_BOOL_LITERAL, _INT64_LITERAL, _TEXT_LITERAL = 1, 5, 22
_TYPE_INT, _TYPE_TEXT, _TYPE_BOOL = 2, 5, 6

# Descriptions: bytes of the description, bytes of the table, then where each field is (0: absent).
_DESCRIPTIONS = (
    ("union", (8, 12, 8, 4)),  # Expression, FieldRef: kind, value
    ("call", (8, 12, 4, 8)),  # Call: name, arguments
    ("literal", (10, 16, 12, 4, 8)),  # Literal: kind, value, type
    ("one", (6, 8, 4)),  # StringLiteral, BooleanLiteral, FieldIndex: value
    ("long", (6, 16, 8)),  # Int64Literal: value
    ("field", (12, 12, 0, 8, 9, 4)),  # Field: (name), nullable, kind of type, type
    ("int", (8, 12, 4, 8)),  # Int: bits, signed
    ("empty", (4, 4)),  # Utf8, Bool
)
_ROOT_BYTES = 16


def _padded(size: int) -> int:
    return (size + 7) & ~7


def _described() -> tuple[bytes, dict[str, int]]:
    parts, at = b"", {}
    for name, numbers in _DESCRIPTIONS:
        at[name] = _ROOT_BYTES + len(parts)
        part = struct.pack(f"<{len(numbers)}H", *numbers)
        parts += part.ljust((len(part) + 3) & ~3, b"\0")
    return parts.ljust(_padded(len(parts)), b"\0"), at


_VTABLES, _AT = _described()
_BODY = _ROOT_BYTES + len(_VTABLES)

_EXPRESSION = struct.Struct("<iIB3x")
_VECTOR_2 = struct.Struct("<III4x")
_CALL_BYTES = 24  # an expression and the call behind it; its arguments follow
_CALLED = struct.Struct("<iIB3xiII")
_NULL_TEST = struct.Struct("<iIB3xiIIII")  # expression, call, one argument
_COMPARED = struct.Struct("<iIB3xiIIIIIiIB3xiIIB3x")  # ..., two arguments, expression, literal
_TEXT_VALUE = struct.Struct("<iII")
_INT_VALUE = struct.Struct("<i4xq")
_FLAG_VALUE = struct.Struct("<iB3x")
_PAIR_BYTES = _CALL_BYTES + _VECTOR_2.size
_COMPARED_BYTES = _COMPARED.size


def encode_filter(domains: Sequence[tuple[Domain, int]]) -> bytes:
    """The expression of an AND over domains, each with the position of its column.

    Its first byte is the root; its place must be a multiple of 8 from the start of the message.
    """
    ors = [_Or(alternatives(domain), domain.kind, position) for domain, position in domains]
    start = _BODY + _padded(12 + 4 + 4 * len(ors))
    shared = _Shared(start + sum(part.size for part in ors))
    at, places, bodies = start, [], []
    for part in ors:
        places.append(at)
        bodies.append(part.pack(at, shared))
        at += part.size
    root = _EXPRESSION.pack(-_AT["union"], _BODY - 4, _CALL).ljust(_ROOT_BYTES, b"\0")
    call = struct.pack("<iII", _BODY - _AT["call"], shared.name("and") - (_BODY + 4), 4)
    arguments = _references(_BODY + 12, places)
    head = (call + arguments).ljust(start - _BODY, b"\0")
    return b"".join((root, _VTABLES, head, *bodies, *shared.parts))


def _references(at: int, places: Sequence[int]) -> bytes:
    """A vector of references that begins at ``at``."""
    offsets = [place - (at + 4 + 4 * i) for i, place in enumerate(places)]
    return struct.pack(f"<I{len(offsets)}I", len(offsets), *offsets)


@dataclass(slots=True)
class _Shared:
    """What comes after everything that refers to it."""

    end: int
    parts: list[bytes] = field(default_factory=list)
    _places: dict[object, int] = field(default_factory=dict)

    def name(self, text: str) -> int:
        """Where the name of a function is."""
        return self._place(text, struct.pack("<I", len(text)) + text.encode() + b"\0")

    def column(self, position: int) -> int:
        """Where the expression for a column is."""
        if (found := self._places.get(position)) is not None:
            return found
        at = self.end
        expression = _EXPRESSION.pack(at - _AT["union"], 8, _FIELD_REF)
        reference = _EXPRESSION.pack(at + 12 - _AT["union"], 8, _FIELD_INDEX)
        index = struct.pack("<iI", at + 24 - _AT["one"], position)
        return self._place(position, expression + reference + index)

    def type(self, kind: pa.DataType) -> int:
        """Where the type of a literal is: a nullable field without a name."""
        if (found := self._places.get(kind)) is not None:
            return found
        at = self.end
        number = _TYPE_BOOL if pa.types.is_boolean(kind) else _TYPE_TEXT
        if pa.types.is_integer(kind):
            number = _TYPE_INT
            described = struct.pack("<iIB3x", at + 12 - _AT["int"], kind.bit_width, 1)
        else:
            described = struct.pack("<i", at + 12 - _AT["empty"])
        owner = struct.pack("<iIBB2x", at - _AT["field"], 8, 1, number)
        return self._place(kind, owner + described)

    def _place(self, key: object, part: bytes) -> int:
        if (found := self._places.get(key)) is not None:
            return found
        self._places[key] = at = self.end
        self.parts.append(part.ljust(_padded(len(part)), b"\0"))
        self.end += _padded(len(part))
        return at


class _Or:
    """An OR of comparisons of one column."""

    __slots__ = ("_alternatives", "_kind", "_position", "_sizes", "size")

    def __init__(self, given: list[Alternative], kind: pa.DataType, position: int) -> None:
        self._alternatives = given
        self._kind = kind
        self._position = position
        self._sizes = [_size(each) for each in given]
        self.size = _padded(_CALL_BYTES + 4 + 4 * len(given)) + sum(self._sizes)

    def pack(self, at: int, shared: _Shared) -> bytes:
        place = at + _padded(_CALL_BYTES + 4 + 4 * len(self._alternatives))
        call = _called(at, shared.name("or"))
        writer = _Comparisons(shared, shared.column(self._position), self._kind)
        places, parts = [], []
        for each, size in zip(self._alternatives, self._sizes, strict=True):
            places.append(place)
            parts.append(writer.alternative(place, each))
            place += size
        head = call + _references(at + _CALL_BYTES, places)
        return b"".join((head.ljust(_padded(len(head)), b"\0"), *parts))


def _called(at: int, name: int) -> bytes:
    """An expression and its call; the vector of arguments comes next."""
    return _CALLED.pack(at - _AT["union"], 8, _CALL, at + 12 - _AT["call"], name - (at + 16), 4)


def _size(alternative: Alternative) -> int:
    if len(alternative) == 2:
        return _PAIR_BYTES + sum(_compared_size(each[1]) for each in alternative)
    ((_, literal),) = alternative
    return _NULL_TEST.size if literal is None else _compared_size(literal)


def _compared_size(literal: Key) -> int:
    if isinstance(literal, bytes):
        return _COMPARED_BYTES + _padded(_TEXT_VALUE.size + len(literal) + 1)
    return _COMPARED_BYTES + _INT_VALUE.size


class _Comparisons:
    """Writes comparisons of one column."""

    __slots__ = ("_column", "_kind", "_shared", "_type")

    def __init__(self, shared: _Shared, column: int, kind: pa.DataType) -> None:
        self._shared = shared
        self._column = column
        self._type = shared.type(kind)
        self._kind = _TEXT_LITERAL if pa.types.is_string(kind) else _INT64_LITERAL
        if pa.types.is_boolean(kind):
            self._kind = _BOOL_LITERAL

    def alternative(self, at: int, given: Alternative) -> bytes:
        if len(given) == 1:
            return self._comparison(at, given[0])
        low, high = given
        first = at + _PAIR_BYTES
        second = first + _compared_size(low[1])
        vector = _VECTOR_2.pack(2, first - (at + 28), second - (at + 32))
        call = _called(at, self._shared.name("and"))
        ends = self._comparison(first, low), self._comparison(second, high)
        return b"".join((call, vector, *ends))

    def _comparison(self, at: int, given: Comparison) -> bytes:
        function, literal = given
        name = self._shared.name(function) - (at + 16)
        union, call = at - _AT["union"], at + 12 - _AT["call"]
        column = self._column - (at + 28)
        if literal is None:
            return _NULL_TEST.pack(union, 8, _CALL, call, name, 4, 1, column)
        return _COMPARED.pack(
            *(union, 8, _CALL),
            *(call, name, 4),
            *(2, column, 4),
            *(union + 36, 8, _LITERAL),
            *(at + 48 - _AT["literal"], 12, self._type - (at + 56), self._kind),
        ) + self._value(at + _COMPARED_BYTES, literal)

    def _value(self, at: int, literal: Key) -> bytes:
        if self._kind == _TEXT_LITERAL:
            size = len(literal)
            value: bytes = _TEXT_VALUE.pack(at - _AT["one"], 4, size) + literal
            return value.ljust(_padded(_TEXT_VALUE.size + size + 1), b"\0")
        if self._kind == _INT64_LITERAL:
            return _INT_VALUE.pack(at - _AT["long"], literal)
        return _FLAG_VALUE.pack(at - _AT["one"], literal).ljust(_INT_VALUE.size, b"\0")
