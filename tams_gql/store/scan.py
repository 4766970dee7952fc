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
    """Rows whose column equals one of ``values``; no values, no rows. None equals nothing."""
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
class Among:
    """Rows whose ``column`` is the ``select`` of some row of ``table`` that matches ``where``.

    With ``among`` that row must meet it too, so that a relation can lead over several tables.
    """

    column: str
    table: Table
    select: str
    where: tuple[Where, ...]
    among: Among | None = None


@dataclass(frozen=True, slots=True)
class AllOf:
    """Rows that meet every condition; with none, all rows."""

    of: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Rows that meet at least one condition; with none, no rows."""

    of: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """Rows that do not meet the condition. A comparison with NULL is not met, so its ``Not`` is."""

    of: Condition


Condition = Where | Tagged | Among | AllOf | AnyOf | Not


@dataclass(frozen=True, slots=True)
class OrderBy:
    """One ordering column. NULL sorts last, or first when ``descending``."""

    column: str
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Scan:
    """A list of rows of one table: those that meet ``where``, ``tags`` and ``matching``.

    ``where`` and ``tags`` are what every backend pushes down. ``matching`` is any combination; a
    backend pushes down what it can of it and checks the rest exactly before paging.
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
    matching: Condition | None = None


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

    A window that ends at or before its start is empty and overlaps nothing.
    ``after_ns`` is the ``start_ns`` of the last segment already seen in the asked direction.
    """

    flow_id: str
    start_ns: int
    end_ns: int
    reverse: bool = False
    limit: int | None = None
    after_ns: int | None = None
    where: tuple[Where, ...] = ()


@dataclass(frozen=True, slots=True)
class CoverageWindow:
    """A part of a flow's timeline whose coverage is asked for.

    Gaps of up to ``max_gap_ns`` do not interrupt a stretch. At most ``max_stretches`` and one more
    are found, so that the caller can tell that there were too many.
    """

    flow_id: str
    start_ns: int
    end_ns: int
    max_gap_ns: int = 0
    max_stretches: int = 10_000


@dataclass(frozen=True, slots=True)
class Covered:
    """What of a window is covered, clipped to it.

    ``stretches`` are half-open and in order. ``covered_ns`` leaves bridged gaps out; count and
    bytes are those of all segments that overlap the window, unknown sizes counting 0.
    """

    stretches: tuple[tuple[int, int], ...]
    covered_ns: int
    segment_count: int
    bytes: int


def columns_of(table: Table, names: Sequence[str]) -> tuple[str, ...]:
    """``names`` checked against the table, each once, in table order."""
    wanted = set(names)
    unknown = wanted.difference(table.columns)
    if unknown:
        raise ValueError(f"{table.name} has no column {sorted(unknown)}")
    return tuple(name for name in table.columns if name in wanted)
