"""Domains checked on rows that have been read."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from tams_gql.store.vast.wire.comparisons import Alternative, alternatives
from tams_gql.store.vast.wire.domains import Domain, Key

_COMPARE = {
    "not_equal": pc.not_equal,
    "less": pc.less,
    "less_equal": pc.less_equal,
    "greater": pc.greater,
    "greater_equal": pc.greater_equal,
}


def matching(rows: pa.Table, domains: Sequence[Domain]) -> pa.Table:
    """The rows that lie in all domains."""
    for domain in domains:
        rows = rows.filter(_mask(rows.column(domain.column), domain))
    return rows


def _mask(column: pa.ChunkedArray, domain: Domain) -> pa.ChunkedArray:
    if pa.types.is_string(domain.kind):
        column = column.cast(pa.binary())  # ends of ranges need not be text; copies nothing
    elif pa.types.is_boolean(domain.kind):
        column = column.cast(pa.int64())
    mask = None
    points, others = _parted(alternatives(domain))
    mask = pc.is_in(column, pa.array(points, column.type))
    for each in others:
        mask = pc.or_(mask, pc.fill_null(_met(column, each), False))
    return mask


def _parted(given: list[Alternative]) -> tuple[list[Key], list[Alternative]]:
    """Single values, which are looked up together, and the rest."""
    points = [each[0][1] for each in given if each[0][0] == "equal"]
    return points, [each for each in given if each[0][0] != "equal"]


def _met(column: pa.ChunkedArray, alternative: Alternative) -> pa.ChunkedArray:
    mask = None
    for function, literal in alternative:
        met = _comparison(column, function, literal)
        mask = met if mask is None else pc.and_(mask, met)
    return mask


def _comparison(column: pa.ChunkedArray, function: str, literal: object) -> pa.ChunkedArray:
    match function:
        case "is_null":
            return pc.is_null(column)
        case "is_valid":
            return pc.is_valid(column)
        case "match_substring":
            return pc.match_substring(column, literal)
        case _:
            return _COMPARE[function](column, pa.scalar(literal, column.type))
