"""Versioned forward migrations of a catalog in VAST.

The version is a row of ``service``. Steps and the version that they lead to are one transaction, so
an interrupted upgrade leaves an earlier version whole. Every step finds out what is there already,
in case a cluster does not undo created tables with the rest. What is too much for one transaction
is work before a step: it is done in as many as it takes, and can be broken off and begun again.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tams_gql.model.errors import Unavailable
from tams_gql.model.jitter import CHANCE
from tams_gql.store.scan import eq
from tams_gql.store.tables import OBJECTS, SERVICE
from tams_gql.store.vast.config import VastConfig
from tams_gql.store.vast.layout import (
    GUARD_ROWS,
    GUARDS,
    LOCK,
    PHYSICAL,
    ROW_ID,
    USES,
    Physical,
    physical_of,
    rows_to_batch,
)
from tams_gql.store.vast.upgrade_uses import fill_uses
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
    first: int | None = None
    worked = 0
    while True:
        try:
            before, after = _attempt(client, worked)
            first = before if first is None else first
            if after == latest_version():
                return first, after
            with suppress(_Overtaken):
                _WORK[after + 1](client, partial(_hold_version, version=after))
                worked = after + 1
            patience = time.monotonic() + _PATIENCE_SECONDS
        except (RowConflict, Gone, OutcomeUnknown) as error:
            if isinstance(error, OutcomeUnknown):
                with suppress(Unavailable):  # the next attempt shows what has become of it
                    client.abandon(error.txid)
            if time.monotonic() > patience:
                raise Unavailable(
                    "another program is changing the schema of the catalog, or was stopped while"
                    f" it did so: try again when its transaction has expired ({error})"
                ) from error
            time.sleep(0.1 + 0.4 * CHANCE.random())


def _attempt(client: VastClient, worked: int) -> tuple[int, int]:
    """Take the steps that can be taken; the version before and after.

    ``worked`` is the version for which the work has been done.
    """
    tx = client.begin()
    try:
        before = after = _version(tx)
        _refuse_newer(before)
        for step in _STEPS[before:]:
            # Where there was no catalog there is nothing to work on.
            if before and after + 1 in _WORK and after + 1 != worked:
                break
            step(tx, client.config)
            after += 1
        if after > before:
            _write_version(tx, after)
            tx.commit()
        return before, after
    finally:
        tx.rollback()


def _version(tx: Tx) -> int:
    try:
        found = tx.select(_SERVICE, ("value",), [eq("name", VERSION_ROW)])
    except Missing:
        return 0
    versions = [int(value) for value in found.column("value").to_pylist()]
    return max(versions, default=0)


class _Overtaken(Exception):
    """Another program has taken the step that was being prepared."""


def _hold_version(tx: Tx, version: int) -> None:
    """Keep others from changing the version until the transaction ends.

    Raises ``_Overtaken`` if they have, so that the catalog may be in use. It is read after the row
    is written: it cannot change any more then, whatever a transaction sees of others.
    """
    ids = tx.select(_SERVICE, (), [eq("name", VERSION_ROW)], row_ids=True).column(ROW_ID)
    tx.update(_SERVICE, pa.record_batch([ids.combine_chunks(), _locks(len(ids))], [ROW_ID, LOCK]))
    if _version(tx) != version:
        raise _Overtaken


def _locks(count: int) -> pa.Array:
    return pa.array([CHANCE.getrandbits(62)] * count, pa.int64())


def _refuse_newer(version: int) -> None:
    if version > latest_version():
        raise Unavailable(
            f"the catalog has schema version {version}, this program knows {latest_version()}:"
            " a newer release wrote it"
        )


def _write_version(tx: Tx, version: int) -> None:
    value = str(version)
    found = tx.select(_SERVICE, (), [eq("name", VERSION_ROW)], row_ids=True)
    if not found.num_rows:
        _add_service_row(tx, VERSION_ROW, value)
        return
    ids = found.column(ROW_ID).combine_chunks()
    values = pa.array([value] * len(ids), pa.string())
    columns = [ids, values, _locks(len(ids))]
    tx.update(_SERVICE, pa.record_batch(columns, names=[ROW_ID, "value", LOCK]))


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


def _second(tx: Tx, config: VastConfig) -> None:
    """Objects say where their users are."""
    table = physical_of(OBJECTS)
    if USES not in {field.name for field in _columns(tx, config, table)}:
        place = config.bucket, config.schema, table.name
        added = pa.schema([table.schema.field(USES)])
        tx.change(lambda api: api.add_columns(*place, added, txid=tx.txid))


def _third(_tx: Tx, _config: VastConfig) -> None:
    """From here on what objects say of their users leaves none out."""


_STEPS: tuple[Callable[[Tx, VastConfig], None], ...] = (_first, _second, _third)
"""What leads from each version to the next; never changed once released."""

_WORK: dict[int, Callable[[VastClient, Callable[[Tx], None]], None]] = {3: fill_uses}
"""What has to be done on a catalog before it can have a version, see ``_hold_version``."""


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


def _columns(tx: Tx, config: VastConfig, table: Physical) -> list[pa.Field]:
    place = config.bucket, config.schema, table.name
    return list(
        tx.ask(lambda api: api.list_all_columns(*place, sorted_columns=False, txid=tx.txid))
    )


def _require_columns(tx: Tx, config: VastConfig, table: Physical) -> None:
    found = [(f.name, f.type) for f in _columns(tx, config, table)]
    wanted = [(f.name, f.type) for f in table.schema]
    if found not in (wanted, [(name, kind) for name, kind in wanted if name != USES]):
        raise Unavailable(
            f"table {table.name!r} in schema {config.schema!r} has other columns:"
            " the schema belongs to another program"
        )
