"""Writes as values: a change set is applied whole or not at all.

A front end never holds a transaction open. It reads, decides, and commits a change set that names
what it relied on (``Expect``). If something of that has changed meanwhile the store raises
``Stale`` and nothing is written; the caller reads again and either succeeds or finds the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tams_gql.store.scan import Value, Where
from tams_gql.store.tables import EVENTS, FLOW_COUNTERS, Table

Row = tuple[Value, ...]


class Stale(Exception):
    """What the change set relied on is no longer so. Nothing was written.

    ``row`` is the table's name and the key of the row that was expected otherwise, if that was it.
    """

    def __init__(self, message: str, row: tuple[str, Row] | None = None) -> None:
        super().__init__(message)
        self.row = row


@dataclass(frozen=True, slots=True)
class Expect:
    """A row that must exist with the given values or, with ``equals=None``, must not exist."""

    table: Table
    key: Row
    equals: Mapping[str, Value] | None


@dataclass(frozen=True, slots=True)
class Insert:
    """New rows; ``Stale`` if one of the keys is taken. Record times are microseconds UTC.

    A row of ``FLOWS`` brings its ``FLOW_COUNTERS``, all zero. ``minted`` promises that no other
    writer can choose these keys, because they hold enough randomness of this process: a backend
    without unique keys then need not keep other writers away from them.
    """

    table: Table
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    minted: bool = False


@dataclass(frozen=True, slots=True)
class Update:
    """New values of ``columns`` for existing rows; ``Stale`` if one of them is gone.

    A row holds its key first, in the order of ``table.key``, then the values of ``columns``.
    """

    table: Table
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove the rows that match; ``Stale`` if ``count`` is given and they are not so many.

    A row of ``FLOWS`` takes its ``FLOW_COUNTERS`` with it, its segments not.
    """

    table: Table
    where: tuple[Where, ...]
    count: int | None = None


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to append to the change log. ``body`` is JSON text."""

    type: str
    source_id: str | None
    flow_id: str | None
    body: str


@dataclass(frozen=True, slots=True)
class AddSegments:
    """New segments of one flow; the flow's counters and the objects' reference counts follow.

    ``Stale`` if one of them overlaps a stored segment of the flow (half-open ranges) or if the
    flow is gone. ``rows`` follow ``SEGMENTS.columns``.
    """

    flow_id: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Refer:
    """Count ``by`` more (or fewer) users of an object; at zero it is orphaned from now on."""

    object_id: str
    by: int


@dataclass(frozen=True, slots=True)
class RemoveSegments:
    """Remove the segments wholly inside ``[start_ns, end_ns)`` (TAMS 8.2, DELETE segments).

    ``event`` is appended only if something was removed; the store adds ``segment_count`` and the
    bounds ``start_ns`` and ``end_ns`` of what went to its JSON body.
    """

    flow_id: str
    start_ns: int
    end_ns: int
    object_id: str | None = None
    event: NewEvent | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """Remember what this change set answered, under a client's idempotency key.

    ``Stale`` if the key is taken. ``response`` is a JSON object, to which the store adds
    ``removed`` (see ``Committed``); it keeps the log position after the change beside it.
    """

    key: str
    fingerprint: str
    response: str


@dataclass(slots=True)
class ChangeSet:
    """What one operation changes.

    Applied in this order: expectations, removal of segments, deletes, updates, inserts, new
    segments, references, events. Rows of ``FLOW_COUNTERS`` and ``EVENTS`` are the store's own:
    naming them in a delete, update or insert is a ``ValueError``.
    """

    now_us: int
    expect: list[Expect] = field(default_factory=list)
    delete: list[Delete] = field(default_factory=list)
    update: list[Update] = field(default_factory=list)
    insert: list[Insert] = field(default_factory=list)
    add_segments: list[AddSegments] = field(default_factory=list)
    remove_segments: list[RemoveSegments] = field(default_factory=list)
    refer: list[Refer] = field(default_factory=list)
    events: list[NewEvent] = field(default_factory=list)
    receipt: Receipt | None = None


@dataclass(frozen=True, slots=True)
class Committed:
    """What a commit did.

    ``position`` is the log position after the last event of the change set, ``removed`` the number
    of segments each ``RemoveSegments`` took away.
    """

    position: str
    removed: tuple[int, ...]


_OWN = (FLOW_COUNTERS, EVENTS)


def refuse_own_rows(changes: ChangeSet) -> None:
    """Raise ``ValueError`` if a change set writes rows that the store keeps by itself."""
    for parts in (changes.delete, changes.update, changes.insert):
        for table in (part.table for part in parts):
            if table in _OWN:
                raise ValueError(f"{table.name}: the store keeps these rows itself")
