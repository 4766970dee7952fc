"""What keeps writers apart: names of rows, whether the rows exist or not.

Two change sets that might spoil each other name at least one lock together. A row of ``segments``
is protected by its flow, a member of a collection by the flows at both its ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import NamedTuple

import orjson

from tams_gql.store.changes import Row
from tams_gql.store.scan import Value
from tams_gql.store.tables import COLLECTIONS, FLOWS, SEGMENTS, Table
from tams_gql.store.vast.layout import GUARD_ROWS, physical_of


class Lock(NamedTuple):
    """The row of a physical table with a key."""

    table: str
    key: Row

    @property
    def digest(self) -> bytes:
        """16 bytes that are the same for the same lock in every process."""
        text = orjson.dumps([self.table, *self.key])
        return blake2b(text, digest_size=16, person=b"catalog lock").digest()

    @property
    def slot(self) -> int:
        """The guard row of this lock; strangers may share it."""
        return int.from_bytes(self.digest[:8], "big") % GUARD_ROWS

    @property
    def claim(self) -> str:
        """The claim's key: short, whatever a client has chosen as an id."""
        return self.digest.hex()


def flow_lock(flow_id: Value) -> Lock:
    """What protects a flow, its counters, its segments and its place in collections."""
    return Lock(FLOWS.name, (flow_id,))


def lock_of(table: Table, key: Row) -> Lock:
    """What protects the row of a contract table."""
    if table is SEGMENTS or table is COLLECTIONS:
        return flow_lock(key[0])
    return Lock(physical_of(table).name, key)


def locks_of_row(table: Table, columns: tuple[str, ...], row: Row) -> Iterator[Lock]:
    """What must be held to insert a row or to remove it."""
    yield lock_of(table, tuple(row[columns.index(column)] for column in table.key))
    if table is COLLECTIONS:
        yield flow_lock(row[columns.index("child_id")])
