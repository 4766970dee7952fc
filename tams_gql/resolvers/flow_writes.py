"""Creating, changing and deleting flows, and with them their sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tams_gql.context import Context
from tams_gql.model.errors import BadInput, Conflict, NotFound, ReadOnly
from tams_gql.model.events import EventType
from tams_gql.model.flow import (
    FlowBody,
    ProfileFlowBody,
    apply_profile,
    parse_flow_put,
    patch_flow,
)
from tams_gql.model.time import TimeRange
from tams_gql.resolvers.collections import check_members
from tams_gql.resolvers.deletion import removal_of
from tams_gql.resolvers.documents import (
    flow_document,
    flow_row,
    members_of,
    rfc3339,
    search_text,
    source_event,
    to_json_text,
)
from tams_gql.resolvers.flow_rules import (
    check_profile,
    check_segments,
    check_source,
    check_version,
    check_writable,
)
from tams_gql.resolvers.idempotency import NO_KEY, Earlier, Idempotency, once
from tams_gql.resolvers.profiles import technical_of
from tams_gql.store.changes import (
    ChangeSet,
    Delete,
    Expect,
    Insert,
    NewEvent,
    Update,
)
from tams_gql.store.records import FlowRecord, MemberRecord, SourceRecord
from tams_gql.store.scan import eq
from tams_gql.store.tables import COLLECTIONS, FLOWS, SOURCES


@dataclass(frozen=True, slots=True)
class FlowWritten:
    """A flow after a write, and the cursor at which the change is in the log."""

    flow: FlowRecord
    created: bool
    cursor: str


@dataclass(frozen=True, slots=True)
class FlowDeleted:
    """What the deletion of a flow removed."""

    flow_id: str
    segment_count: int
    source_deleted: bool
    cursor: str


async def put_flow(
    ctx: Context,
    document: Mapping[str, object],
    *,
    expected_version: int | None = None,
    idempotency: Idempotency = NO_KEY,
) -> FlowWritten:
    """Create a flow or replace its metadata (TAMS 8.2, PUT flow); segments stay.

    A document with a ``profile_id`` takes its technical part from that profile.
    Raises ``BadInput`` when the document breaks a rule, ``Conflict`` when ``expected_version`` is
    stale (0 asks that the flow be new), ``ReadOnly``.
    """
    parsed = parse_flow_put(document)

    async def attempt() -> FlowWritten:
        flow = await _with_profile(ctx, parsed)
        stored = await ctx.loaders.flow_by_id.load(flow.id)
        check_version(stored, expected_version)
        if stored is not None:
            check_writable(stored, flow)
        return await _write(ctx, flow, stored, idempotency)

    return await once(ctx, idempotency, lambda e: _replayed(ctx, e), attempt)


async def _with_profile(ctx: Context, parsed: FlowBody | ProfileFlowBody) -> FlowBody:
    if isinstance(parsed, FlowBody):
        return parsed
    profile = await ctx.loaders.profile_by_id.load(parsed.profile_id)
    if profile is None:
        raise BadInput(f"profile_id: there is no profile {parsed.profile_id}", field="profile_id")
    return apply_profile(parsed, technical_of(profile))


async def _replayed(ctx: Context, earlier: Earlier) -> FlowWritten:
    flow_id = earlier.response["flow_id"]
    row = await ctx.loaders.flow_by_id.load(flow_id)
    if row is None:
        raise Conflict(
            f"idempotencyKey: flow {flow_id}, which the key wrote, has been deleted since",
            field="idempotencyKey",
        )
    return FlowWritten(row, earlier.response["created"], earlier.cursor)


async def edit_flow(
    ctx: Context,
    flow_id: str,
    changes: Mapping[str, object],
    *,
    expected_version: int | None = None,
    idempotency: Idempotency = NO_KEY,
) -> FlowWritten:
    """Change some keys of a flow; None unsets a key.

    Raises ``NotFound``, and what ``put_flow`` raises.
    """

    async def attempt() -> FlowWritten:
        stored = await ctx.loaders.flow_by_id.load(flow_id)
        if stored is None:
            raise NotFound(f"there is no flow {flow_id}", field="id")
        check_version(stored, expected_version)
        check_profile(stored, changes)
        members = await ctx.loaders.members_by_flow.load(flow_id)
        document = flow_document(stored, members)
        document.pop("updated_by", None)  # of the change before this one
        flow = patch_flow(document, changes)
        if set(changes) != {"read_only"}:
            check_writable(stored, flow)
        return await _write(ctx, flow, stored, idempotency)

    return await once(ctx, idempotency, lambda e: _replayed(ctx, e), attempt)


async def delete_flow(
    ctx: Context,
    flow_id: str,
    *,
    expected_version: int | None = None,
    idempotency: Idempotency = NO_KEY,
) -> FlowDeleted:
    """Delete a flow with its segments; its source goes with its last flow unless made by a client.

    Objects stay until nothing refers to them. Raises ``NotFound``, ``Conflict``, and ``ReadOnly``
    also if the collection of a read-only flow would lose the flow.
    """

    async def attempt() -> FlowDeleted:
        stored = await ctx.loaders.flow_by_id.load(flow_id)
        if stored is None:
            raise NotFound(f"there is no flow {flow_id}", field="id")
        check_version(stored, expected_version)
        if stored.read_only:
            raise ReadOnly(f"flow {flow_id} is read-only", field="id")
        return await _delete(ctx, stored, idempotency)

    async def replay(earlier: Earlier) -> FlowDeleted:
        (count,), gone = earlier.response["removed"], earlier.response["source_deleted"]
        return FlowDeleted(flow_id, count, gone, earlier.cursor)

    return await once(ctx, idempotency, replay, attempt)


async def _write(
    ctx: Context, flow: FlowBody, stored: FlowRecord | None, idempotency: Idempotency
) -> FlowWritten:
    now = ctx.services.now_us()
    source = await ctx.loaders.source_by_id.load(flow.source_id)
    check_source(flow, source)
    members, expects = await check_members(ctx, flow, field="flow_collection")
    row = _row(ctx, flow, stored, now)
    if stored is not None:
        expects += await check_segments(ctx, stored, row)
    rows = members_of(flow, {flow_id: member.source_id for flow_id, member in members.items()})
    changes = ChangeSet(now, expect=expects)
    changes.expect.append(Expect(FLOWS, (row.id,), stored and {"version": stored.version}))
    if stored is None:
        _create(changes, row, source, ctx.principal)
    else:
        # Segments are checked against the stored format and container, so the row is replaced
        # as a whole and its counters stay.
        columns = FLOWS.columns[1:]
        changes.update.append(Update(FLOWS, columns, (row,)))
        changes.delete.append(Delete(COLLECTIONS, (eq("parent_id", row.id),)))
    if rows:
        changes.insert.append(Insert(COLLECTIONS, COLLECTIONS.columns, tuple(rows)))
    kind = EventType.FLOW_CREATED if stored is None else EventType.FLOW_UPDATED
    changes.events.append(_flow_event(kind, row, rows))
    idempotency.remember(changes, {"flow_id": row.id, "created": stored is None})
    committed = await ctx.commit(changes)
    return FlowWritten(row, stored is None, ctx.services.feed.cursor(committed.position))


def _row(ctx: Context, flow: FlowBody, stored: FlowRecord | None, now: int) -> FlowRecord:
    version = 1 if stored is None else stored.version + 1
    creator = flow.created_by or ctx.principal
    updater = flow.updated_by or ctx.principal
    row = flow_row(
        flow,
        created=now if stored is None else stored.created,
        # Two edits within a microsecond, or a clock that was set back, still move forward.
        updated=now if stored is None else max(now, stored.metadata_updated + 1),
        version=version,
        by=(creator if stored is None else stored.created_by, updater),
    )
    # TAMS 8.2, `metadata_version`: a client's own value is kept, otherwise every change gets one.
    given = flow.metadata_version
    if given is None or (stored is not None and given == stored.metadata_version):
        row = row._replace(metadata_version=_new_metadata_version(row.metadata_updated))
    return row


def _new_metadata_version(updated_us: int) -> str:
    """A text that the flow never had, because equal versions promise equal metadata.

    A moment rather than a count: clients may have chosen any number, and copies of the flow in
    other services count too (TAMS 8.2, ``metadata_version``).
    """
    return rfc3339(updated_us)


def _create(
    changes: ChangeSet, row: FlowRecord, source: SourceRecord | None, principal: str | None
) -> None:
    changes.insert.append(Insert(FLOWS, FLOWS.columns, (row,)))
    if source is not None:
        _count_flows(changes, source, 1)
        return
    made = SourceRecord(
        id=row.source_id,
        format=row.format,
        label=row.label,
        description=row.description,
        tags=None,
        created_by=principal,
        updated_by=principal,
        created=changes.now_us,
        updated=changes.now_us,
        version=1,
        search=search_text(row.label, row.description, None),
        explicit=False,
        flow_count=1,
    )
    changes.expect.append(Expect(SOURCES, (made.id,), None))
    changes.insert.append(Insert(SOURCES, SOURCES.columns, (made,)))
    changes.events.append(source_event(EventType.SOURCE_CREATED, made))


def _count_flows(changes: ChangeSet, source: SourceRecord, step: int) -> None:
    before = source.flow_count
    changes.expect.append(Expect(SOURCES, (source.id,), {"flow_count": before}))
    changes.update.append(Update(SOURCES, ("flow_count",), ((source.id, before + step),)))


async def _delete(ctx: Context, stored: FlowRecord, idempotency: Idempotency) -> FlowDeleted:
    now = ctx.services.now_us()
    source = await ctx.loaders.source_by_id.load(stored.source_id)
    parents = await ctx.loaders.parents_by_flow.load(stored.id)
    changes = ChangeSet(now)
    changes.expect.append(Expect(FLOWS, (stored.id,), {"version": stored.version}))
    changes.remove_segments.append(removal_of(stored, TimeRange.everything()))
    changes.delete += [
        Delete(FLOWS, (eq("id", stored.id),)),
        Delete(COLLECTIONS, (eq("parent_id", stored.id),)),
        # Whoever has collected the flow meanwhile must change with it too.
        Delete(COLLECTIONS, (eq("child_id", stored.id),), count=len(parents)),
    ]
    changes.events.append(
        NewEvent(
            EventType.FLOW_DELETED,
            stored.source_id,
            stored.id,
            to_json_text({"flow_id": stored.id, "collected_by": _collectors(parents)}),
        )
    )
    await _leave_parents(ctx, changes, parents, stored.id)
    source_deleted = source is not None and source.flow_count <= 1 and not source.explicit
    if source is not None:
        _count_flows(changes, source, -1)
    if source is not None and source_deleted:
        changes.update.pop()  # the row goes as a whole
        changes.delete.append(Delete(SOURCES, (eq("id", source.id),)))
        told = {"source_id": source.id, "collected_by": _collectors(parents)}
        changes.events.append(
            NewEvent(EventType.SOURCE_DELETED, source.id, None, to_json_text(told))
        )
    idempotency.remember(changes, {"source_deleted": source_deleted})
    committed = await ctx.commit(changes)
    cursor = ctx.services.feed.cursor(committed.position)
    return FlowDeleted(stored.id, committed.removed[0], source_deleted, cursor)


async def _leave_parents(
    ctx: Context, changes: ChangeSet, parents: Sequence[MemberRecord], flow_id: str
) -> None:
    """The collections that held the flow change too, so their flows get a new version.

    Raises ``ReadOnly`` if one of them may not change.
    """
    ids = [row.parent_id for row in parents]
    rows = await ctx.loaders.flow_by_id.load_many(ids)
    lists = await ctx.loaders.members_by_flow.load_many(ids)
    for parent, members in zip(rows, lists, strict=True):
        if parent is None:
            continue
        if parent.read_only:
            raise ReadOnly(
                f"flow {flow_id} is in the collection of flow {parent.id}, which is read-only",
                field="id",
            )
        version, now = parent.version + 1, max(changes.now_us, parent.metadata_updated + 1)
        changed = parent._replace(
            version=version,
            metadata_updated=now,
            metadata_version=_new_metadata_version(now),
            updated_by=ctx.principal,
        )
        columns = ("version", "metadata_updated", "metadata_version", "updated_by")
        values = (parent.id, *(getattr(changed, column) for column in columns))
        changes.expect.append(Expect(FLOWS, (parent.id,), {"version": parent.version}))
        changes.update.append(Update(FLOWS, columns, (values,)))
        left = [member for member in members if member.child_id != flow_id]
        changes.events.append(_flow_event(EventType.FLOW_UPDATED, changed, left))


def _flow_event(kind: EventType, row: FlowRecord, members: Sequence[MemberRecord]) -> NewEvent:
    told: dict[str, object] = {"flow": flow_document(row, members)}
    if members:
        # What the flow makes its source collect, for those who follow the collection.
        told["member_sources"] = sorted({member.child_source_id for member in members})
    return NewEvent(kind, row.source_id, row.id, to_json_text(told))


def _collectors(parents: Sequence[MemberRecord]) -> list[str]:
    """The flows and sources that collected what goes: afterwards nobody could look that up."""
    return sorted({id for row in parents for id in (row.parent_id, row.parent_source_id)})
