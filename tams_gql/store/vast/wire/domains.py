"""Conditions on physical columns, brought to one form.

Whatever is asked of a column becomes a set of half-open spans of its values, whether NULL will do,
and substrings of which one must occur. So contradictions show before anything is sent, conditions
on one column meet in one domain, and a select is always an AND over columns of ORs of ranges: the
one form that the cluster evaluates itself.

Text is ordered by its UTF-8 bytes, which is the order of code points, and its spans are bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from tams_gql.store.scan import Op, Range, Where
from tams_gql.store.vast.layout import Physical

Bound = str | int | None
Key = Any  # bytes of a text column, int of an int64 or boolean column
Span = tuple[Key, Key]  # half-open; text has no greatest value, so its end may be None


@dataclass(frozen=True, slots=True)
class Within:
    """Rows whose ``column`` lies in any of the half-open ``spans``; None leaves a side open.

    It says of physical tables what ``scan.Where`` cannot: several ranges with two ends. Text is
    ordered by code point. NULL lies nowhere; no spans, no rows.
    """

    column: str
    spans: tuple[tuple[Bound, Bound], ...]


Asked = Where | Within


@dataclass(frozen=True, slots=True)
class Domain:
    """What is asked of one column: to be NULL, in a span, or to contain one of the needles.

    ``spans`` are disjoint, ascending and not adjacent, parts of ``whole``.
    """

    column: str
    kind: pa.DataType
    whole: Span
    spans: tuple[Span, ...]
    nulls: bool = False
    needles: tuple[bytes, ...] = ()

    @property
    def any_value(self) -> bool:
        """Whether every value but NULL will do."""
        return self.spans == (self.whole,)


@dataclass(frozen=True, slots=True)
class Filter:
    """``pushed`` goes to the cluster; ``checked`` is to be tested on what comes back."""

    pushed: tuple[Domain, ...] = ()
    checked: tuple[Domain, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the cluster must look at, each once."""
        return tuple(dict.fromkeys(domain.column for domain in self.pushed))


def filter_of(table: Physical, where: Iterable[Asked]) -> Filter | None:
    """The conditions in one form, or None if no row can meet them all.

    Raises ``ValueError`` for an unknown column or operation, ``TypeError`` for a value of a type
    that the column does not have.
    """
    plain: dict[str, Domain] = {}
    searched: list[Domain] = []
    for asked in where:
        domain = _domain(table, asked)
        if domain.needles:
            searched.append(domain)
            continue
        met = _both(plain[domain.column], domain) if domain.column in plain else domain
        if not met.spans and not met.nulls:
            return None
        plain[domain.column] = met
    pushed = (*plain.values(), *(_pushable(domain) for domain in searched))
    return Filter(
        tuple(domain for domain in pushed if not (domain.nulls and domain.any_value)),
        tuple(domain for domain in searched if _pushable(domain) != domain),
    )


def _both(one: Domain, other: Domain) -> Domain:
    spans = _intersection(one.spans, other.spans)
    return replace(one, spans=spans, nulls=one.nulls and other.nulls)


def _domain(table: Physical, asked: Asked) -> Domain:
    index = table.schema.get_field_index(asked.column)
    if index < 0:
        raise ValueError(f"{table.name} has no column {asked.column!r}")
    kind = table.schema.field(index).type
    scale = _scale(kind)
    if isinstance(asked, Within):
        spans = [s for low, high in asked.spans if (s := scale.between(low, high)) is not None]
        return Domain(asked.column, kind, scale.whole, _union(spans))
    return _any_of(asked, kind, scale)


def _any_of(where: Where, kind: pa.DataType, scale: _Scale) -> Domain:
    spans: list[Span] = []
    needles: list[bytes] = []
    for each in where.any_of:
        if each.op is Op.CONTAINS:
            needle, exact = scale.key(each.value)
            if exact:
                needles.append(needle)
        elif each.op is not Op.IS_NULL:
            spans.extend(scale.spans(each))
    if b"" in needles:
        spans = [scale.whole]
    nulls = any(each.op is Op.IS_NULL for each in where.any_of)
    domain = Domain(where.column, kind, scale.whole, _union(spans), nulls)
    return domain if domain.any_value else replace(domain, needles=tuple(needles))


@dataclass(frozen=True, slots=True)
class _Scale:
    """How the values of a column are ordered.

    ``key`` turns a value into its key; the flag says whether a stored value can be equal to it.
    Where none can, the key is that of the next greater one.
    """

    whole: Span
    key: Callable[[object], tuple[Key, bool]]
    after: Callable[[Key], Key]

    def between(self, low: Bound, high: Bound) -> Span | None:
        """The span of two ends, None if it is empty."""
        floor, ceiling = self.whole
        start = floor if low is None else max(floor, self.key(low)[0])
        end = ceiling if high is None else self.key(high)[0]
        if ceiling is not None:
            end = min(end, ceiling)
        return None if end is not None and start >= end else (start, end)

    def spans(self, bound: Range) -> list[Span]:
        """The spans of one comparison."""
        match bound.op:
            case Op.NOT_NULL:
                return [self.whole]
            case Op.IN:
                return self._members(bound.value)
            case Op.EQ:
                return self._members((bound.value,))
            case Op.NE:
                return _without(self.whole, self._members((bound.value,)))
            case Op.PREFIX:
                return self._prefix(bound.value)
            case _:
                return self._side(bound.op, bound.value)

    def _some(self, start: Key, end: Key) -> list[Span]:
        return list(_intersection((self.whole,), ((start, end),)))

    def _members(self, values: object) -> list[Span]:
        if not isinstance(values, tuple):
            raise TypeError("IN wants a tuple of values")
        keys = [self.key(value) for value in values if value is not None]
        return [s for key, exact in keys if exact for s in self._some(key, self.after(key))]

    def _prefix(self, value: object) -> list[Span]:
        key, exact = self.key(value)
        if not isinstance(value, str):
            raise TypeError("only text has a prefix")
        return self._some(key, after_prefix(value)) if exact else []

    def _side(self, op: Op, value: object) -> list[Span]:
        floor, ceiling = self.whole
        key, exact = self.key(value)
        beyond = self.after(key) if exact else key
        match op:
            case Op.LT:
                return self._some(floor, key)
            case Op.LE:
                return self._some(floor, beyond)
            case Op.GE:
                return self._some(key, ceiling)
            case Op.GT:
                return self._some(beyond, ceiling)
            case _:
                raise ValueError(f"unknown operation {op}")


def _without(whole: Span, left_out: list[Span]) -> list[Span]:
    if not left_out:
        return [whole]
    ((start, end),) = left_out
    return [span for span in ((whole[0], start), (end, whole[1])) if span[0] != span[1]]


def after_prefix(prefix: str) -> bytes | None:
    """The first text after all that begin with ``prefix``; None if nothing follows them."""
    shorter = prefix.rstrip("\U0010ffff")
    if not shorter:
        return None
    # Surrogates are no characters of text: U+E000 follows U+D7FF.
    last = "\ue000" if shorter[-1] == "\ud7ff" else chr(ord(shorter[-1]) + 1)
    return (shorter[:-1] + last).encode()


def _text_key(value: object) -> tuple[bytes, bool]:
    if not isinstance(value, str):
        raise TypeError(f"a text column is compared with {type(value).__name__}")
    try:
        return value.encode(), True
    except UnicodeEncodeError as error:
        # No text in the database has lone surrogates. In the order of code points U+E000 comes
        # next, so everything below this value is below that and the reverse.
        return value[: error.start].encode() + "\ue000".encode(), False


def _int_key(value: object) -> tuple[int, bool]:
    if not isinstance(value, int):
        raise TypeError(f"a number or flag is compared with {type(value).__name__}")
    return int(value), True


_TEXT = _Scale((b"", None), _text_key, lambda key: key + b"\0")
_INT = _Scale((-(2**63), 2**63), _int_key, lambda key: key + 1)
_FLAG = _Scale((0, 2), _int_key, lambda key: key + 1)


def _scale(kind: pa.DataType) -> _Scale:
    if pa.types.is_string(kind):
        return _TEXT
    if pa.types.is_boolean(kind):
        return _FLAG
    if pa.types.is_int64(kind):
        return _INT
    raise ValueError(f"no conditions on columns of type {kind}")


def _union(spans: Iterable[Span]) -> tuple[Span, ...]:
    merged: list[Span] = []
    for start, end in sorted(spans, key=lambda span: span[0]):
        if not merged or (merged[-1][1] is not None and start > merged[-1][1]):
            merged.append((start, end))
        elif merged[-1][1] is not None and (end is None or end > merged[-1][1]):
            merged[-1] = (merged[-1][0], end)
    return tuple(merged)


def _intersection(one: Sequence[Span], other: Sequence[Span]) -> tuple[Span, ...]:
    found: list[Span] = []
    i = j = 0
    while i < len(one) and j < len(other):
        (start, end), (begin, stop) = one[i], other[j]
        low = max(start, begin)
        first = stop is None or (end is not None and end <= stop)
        high = end if first else stop
        if high is None or low < high:
            found.append((low, high))
        if first:
            i += 1
        else:
            j += 1
    return tuple(found)


# Whether the cluster reads these as wildcards or as an end is not documented.
_ODD = b"%_\\\0"


def _pushable(domain: Domain) -> Domain:
    """The domain, or one that lets more rows through and has only plain needles."""
    needles = tuple(_plain(needle) for needle in domain.needles)
    if needles == domain.needles:
        return domain
    if b"" in needles:
        return replace(domain, spans=(domain.whole,), needles=())
    return replace(domain, needles=needles)


def _plain(needle: bytes) -> bytes:
    """The longest part of a needle that can only mean itself."""
    for odd in _ODD:
        needle = needle.replace(bytes([odd]), b"\0")
    return max(needle.split(b"\0"), key=len)
