"""Reads as values.

A predicate is an AND over columns of ORs of ranges: exactly what every backend can push down, so
nothing can be written here that silently becomes a full scan.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from tams_gql.store.tables import Table

Value = str | int | bool | None


class Op(Enum):
    """How one range compares its column with a value."""

    EQ = "="
    NE = "!="
    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="
    IN = "in"
    PREFIX = "prefix"
    CONTAINS = "contains"
    IS_NULL = "is null"
    NOT_NULL = "is not null"


@dataclass(frozen=True, slots=True)
class Range:
    """One comparison. ``IN`` takes a tuple, the two null tests take nothing."""

    op: Op
    value: Value | tuple[Value, ...] = None


@dataclass(frozen=True, slots=True)
class Where:
    """Rows whose ``column`` lies in any of the ranges."""

    column: str
    any_of: tuple[Range, ...]


def eq(column: str, value: Value) -> Where:
    """Rows whose column equals ``value``; None asks for NULL."""
    if value is None:
        return Where(column, (Range(Op.IS_NULL),))
    return Where(column, (Range(Op.EQ, value),))


def is_in(column: str, values: Iterable[Value]) -> Where:
    """Rows whose column equals one of ``values``; no values, no rows."""
    return Where(column, (Range(Op.IN, tuple(values)),))


def compare(column: str, op: Op, value: Value = None) -> Where:
    """Rows whose column stands in the given relation to ``value``."""
    return Where(column, (Range(op, value),))


class TagOp(Enum):
    """How a tag is matched. A list-valued tag matches if any member does, ``ALL`` if each does."""

    EXISTS = "exists"
    ABSENT = "absent"
    IN = "in"
    ALL = "all"
    PREFIX = "prefix"


@dataclass(frozen=True, slots=True)
class Tagged:
    """A condition on one tag, matched exactly (TAMS 8.2, ``tag.{name}`` and ``tag_exists``).

    ``IN`` wants any of ``values`` among the tag's values, ``ALL`` every one of them, ``PREFIX`` a
    value that begins with any of ``values``.
    """

    name: str
    op: TagOp
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OrderBy:
    """One ordering column. NULL sorts last, or first when ``descending``."""

    column: str
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Scan:
    """A list of rows of one table.

    ``order`` must end in columns that make it total wherever ``limit`` or ``after`` is used.
    ``after`` holds the order columns' values of the last row already seen.
    """

    table: Table
    columns: tuple[str, ...]
    where: tuple[Where, ...] = ()
    tags: tuple[Tagged, ...] = ()
    order: tuple[OrderBy, ...] = ()
    limit: int | None = None
    after: tuple[Value, ...] | None = None


@dataclass(frozen=True, slots=True)
class Partitioned:
    """``scan`` once per key of ``column``, its limit and order applied within each key.

    ``scan.after`` is a position within every partition.
    """

    scan: Scan
    column: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SegmentWindow:
    """Segments of one flow that overlap ``[start_ns, end_ns)``, in time order.

    ``after_ns`` is the ``start_ns`` of the last segment already seen in the asked direction.
    """

    flow_id: str
    start_ns: int
    end_ns: int
    reverse: bool = False
    limit: int | None = None
    after_ns: int | None = None
    where: tuple[Where, ...] = ()


def columns_of(table: Table, names: Sequence[str]) -> tuple[str, ...]:
    """``names`` checked against the table, each once, in table order."""
    wanted = set(names)
    unknown = wanted.difference(table.columns)
    if unknown:
        raise ValueError(f"{table.name} has no column {sorted(unknown)}")
    return tuple(name for name in table.columns if name in wanted)
