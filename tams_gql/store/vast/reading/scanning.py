"""Scans: what the database filters, then the exact rest, order, position and limit on Arrow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from tams_gql.store.scan import (
    AllOf,
    Among,
    Condition,
    Op,
    Scan,
    Where,
    is_in,
)
from tams_gql.store.tables import FLOW_COUNTERS, FLOWS
from tams_gql.store.vast.layout import Physical, physical_of, stored_name, to_logical
from tams_gql.store.vast.reading.conditions import Answers, amongs_of, columns_of, mask
from tams_gql.store.vast.reading.long_lists import LONG_ROWS, is_by_time, page_bound
from tams_gql.store.vast.reading.ordering import bound_of, paged
from tams_gql.store.vast.reading.pushdown import filter_of, require_tags, stored
from tams_gql.store.vast.reading.reader import Bounds, View, unique_rows

COUNTERS = tuple(name for name in FLOW_COUNTERS.columns if name != "flow_id")

# Below this many rows whole rows are read at once; above, first what decides which are wanted.
_WIDE_ROWS = 4_096
# A list of so few keys is pushed down.
_PUSHED_KEYS = 300
# So many keys are only sent if the table has many more rows than that.
_MANY_KEYS = 1_000
_ROWS_PER_KEY = 3
_REMEMBERED_ROWS = 50_000


@dataclass(frozen=True, slots=True)
class Prepared:
    """The conditions of a scan: what is pushed down, and what is still to be checked."""

    where: tuple[Where, ...]
    exact: Condition | None
    answers: Answers

    @property
    def columns(self) -> set[str]:
        """What the check looks at."""
        return set() if self.exact is None else columns_of(self.exact)

    def met(self, rows: pa.Table) -> pa.Table:
        """The rows that pass the check."""
        return rows if self.exact is None else rows.filter(mask(rows, self.exact, self.answers))


def scanned(view: View, scan: Scan) -> pa.RecordBatch:
    """The answer of a scan."""
    return to_logical(scan.table, scan.columns, _rows(view, stored(scan)))


def counted(view: View, scan: Scan) -> int:
    """How many rows a scan matches, its limit and position left out."""
    asked = stored(scan)
    table, prepared = physical_of(asked.table), prepare(view, asked)
    if prepared.exact is None:
        return view.reader.count(table, prepared.where)
    columns = sorted(prepared.columns or key_of(asked))
    found = view.reader.select(table, columns, prepared.where)
    return int(prepared.met(found).num_rows)


def prepare(view: View, scan: Scan) -> Prepared:
    """Find out what the conditions on other tables ask for, and push down what can be."""
    chosen = filter_of(scan)
    answers = {among: _answer(view, among) for each in chosen.exact for among in amongs_of(each)}
    pushed, exact = list(chosen.pushed), []
    for each in chosen.exact:
        if isinstance(each, Among) and len(answers[each]) <= _PUSHED_KEYS:
            pushed.append(is_in(each.column, answers[each].to_pylist()))
        else:
            exact.append(each)
    return Prepared(tuple(pushed), AllOf(tuple(exact)) if exact else None, answers)


def _answer(view: View, among: Among) -> pa.Array:
    scan = Scan(among.table, (among.select,), where=among.where, matching=among.among)
    found = _rows(view, stored(scan), shown=False).column(stored_name(among.table, among.select))
    return pc.unique(found).drop_null()


def _rows(view: View, scan: Scan, *, shown: bool = True) -> pa.Table:
    """The rows of a scan with physical names, perhaps with more columns than asked for.

    ``shown`` says that more may be asked about these rows.
    """
    keys = _keys(scan)
    if keys is not None:
        return _of_keys(view, scan, keys)
    table, prepared = physical_of(scan.table), prepare(view, scan)
    where = (*prepared.where, *bound_of(scan.order, scan.after))
    narrow = {*key_of(scan), *(term.column for term in scan.order), *prepared.columns}
    if in_two_steps(view, scan, narrow):
        return _in_two_steps(view, scan, prepared, narrow, where)
    columns = wide(scan, narrow) if shown else sorted(narrow.union(scan.columns))
    found = unique_rows(view, table, key_of(scan), columns, where)
    if shown:
        remember(view, scan, found)
    return paged(prepared.met(found), scan.order, scan.after, scan.limit)


def _in_two_steps(
    view: View, scan: Scan, prepared: Prepared, narrow: set[str], where: Bounds
) -> pa.Table:
    """Find the page by as few columns and rows as possible, then read its rows."""
    table = physical_of(scan.table)
    bounds: list[Bounds] = [where]
    if is_by_time(scan) and view.sizes.of(view.reader, table) > LONG_ROWS:
        bound = page_bound(view.reader, table, scan, where, view.sizes.widths)
        if bound is not None:
            bounds.insert(0, (*where, bound))
    for each in bounds:
        found = unique_rows(view, table, key_of(scan), sorted(narrow), each)
        page = paged(prepared.met(found), scan.order, scan.after, scan.limit)
        if page.num_rows == scan.limit:
            break
    return completed(view, scan, page, narrow, found.num_rows, each)


def key_of(scan: Scan) -> tuple[str, ...]:
    """The physical columns that identify a row of the scan's table."""
    return tuple(stored_name(scan.table, column) for column in scan.table.key)


def wide(scan: Scan, narrow: Iterable[str]) -> list[str]:
    """All columns to read at once; the counters come with a flow, for what may follow."""
    counters = COUNTERS if scan.table is FLOWS else ()
    return sorted({*narrow, *scan.columns, *counters})


def remember(view: View, scan: Scan, found: pa.Table) -> None:
    """Keep the counters of flows that were read, if these are not too many to be of use."""
    if found.num_rows > _REMEMBERED_ROWS or scan.table not in (FLOWS, FLOW_COUNTERS):
        return
    if set(COUNTERS).issubset(found.column_names):
        known = found.select(["id", *COUNTERS])
        view.rows.add(physical_of(FLOWS), "id", (), known)


def in_two_steps(view: View, scan: Scan, narrow: set[str]) -> bool:
    """Whether to find the page first and read its rows then: only worth it in a large table."""
    if scan.limit is None or len(scan.table.key) > 1 or narrow.issuperset(scan.columns):
        return False
    return view.sizes.of(view.reader, physical_of(scan.table)) > _WIDE_ROWS


def completed(
    view: View, scan: Scan, page: pa.Table, narrow: set[str], found: int, where: Bounds
) -> pa.Table:
    """The rows of a page, in its order, with all their columns.

    ``found`` rows were there to choose from by ``where``: if the page holds most of them they are
    read by that again, which takes fewer literals than their keys.
    """
    if page.num_rows == 0:
        return empty(physical_of(scan.table))
    (key,) = key_of(scan)
    keys = page.column(key).to_pylist()
    if page.num_rows <= _PUSHED_KEYS or found > 2 * page.num_rows:
        where = (is_in(key, keys),)
    columns = wide(scan, narrow)
    whole = unique_rows(view, physical_of(scan.table), (key,), columns, where)
    remember(view, scan, whole)
    at = pc.index_in(page.column(key), value_set=whole.column(key).combine_chunks())
    return whole.take(at.drop_null())


def empty(table: Physical) -> pa.Table:
    """No rows, with all columns."""
    return table.schema.empty_table()


def _keys(scan: Scan) -> list[str] | None:
    """The keys a scan names, if it asks for rows by their key."""
    key = key_of(scan)
    if len(key) > 1:
        return None
    for where in scan.where:
        if where.column == key[0] and {r.op for r in where.any_of} <= {Op.EQ, Op.IN}:
            values = [
                value
                for bound in where.any_of
                for value in (bound.value if isinstance(bound.value, tuple) else (bound.value,))
            ]
            return [value for value in dict.fromkeys(values) if isinstance(value, str)]
    return None


def _of_keys(view: View, scan: Scan, keys: list[str]) -> pa.Table:
    """The rows of a scan by key: known ones cost nothing."""
    table, (key,) = physical_of(scan.table), key_of(scan)
    check = [*scan.where, *scan.tags, *(() if scan.matching is None else (scan.matching,))]
    condition = AllOf(tuple(check))
    require_tags(scan.table, condition)
    prepared = Prepared(
        (), condition, {among: _answer(view, among) for among in amongs_of(condition)}
    )
    needed = {key, *scan.columns, *(term.column for term in scan.order), *prepared.columns}
    found = rows_by_key(view, table, key, keys, needed)
    return paged(prepared.met(found), scan.order, scan.after, scan.limit)


def rows_by_key(
    view: View, table: Physical, key: str, keys: Sequence[str], needed: Iterable[str]
) -> pa.Table:
    """The rows of the keys that exist; those read before in this transaction are not read again."""
    columns = sorted({key, *needed})
    missing = view.rows.unknown(table, keys, columns)
    if missing:
        counters = COUNTERS if table is physical_of(FLOWS) else ()
        asked = sorted({*columns, *counters})
        bounds = key_bounds(view, table, key, missing)
        found = unique_rows(view, table, (key,), asked, bounds, row_ids=True)
        if not bounds:
            found = found.filter(pc.is_in(found.column(key), value_set=pa.array(missing)))
        view.rows.add(table, key, missing, found)
    known = view.rows.rows(table, keys, columns)
    return empty(table) if known is None else known


def key_bounds(view: View, table: Physical, column: str, keys: Sequence[str]) -> tuple[Where, ...]:
    """Rows with these values; none at all where reading a small table whole is cheaper."""
    if len(keys) > _MANY_KEYS:
        size = view.sizes.of(view.reader, table)
        if size <= _ROWS_PER_KEY * len(keys):
            return ()
    return (is_in(column, keys),)
