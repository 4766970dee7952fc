"""Events of what collections hold: a flow's members, and the sources that a source collects.

An event says which flow and source it is about, not what collects them. So a reader keeps the
members of the collections it follows, and the log keeps them up to date: an event of a collecting
flow names all its members. Only the deletion of a flow says itself what collected it, because
nobody can look that up afterwards.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from tams_gql.context import Context
from tams_gql.events.feed import EventFeed
from tams_gql.events.ring import Event
from tams_gql.model.errors import LimitExceeded
from tams_gql.model.events import EventType
from tams_gql.store.records import MemberRecord, records
from tams_gql.store.scan import OrderBy, Scan, is_in
from tams_gql.store.tables import COLLECTIONS

MAX_MEMBERS = 1_000
"""Members of all collections that one reader follows; each is kept as long as it follows them."""

_OF_FLOWS = frozenset({EventType.FLOW_CREATED, EventType.FLOW_UPDATED, EventType.FLOW_DELETED})


class Collected:
    """The members of some collections, as they were at ``position`` and as events changed them.

    ``ids`` are those of collecting flows and of collecting sources. ``flows`` and ``sources`` are
    the direct members, not those that members collect in turn. Raises ``LimitExceeded`` as soon as
    there are too many.
    """

    def __init__(
        self, ids: frozenset[str], rows: Collection[MemberRecord], field: str, position: str = ""
    ) -> None:
        self._ids = ids
        self._field = field
        self.position = position
        # Both by the collecting flow: its events are what changes them.
        self._flows: dict[str, frozenset[str]] = {}
        self._sources: dict[str, frozenset[str]] = {}
        for parent_id, own in _by_parent(rows).items():
            if parent_id in ids:
                self._flows[parent_id] = frozenset(row.child_id for row in own)
            if own[0].parent_source_id in ids:
                self._sources[parent_id] = frozenset(row.child_source_id for row in own)
        self._unite()

    def holds(self, event: Event) -> bool:
        """Whether an event is about a member."""
        return event.flow_id in self.flows or event.source_id in self.sources

    def matches(self, event: Event) -> bool:
        """Whether an event is about a member, or about the deletion of what was one."""
        return self.holds(event) or not self._ids.isdisjoint(event.body.get("collected_by", ()))

    def follow(self, event: Event, feed: EventFeed) -> None:
        """Take note of what an event changes. Call it with each event of the log in order."""
        flow_id = event.flow_id
        if flow_id is None or event.type not in _OF_FLOWS:
            return
        of_flow, of_source = flow_id in self._ids, event.source_id in self._ids
        if not (of_flow or of_source) or feed.covers(self.position, event.position):
            return
        if of_flow:
            members = event.body.get("flow", {}).get("flow_collection", ())
            _put(self._flows, flow_id, frozenset(member["id"] for member in members))
        if of_source:
            _put(self._sources, flow_id, frozenset(event.body.get("member_sources", ())))
        self._unite()

    def _unite(self) -> None:
        groups = [*self._flows.values(), *self._sources.values()]
        _check(sum(map(len, groups)), self._field)
        self.flows = frozenset[str]().union(*self._flows.values())
        self.sources = frozenset[str]().union(*self._sources.values())


async def read_members(ctx: Context, ids: frozenset[str], field: str) -> list[MemberRecord]:
    """The places of the collections in the snapshot of the operation, in one round trip.

    Raises ``LimitExceeded`` if there are too many.
    """
    scans = [
        Scan(
            COLLECTIONS,
            COLLECTIONS.columns,
            where=(is_in(column, sorted(ids)),),
            order=(OrderBy("parent_id"), OrderBy("position")),
            limit=MAX_MEMBERS + 1,
        )
        for column in ("parent_id", "parent_source_id")
    ]
    batches = await ctx.loaders.reads.scan(scans)
    _check(max(batch.num_rows for batch in batches), field)
    rows = {row[:2]: row for batch in batches for row in records(batch, MemberRecord)}
    return [*rows.values()]


async def followed(ctx: Context, ids: frozenset[str]) -> Collected:
    """What is collected now, to be followed from its ``position`` on.

    Raises ``LimitExceeded`` if that is too much.
    """
    rows = await read_members(ctx, ids, "collectedBy")
    members = Collected(ids, rows, "collectedBy", await ctx.loaders.reads.head())
    await ctx.renew()  # the snapshot must not last as long as the subscription
    return members


def _by_parent(rows: Iterable[MemberRecord]) -> dict[str, list[MemberRecord]]:
    found: dict[str, list[MemberRecord]] = {}
    for row in rows:
        found.setdefault(row.parent_id, []).append(row)
    return found


def _put(groups: dict[str, frozenset[str]], parent_id: str, members: frozenset[str]) -> None:
    if members:
        groups[parent_id] = members
    else:
        groups.pop(parent_id, None)


def _check(members: int, field: str) -> None:
    if members > MAX_MEMBERS:
        raise LimitExceeded(
            f"{field}: the collections have more than {MAX_MEMBERS:,} members",
            field=field,
            limit=MAX_MEMBERS,
        )
