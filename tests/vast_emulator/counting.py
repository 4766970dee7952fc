"""Counting and logging RPCs."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .predicates import Domain, Range
from .scan import Scan, scan_of
from .storage import Table

WRITES = frozenset({"insert", "update", "delete"})
CONTROL = "control"
_MOST_LOGGED = 100_000


@dataclass
class Rpc:
    """One answered RPC. ``kind`` is ``begin``, ``commit``, ``query``, ``insert`` and so on."""

    kind: str
    bucket: str = ""
    schema: str = ""
    table: str = ""
    txid: str = ""
    status: int = 0
    """HTTP status; 0 when the connection was closed without a reply."""
    code: str = ""
    """Error code of the reply."""
    connection: int = 0
    """Number of the TCP connection."""
    seconds: float = 0.0
    """Time in the emulator, added latency included."""
    bytes_in: int = 0
    bytes_out: int = 0
    columns: tuple[str, ...] = ()
    """Columns projected by a query, or written by an insert or update."""
    predicate: tuple[Domain, ...] = ()
    """What was pushed down: AND-ed domains, each one column with OR-ed ranges."""
    rows: int = 0
    """Rows returned by a query or written."""
    limit: int = 0
    """Row limit per sub-split asked for; 0 when there is none."""
    split: tuple[int, int] = (0, 1)
    """Split number and number of splits of a query."""
    projection: str = ""
    """Semi-sorted projection that answered a query."""
    first_page: bool = True
    _source: Table | None = field(default=None, repr=False)

    @property
    def table_path(self) -> str:
        """``bucket/schema/table``."""
        return "/".join(part for part in (self.bucket, self.schema, self.table) if part)

    def ranges(self, column: str) -> list[Range]:
        """All ranges pushed down for a column (``a.b`` for a struct field)."""
        return [r for domain in self.predicate if domain.column == column for r in domain.ranges]

    @property
    def pushed_columns(self) -> set[str]:
        """Columns that have a range."""
        return {domain.column for domain in self.predicate}

    def scan_over(self, table: Table) -> None:
        """Remember what was read; measured when asked for."""
        self._source = table

    @property
    def scan(self) -> Scan:
        """Work of a query; all zero for further pages and for splits other than the first."""
        if self._source is None or not self.first_page or self.split[0]:
            return Scan(0, 0, 0)
        return scan_of(self._source, self.predicate)

    @property
    def rows_scanned(self) -> int:
        """Rows of the row groups that the sorting key does not exclude."""
        return self.scan.rows

    @property
    def rows_in_key_range(self) -> int:
        """Rows within the bounds of the key prefix."""
        return self.scan.rows_in_key_range

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON values; byte strings as latin-1 text."""
        scan = self.scan
        shown = {key: value for key, value in vars(self).items() if not key.startswith("_")}
        shown["predicate"] = [
            {
                "column": domain.column,
                "ranges": [[r.operator, *map(_plain, r.values)] for r in domain.ranges],
            }
            for domain in self.predicate
        ]
        return {
            **shown,
            "row_groups_scanned": scan.row_groups,
            "rows_scanned": scan.rows,
            "rows_in_key_range": scan.rows_in_key_range,
        }


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return list(value) if isinstance(value, tuple) else value


class RpcLog:
    """RPCs of a period, in the order in which they were answered."""

    def __init__(self, bucket: str | None = None) -> None:
        self.bucket = bucket
        self.rpcs: list[Rpc] = []

    @property
    def counts(self) -> Counter[str]:
        """How many of each kind."""
        return Counter(rpc.kind for rpc in self.rpcs)

    @property
    def connections(self) -> int:
        """TCP connections that carried them."""
        return len({rpc.connection for rpc in self.rpcs})

    def __len__(self) -> int:
        return len(self.rpcs)

    def __getitem__(self, kind: str) -> int:
        return self.counts[kind]

    def __iter__(self) -> Iterator[Rpc]:
        return iter(self.rpcs)

    def of(self, *kinds: str) -> list[Rpc]:
        """The RPCs of some kinds."""
        return [rpc for rpc in self.rpcs if rpc.kind in kinds]

    def on(self, table: str) -> list[Rpc]:
        """The RPCs on a table, by its name."""
        return [rpc for rpc in self.rpcs if rpc.table == table]

    def as_json(self) -> dict[str, Any]:
        """Counts and RPCs as JSON values."""
        return {
            "counts": dict(self.counts),
            "connections": self.connections,
            "rpcs": [rpc.as_json() for rpc in self.rpcs],
        }


class Counters:
    """Totals since the start, and the logs that are being written."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._logs: list[RpcLog] = []
        self.totals: Counter[str] = Counter()

    def open(self, bucket: str | None = None) -> RpcLog:
        """Start a log; of one bucket it has no transaction RPCs, which name none."""
        log = RpcLog(bucket)
        with self._lock:
            self._logs.append(log)
        return log

    def close(self, log: RpcLog) -> None:
        """Stop a log."""
        with self._lock:
            self._logs = [other for other in self._logs if other is not log]

    def add(self, rpc: Rpc) -> None:
        """Count an RPC."""
        with self._lock:
            self.totals[rpc.kind] += 1
            for log in self._logs:
                if log.bucket in (None, rpc.bucket) and len(log.rpcs) < _MOST_LOGGED:
                    log.rpcs.append(rpc)
