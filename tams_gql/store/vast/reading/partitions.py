"""One scan for many keys: a single read, grouped by key with its order and limit within each."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tams_gql.store.port import Groups
from tams_gql.store.scan import Partitioned, is_in
from tams_gql.store.vast.layout import physical_of, stored_name, to_logical
from tams_gql.store.vast.reading.ordering import beyond, bound_of, sort_indices
from tams_gql.store.vast.reading.pushdown import stored
from tams_gql.store.vast.reading.reader import View, unique_rows
from tams_gql.store.vast.reading.scanning import (
    completed,
    empty,
    in_two_steps,
    key_bounds,
    key_of,
    prepare,
    remember,
    wide,
)

Numbers = npt.NDArray[np.int64]


def partitioned_rows(view: View, partitioned: Partitioned) -> Groups:
    """The rows of every key, in the order of the keys."""
    scan, table = stored(partitioned.scan), physical_of(partitioned.scan.table)
    column = stored_name(scan.table, partitioned.column)
    keys = list(dict.fromkeys(partitioned.keys))
    if not keys:
        return Groups(to_logical(scan.table, partitioned.scan.columns, empty(table)), [0])
    prepared = prepare(view, scan)
    bounds = (*prepared.where, *bound_of(scan.order, scan.after))
    bounds = (*key_bounds(view, table, column, keys), *bounds)
    narrow = {column, *key_of(scan), *(term.column for term in scan.order), *prepared.columns}
    steps = in_two_steps(view, scan, narrow)
    columns = sorted(narrow) if steps else wide(scan, narrow)
    found = unique_rows(view, table, key_of(scan), columns, bounds)
    if not steps:
        remember(view, scan, found)
    matched = prepared.met(found)
    if scan.after is not None:
        matched = matched.filter(beyond(matched, scan.order, scan.after))
    rows, offsets = _grouped(matched, column, keys, partitioned)
    if steps:
        whole = completed(view, scan, rows, narrow, found.num_rows, bounds)
        rows, offsets = _grouped(whole, column, keys, partitioned)
    return _in_turn(rows, offsets, keys, partitioned)


def partition_counts(view: View, partitioned: Partitioned) -> list[int]:
    """How many rows each key matches, limit and position left out."""
    scan, table = stored(partitioned.scan), physical_of(partitioned.scan.table)
    column = stored_name(scan.table, partitioned.column)
    keys = list(dict.fromkeys(partitioned.keys))
    if not keys:
        return []
    prepared = prepare(view, scan)
    if len(keys) == 1 and prepared.exact is None:
        where = (is_in(column, keys), *prepared.where)
        return [view.reader.count(table, where)] * len(partitioned.keys)
    where = (*key_bounds(view, table, column, keys), *prepared.where)
    found = prepared.met(view.reader.select(table, sorted({column, *prepared.columns}), where))
    codes = _codes(found, column, keys)
    counts = dict(zip(keys, np.bincount(codes[codes >= 0], minlength=len(keys)), strict=True))
    return [int(counts[key]) for key in partitioned.keys]


def _codes(rows: pa.Table, column: str, keys: list[str]) -> Numbers:
    """The number of each row's key, -1 for none of them."""
    at = pc.index_in(rows.column(column), value_set=pa.array(keys, pa.string()))
    codes: Numbers = pc.fill_null(at, -1).to_numpy().astype(np.int64)
    return codes


def _grouped(
    rows: pa.Table, column: str, keys: list[str], partitioned: Partitioned
) -> tuple[pa.Table, Numbers]:
    """The rows by key, each key's in order and cut to the limit, and where each key's begin."""
    scan = stored(partitioned.scan)
    order = (
        sort_indices(rows, scan.order).to_numpy().astype(np.int64)
        if scan.order
        else np.arange(rows.num_rows)
    )
    codes = _codes(rows, column, keys)[order]
    by_key = np.argsort(codes, kind="stable")
    by_key = by_key[np.searchsorted(codes[by_key], 0) :]  # keys that were not asked for come first
    codes = codes[by_key]
    starts = np.searchsorted(codes, np.arange(len(keys)))
    if scan.limit is not None:
        kept = np.arange(len(codes)) - starts[codes] < scan.limit
        by_key, codes = by_key[kept], codes[kept]
    offsets: Numbers = np.searchsorted(codes, np.arange(len(keys) + 1)).astype(np.int64)
    return rows.take(pa.array(order[by_key])), offsets


def _in_turn(rows: pa.Table, offsets: Numbers, keys: list[str], partitioned: Partitioned) -> Groups:
    """The groups in the order they were asked for, a repeated key's repeated."""
    scan = partitioned.scan
    if len(keys) < len(partitioned.keys):
        number = {key: at for at, key in enumerate(keys)}
        asked = [number[key] for key in partitioned.keys]
        spans = [np.arange(offsets[at], offsets[at + 1]) for at in asked]
        rows = rows.take(pa.array(np.concatenate(spans)))
        offsets = np.cumsum([0, *(len(span) for span in spans)])
    return Groups(to_logical(scan.table, scan.columns, rows), offsets.tolist())
