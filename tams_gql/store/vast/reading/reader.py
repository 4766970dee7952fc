"""What reads need of a transaction, and what they share."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor, wait
from dataclasses import dataclass, field
from threading import Lock
from typing import Protocol, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from tams_gql.store.scan import Where
from tams_gql.store.vast.layout import Physical
from tams_gql.store.vast.reading.row_cache import RowCache
from tams_gql.store.vast.wire.domains import Within

Bounds = Sequence[Where | Within]
"""An AND of conditions on physical columns."""

_FRESH_SECONDS = 600.0
_REMEMBERED = 256

A = TypeVar("A")
T = TypeVar("T")


class Reader(Protocol):
    """The reading half of a transaction. Each call is an RPC, unless nothing can match."""

    def select(
        self, table: Physical, columns: Sequence[str], where: Bounds = (), *, row_ids: bool = False
    ) -> pa.Table:
        """The rows that meet ``where``, in any order."""
        ...

    def count(self, table: Physical, where: Bounds = ()) -> int:
        """How many rows meet ``where``."""
        ...

    def estimate(self, table: Physical) -> int:
        """About how many rows the table has."""
        ...


@dataclass(slots=True)
class Tally:
    """What a store's reads have met."""

    duplicates_seen: int = 0
    """Rows left out because another with the same key, or the same time of a flow, came first."""


@dataclass(slots=True)
class Widths:
    """How long the stretches of time were that held the pages of some lists. Thread-safe."""

    _known: OrderedDict[Hashable, int] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def get(self, kind: Hashable) -> int | None:
        """The width in microseconds that fitted last."""
        with self._lock:
            return self._known.get(kind)

    def keep(self, kind: Hashable, width: int) -> None:
        """Remember what fitted."""
        with self._lock:
            self._known[kind] = width
            self._known.move_to_end(kind)
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)


@dataclass(slots=True)
class Sizes:
    """About how many rows each table has. Thread-safe.

    Asked for seldom, as reads show by themselves when a table has become large.
    """

    widths: Widths = field(default_factory=Widths)
    _known: dict[str, tuple[float, int]] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def of(self, reader: Reader, table: Physical) -> int:
        """About how many rows a table has, or had some minutes ago."""
        now = time.monotonic()
        with self._lock:
            asked, size = self._known.get(table.name, (now - _FRESH_SECONDS, 0))
        if now - asked < _FRESH_SECONDS:
            return size
        size = reader.estimate(table)
        with self._lock:
            self._known[table.name] = (now, size)
        return size

    def note(self, table: Physical, rows: int) -> None:
        """A read has brought so many rows of a table."""
        with self._lock:
            asked, size = self._known.get(table.name, (0.0, 0))
            if asked and size < rows:
                self._known[table.name] = (asked, rows)


@dataclass(frozen=True, slots=True)
class View:
    """What one read call of a session works with."""

    reader: Reader
    rows: RowCache
    sizes: Sizes
    tally: Tally
    helpers: Executor | None = None

    def side_by_side(self, work: Callable[[A], T], over: Sequence[A]) -> list[T]:
        """Work on several things at once, which read nothing by key. Waits for all of them."""
        if self.helpers is None or len(over) < 2:
            return [work(each) for each in over]
        futures = [self.helpers.submit(work, each) for each in over]
        wait(futures)
        return [future.result() for future in futures]


def unique_rows(
    view: View,
    table: Physical,
    key: tuple[str, ...],
    columns: Sequence[str],
    where: Bounds,
    *,
    row_ids: bool = False,
) -> pa.Table:
    """A select with each key once; ``columns`` include the key.

    Where writers' conflicts go unnoticed two rows can have one key. Then the one that was created
    first counts, on equal terms the one whose content sorts first, for every reader alike.
    """
    found = view.reader.select(table, columns, where, row_ids=row_ids)
    view.sizes.note(table, found.num_rows)
    if not _repeated(found, key):
        return found
    whole = view.reader.select(table, table.schema.names, where, row_ids=row_ids)
    others = [name for name in table.schema.names if name not in key]
    if "created" in others:
        others.sort(key=lambda name: name != "created")
    order = [*key, *others]
    ranked = whole.take(pc.sort_indices(whole, [(name, "ascending") for name in order]))
    winners = _first_of_each(ranked, key)
    view.tally.duplicates_seen += ranked.num_rows - winners.num_rows
    return winners.select(found.column_names)


def _repeated(rows: pa.Table, key: tuple[str, ...]) -> bool:
    if rows.num_rows < 2:
        return False
    if len(key) == 1:
        return bool(pc.count_distinct(rows.column(key[0]), mode="all").as_py() < rows.num_rows)
    return bool(rows.select(list(key)).group_by(list(key)).aggregate([]).num_rows < rows.num_rows)


def _first_of_each(ranked: pa.Table, key: tuple[str, ...]) -> pa.Table:
    numbered = ranked.select(list(key)).append_column(
        "$number", pa.array(range(ranked.num_rows), pa.int64())
    )
    firsts = numbered.group_by(list(key)).aggregate([("$number", "min")])
    return ranked.take(firsts.column("$number_min").combine_chunks().sort())
