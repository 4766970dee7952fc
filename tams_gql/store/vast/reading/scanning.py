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
from tams_gql.store.tables import FLOW_COUNTERS, FLOWS, OBJECTS, SEGMENTS, SOURCES
from tams_gql.store.vast.layout import (
    LOCK,
    USES,
    Physical,
    physical_of,
    stored_name,
    to_logical,
)
from tams_gql.store.vast.reading.conditions import Answers, amongs_of, columns_of, mask
from tams_gql.store.vast.reading.long_lists import LONG_ROWS, is_by_time, page_bound
from tams_gql.store.vast.reading.ordering import bound_of, paged
from tams_gql.store.vast.reading.pushdown import filter_of, require_tags, stored
from tams_gql.store.vast.reading.reader import Bounds, View, unique_rows
from tams_gql.store.vast.uses import USER_COLUMNS, bounds_of_users, named
from tams_gql.store.vast.wire.domains import Within

COUNTERS = tuple(name for name in FLOW_COUNTERS.columns if name != "flow_id")

# Read along with rows by key, for what may follow.
_ALONG = {FLOWS.name: (*COUNTERS, LOCK), SOURCES.name: (LOCK,), OBJECTS.name: (USES,)}

# Below this many rows whole rows are read at once; above, first what decides which are wanted.
_WIDE_ROWS = 4_096
# A list of so few keys is pushed down.
_PUSHED_KEYS = 300
# So many keys are only sent if the table has many more rows than that.
_MANY_KEYS = 1_000
_ROWS_PER_KEY = 3
_REMEMBERED_ROWS = 50_000
_BY_OBJECTS = (SEGMENTS, "object_id", OBJECTS, "id")  # the segments of several objects
_ROWS_OF_GROUP = 65_536  # the least that a query reads of a sorted table


@dataclass(frozen=True, slots=True)
class Prepared:
    """The conditions of a scan: what is pushed down, and what is still to be checked."""

    where: tuple[Where | Within, ...]
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
    answers: dict[Among, pa.Array] = {}
    where, exact = [*chosen.pushed, *_bounds_of_users(view, scan, chosen.pushed)], []
    for each in chosen.exact:
        answers |= {among: _answer(view, among) for among in amongs_of(each) if among is not each}
        if isinstance(each, Among):
            answers[each], bounds = _answer_with_bounds(view, scan, each)
            where += bounds
            if len(answers[each]) <= _PUSHED_KEYS:
                where.append(is_in(each.column, answers[each].to_pylist()))
                continue
        exact.append(each)
    return Prepared(tuple(where), AllOf(tuple(exact)) if exact else None, answers)


def _bounds_of_users(view: View, scan: Scan, where: Bounds) -> Bounds:
    """Where the users of the objects that a scan names are, as far as these objects' rows say."""
    column = USER_COLUMNS.get(scan.table)
    object_ids = None if column is None else named(where, column)
    if not object_ids or len(object_ids) > _MANY_KEYS:
        return ()
    objects = physical_of(OBJECTS)
    unknown = view.rows.unknown(objects, object_ids, ("id", USES))
    if unknown and view.sizes.of(view.reader, physical_of(scan.table)) <= _ROWS_OF_GROUP:
        return ()  # to read them all is as cheap as to find out which
    rows = rows_by_key(view, objects, "id", object_ids, (USES,))
    told = dict.fromkeys(object_ids)  # an object that is not there tells of nothing
    told |= zip(rows.column("id").to_pylist(), rows.column(USES).to_pylist(), strict=True)
    return bounds_of_users(scan.table, told)


def _answer_with_bounds(view: View, scan: Scan, among: Among) -> tuple[pa.Array, Bounds]:
    """The answer of a condition, and where the rows that meet it are, as far as that is told."""
    if (scan.table, among.column, among.table, among.select) != _BY_OBJECTS:
        return _answer(view, among), ()
    found = _asked(view, among, "id", USES)
    told = dict(zip(found.column("id").to_pylist(), found.column(USES).to_pylist(), strict=True))
    return found.column("id").combine_chunks(), bounds_of_users(SEGMENTS, told)


def _answer(view: View, among: Among) -> pa.Array:
    found = _asked(view, among, among.select)
    return pc.unique(found.column(stored_name(among.table, among.select))).drop_null()


def _asked(view: View, among: Among, *columns: str) -> pa.Table:
    scan = Scan(among.table, columns, where=among.where, matching=among.among)
    return _rows(view, stored(scan), shown=False)


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
        asked = sorted({*columns, *_ALONG.get(table.name, ())})
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
