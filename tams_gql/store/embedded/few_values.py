"""Filters on columns of few values: most flows have the same few formats and codecs.

SQLite takes an equality for selective where it has an index, so it is told when to use these: where
an index gives the rows in the order that is asked for, or where a look has shown that few match.
Otherwise the columns are hidden from it by a ``+``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tams_gql.store.scan import Op, Scan, Where, eq
from tams_gql.store.tables import FLOWS, Table

FEW = 500
"""So many rows are found and sorted in a moment, and counted at a small part of a page's cost."""

# The column whose values have fewer rows comes first. With each what its index tells of a row.
_INDEXED: Mapping[str, Mapping[str, frozenset[str]]] = {
    FLOWS.name: {
        "codec": frozenset({"codec", "format", "created"}),
        "format": frozenset({"format", "created"}),
    }
}
_ORDER = "created"  # of the rows of one value
# Conditions on these have better indexes.
_NARROWER = frozenset({"id", "source_id", "profile_id", "label", "metadata_updated"})
_CHOOSING = (Op.EQ, Op.IN)


def hidden(table: Table) -> frozenset[str]:
    """The columns of few values, which SQLite must not choose to begin with."""
    return frozenset(_INDEXED.get(table.name, ()))


def index_of(table: Table, column: str) -> str:
    """The index that begins with a column of few values."""
    return f"{table.name}_by_{column}"


def covered(table: Table, column: str) -> frozenset[str]:
    """The columns that the index tells without the row."""
    return _INDEXED[table.name][column]


def simplified(scan: Scan) -> Scan:
    """The scan with lists of one value as equalities, which leave an index its order.

    For tables with columns of few values only.
    """
    columns = _INDEXED[scan.table.name]
    return replace(scan, where=tuple([_one(w) if w.column in columns else w for w in scan.where]))


def _one(where: Where) -> Where:
    match where.any_of:
        case (bound,) if bound.op is Op.IN and isinstance(bound.value, tuple):
            (value, *more) = bound.value or (None,)
            return where if more or value is None else eq(where.column, value)
    return where


def narrowing(scan: Scan) -> str | None:
    """The column of few values to begin with, unless there is a better index."""
    columns = _INDEXED.get(scan.table.name)
    if columns is None or not scan.where or scan.tags or scan.matching is not None:
        return None
    if not _NARROWER.isdisjoint(_compared(scan)):
        return None
    return next((column for column in columns if _ops(scan, column) in _CHOOSING), None)


def _ops(scan: Scan, column: str) -> Op | None:
    """How the column is compared, if it is once and in one way."""
    found = [w.any_of for w in scan.where if w.column == column]
    return found[0][0].op if len(found) == 1 and len(found[0]) == 1 else None


def is_served(scan: Scan, column: str) -> bool:
    """Whether the index gives the rows in the order of the scan, or all that a count needs."""
    if scan.order:
        return scan.order[0].column == _ORDER and _ops(scan, column) is Op.EQ
    return not scan.columns and covered(scan.table, column).issuperset(_compared(scan))


def is_in_doubt(scan: Scan, column: str) -> bool:
    """Whether it matters if few rows match what the index tells."""
    further = hidden(scan.table).intersection(_compared(scan)) - {column}
    return not is_served(scan, column) or (bool(scan.order) and bool(further))


def _compared(scan: Scan) -> list[str]:
    return [w.column for w in scan.where]
