"""Which columns SQL keeps from being NULL, read from the migrations themselves.

Paging needs to know: where NULL cannot occur, a position is one row comparison that an index
answers by a seek.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from functools import cache

from tams_gql.store.embedded.migrate import create
from tams_gql.store.scan import Op, Where
from tams_gql.store.tables import TABLES, Table


def never_null(table: Table, where: Iterable[Where]) -> frozenset[str]:
    """The columns of ``table`` that hold no NULL in the rows that satisfy ``where``."""
    # Every comparison but IS NULL is false for NULL.
    compared = [w.column for w in where if all(r.op is not Op.IS_NULL for r in w.any_of)]
    required = _required()[table.name]
    return required.union(compared) if compared else required


@cache
def _required() -> Mapping[str, frozenset[str]]:
    with closing(sqlite3.connect(":memory:")) as connection:
        create(connection)
        return {table.name: _not_null(connection, table.name) for table in TABLES}


def _not_null(connection: sqlite3.Connection, table: str) -> frozenset[str]:
    columns = connection.execute('SELECT name, "notnull", pk FROM pragma_table_info(?)', (table,))
    return frozenset(name for name, not_null, key in columns if not_null or key)
