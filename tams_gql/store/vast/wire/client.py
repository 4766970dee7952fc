"""The door to the cluster: transactions, and the calls inside them. All of it blocks."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import pyarrow as pa

from tams_gql.model.errors import LimitExceeded, Unavailable
from tams_gql.store.vast.config import VastConfig
from tams_gql.store.vast.layout import ROW_ID, Physical
from tams_gql.store.vast.wire.batches import by_row_id, messages, row_ids_in
from tams_gql.store.vast.wire.clock import StoreClock
from tams_gql.store.vast.wire.cluster import Cluster, Endpoint
from tams_gql.store.vast.wire.domains import Asked, filter_of
from tams_gql.store.vast.wire.failures import Broken, Gone, Missing, OutcomeUnknown, RowConflict
from tams_gql.store.vast.wire.outcomes import Lost, Refused, Silent
from tams_gql.store.vast.wire.query import Query, Selects
from tams_gql.store.vast.wire.request import fields_of

if TYPE_CHECKING:
    from tams_gql.store.vast.wire.transport import Api, Reply

__all__ = [
    "Broken",
    "Gone",
    "Missing",
    "OutcomeUnknown",
    "RowConflict",
    "StoreClock",
    "Tx",
    "VastClient",
    "VastConfig",
]

T = TypeVar("T")


class VastClient:
    """Connections to one cluster, opened by the first call. Thread-safe.

    ``clock`` is the cluster's time, known from the first answer on.
    """

    def __init__(self, config: VastConfig) -> None:
        self.config = config
        self.cluster = Cluster(config)
        self.selects = Selects(self.cluster, config)
        self.clock: StoreClock = self.cluster.clock

    def begin(self) -> Tx:
        """Begin a transaction: one call. Raises ``Unavailable``."""
        at = self.cluster.choose()
        with _reported():
            # If the answer is lost another one is begun; nobody knows the first, so it expires.
            reply = self.cluster.call(lambda api: api.begin_transaction(), at, repeat=True)
        try:
            txid = int(reply.headers["tabular-txid"])
        except (KeyError, ValueError) as error:
            raise Unavailable("the endpoint is not that of a VAST database") from error
        return Tx(self, txid, at)

    def direct(self) -> Tx:
        """Reads without a transaction: each call sees what is committed then."""
        return Tx(self, 0, self.cluster.choose())

    def version(self) -> str:
        """The version of the cluster. Raises ``Unavailable`` if it does not answer or is none."""

        def ask(api: Api) -> Any:
            return api._request(
                method="GET",
                url=api._url(command="transaction"),
                headers={"tabular-get-vast-version": "true"},
            )

        with _reported():
            reply = self.cluster.call(ask, self.cluster.choose(), repeat=True)
        name, _, version = str(reply.headers.get("Server", "")).partition(" ")
        if name != "vast":
            raise Unavailable("the endpoint is not that of a VAST database")
        return version

    def abandon(self, txid: int) -> bool:
        """End a transaction after ``OutcomeUnknown``.

        True if it was still open: it is rolled back now and was never committed. False if it had
        ended before, so that only its effects tell how. Raises ``Unavailable`` if nothing is
        known: no endpoint could be reached, or it is about to end.
        """
        at = self.cluster.choose()
        with _reported():
            if not self.is_open(txid, at):
                return False
            try:
                self.cluster.call(lambda api: api.rollback_transaction(txid), at, repeat=False)
            except Refused as error:
                # A conflict: perhaps with its own commit, which is still being carried out.
                if error.unsettled or error.busy or error.status == 409:
                    raise
                return False
            return True

    def is_open(self, txid: int, at: Endpoint | None = None) -> bool:
        """Whether a transaction has not ended yet: one call. Raises ``Unavailable``."""
        with _reported():
            try:
                at = at or self.cluster.choose()
                self.cluster.call(lambda api: api.get_transaction(txid), at, repeat=True)
            except Refused as error:
                if error.unsettled or error.busy or error.status == 403:
                    raise
                return False
            return True

    def close(self) -> None:
        """Release threads and connections; later calls raise ``Unavailable``."""
        self.selects.close()
        self.cluster.close()


class Tx:
    """A transaction, for one thread at a time. It stays with one endpoint while that answers.

    Reads raise ``Unavailable``, ``LimitExceeded`` (more than two million rows) or ``Gone`` and
    leave the transaction to its owner; writes that fail have ended it.
    """

    def __init__(self, client: VastClient, txid: int, at: Endpoint) -> None:
        self.txid = txid
        self._client = client
        self._at = at
        self._begun = time.monotonic()
        self._open = True

    @property
    def age_seconds(self) -> float:
        """How long ago it began."""
        return time.monotonic() - self._begun

    def select(
        self,
        table: Physical,
        columns: Sequence[str],
        where: Sequence[Asked] = (),
        *,
        row_ids: bool = False,
    ) -> pa.Table:
        """The rows that meet all conditions, in no order; ``$row_id`` comes last if asked for.

        Exact, whatever of the conditions the cluster can check. One call for each 131,072 rows
        and 5,000 values of a list; none if no row can meet the conditions.
        """
        names = tuple(columns) + ((ROW_ID,) if row_ids else ())
        wanted = filter_of(table, where)
        if wanted is None:
            return pa.schema(fields_of(table, names)).empty_table()
        query = Query(self.txid, table, names, wanted)
        return self._read(lambda: self._client.selects.rows(self._at, query))

    def count(self, table: Physical, where: Sequence[Asked] = ()) -> int:
        """How many rows meet all conditions."""
        wanted = filter_of(table, where)
        if wanted is None:
            return 0
        query = Query(self.txid, table, (), wanted)
        return self._read(lambda: self._client.selects.count(self._at, query))

    def estimate(self, table: Physical) -> int:
        """How many rows the table has by the cluster's statistics: one call."""
        place = self._place(table)

        found = self.ask(lambda api: api.get_table_stats(*place, txid=self.txid).num_rows)
        return int(found)

    def insert(self, table: Physical, batch: pa.RecordBatch) -> pa.Array:
        """Add rows, given in full width; their row ids. One call for each 4.5 MiB."""
        if batch.schema.names != table.schema.names:
            raise ValueError(f"rows of {table.name} must have all its columns")
        replies = self._send("insert_rows", table, batch)
        try:
            with _understood():
                found = [row_ids_in(reply.content) for reply in replies]
                ids = pa.concat_arrays(found) if found else pa.array([], table.row_id)
                if len(ids) != batch.num_rows:
                    raise ValueError(f"{batch.num_rows} rows have got {len(ids)} ids")
        except Unavailable:
            self.rollback()
            raise
        return ids

    def update(self, table: Physical, batch: pa.RecordBatch) -> None:
        """Write columns of rows; the first column is ``$row_id``. One call for each 4.5 MiB."""
        self._send("update_rows", table, by_row_id(table, batch), known=True)

    def delete(self, table: Physical, row_ids: pa.Array | pa.ChunkedArray) -> None:
        """Remove rows. One call for each 100,000."""
        if isinstance(row_ids, pa.ChunkedArray):
            row_ids = row_ids.combine_chunks()
        batch = by_row_id(table, pa.record_batch([row_ids], names=[ROW_ID]))
        self._send("delete_rows", table, batch, known=True)

    def ask(self, question: Callable[[Api], T]) -> T:
        """Another call that reads; it may be made again if its connection breaks."""
        with _understood():
            return self._read(lambda: self._client.cluster.call(question, self._at, repeat=True))

    def change(self, call: Callable[[Api], T]) -> T:
        """Another call that changes something, tables for example."""
        return self._write([call], known=False)[0]

    def commit(self) -> None:
        """Make the changes durable and end the transaction.

        Raises ``RowConflict``, ``Gone`` or ``Unavailable`` if nothing was committed, and
        ``OutcomeUnknown`` if that cannot be told.
        """
        self._require_open()
        if self.txid == 0:
            return
        try:
            self._client.cluster.call(
                lambda api: api.commit_transaction(self.txid), self._at, repeat=False
            )
        except (Lost, LimitExceeded) as error:  # also an answer that is too large to be read
            self._open = False
            raise OutcomeUnknown(self.txid) from error
        except Refused as error:
            if error.unsettled:
                self._open = False
                raise OutcomeUnknown(self.txid) from error
            self._refused(error, known=False)
        except Unavailable:
            self.rollback()
            raise
        self._open = False

    def rollback(self) -> None:
        """Undo everything and end the transaction. Never raises; what it misses expires."""
        if not self._open:
            return
        self._open = False
        if self.txid:
            with suppress(Lost, Refused, Unavailable, LimitExceeded):
                self._client.cluster.call(
                    lambda api: api.rollback_transaction(self.txid), self._at, repeat=False
                )

    def _place(self, table: Physical) -> tuple[str, str, str]:
        return self._client.config.bucket, self._client.config.schema, table.name

    def _require_open(self) -> None:
        if not self._open:
            raise RuntimeError(f"transaction {self.txid} has ended")

    def _read(self, ask: Callable[[], T]) -> T:
        self._require_open()
        try:
            with _reported(passing=(404, 400, 410)):
                return ask()
        except Refused as error:
            if self.txid and not self._client.is_open(self.txid):
                self._open = False
                raise Gone(f"transaction {self.txid}") from error
            raise _unavailable(error) from error

    def _send(
        self, method: str, table: Physical, batch: pa.RecordBatch, *, known: bool = False
    ) -> list[Reply]:
        """Send changes of rows. ``known``: they are named, and may have gone meanwhile."""
        place = self._place(table)
        calls = (partial(_rows_call, method, place, m, self.txid) for m in messages(batch))
        return self._write(calls, known=known)

    def _write(self, calls: Iterable[Callable[[Api], T]], *, known: bool) -> list[T]:
        self._require_open()
        if self.txid == 0:
            raise RuntimeError("nothing can be written outside a transaction")
        try:
            return [self._client.cluster.call(ask, self._at, repeat=False) for ask in calls]
        except Lost as error:
            self.rollback()
            # Who has waited for an answer in vain has no time to try again.
            kind = Unavailable if isinstance(error, Silent) else Broken
            raise kind(f"the connection to the VAST cluster broke: {error}") from error
        except (Unavailable, LimitExceeded):
            self.rollback()
            raise
        except Refused as error:
            self._refused(error, known=known)

    def _refused(self, error: Refused, *, known: bool) -> NoReturn:
        """End the transaction and say why."""
        if error.status == 409:
            self.rollback()
            raise RowConflict(str(error)) from error
        if error.status in (400, 404, 410):
            if not self._client.is_open(self.txid):
                self._open = False
                raise Gone(f"transaction {self.txid}") from error
            if known and error.status == 404:
                self.rollback()
                raise RowConflict(f"a row is gone: {error}") from error
        self.rollback()
        raise _unavailable(error) from error


def _rows_call(
    method: str, place: tuple[str, str, str], message: bytes, txid: int, api: Api
) -> Reply:
    reply: Reply = getattr(api, method)(*place, message, txid)
    return reply


@contextmanager
def _reported(passing: tuple[int, ...] = ()) -> Iterator[None]:
    """Turn what went wrong with a call into ``Unavailable``, except for some answers."""
    try:
        yield
    except Lost as error:
        raise Unavailable(f"the connection to the VAST cluster broke: {error}") from error
    except Refused as error:
        if error.status in passing:
            raise
        raise _unavailable(error) from error


@contextmanager
def _understood() -> Iterator[None]:
    """Turn what the SDK or Arrow make of an answer that is none into ``Unavailable``."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise Unavailable("an answer of the VAST cluster cannot be understood") from error
    except (AssertionError, OSError, pa.ArrowException, struct.error) as error:
        raise Unavailable("an answer of the VAST cluster cannot be understood") from error


def _unavailable(error: Refused) -> Unavailable:
    if error.status == 403:
        return Unavailable("the VAST cluster refuses the access key")
    if error.status == 404:
        return Missing(f"there is no catalog, run `tams-gql migrate`: VAST answered {error}")
    return Unavailable(f"the VAST cluster answered {error}")
