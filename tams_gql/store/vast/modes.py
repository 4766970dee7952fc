"""How a cluster keeps transactions apart, found out by letting some of them meet.

What is seen here decides how writers protect what they rely on, so all processes of a catalog must
come to the same result; a setting overrides what is found.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from tams_gql.model.errors import Unavailable
from tams_gql.store.scan import Op, Where, compare, eq
from tams_gql.store.vast.layout import CLAIMS, ROW_ID, rows_to_batch
from tams_gql.store.vast.wire.client import Gone, OutcomeUnknown, RowConflict, Tx, VastClient

Isolation = Literal["snapshot", "read_committed"]
Conflicts = Literal["row", "none"]

_PREFIX = "probe "  # no digest of a lock begins like that
_LEFT_OVER_US = 3_600_000_000


@dataclass(frozen=True, slots=True)
class Modes:
    """``isolation``: what a transaction reads; ``conflicts``: whether rivals on a row fail."""

    isolation: Isolation
    conflicts: Conflicts

    @property
    def reads_can_be_trusted(self) -> bool:
        """Whether a row that changed after it was read cannot be written without a conflict."""
        return self.isolation == "snapshot" and self.conflicts == "row"


def modes_of(client: VastClient) -> Modes:
    """The modes that are set, or that the cluster shows. Raises ``Unavailable``."""
    config = client.config
    if config.isolation != "auto" and config.conflicts != "auto":
        return Modes(config.isolation, config.conflicts)
    found = _probe(client)
    return Modes(
        found.isolation if config.isolation == "auto" else config.isolation,
        found.conflicts if config.conflicts == "auto" else config.conflicts,
    )


def _probe(client: VastClient) -> Modes:
    probe = _Probe(client)
    probe.make_row()
    try:
        isolation, late = probe.meet_after_commit()
        conflicts = probe.meet(probe.update) and probe.meet(probe.remove)
    finally:
        probe.clean_up()
    # A snapshot in which rows can be overwritten that have changed since protects nothing.
    if isolation == "snapshot":
        conflicts = conflicts and late
    return Modes(isolation, "row" if conflicts else "none")


class _Probe:
    """Transactions that meet on one row of ``claims``."""

    def __init__(self, client: VastClient) -> None:
        self._client = client
        self._key = _PREFIX + secrets.token_hex(8)
        self._row_id: pa.Array

    def make_row(self) -> None:
        """Make the row, and remove those of probes that have died."""
        now = self._client.clock.now_us()
        tx = self._client.begin()
        try:
            left = [compare("key", Op.PREFIX, _PREFIX), compare("expires", Op.LT, now)]
            some_left = tx.count(CLAIMS, left) > 0
            row = (self._key, "0", now + _LEFT_OVER_US)
            batch = rows_to_batch(CLAIMS, CLAIMS.schema.names, [row])
            self._row_id = tx.insert(CLAIMS, batch)
            tx.commit()
        except BaseException:
            tx.rollback()
            raise
        if some_left:
            self._forget(left)

    def _forget(self, left: list[Where]) -> None:
        """Remove rows of others. Programs that start together all try: it may fail."""
        with suppress(RowConflict, Gone, OutcomeUnknown, Unavailable):
            tx = self._client.begin()
            try:
                self._delete(tx, left)
                tx.commit()
            finally:
                tx.rollback()

    def meet_after_commit(self) -> tuple[Isolation, bool]:
        """Change the row after another one has changed it: what is seen of it, and a conflict."""
        late, early = self._client.begin(), self._client.begin()
        try:
            before = self._read(late)
            self.update(early)
            early.commit()
            isolation: Isolation = "snapshot" if self._read(late) == before else "read_committed"
            return isolation, _refused(lambda: self.update(late), late.commit)
        finally:
            early.rollback()
            late.rollback()

    def meet(self, second: Callable[[Tx], None]) -> bool:
        """Whether one of two open transactions that change the row is refused."""
        one, other = self._client.begin(), self._client.begin()
        try:
            self.update(one)
            return _refused(lambda: second(other), one.commit, other.commit)
        finally:
            one.rollback()
            other.rollback()

    def update(self, tx: Tx) -> None:
        """Change the row."""
        owner = pa.array([secrets.token_hex(8)])
        tx.update(CLAIMS, pa.RecordBatch.from_arrays([self._row_id, owner], [ROW_ID, "owner"]))

    def remove(self, tx: Tx) -> None:
        """Remove the row."""
        tx.delete(CLAIMS, self._row_id)

    def clean_up(self) -> None:
        """Remove the row, if it is still there."""
        tx = self._client.begin()
        try:
            self._delete(tx, [eq("key", self._key)])
            tx.commit()
        except BaseException:
            tx.rollback()
            raise

    def _read(self, tx: Tx) -> list[str]:
        found = tx.select(CLAIMS, ("owner",), [eq("key", self._key)])
        owners: list[str] = found.column("owner").to_pylist()
        return owners

    def _delete(self, tx: Tx, where: list[Where]) -> None:
        found = tx.select(CLAIMS, ("key",), where, row_ids=True)
        if found.num_rows:
            tx.delete(CLAIMS, found.column(ROW_ID))


def _refused(*steps: Callable[[], None]) -> bool:
    try:
        for step in steps:
            step()
    except RowConflict:
        return True
    return False
