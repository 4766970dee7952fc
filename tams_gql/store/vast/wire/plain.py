"""Selects through the public interface of the SDK: slower, but nothing in them is ours.

They are the fallback for a cluster or a release of the SDK that our own requests do not suit.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import pyarrow as pa
import vastdb
from vastdb import errors
from vastdb._internal import QueryDataInternalError
from vastdb.table_metadata import TableMetadata
from vastdb.transaction import Transaction

from tams_gql.model.errors import LimitExceeded, Unavailable
from tams_gql.store.vast.config import VastConfig
from tams_gql.store.vast.layout import ROW_ID, Physical
from tams_gql.store.vast.wire.domains import Filter
from tams_gql.store.vast.wire.outcomes import Lost, Refused
from tams_gql.store.vast.wire.predicates import predicate_of


class PlainQueries:
    """One session of the SDK per endpoint. Thread-safe."""

    def __init__(self, config: VastConfig) -> None:
        self._config = config
        self._lock = Lock()
        self._sessions: dict[str, vastdb.session.Session] = {}
        self._tables: dict[str, TableMetadata] = {}

    def select(
        self,
        url: str,
        txid: int,
        table: Physical,
        columns: tuple[str, ...],
        wanted: Filter,
        limit: int,
    ) -> tuple[pa.Table, Filter]:
        """The rows, and the filter with what is still to be checked on them.

        Raises ``Lost``, ``Refused``, ``LimitExceeded`` or ``Unavailable``.
        """
        with _translated((self._config.secret_key, self._config.access_key)):
            session, metadata = self._session(url), self._metadata(table)
            expression, wanted = predicate_of(metadata.ibis_table, wanted)
            checked = [d.column for d in wanted.checked if d.column not in columns]
            names = list(dict.fromkeys([*(n for n in columns if n != ROW_ID), *checked]))
            transaction = Transaction(_rpc=session, _session_context=session._context, txid=txid)
            reader = transaction.table_from_metadata(metadata).select(
                columns=names,
                predicate=expression,
                config=vastdb.QueryConfig(
                    num_splits=1,
                    num_sub_splits=1,
                    data_endpoints=[url],
                    use_semi_sorted_projections=False,
                ),
                internal_row_id=ROW_ID in columns,
            )
            batches, rows = [], 0
            for batch in reader:
                batches.append(batch)
                rows += batch.num_rows
                if names and rows > limit:
                    del reader
                    raise LimitExceeded(f"more than {limit} rows of {table.name} match")
            return pa.Table.from_batches(batches, reader.schema), wanted

    def close(self) -> None:
        """Close the sessions' connections."""
        with self._lock:
            for session in self._sessions.values():
                session.api.__exit__()
            self._sessions.clear()

    def _session(self, url: str) -> vastdb.session.Session:
        with self._lock:
            if (found := self._sessions.get(url)) is None:
                config = self._config
                found = self._sessions[url] = vastdb.connect(
                    config.access_key,
                    config.secret_key,
                    url,
                    ssl_verify=config.verify_tls,
                    timeout=config.timeout_seconds,
                    backoff_config=vastdb.BackoffConfig(
                        max_value=0.2, max_tries=3, max_time=config.timeout_seconds
                    ),
                )
            return found

    def _metadata(self, table: Physical) -> TableMetadata:
        with self._lock:
            if (found := self._tables.get(table.name)) is None:
                reference = vastdb.TableRef(self._config.bucket, self._config.schema, table.name)
                kind = vastdb.TableType.Elysium if table.sorted_by else vastdb.TableType.Regular
                found = self._tables[table.name] = TableMetadata(reference, table.schema, kind)
            return found


@contextmanager
def _translated(secrets: tuple[str, ...]) -> Iterator[None]:
    try:
        yield
    except errors.HttpError as error:
        raise Refused(error.status, error.code, error.message, secrets) from error
    except errors.ConnectionError as error:
        raise Lost(type(error.cause).__name__) from error
    except (EOFError, OSError, struct.error, ValueError) as error:
        # What reading half an answer ends in, or a status that the SDK does not know; exceptions
        # of requests are OSErrors.
        raise Lost(type(error).__name__) from error
    except QueryDataInternalError as error:
        raise Unavailable(f"the VAST cluster gave no answer to a query: {error}") from error
