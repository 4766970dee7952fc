"""Plain answers from a store: tuples of Python values, times as integers."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from tams_gql.store.changes import Delete
from tams_gql.store.port import CatalogStore, Groups
from tams_gql.store.scan import OrderBy, Partitioned, Scan, SegmentWindow
from tams_gql.store.tables import EVENTS, TABLES, Table
from tests.store import build

Rows = list[tuple[Any, ...]]


def plain(batch: pa.RecordBatch) -> Rows:
    """The rows of a batch."""
    columns = [
        (column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist()
        for column in batch.columns
    ]
    return list(zip(*columns, strict=True)) if batch.num_rows else []


def split(groups: Groups) -> list[Rows]:
    """The rows of each group."""
    return [plain(groups.group(index)) for index in range(len(groups.offsets) - 1)]


async def rows(store: CatalogStore, scan: Scan) -> Rows:
    """What a scan finds, in a session of its own."""
    async with store.session() as session:
        (batch,) = await session.scan([scan])
    return plain(batch)


async def count(store: CatalogStore, scan: Scan) -> int:
    """How many rows a scan matches."""
    async with store.session() as session:
        (found,) = await session.count([scan])
    return found


async def partitions(store: CatalogStore, partitioned: Partitioned) -> list[Rows]:
    """What a scan finds for each key."""
    async with store.session() as session:
        return split(await session.partitions(partitioned))


async def windows(
    store: CatalogStore, columns: tuple[str, ...], *asked: SegmentWindow
) -> list[Rows]:
    """The segments of each window."""
    async with store.session() as session:
        return split(await session.windows(columns, asked))


async def count_windows(store: CatalogStore, *asked: SegmentWindow) -> list[int]:
    """How many segments overlap each window."""
    async with store.session() as session:
        return await session.count_windows(asked)


async def row(store: CatalogStore, table: Table, *key: Any) -> dict[str, Any] | None:
    """One row by its key."""
    found = [r for r in await everything_of(store, table) if _key(table, r) == key]
    return dict(zip(table.columns, found[0], strict=True)) if found else None


async def everything_of(store: CatalogStore, table: Table) -> Rows:
    """All rows of a table in the order of its key."""
    order = tuple(OrderBy(column) for column in table.key)
    return await rows(store, Scan(table, table.columns, order=order))


async def everything(store: CatalogStore) -> dict[str, Rows]:
    """The whole catalog, the change log included."""
    tables = {t.name: await everything_of(store, t) for t in TABLES if t is not EVENTS}
    return {**tables, "events": await events(store)}


async def events(store: CatalogStore, after: str | None = None, limit: int = 100_000) -> Rows:
    """The change log after a position, by default all that is kept of it."""
    start = await store.log.floor() if after is None else after
    return plain(await store.log.events(start, limit))


async def bodies(store: CatalogStore) -> list[str]:
    """The bodies of all kept events, in order."""
    return [found[EVENTS.columns.index("body")] for found in await events(store)]


async def wipe(store: CatalogStore, *tables: Table) -> None:
    """Remove all rows of some tables."""
    await store.commit(build.changes(delete=[Delete(table, ()) for table in tables]))


def _key(table: Table, found: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(found[table.columns.index(column)] for column in table.key)
