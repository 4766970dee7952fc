"""The real SDK, driven the way the emulator's tests need it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import vastdb
from vastdb.config import BackoffConfig, QueryConfig
from vastdb.table_metadata import TableMetadata, TableRef, TableType

from .emulator import Emulator

SCHEMA = "s"
ROW_ID = "$row_id"


class Driver:
    """One SDK session on one bucket."""

    def __init__(self, emulator: Emulator, bucket: str) -> None:
        self.emulator = emulator
        self.bucket = bucket
        quick = BackoffConfig(wait_gen=_no_wait, max_tries=5, max_time=10.0)
        self.session = vastdb.connect(**emulator.session, backoff_config=quick, timeout=20)
        self._known: dict[str, TableMetadata] = {}

    def close(self) -> None:
        """Close the pooled connections."""
        self.session.api.__exit__()

    def __call__(self) -> Any:
        """A transaction, to be entered."""
        return self.session.transaction()

    def begin(self) -> Any:
        """A transaction that stays open unless the test ends it."""
        return self.session.transaction().__enter__()

    def commit(self, tx: Any) -> None:
        """Commit a transaction that was begun with ``begin``."""
        tx.__exit__(None, None, None)

    def create(self, name: str, columns: dict[str, Any], sorting_key: tuple[str, ...] = ()) -> None:
        """Create a table, and the schema with the first one."""
        schema = pa.schema(columns)
        with self() as tx:
            tx.bucket(self.bucket).create_schema(SCHEMA, fail_if_exists=False).create_table(
                name, schema, sorting_key=list(sorting_key)
            )
        self.know(name, schema, sorted_table=bool(sorting_key))

    def know(self, name: str, schema: Any, sorted_table: bool = False) -> None:
        """Use a table without asking the server about it."""
        kind = TableType.Elysium if sorted_table else TableType.Regular
        self._known[name] = TableMetadata(TableRef(self.bucket, SCHEMA, name), schema, kind)

    def table(self, tx: Any, name: str = "t") -> Any:
        """A table in a transaction."""
        return tx.table_from_metadata(self._known[name])

    def insert(self, tx: Any, rows: dict[str, list[Any]], name: str = "t") -> list[int]:
        """Insert rows given by column; return their ids."""
        schema = self._known[name].arrow_schema
        sent = pa.schema([item for item in schema if item.name in rows])
        ids = self.table(tx, name).insert(pa.table(rows, schema=sent))
        return [int(value) for value in ids.to_pylist()]

    def read(self, tx: Any, predicate: Any = None, name: str = "t", **options: Any) -> Any:
        """Matching rows as a table, in one split."""
        config = QueryConfig(num_splits=1, num_sub_splits=1, data_endpoints=[self.emulator.url])
        found = self.table(tx, name).select(predicate=predicate, config=config, **options)
        return found.read_all()

    def column(self, tx: Any, column: str, predicate: Any = None, name: str = "t") -> list[Any]:
        """One column of matching rows."""
        values: list[Any] = self.read(tx, predicate, name, columns=[column])[column].to_pylist()
        return values

    def update(
        self, tx: Any, ids: list[int], values: dict[str, list[Any]], name: str = "t"
    ) -> None:
        """Change columns of rows of an unsorted table."""
        schema = self._known[name].arrow_schema
        arrays = {ROW_ID: pa.array(ids, pa.uint64())}
        arrays |= {key: pa.array(value, schema.field(key).type) for key, value in values.items()}
        self.table(tx, name).update(pa.table(arrays))

    def delete(self, tx: Any, ids: list[int], name: str = "t") -> None:
        """Delete rows of an unsorted table."""
        self.table(tx, name).delete(pa.table({ROW_ID: pa.array(ids, pa.uint64())}))


def _no_wait(**_: Any) -> Iterator[float]:
    while True:
        yield 0.0
