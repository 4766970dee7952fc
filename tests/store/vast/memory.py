"""A transaction over tables in memory: selects evaluated row by row, and every call noted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from tams_gql.store.changes import Row
from tams_gql.store.scan import Where
from tams_gql.store.tables import FLOW_COUNTERS, FLOWS, Table
from tams_gql.store.vast.layout import ROW_ID, Physical, physical_of, rows_to_batch, stored_name
from tams_gql.store.vast.reading.reader import Bounds
from tams_gql.store.vast.wire.domains import Within
from tests.store import naive


class Call(NamedTuple):
    """One RPC."""

    kind: str
    table: str
    columns: tuple[str, ...]
    where: tuple[Where | Within, ...]
    rows: int


def physical_rows(rows: Mapping[Table, Iterable[Row]]) -> dict[Physical, list[dict[str, Any]]]:
    """Contract rows as a database has them; flows and their counters become one row each."""
    found: dict[Physical, list[dict[str, Any]]] = {}
    for table, of in rows.items():
        if table is not FLOW_COUNTERS:
            physical = physical_of(table)
            columns = [stored_name(table, column) for column in table.columns]
            found[physical] = rows_to_batch(physical, columns, list(of)).to_pylist()
    counters = {row[0]: row for row in rows.get(FLOW_COUNTERS, ())}
    for flow in found.get(physical_of(FLOWS), []):
        if flow["id"] in counters:
            flow.update(zip(FLOW_COUNTERS.columns[1:], counters[flow["id"]][1:], strict=True))
    return found


class MemoryTx:
    """Contract rows by table; flows and their counters become one row each."""

    txid = 1
    age_seconds = 0.0

    def __init__(self, rows: Mapping[Table, Iterable[Row]]) -> None:
        self.calls: list[Call] = []
        self._tables = {table.name: of for table, of in physical_rows(rows).items()}

    def select(
        self, table: Physical, columns: Sequence[str], where: Bounds = (), *, row_ids: bool = False
    ) -> pa.Table:
        found = self._found(table, where)
        fields = [table.schema.field(name) for name in columns]
        arrays = [pa.array([row[f.name] for _, row in found], f.type) for f in fields]
        if row_ids:
            fields.append(pa.field(ROW_ID, table.row_id))
            arrays.append(pa.array([number for number, _ in found]).cast(table.row_id))
        self._note("select", table, columns, where, len(found))
        return pa.table(arrays, schema=pa.schema(fields))

    def count(self, table: Physical, where: Bounds = ()) -> int:
        found = len(self._found(table, where))
        self._note("count", table, (), where, found)
        return found

    def estimate(self, table: Physical) -> int:
        self._note("estimate", table, (), (), 0)
        return len(self._tables.get(table.name, ()))

    def rollback(self) -> None:
        """Nothing to undo."""

    def _found(self, table: Physical, where: Bounds) -> list[tuple[int, dict[str, Any]]]:
        tests = [_test_of(each) for each in where]
        numbered = enumerate(self._tables.get(table.name, []))
        return [(n, row) for n, row in numbered if all(test(row) for test in tests)]

    def _note(
        self, kind: str, table: Physical, columns: Sequence[str], where: Bounds, rows: int
    ) -> None:
        self.calls.append(Call(kind, table.name, tuple(columns), tuple(where), rows))


def _test_of(condition: Where | Within) -> Callable[[Mapping[str, Any]], bool]:
    if isinstance(condition, Where):
        return lambda row: naive.satisfies(row, (condition,))
    column, spans = condition.column, condition.spans

    def within(row: Mapping[str, Any]) -> bool:
        value = row[column]
        return value is not None and any(
            (first is None or value >= first) and (end is None or value < end)
            for first, end in spans
        )

    return within
