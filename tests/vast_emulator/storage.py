"""Immutable tables: a snapshot is a reference to one."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Ids = npt.NDArray[np.uint64]

ROW_ID = "$row_id"
GROUP_ROWS = 65_536
_FULL_CHUNK = GROUP_ROWS


@dataclass(frozen=True, eq=False)
class Chunk:
    """Rows in ascending order of their ids."""

    ids: Ids
    columns: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def first(self) -> int:
        """The smallest row id."""
        return int(self.ids[0])

    @property
    def last(self) -> int:
        """The largest row id."""
        return int(self.ids[-1])

    @cached_property
    def nbytes(self) -> int:
        """Bytes held by the columns."""
        return sum(int(column.nbytes) for column in self.columns.values())

    def taken(self, indices: Any) -> Chunk:
        """The rows at ``indices``."""
        return Chunk(
            self.ids[indices], {name: column.take(indices) for name, column in self.columns.items()}
        )

    def sliced(self, start: int, length: int) -> Chunk:
        """``length`` rows from ``start``."""
        return Chunk(
            self.ids[start : start + length],
            {name: column.slice(start, length) for name, column in self.columns.items()},
        )


def _joined(chunks: Sequence[Chunk]) -> Chunk:
    if len(chunks) == 1:
        return chunks[0]
    names = chunks[0].columns.keys()
    return Chunk(
        np.concatenate([chunk.ids for chunk in chunks]),
        {name: pa.concat_arrays([chunk.columns[name] for chunk in chunks]) for name in names},
    )


def _split(chunk: Chunk) -> list[Chunk]:
    if len(chunk) <= _FULL_CHUNK:
        return [chunk]
    return [
        chunk.sliced(start, min(_FULL_CHUNK, len(chunk) - start))
        for start in range(0, len(chunk), _FULL_CHUNK)
    ]


def _positions(chunk: Chunk, ids: Ids) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
    """For each id its index in ``chunk``, and whether it is there at all."""
    found = np.searchsorted(chunk.ids, ids)
    present = found < len(chunk)
    present[present] = chunk.ids[found[present]] == ids[present]
    return found, present


def _window(ids: Ids, chunk: Chunk) -> tuple[int, int]:
    """The part of ascending ``ids`` that may be in ``chunk``."""
    first, last = chunk.ids[0], chunk.ids[-1]
    return int(np.searchsorted(ids, first)), int(np.searchsorted(ids, last, side="right"))


@dataclass(frozen=True)
class Projection:
    """A semi-sorted projection: its columns and the leading ones that are its order."""

    sorted_columns: tuple[str, ...]
    unsorted_columns: tuple[str, ...]
    made_of: Table | None = field(default=None, repr=False, compare=False)
    """The table's version when the projection was made."""

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns, the sorted ones first."""
        return self.sorted_columns + self.unsorted_columns


class Memo:
    """A small cache that lives and dies with one immutable table."""

    def __init__(self, size: int = 8) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._values: dict[Any, Any] = {}

    def get(self, key: Any) -> Any:
        """The value stored for ``key``, or None."""
        return self._values.get(key)

    def put(self, key: Any, value: Any) -> None:
        """Keep ``value``; the oldest one goes when there are too many."""
        with self._lock:
            while len(self._values) >= self._size:
                del self._values[next(iter(self._values))]
            self._values[key] = value


@dataclass(frozen=True, eq=False)
class Table:
    """One version of a table. Every change returns a new one that shares unchanged columns."""

    id: int
    schema: Any
    chunks: tuple[Chunk, ...] = ()
    sorting_key: tuple[str, ...] = ()
    projections: Mapping[str, Projection] = field(default_factory=dict)
    external_ids: bool = False
    inserted: int = 0
    properties: str = ""
    memo: Memo = field(default_factory=Memo)

    @cached_property
    def num_rows(self) -> int:
        """Rows in this version."""
        return sum(len(chunk) for chunk in self.chunks)

    @cached_property
    def nbytes(self) -> int:
        """Bytes held by the columns of this version."""
        return sum(chunk.nbytes for chunk in self.chunks)

    def _with(self, **changes: Any) -> Table:
        return replace(self, memo=Memo(), **changes)

    def appended(self, ids: Ids, columns: Mapping[str, Any]) -> Table:
        """Add rows; columns that are not given become null."""
        if not len(ids):
            return self
        full = {
            item.name: columns[item.name] if item.name in columns else pa.nulls(len(ids), item.type)
            for item in self.schema
        }
        new = Chunk(ids, full)
        kept = list(self.chunks)
        if kept and kept[-1].last > new.first:
            # a transaction that got its row ids earlier is committed later
            overlapping = [chunk for chunk in kept if chunk.last > new.first]
            kept = kept[: len(kept) - len(overlapping)]
            mixed = _joined([*overlapping, new])
            kept += _split(mixed.taken(np.argsort(mixed.ids, kind="stable")))
        else:
            # merging equals keeps the number of chunks logarithmic and appending cheap
            run = [new]
            size = len(new)
            while kept and len(kept[-1]) <= size and len(kept[-1]) + size <= _FULL_CHUNK:
                run.insert(0, kept.pop())
                size += len(run[0])
            kept += _split(_joined(run))
        return self._with(chunks=tuple(kept), inserted=self.inserted + len(ids))

    def updated(self, ids: Ids, columns: Mapping[str, Any]) -> Table:
        """Change columns of rows, ids ascending; rows that are not there are left out."""
        chunks = []
        for chunk in self.chunks:
            lo, hi = _window(ids, chunk)
            chunks.append(_changed(chunk, ids[lo:hi], lo, columns) if hi > lo else chunk)
        return self._with(chunks=tuple(chunks))

    def deleted(self, ids: Ids) -> Table:
        """Remove rows, ids ascending; rows that are not there are left out."""
        chunks = []
        for chunk in self.chunks:
            lo, hi = _window(ids, chunk)
            if hi > lo:
                found, present = _positions(chunk, ids[lo:hi])
                keep = np.ones(len(chunk), dtype=bool)
                keep[found[present]] = False
                if not keep.any():
                    continue
                chunks.append(chunk.taken(np.flatnonzero(keep)))
            else:
                chunks.append(chunk)
        return self._with(chunks=tuple(chunks))

    def missing(self, ids: Ids) -> Ids:
        """Those of ``ids`` (ascending) that are not rows of this version."""
        absent = np.ones(len(ids), dtype=bool)
        for chunk in self.chunks:
            lo, hi = _window(ids, chunk)
            if hi > lo:
                absent[lo:hi] &= ~_positions(chunk, ids[lo:hi])[1]
        return ids[absent]

    def columns_added(self, added: Any) -> Table:
        """Add columns that are null in all rows."""
        chunks = tuple(
            Chunk(
                chunk.ids,
                {**chunk.columns, **{f.name: pa.nulls(len(chunk), f.type) for f in added}},
            )
            for chunk in self.chunks
        )
        return self._with(schema=pa.schema([*self.schema, *added]), chunks=chunks)

    def columns_dropped(self, names: set[str]) -> Table:
        """Remove columns."""
        chunks = tuple(
            Chunk(chunk.ids, {n: c for n, c in chunk.columns.items() if n not in names})
            for chunk in self.chunks
        )
        return self._with(
            schema=pa.schema([item for item in self.schema if item.name not in names]),
            chunks=chunks,
        )

    def column_renamed(self, old: str, new: str) -> Table:
        """Rename a column, also in the sorting key and the projections."""

        def named(name: str) -> str:
            return new if name == old else name

        def names(values: Sequence[str]) -> tuple[str, ...]:
            return tuple(named(value) for value in values)

        return self._with(
            schema=pa.schema([item.with_name(named(item.name)) for item in self.schema]),
            chunks=tuple(
                Chunk(chunk.ids, {named(n): c for n, c in chunk.columns.items()})
                for chunk in self.chunks
            ),
            sorting_key=names(self.sorting_key),
            projections={
                key: Projection(
                    names(p.sorted_columns),
                    names(p.unsorted_columns),
                    p.made_of and p.made_of.column_renamed(old, new),
                )
                for key, p in self.projections.items()
            },
        )

    def changed(self, **changes: Any) -> Table:
        """Replace attributes that are not rows: sorting key, projections, id, properties."""
        return self._with(**changes)


def _changed(chunk: Chunk, ids: Ids, offset: int, columns: Mapping[str, Any]) -> Chunk:
    found, present = _positions(chunk, ids)
    # old values first, new ones behind them: one take works for every Arrow type
    source = np.arange(len(chunk))
    source[found[present]] = len(chunk) + np.flatnonzero(present)
    changed = {
        name: pa.concat_arrays([chunk.columns[name], column.slice(offset, len(ids))]).take(
            pa.array(source)
        )
        for name, column in columns.items()
    }
    return Chunk(chunk.ids, {**chunk.columns, **changed})
