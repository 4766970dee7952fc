"""What can go wrong with a transaction that its caller handles; the rest is ``Unavailable``."""

from __future__ import annotations

from tams_gql.model.errors import Unavailable


class RowConflict(Exception):
    """Another transaction has written a row that this one writes. It has been rolled back."""


class OutcomeUnknown(Exception):
    """The answer to a commit was lost: the transaction may or may not have been committed."""

    def __init__(self, txid: int) -> None:
        super().__init__(f"the outcome of transaction {txid} is unknown")
        self.txid = txid


class Gone(Exception):
    """The transaction has expired or is unknown to the cluster; nothing of it is kept."""


class Broken(Unavailable):
    """A connection broke in the midst of a transaction, which has been rolled back."""


class Missing(Unavailable):
    """A table, schema or bucket does not exist: the catalog has not been created."""
