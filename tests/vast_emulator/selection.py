"""Which rows a query returns: filtered once per table version, then handed out in pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .evaluation import matches
from .leaves import EXHAUSTED
from .predicates import Domain
from .storage import GROUP_ROWS, Chunk, Projection, Table

Indices = Any
"""An array of positions in a chunk, or None for all its rows."""


@dataclass(frozen=True)
class Split:
    """The part of a table one request asks for."""

    split: int
    splits: int
    groups: int
    """Row groups dealt to a sub-split at a time."""
    sub_splits: int

    def slot(self, sub_split: int) -> int:
        """The place of a sub-split in the round of all of them."""
        return self.split * self.sub_splits + sub_split

    def members(self, chunk: Chunk, sub_split: int) -> Any:
        """Which rows of a chunk belong to a sub-split: a mask, or True or False for all."""
        total = self.splits * self.sub_splits
        run = self.groups * GROUP_ROWS
        first, last = chunk.first // run, chunk.last // run
        if first == last:
            return first % total == self.slot(sub_split)
        return (chunk.ids // np.uint64(run)) % np.uint64(total) == self.slot(sub_split)


@dataclass(frozen=True)
class Page:
    """Rows of one sub-split, and where the next page begins."""

    parts: Sequence[tuple[Chunk, Indices]]
    next_cursor: int

    @property
    def rows(self) -> int:
        """Number of rows."""
        return sum(len(c) if i is None else len(i) for c, i in self.parts)

    def columns(self, fields: Sequence[Any]) -> dict[str, Any]:
        """Columns of the page, each as a single array."""
        if not self.parts or not fields:
            return {item.name: pa.array([], item.type) for item in fields}
        # taking from a batch is one call for all columns, which matters for small tables
        schema = pa.schema([pa.field(item.name, item.type) for item in fields])
        batches = []
        for chunk, indices in self.parts:
            arrays = [chunk.columns[name] for name in schema.names]
            batch = pa.RecordBatch.from_arrays(arrays, schema=schema)
            batches.append(batch if indices is None else batch.take(pa.array(indices)))
        whole = batches[0] if len(batches) == 1 else pa.concat_batches(batches)
        return dict(zip(schema.names, whole.columns, strict=True))

    def ids(self) -> Any:
        """The row ids of the page."""
        arrays = [c.ids if i is None else c.ids[i] for c, i in self.parts]
        return np.concatenate(arrays) if arrays else np.empty(0, dtype=np.uint64)


def selected(table: Table, domains: tuple[Domain, ...]) -> list[tuple[Chunk, Indices]]:
    """The matching rows of each chunk that has any; kept for the following pages."""
    if not domains:
        return [(chunk, None) for chunk in table.chunks]
    known: list[tuple[Chunk, Indices]] | None = table.memo.get(domains)
    if known is None:
        known = []
        for chunk in table.chunks:
            mask = matches(domains, chunk.columns)
            found = pc.indices_nonzero(mask).to_numpy()
            if len(found) == len(chunk):
                known.append((chunk, None))
            elif len(found):
                known.append((chunk, found))
        table.memo.put(domains, known)
    return known


def page(
    rows: Sequence[tuple[Chunk, Indices]], split: Split, sub_split: int, cursor: int, limit: int
) -> Page:
    """The next rows of a sub-split, in row-id order, from row id ``cursor`` on."""
    parts: list[tuple[Chunk, Indices]] = []
    left = limit
    for chunk, indices in rows:
        if chunk.last < cursor:
            continue
        members = split.members(chunk, sub_split)
        if members is False:
            continue
        if members is not True:
            inside = np.flatnonzero(members)
            indices = inside if indices is None else indices[members[indices]]
        if cursor > chunk.first:
            ids = chunk.ids if indices is None else chunk.ids[indices]
            start = int(np.searchsorted(ids, np.uint64(cursor)))
            indices = np.arange(start, len(chunk)) if indices is None else indices[start:]
        count = len(chunk) if indices is None else len(indices)
        if not count:
            continue
        if count > left:
            first = left if indices is None else indices[left]
            if left:
                parts.append((chunk, np.arange(left) if indices is None else indices[:left]))
            return Page(parts, int(chunk.ids[first]))
        parts.append((chunk, indices))
        left -= count
    return Page(parts, EXHAUSTED)


def in_projection_order(
    table: Table, projection: Projection, domains: tuple[Domain, ...]
) -> list[tuple[Chunk, Indices]]:
    """All matching rows as one chunk in the order of a semi-sorted projection.

    Its row ids are positions, so that the cursor counts rows of the projection.
    """
    whole = Page(selected(table, domains), EXHAUSTED)
    columns = whole.columns(list(table.schema))
    keys = {name: columns[name] for name in projection.sorted_columns}
    order = pc.sort_indices(
        pa.table(keys), sort_keys=[(name, "ascending") for name in projection.sorted_columns]
    )
    ordered = {name: columns[name].take(order) for name in projection.columns}
    count = len(order)
    return [(Chunk(np.arange(count, dtype=np.uint64), ordered), None)] if count else []
