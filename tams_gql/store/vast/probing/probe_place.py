"""Where the probe works: throw-away tables in the catalog's schema, removed again."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

import pyarrow as pa

from tams_gql.store.vast.config import VastConfig
from tams_gql.store.vast.layout import Physical
from tams_gql.store.vast.probing.probe_door import Door, NoAnswer, Party, Refused

PREFIX = "probe_"
# A probe takes minutes; with the wait for expiry, an hour at most.
_LEFT_BEHIND_SECONDS = 7200

_COLUMNS = (("name", pa.string()), ("one", pa.int64()), ("two", pa.int64()), ("text", pa.string()))
_ATTEMPTS = 3


def throw_away(*, sorted_by: tuple[str, ...] = (), row_id_column: bool = False) -> Physical:
    """A table like no other: its name has the time, so that what is left behind can be told."""
    name = f"{PREFIX}{int(time.time()):x}_{secrets.token_hex(4)}"
    columns = [pa.field(name, kind) for name, kind in _COLUMNS]
    if row_id_column:
        columns.insert(0, pa.field("vastdb_rowid", pa.int64()))
    return Physical(name, pa.schema(columns), sorted_by)


def committed(party: Party) -> None:
    """Commit, and roll back if that fails."""
    try:
        party.commit()
    except BaseException:
        party.rollback()
        raise


@contextmanager
def table_in(
    door: Door, *, sorted_by: tuple[str, ...] = (), row_id_column: bool = False
) -> Iterator[Physical]:
    """A new table with committed existence; dropped at the end. Raises what the door raises."""
    table = throw_away(sorted_by=sorted_by, row_id_column=row_id_column)
    with door.begin() as party:
        party.create_table(table)
        party.commit()
    try:
        yield table
    finally:
        drop(door, table.name)


def drop(door: Door, name: str) -> bool:
    """Remove a throw-away table, trying a few times; whether it is gone."""
    if not name.startswith(PREFIX):
        raise ValueError(f"{name} is no throw-away table")
    for _ in range(_ATTEMPTS):
        with suppress(Refused, NoAnswer), door.begin() as party:
            if name not in party.tables(name):
                return True
            party.drop_table(name)
            party.commit()
            return True
    return False


def remove_left_behind(door: Door) -> list[str]:
    """Remove the tables of probes that were broken off; the names of those that are gone."""
    with door.begin() as party:
        names = sorted(party.tables(PREFIX))
    return [name for name in names if _is_left_behind(name) and drop(door, name)]


def _is_left_behind(name: str) -> bool:
    try:
        made = int(name.removeprefix(PREFIX).partition("_")[0], 16)
    except ValueError:
        return False
    return time.time() - made > _LEFT_BEHIND_SECONDS


@contextmanager
def schema_of_probe(config: VastConfig, endpoint: str) -> Iterator[str]:
    """The catalog's schema or, if it does not exist yet, one of the probe's own.

    Raises ``Refused`` or ``NoAnswer``.
    """
    with closing(Door(config, endpoint)) as door, door.begin() as party:
        exists = config.schema in party.schemas()
    if exists:
        yield config.schema
        return
    with closing(Door(config, endpoint, throw_away().name)) as door:
        with door.begin() as party:
            party.create_schema()
            party.commit()
        try:
            yield door.schema
        finally:
            with suppress(Refused, NoAnswer), door.begin() as party:
                party.drop_schema()
                party.commit()
