"""Rows that one transaction has read by key."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import pyarrow as pa

from tams_gql.store.vast.layout import Physical


class _Place(NamedTuple):
    read: int  # which of the reads of the table
    row: int


class _Rows:
    """What is known of one table: for each key where its row is found, nowhere if it has none."""

    def __init__(self) -> None:
        self.reads: list[pa.Table] = []
        self.places: dict[str, list[_Place]] = {}

    def place(self, key: str, columns: frozenset[str]) -> _Place | None:
        """Where a row with all these columns is; None if it is not known or not there."""
        for place in reversed(self.places.get(key, ())):
            if columns.issubset(self.reads[place.read].column_names):
                return place
        return None


class RowCache:
    """Rows read by key, with the columns that were read, ``$row_id`` among them if asked for.

    It belongs to one transaction and is used from one thread at a time. Columns are physical.
    """

    def __init__(self) -> None:
        self._tables: defaultdict[str, _Rows] = defaultdict(_Rows)

    def add(self, table: Physical, key: str, asked: Iterable[str], found: pa.Table) -> None:
        """Keep ``found``: the rows of all the ``asked`` keys that exist; ``key`` names the column.

        Each key occurs once at most. Rows of keys that were not asked for are kept too.
        """
        rows = self._tables[table.name]
        for each in asked:
            rows.places.setdefault(each, [])
        if found.num_rows == 0:
            return
        number = len(rows.reads)
        rows.reads.append(found)
        for row, each in enumerate(found.column(key).to_pylist()):
            rows.places.setdefault(each, []).append(_Place(number, row))

    def unknown(self, table: Physical, keys: Iterable[str], columns: Iterable[str]) -> list[str]:
        """The keys, each once, of which it is not known whether they have these columns' values."""
        rows, wanted = self._tables[table.name], frozenset(columns)
        return [
            key
            for key in dict.fromkeys(keys)
            if rows.places.get(key) != [] and rows.place(key, wanted) is None
        ]

    def rows(self, table: Physical, keys: Iterable[str], columns: Sequence[str]) -> pa.Table | None:
        """The known rows of the keys, each once, in their order; None if there are none.

        Keys that are not known, or not with all the columns, are left out like those without a row.
        """
        rows, wanted = self._tables[table.name], frozenset(columns)
        places = [rows.place(key, wanted) for key in dict.fromkeys(keys)]
        found = [place for place in places if place is not None]
        if not found:
            return None
        used = {place.read: 0 for place in found}
        start = 0
        for read in used:
            used[read], start = start, start + rows.reads[read].num_rows
        joined = pa.concat_tables([rows.reads[read].select(list(columns)) for read in used])
        return joined.take(pa.array([used[p.read] + p.row for p in found], pa.int64()))
