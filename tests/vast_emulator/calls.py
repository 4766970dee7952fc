"""One RPC being answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .catalog import Catalog, Change
from .counting import Rpc
from .errors import RpcError, bad_request
from .storage import Table
from .switches import Switches
from .transactions import Engine, Transaction
from .wire import Request

MAX_BODY = 5 * 2**20


@dataclass
class Call:
    """A request with all a handler needs, and the record of it that is being filled in."""

    request: Request
    engine: Engine
    rpc: Rpc
    transaction: Transaction | None = None

    @property
    def switches(self) -> Switches:
        """The switches in force."""
        return self.engine.switches

    def catalog(self) -> Catalog:
        """What this statement sees of the bucket it names."""
        return self.engine.view(self.transaction, self.request.bucket)

    def table(self) -> Table:
        """The table named in the path."""
        if self.request.params.get("sub-table"):
            raise RpcError(501, "NotImplemented", "sub-tables of imports are not kept here")
        return self.catalog().table(self.request.schema, self.request.table)

    def change(self, change: Change) -> None:
        """Apply a change in the transaction, or at once without one."""
        self.engine.change(self.transaction, self.request.bucket, change)

    def claim(self, kind: str, *name: Any) -> None:
        """Claim a schema object of the bucket for this transaction."""
        self.engine.claim_name(self.transaction, (self.request.bucket, kind, *name))

    def wrote(self) -> None:
        """Note for fault rules that the transaction has written the table of the path."""
        if self.transaction is not None:
            self.transaction.tables.add(self.rpc.table_path)

    def need_transaction(self) -> Transaction:
        """The transaction; RpcError 400 without one."""
        if self.transaction is None:
            raise bad_request("this request needs a transaction")
        return self.transaction

    def check_size(self) -> None:
        """RpcError 400 for bodies above the protocol's limit."""
        if len(self.request.body) > MAX_BODY:
            raise bad_request(f"the body is larger than {MAX_BODY} bytes", "EntityTooLarge")
