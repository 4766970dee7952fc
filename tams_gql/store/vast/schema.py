"""Versioned forward migrations of a catalog in VAST.

The version is a row of ``service``. All steps to the newest version and the version itself are
one transaction, so an interrupted upgrade leaves the old version whole. Every step finds out what
is there already, in case a cluster does not undo created tables with the rest.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tams_gql.model.errors import Unavailable
from tams_gql.store.scan import eq
from tams_gql.store.tables import SERVICE
from tams_gql.store.vast.config import VastConfig
from tams_gql.store.vast.layout import (
    GUARD_ROWS,
    GUARDS,
    LOCK,
    PHYSICAL,
    ROW_ID,
    Physical,
    physical_of,
    rows_to_batch,
)
from tams_gql.store.vast.wire.client import Gone, OutcomeUnknown, RowConflict, Tx, VastClient
from tams_gql.store.vast.wire.failures import Missing

if TYPE_CHECKING:
    from tams_gql.store.vast.wire.transport import Api

VERSION_ROW = "schema_version"

_SERVICE = physical_of(SERVICE)
_PATIENCE_SECONDS = 60.0  # with another program that migrates, or was killed while it did


def latest_version() -> int:
    """The schema version this program works with."""
    return len(_STEPS)


def check(client: VastClient) -> tuple[int, int]:
    """The version of the catalog (0: no catalog yet) and the one this program needs."""
    tx = client.begin()
    try:
        return _version(tx), latest_version()
    except Gone as error:
        raise Unavailable("the VAST cluster gave up a transaction") from error
    finally:
        tx.rollback()


def require_current(client: VastClient) -> None:
    """Raise ``Unavailable`` unless the catalog has the version of this program."""
    version, needed = check(client)
    _refuse_newer(version)
    if version < needed:
        raise Unavailable(
            f"the catalog has schema version {version}, this program needs {needed}:"
            " run `tams-gql migrate`"
        )


def migrate(client: VastClient) -> tuple[int, int]:
    """Create or upgrade the catalog; the version before and after.

    Programs may do so at the same time: one does the work, the others wait for it. Raises
    ``Unavailable`` if the bucket does not exist, a newer program wrote the catalog, or another one
    has been changing it for a minute.
    """
    patience = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return _attempt(client)
        except (RowConflict, Gone, OutcomeUnknown) as error:
            if isinstance(error, OutcomeUnknown):
                client.abandon(error.txid)
            if time.monotonic() > patience:
                raise Unavailable(
                    "another program is changing the schema of the catalog, or was stopped while"
                    f" it did so: try again when its transaction has expired ({error})"
                ) from error
            time.sleep(0.1 + 0.4 * random.random())


def _attempt(client: VastClient) -> tuple[int, int]:
    tx = client.begin()
    try:
        before = _version(tx)
        _refuse_newer(before)
        if before < latest_version():
            for step in _STEPS[before:]:
                step(tx, client.config)
            _write_version(tx)
            tx.commit()
        return before, latest_version()
    finally:
        tx.rollback()


def _version(tx: Tx) -> int:
    try:
        found = tx.select(_SERVICE, ("value",), [eq("name", VERSION_ROW)])
    except Missing:
        return 0
    versions = [int(value) for value in found.column("value").to_pylist()]
    return max(versions, default=0)


def _refuse_newer(version: int) -> None:
    if version > latest_version():
        raise Unavailable(
            f"the catalog has schema version {version}, this program knows {latest_version()}:"
            " a newer release wrote it"
        )


def _write_version(tx: Tx) -> None:
    value = str(latest_version())
    found = tx.select(_SERVICE, (), [eq("name", VERSION_ROW)], row_ids=True)
    if not found.num_rows:
        _add_service_row(tx, VERSION_ROW, value)
        return
    ids = found.column(ROW_ID).combine_chunks()
    values = pa.array([value] * len(ids), pa.string())
    tx.update(_SERVICE, pa.record_batch([ids, values], names=[ROW_ID, "value"]))


def _add_service_row(tx: Tx, name: str, value: str) -> None:
    tx.insert(_SERVICE, rows_to_batch(_SERVICE, ("name", "value", LOCK), [(name, value, 0)]))


def _first(tx: Tx, config: VastConfig) -> None:
    """All tables, the rows that guard keys, and the identity of the change log."""
    _create_schema(tx, config)
    existing = _tables(tx, config)
    for table in PHYSICAL:
        if table.name in existing:
            _require_columns(tx, config, table)
        else:
            _create_table(tx, config, table)
    service = tx.select(_SERVICE, ("name",)) if _SERVICE.name in existing else None
    names = [] if service is None else service.column("name").to_pylist()
    if "log_id" not in names:
        _add_service_row(tx, "log_id", secrets.token_hex(4))
    if "log_floor" not in names:
        _add_service_row(tx, "log_floor", "0")
    guards = tx.select(GUARDS, ("slot",)) if GUARDS.name in existing else None
    slots = set() if guards is None else set(guards.column("slot").to_pylist())
    missing = [(slot, 0) for slot in range(GUARD_ROWS) if slot not in slots]
    if missing:
        tx.insert(GUARDS, rows_to_batch(GUARDS, ("slot", LOCK), missing))


_STEPS: tuple[Callable[[Tx, VastConfig], None], ...] = (_first,)
"""What leads from each version to the next; never changed once released."""


def _create_schema(tx: Tx, config: VastConfig) -> None:
    parent = ""
    for part in config.schema.split("/"):
        path = f"{parent}/{part}" if parent else part

        def names(api: Api, parent: str = parent, part: str = part) -> list[str]:
            _, found, _, _, _ = api.list_schemas(
                config.bucket, parent, txid=tx.txid, name_prefix=part, exact_match=True
            )
            return [name for name, _ in found]

        def create(api: Api, path: str = path) -> None:
            api.create_schema(config.bucket, path, txid=tx.txid)

        try:
            found = tx.ask(names)
        except Missing as error:
            raise Unavailable(f"the VAST cluster has no bucket {config.bucket!r}") from error
        if part not in found:
            tx.change(create)
        parent = path


def _tables(tx: Tx, config: VastConfig) -> set[str]:
    names: set[str] = set()
    key, truncated = 0, True
    while truncated:

        def page(api: Api, key: int = key) -> tuple[Any, ...]:
            found: tuple[Any, ...] = api.list_tables(
                config.bucket, config.schema, txid=tx.txid, next_key=key
            )
            return found

        _, _, tables, key, truncated, _ = tx.ask(page)
        names.update(table.name for table in tables)
    return names


def _create_table(tx: Tx, config: VastConfig, table: Physical) -> None:
    tx.change(
        lambda api: api.create_table(
            config.bucket,
            config.schema,
            table.name,
            table.schema,
            txid=tx.txid,
            sorting_key=[table.schema.get_field_index(name) for name in table.sorted_by],
        )
    )


def _require_columns(tx: Tx, config: VastConfig, table: Physical) -> None:
    place = config.bucket, config.schema, table.name
    found = tx.ask(lambda api: api.list_all_columns(*place, sorted_columns=False, txid=tx.txid))
    if [(f.name, f.type) for f in found] != [(f.name, f.type) for f in table.schema]:
        raise Unavailable(
            f"table {table.name!r} in schema {config.schema!r} has other columns:"
            " the schema belongs to another program"
        )
