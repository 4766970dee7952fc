"""The shapes every loader shares: by unique key, by partition, by window."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Generic, TypeVar

from tams_gql.loaders.loader import Loader
from tams_gql.store.port import Groups, ReadSession
from tams_gql.store.records import RECORD_TABLES, R, records
from tams_gql.store.scan import Partitioned, Scan, SegmentWindow, is_in
from tams_gql.store.tables import Table

K = TypeVar("K")
T = TypeVar("T")

# A page of 1,000 parents with 50 children each stays one round trip; beyond that memory counts.
MAX_BATCH = 50_000


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Rows in the order they were asked for; ``more`` when others follow in that direction."""

    rows: list[T]
    more: bool


@dataclass(frozen=True, slots=True)
class Part:
    """One page of the rows that belong to ``key``. ``scan`` is the same object for all siblings."""

    key: str
    scan: Scan


PageLoader = Loader[K, Page[T]]
"""Loads pages of rows of one kind, by what chooses them."""


def by_key(reads: ReadSession, kind: type[R], column: str = "id") -> Loader[str, R | None]:
    """Rows by a unique column; None for a miss."""
    table = RECORD_TABLES[kind]

    async def load(keys: list[str]) -> list[R | None]:
        (batch,) = await reads.scan([Scan(table, table.columns, where=(is_in(column, keys),))])
        at = table.columns.index(column)
        found = {row[at]: row for row in records(batch, kind)}
        return [found.get(key) for key in keys]

    return Loader(load, max_batch_size=MAX_BATCH)


def pages(reads: ReadSession, kind: type[R], column: str) -> Loader[Part, Page[R]]:
    """One page of rows per value of ``column``; each scan asks for one row more than it shows."""

    async def load(parts: list[Part]) -> list[Page[R]]:
        answers: dict[Part, Page[R]] = {}
        for scan, keys in _grouped(parts).items():
            groups = await reads.partitions(Partitioned(scan, column, tuple(keys)))
            for key, rows in zip(keys, _split(groups, kind), strict=True):
                answers[Part(key, scan)] = page_of(rows, scan.limit)
        return [answers[part] for part in parts]

    return Loader(load, max_batch_size=MAX_BATCH)


def counts(reads: ReadSession, column: str) -> Loader[Part, int]:
    """How many rows each part's scan matches, over all its pages."""

    async def load(parts: list[Part]) -> list[int]:
        answers: dict[Part, int] = {}
        for scan, keys in _grouped(parts).items():
            found = await reads.count_partitions(Partitioned(scan, column, tuple(keys)))
            answers |= {Part(key, scan): n for key, n in zip(keys, found, strict=True)}
        return [answers[part] for part in parts]

    return Loader(load, max_batch_size=MAX_BATCH)


def scans(reads: ReadSession, kind: type[R]) -> Loader[Scan, Page[R]]:
    """One page per scan, for lists that siblings ask for with conditions of their own."""

    async def load(keys: list[Scan]) -> list[Page[R]]:
        batches = await reads.scan(keys)
        return [
            page_of(records(batch, kind), key.limit)
            for key, batch in zip(keys, batches, strict=True)
        ]

    return Loader(load, max_batch_size=MAX_BATCH)


def all_of(reads: ReadSession, kind: type[R], scan: Scan, column: str) -> Loader[str, list[R]]:
    """All rows per value of ``column``, for relations that are bounded by nature."""

    async def load(keys: list[str]) -> list[list[R]]:
        groups = await reads.partitions(Partitioned(scan, column, tuple(keys)))
        return _split(groups, kind)

    return Loader(load, max_batch_size=MAX_BATCH)


def windows(reads: ReadSession, kind: type[R], table: Table) -> Loader[SegmentWindow, Page[R]]:
    """One page of segments per window; each window asks for one segment more than it shows."""

    async def load(keys: list[SegmentWindow]) -> list[Page[R]]:
        groups = await reads.windows(table.columns, keys)
        rows = _split(groups, kind)
        return [page_of(found, key.limit) for key, found in zip(keys, rows, strict=True)]

    return Loader(load, max_batch_size=MAX_BATCH)


def page_of(rows: list[T], limit: int | None) -> Page[T]:
    """A page from rows that were read with one more than shown."""
    if limit is None or len(rows) < limit:
        return Page(rows, more=False)
    return Page(rows[: limit - 1], more=True)


def _split(groups: Groups, kind: type[R]) -> list[list[R]]:
    rows = records(groups.batch, kind)
    return [rows[a:b] for a, b in pairwise(groups.offsets)]


def _grouped(parts: Iterable[Part]) -> dict[Scan, list[str]]:
    """The keys of each distinct scan; siblings share one scan object, so this hashes it once."""
    grouped: dict[int, tuple[Scan, list[str]]] = {}
    for part in parts:
        grouped.setdefault(id(part.scan), (part.scan, []))[1].append(part.key)
    merged: dict[Scan, list[str]] = defaultdict(list)
    for scan, keys in grouped.values():
        merged[scan] += keys
    return merged
