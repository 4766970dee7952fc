"""Who is changing what: write-write conflicts of open and recently committed transactions."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field

from .errors import conflict

WHOLE_ROW = "*"
Cell = tuple[str, ...]


@dataclass
class Written:
    """What one transaction has claimed: rows per table with their columns, and names."""

    rows: dict[int, dict[int, set[str]]] = field(default_factory=dict)
    names: set[Hashable] = field(default_factory=set)
    since: dict[tuple[int, int], int] = field(default_factory=dict)
    """The commit number each row was written on top of."""


class Claims:
    """Claims of open transactions, and the number of the last commit that changed something."""

    def __init__(self) -> None:
        self._open_rows: dict[tuple[int, int], dict[str, set[int]]] = {}
        self._open_names: dict[Hashable, int] = {}
        self._changed_rows: dict[tuple[int, int], dict[str, int]] = {}
        self._changed_names: dict[Hashable, int] = {}

    def claim_name(self, txid: int, written: Written, name: Hashable, base: int) -> None:
        """Claim a schema object for a change on top of commit ``base``; RpcError 409 if taken."""
        holder = self._open_names.get(name)
        if holder not in (None, txid):
            raise conflict("another open transaction changes the same object")
        if self._changed_names.get(name, 0) > base and name not in written.names:
            raise conflict("the object was changed after this transaction began")
        self._open_names[name] = txid
        written.names.add(name)

    def check_rows(
        self, txid: int, table_id: int, rows: Iterable[int], columns: Iterable[str], base: int
    ) -> None:
        """RpcError 409 if one of the cells is claimed by another or changed after ``base``."""
        wanted = set(columns)
        for row in rows:
            key = (table_id, row)
            holders = self._open_rows.get(key)
            if holders:
                for column, txids in holders.items():
                    if _meet(column, wanted) and txids - {txid}:
                        raise conflict(f"row {row} is claimed by another open transaction")
            self._check_changed(key, wanted, base)

    def check_written(self, written: Written) -> None:
        """RpcError 409 if a row was changed by another commit after this transaction wrote it."""
        for table_id, rows in written.rows.items():
            for row, columns in rows.items():
                key = (table_id, row)
                self._check_changed(key, columns, written.since[key])

    def _check_changed(self, key: tuple[int, int], wanted: set[str], base: int) -> None:
        changed = self._changed_rows.get(key)
        if changed:
            for column, commit in changed.items():
                if commit > base and _meet(column, wanted):
                    raise conflict(f"row {key[1]} was changed after this transaction read it")

    def claim_rows(
        self,
        txid: int,
        written: Written,
        table_id: int,
        rows: Iterable[int],
        columns: Iterable[str],
        base: int,
    ) -> None:
        """Note that ``txid`` has written these cells."""
        names = set(columns)
        mine = written.rows.setdefault(table_id, {})
        for row in rows:
            key = (table_id, row)
            mine.setdefault(row, set()).update(names)
            written.since.setdefault(key, base)
            holders = self._open_rows.setdefault(key, {})
            for name in names:
                holders.setdefault(name, set()).add(txid)

    def release(self, txid: int, written: Written, commit: int | None, remember: bool) -> None:
        """End the claims of a transaction; with a ``commit`` number they become changes.

        ``remember`` is False when no open transaction is left that could conflict with them.
        """
        for table_id, rows in written.rows.items():
            for row, columns in rows.items():
                self._release_row(txid, (table_id, row), columns)
                if commit is not None and remember:
                    changed = self._changed_rows.setdefault((table_id, row), {})
                    changed.update(dict.fromkeys(columns, commit))
        for name in written.names:
            if self._open_names.get(name) == txid:
                del self._open_names[name]
            if commit is not None and remember:
                self._changed_names[name] = commit

    def _release_row(self, txid: int, key: tuple[int, int], columns: set[str]) -> None:
        holders = self._open_rows.get(key)
        if holders is None:
            return
        for column in columns:
            txids = holders.get(column)
            if txids is not None:
                txids.discard(txid)
                if not txids:
                    del holders[column]
        if not holders:
            del self._open_rows[key]

    def forget_changes(self) -> None:
        """Drop the memory of commits: nobody is left who began before them."""
        self._changed_rows.clear()
        self._changed_names.clear()


def _meet(column: str, wanted: set[str]) -> bool:
    return column == WHOLE_ROW or column in wanted or WHOLE_ROW in wanted
