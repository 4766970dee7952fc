"""Claims: how writers stay apart on a cluster that finds no conflicts at all.

Before it begins, a change set makes claims on all its locks visible to everybody, in a transaction
of its own. Then it begins, and looks for the claims of others. If there are none it may go on: who
comes later will see its claims, and who had claims before has committed before. They go with the
commit of the change set itself.

Of two that see each other the one with the smaller name waits for the other to give way, so that
one of them gets on. A claim whose owner has died counts no more after a time in which no
transaction of its owner can be committed any more.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass

import pyarrow as pa

from tams_gql.model.errors import TamsError, Unavailable
from tams_gql.store.scan import Op, compare, eq, is_in
from tams_gql.store.vast.layout import CLAIMS, ROW_ID, rows_to_batch
from tams_gql.store.vast.wire.client import Gone, OutcomeUnknown, RowConflict, Tx, VastClient
from tams_gql.store.vast.writing.locking import Tables
from tams_gql.store.vast.writing.locks import Lock

_LIFETIME_SECONDS = 900
_USABLE_SECONDS = _LIFETIME_SECONDS / 3  # clocks may differ, and a commit may take its time
_MAX_NAMED = 64  # with more keys all claims are read: there are only those of writers at work
_PATIENCE_SECONDS = 2.0
_PAUSE_SECONDS = 0.01
_WITHDRAWAL_PAUSES = (0.0, 0.2, 1.0)

_log = logging.getLogger(__name__)


class Contended(Exception):
    """Somebody else has claimed one of the locks. Nothing is held."""


class MoreClaims(Exception):
    """Rows were found that are not claimed yet. Begin again and claim these locks as well."""

    def __init__(self, locks: set[Lock]) -> None:
        super().__init__("more rows have to be claimed")
        self.locks = locks


@dataclass(slots=True)
class Claims:
    """The claims of one attempt at a change set."""

    client: VastClient
    locks: Collection[Lock]
    owner: str
    row_ids: pa.Array
    claimed: float  # monotonic seconds

    @classmethod
    def made(cls, client: VastClient, locks: Collection[Lock]) -> Claims:
        """Make claims visible; whether nobody else has one is still to be seen."""
        owner, claimed = secrets.token_hex(8), time.monotonic()
        expires = client.clock.now_us() + _LIFETIME_SECONDS * 1_000_000
        keys = sorted({lock.claim for lock in locks})
        if not keys:
            return cls(client, locks, owner, pa.array([], CLAIMS.row_id), claimed)
        rows = [(key, owner, expires) for key in keys]
        tx = client.begin()
        try:
            row_ids = tx.insert(CLAIMS, rows_to_batch(CLAIMS, CLAIMS.schema.names, rows))
            tx.commit()
        except OutcomeUnknown as lost:
            # Perhaps they are there, and would be in everybody's way until they expire.
            with suppress(Unavailable):  # a little later they may be found and removed all the same
                client.abandon(lost.txid)
            cls(client, locks, owner, row_ids, claimed).withdraw()
            raise Contended from lost
        finally:
            tx.rollback()
        return cls(client, locks, owner, row_ids, claimed)

    def begin(self) -> Tx:
        """Begin the transaction of the change set when no other claim is in the way.

        Raises ``Contended``; the claims are to be withdrawn then.
        """
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            tx = self.client.begin()
            try:
                rivals = self._rivals(tx)
            except BaseException:
                tx.rollback()
                raise
            if not rivals:
                return tx
            tx.rollback()
            if min(rivals) < self.owner or time.monotonic() > deadline:
                raise Contended
            time.sleep(_PAUSE_SECONDS)

    def end_with(self, tx: Tx) -> None:
        """Let the claims go when the transaction is committed. Raises ``Contended`` if too old."""
        if time.monotonic() - self.claimed > _USABLE_SECONDS:
            raise Contended
        if len(self.row_ids):
            tx.delete(CLAIMS, self.row_ids)

    def withdraw(self) -> None:
        """Let the claims go without a change. If that fails they expire."""
        if not self.locks:
            return
        for pause in (*_WITHDRAWAL_PAUSES, None):
            try:
                self._withdraw_once()
            except (RowConflict, OutcomeUnknown, Gone, TamsError) as error:
                if pause is None:
                    _log.warning("claims could not be withdrawn, they will expire: %s", error)
                else:
                    time.sleep(pause)
            else:
                return

    def _withdraw_once(self) -> None:
        # Searched for by their owner: it may not be known whether they were made, or are gone.
        tx = self.client.begin()
        try:
            mine = tx.select(CLAIMS, ("owner",), [eq("owner", self.owner)], row_ids=True)
            if mine.num_rows:
                tx.delete(CLAIMS, mine.column(ROW_ID))
                tx.commit()
        except OutcomeUnknown as lost:
            self.client.abandon(lost.txid)  # it may still be open, with these rows in its hands
            raise
        finally:
            tx.rollback()

    def _rivals(self, tx: Tx) -> set[str]:
        if not self.locks:
            return set()
        keys = {lock.claim for lock in self.locks}
        where = [is_in("key", sorted(keys))] if len(keys) <= _MAX_NAMED else []
        found = tx.select(CLAIMS, ("key", "owner", "expires"), where)
        now = self.client.clock.now_us()
        rows = zip(*(found.column(n).to_pylist() for n in CLAIMS.schema.names), strict=True)
        return {
            owner
            for key, owner, expires in rows
            if key in keys and owner != self.owner and expires > now
        }


class ClaimedBefore:
    """For clusters without conflicts: all locks are claimed when the transaction begins."""

    def __init__(self, claims: Claims) -> None:
        self._claims = claims

    def before_reading(self, tx: Tx, locks: Collection[Lock]) -> None:
        pass

    def after_finding(self, _tx: Tx, locks: Collection[Lock]) -> bool:
        if more := set(locks).difference(self._claims.locks):
            raise MoreClaims(more)
        return False

    def before_writing(self, tx: Tx, _locks: Collection[Lock], _tables: Tables) -> None:
        self._claims.end_with(tx)


def forget_expired(tx: Tx, before_us: int) -> int:
    """Remove what dead owners have left; how many claims went."""
    old = tx.select(CLAIMS, ("expires",), [compare("expires", Op.LT, before_us)], row_ids=True)
    if old.num_rows:
        tx.delete(CLAIMS, old.column(ROW_ID))
    return int(old.num_rows)
