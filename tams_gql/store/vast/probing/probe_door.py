"""The probe's own way to a cluster: one endpoint, every answer as it was given.

``client`` hides what the catalog need not know: which status, which endpoint, how long. That is
just what ``tams-gql doctor`` asks about.
"""

from __future__ import annotations

import logging
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import vastdb
from vastdb import errors
from vastdb._internal import QueryDataInternalError
from vastdb.config import BackoffConfig, QueryConfig
from vastdb.table_metadata import TableMetadata, TableRef, TableType
from vastdb.transaction import Transaction
from vastdb.util import serialize_record_batch

from tams_gql.store.vast.config import VastConfig
from tams_gql.store.vast.layout import ROW_ID, Physical

_LONGEST_WAIT_SECONDS = 10.0
_LONGEST_MESSAGE = 200
_TIMEOUTS = {"ReadTimeout", "ConnectTimeout", "ReadTimeoutError", "ConnectTimeoutError"}


class Refused(Exception):
    """The cluster said no. ``status`` is that of HTTP, ``code`` the cluster's word for it."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{status} {code}".rstrip() + (f": {message}" if message else ""))
        self.status = status
        self.code = code


class NoAnswer(Exception):
    """Nothing, or nothing usable, came back; the message says why, without naming keys."""


class Door:
    """One endpoint of the cluster, and one schema. Blocks; for one thread at a time."""

    def __init__(self, config: VastConfig, endpoint: str, schema: str | None = None) -> None:
        """Connect. Raises ``NoAnswer`` or ``Refused``."""
        # The SDK reports every refusal as a warning; here they are the results.
        logging.getLogger("vastdb").setLevel(logging.CRITICAL + 1)
        self.endpoint = endpoint
        self.bucket = config.bucket
        self.schema = schema or config.schema
        self.timeout = min(config.timeout_seconds, _LONGEST_WAIT_SECONDS)
        self.clock_ahead_seconds = 0.0
        with self.answering():
            self._session = vastdb.connect(
                endpoint=endpoint,
                access=config.access_key,
                secret=config.secret_key,
                ssl_verify=config.verify_tls,
                timeout=self.timeout,
                backoff_config=BackoffConfig(max_tries=2, max_time=self.timeout),
            )
        self.api = self._session.api
        self._query = QueryConfig(num_splits=1, num_sub_splits=1, data_endpoints=[endpoint])

    @property
    def version(self) -> str:
        """The version that the cluster reports."""
        return ".".join(map(str, self.api.vast_version))

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Turn the SDK's exceptions into ``Refused`` and ``NoAnswer``."""
        try:
            yield
        except errors.HttpError as refused:
            message = (refused.message or "")[:_LONGEST_MESSAGE]
            raise Refused(refused.status, refused.code or "", message) from None
        except errors.NotSupportedSchema as refused:
            raise Refused(
                400, "not supported", (refused.message or "")[:_LONGEST_MESSAGE]
            ) from None
        except (QueryDataInternalError, errors.Missing) as refused:
            raise Refused(500, type(refused).__name__, "") from None
        except NotImplementedError:  # what the SDK raises for an answer without VAST's version
            raise NoAnswer("what answers there is no VAST Database") from None
        except (errors.ConnectionError, OSError, ValueError) as failed:
            raise NoAnswer(_reason(failed, self.timeout)) from None

    def head_bucket(self) -> None:
        """Ask for the bucket."""
        with self.answering():
            self.api.head_bucket(self.bucket)

    def begin(self) -> Party:
        """Begin a transaction; also compares the clocks, to the second."""
        with self.answering():
            sent = time.time()
            response = self.api.begin_transaction()
            received = time.time()
        date = response.headers.get("Date")
        if date:
            # The header's seconds are cut off: what it means is in the middle of that second.
            there = parsedate_to_datetime(date).timestamp() + 0.5
            self.clock_ahead_seconds = there - (sent + received) / 2
        return Party(self, int(response.headers["tabular-txid"]))

    def direct(self) -> Party:
        """Transaction 0: statements outside of transactions."""
        return Party(self, 0)

    def close(self) -> None:
        """Close the connections."""
        self.api.__exit__()


class Party:
    """One of the transactions that the probe lets meet."""

    def __init__(self, door: Door, txid: int) -> None:
        self.door = door
        self.txid = txid
        self._committed = False

    def __enter__(self) -> Party:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.rollback()

    def select(
        self, table: Physical, columns: tuple[str, ...], *, row_ids: bool = False
    ) -> list[dict[str, Any]]:
        """All rows as dictionaries, with ``$row_id`` if asked for."""
        door = self.door
        kind = TableType.Elysium if table.sorted_by else TableType.Regular
        metadata = TableMetadata(TableRef(door.bucket, door.schema, table.name), table.schema, kind)
        with door.answering():
            transaction = Transaction(
                _rpc=door._session, _session_context=door._session._context, txid=self.txid
            )
            found = transaction.table_from_metadata(metadata).select(
                columns=list(columns), config=door._query, internal_row_id=row_ids
            )
            rows: list[dict[str, Any]] = found.read_all().to_pylist()
        return rows

    def insert(self, table: Physical, rows: list[dict[str, Any]]) -> list[int]:
        """Insert rows; their row ids."""
        names = [name for name in table.schema.names if any(name in row for row in rows)]
        schema = pa.schema([table.schema.field(name) for name in names])
        batch = pa.RecordBatch.from_pylist(rows, schema=schema)
        with self.door.answering():
            response = self.door.api.insert_rows(
                self.door.bucket,
                self.door.schema,
                table.name,
                serialize_record_batch(batch),
                self.txid,
            )
            (ids,) = pa.ipc.open_stream(response.content)
        return [int(value) for value in ids[ROW_ID].to_pylist()]

    def update(self, table: Physical, row_id: int, **values: Any) -> None:
        """Write cells of one row."""
        fields = [pa.field(ROW_ID, table.row_id), *(table.schema.field(name) for name in values)]
        batch = pa.RecordBatch.from_pylist([{ROW_ID: row_id, **values}], schema=pa.schema(fields))
        with self.door.answering():
            self.door.api.update_rows(
                self.door.bucket,
                self.door.schema,
                table.name,
                serialize_record_batch(batch),
                self.txid,
            )

    def delete(self, table: Physical, row_id: int) -> None:
        """Remove one row."""
        schema = pa.schema([pa.field(ROW_ID, table.row_id)])
        batch = pa.RecordBatch.from_pylist([{ROW_ID: row_id}], schema=schema)
        with self.door.answering():
            self.door.api.delete_rows(
                self.door.bucket,
                self.door.schema,
                table.name,
                serialize_record_batch(batch),
                self.txid,
            )

    def create_schema(self) -> None:
        """Make the door's schema."""
        with self.door.answering():
            self.door.api.create_schema(self.door.bucket, self.door.schema, txid=self.txid)

    def drop_schema(self) -> None:
        """Remove the door's schema, which must be empty."""
        with self.door.answering():
            self.door.api.drop_schema(self.door.bucket, self.door.schema, txid=self.txid)

    def schemas(self) -> set[str]:
        """The names of the bucket's schemas."""
        with self.door.answering():
            found = self.door.api.list_schemas(
                self.door.bucket, txid=self.txid, name_prefix=self.door.schema, exact_match=True
            )
        return {name for name, _ in found[1]}

    def create_table(self, table: Physical) -> None:
        """Make a table in the door's schema."""
        with self.door.answering():
            self.door.api.create_table(
                self.door.bucket,
                self.door.schema,
                table.name,
                table.schema,
                txid=self.txid,
                sorting_key=list(table.sorted_by),
            )

    def drop_table(self, name: str) -> None:
        """Remove a table."""
        with self.door.answering():
            self.door.api.drop_table(self.door.bucket, self.door.schema, name, txid=self.txid)

    def tables(self, prefix: str = "") -> set[str]:
        """The names of the tables that begin with ``prefix``; up to a thousand."""
        with self.door.answering():
            found = self.door.api.list_tables(
                self.door.bucket,
                self.door.schema,
                txid=self.txid,
                name_prefix=prefix,
                max_keys=1000,
            )
        return {table.name for table in found[2]}

    def stored_rows(self, name: str) -> int:
        """How many rows a table has by its statistics."""
        with self.door.answering():
            stats = self.door.api.get_table_stats(
                self.door.bucket, self.door.schema, name, txid=self.txid
            )
        return int(stats.num_rows)

    def is_sorted(self, name: str) -> bool:
        """Whether the cluster has sorted all rows of a sorted table."""
        with self.door.answering():
            stats = self.door.api.get_table_stats(
                self.door.bucket, self.door.schema, name, txid=self.txid
            )
        return bool(stats.sorting_done)

    def is_open(self) -> bool:
        """Whether the cluster knows the transaction as an open one."""
        try:
            with self.door.answering():
                self.door.api.get_transaction(self.txid)
        except Refused:
            return False
        return True

    def commit(self) -> None:
        """Commit."""
        with self.door.answering():
            self.door.api.commit_transaction(self.txid)
        self._committed = True

    def undo(self) -> None:
        """Roll back."""
        with self.door.answering():
            self.door.api.rollback_transaction(self.txid)

    def rollback(self) -> None:
        """Roll back, unless it is committed; nothing if the cluster has ended it or is gone."""
        if self.txid and not self._committed:
            with suppress(Refused, NoAnswer):
                self.undo()


def shown(endpoint: str) -> str:
    """An endpoint as it may be printed."""
    parts = urlsplit(endpoint)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _reason(failed: BaseException, timeout: float) -> str:
    """Why there was no answer, out of the exceptions that the libraries wrapped in each other."""
    for cause in _causes(failed):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError):
            return "no TLS connection could be made"
        if isinstance(cause, socket.gaierror):
            return "the host name is unknown"
        if isinstance(cause, TimeoutError) or type(cause).__name__ in _TIMEOUTS:
            return f"no answer within {timeout:g} seconds"
        if isinstance(cause, OSError) and cause.errno and cause.strerror:
            return cause.strerror.lower()
    return f"no usable answer ({type(failed).__name__})"


def _causes(failed: BaseException) -> Iterator[BaseException]:
    waiting: list[object] = [failed]
    seen: set[int] = set()
    while waiting:
        found = waiting.pop()
        if not isinstance(found, BaseException) or id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        waiting += [found.__context__, found.__cause__, *found.args]
        waiting += [getattr(found, "cause", None), getattr(found, "reason", None)]
