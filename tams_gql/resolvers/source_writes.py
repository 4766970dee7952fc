"""Creating, changing and deleting sources on their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tams_gql.context import Context
from tams_gql.model.errors import Conflict, NotFound
from tams_gql.model.events import EventType
from tams_gql.model.formats import ContentFormat
from tams_gql.model.source import SourceFields, parse_source_fields
from tams_gql.resolvers.documents import (
    search_text,
    source_event,
    stored_tags,
    tags_text,
    to_json_text,
)
from tams_gql.resolvers.idempotency import NO_KEY, Earlier, Idempotency, once
from tams_gql.store.changes import ChangeSet, Delete, Expect, Insert, NewEvent, Update
from tams_gql.store.records import SourceRecord
from tams_gql.store.scan import eq
from tams_gql.store.tables import SOURCES


@dataclass(frozen=True, slots=True)
class SourceWritten:
    """A source after a write, and the cursor at which the change is in the log."""

    source: SourceRecord
    cursor: str


async def create_source(
    ctx: Context,
    source_id: str,
    format: ContentFormat,
    document: Mapping[str, object],
    *,
    idempotency: Idempotency = NO_KEY,
) -> SourceWritten:
    """Make a source without a flow; it stays when its last flow goes.

    Raises ``BadInput``, and ``Conflict`` if the id is taken.
    """
    fields = parse_source_fields(document)

    async def attempt() -> SourceWritten:
        if await ctx.loaders.source_by_id.load(source_id) is not None:
            raise Conflict(f"id: source {source_id} exists", field="id")
        now = ctx.services.now_us()
        row = SourceRecord(
            id=source_id,
            format=format.value,
            label=fields.label,
            description=fields.description,
            tags=tags_text(fields.tags),
            created_by=ctx.principal,
            updated_by=ctx.principal,
            created=now,
            updated=now,
            version=1,
            search=search_text(fields.label, fields.description, fields.tags),
            explicit=True,
            flow_count=0,
        )
        changes = ChangeSet(now, expect=[Expect(SOURCES, (source_id,), None)])
        changes.insert.append(Insert(SOURCES, SOURCES.columns, (row,)))
        changes.events.append(source_event(EventType.SOURCE_CREATED, row))
        return await _commit(ctx, changes, row, idempotency)

    return await once(ctx, idempotency, lambda e: _replayed(ctx, source_id, e), attempt)


async def update_source(
    ctx: Context,
    source_id: str,
    document: Mapping[str, object],
    *,
    expected_version: int | None = None,
    idempotency: Idempotency = NO_KEY,
) -> SourceWritten:
    """Change label, description or tags; what is left out stays, None removes.

    Raises ``BadInput``, ``NotFound``, ``Conflict`` when ``expected_version`` is stale.
    """
    fields = parse_source_fields(document)

    async def attempt() -> SourceWritten:
        stored = await _existing(ctx, source_id, expected_version)
        row = _changed(ctx, stored, fields)
        columns = ("label", "description", "tags", "updated", "updated_by", "version", "search")
        values = (row.id, *(getattr(row, column) for column in columns))
        relied_on = {"version": stored.version}
        changes = ChangeSet(row.updated, expect=[Expect(SOURCES, (source_id,), relied_on)])
        changes.update.append(Update(SOURCES, columns, (values,)))
        changes.events.append(source_event(EventType.SOURCE_UPDATED, row))
        return await _commit(ctx, changes, row, idempotency)

    return await once(ctx, idempotency, lambda e: _replayed(ctx, source_id, e), attempt)


async def delete_source(
    ctx: Context,
    source_id: str,
    *,
    expected_version: int | None = None,
    idempotency: Idempotency = NO_KEY,
) -> str:
    """Delete a source that has no flows; the cursor after the change.

    Raises ``NotFound``, ``Conflict`` if it has flows or ``expected_version`` is stale.
    """

    async def attempt() -> str:
        stored = await _existing(ctx, source_id, expected_version)
        if stored.flow_count:
            raise Conflict(
                f"id: source {source_id} has {stored.flow_count} flows; delete them first",
                field="id",
            )
        relied_on = {"version": stored.version, "flow_count": 0}
        changes = ChangeSet(ctx.services.now_us())
        changes.expect.append(Expect(SOURCES, (source_id,), relied_on))
        changes.delete.append(Delete(SOURCES, (eq("id", source_id),)))
        body = to_json_text({"source_id": source_id})
        changes.events.append(NewEvent(EventType.SOURCE_DELETED, source_id, None, body))
        idempotency.remember(changes, {})
        committed = await ctx.commit(changes)
        return ctx.services.feed.cursor(committed.position)

    async def replay(earlier: Earlier) -> str:
        return earlier.cursor

    return await once(ctx, idempotency, replay, attempt)


async def _existing(ctx: Context, source_id: str, expected_version: int | None) -> SourceRecord:
    stored = await ctx.loaders.source_by_id.load(source_id)
    if stored is None:
        raise NotFound(f"there is no source {source_id}", field="id")
    if expected_version is not None and expected_version != stored.version:
        raise Conflict(
            f"expectedVersion: {expected_version} is stale; the source has version"
            f" {stored.version}",
            field="expectedVersion",
            version=stored.version,
        )
    return stored


def _changed(ctx: Context, stored: SourceRecord, fields: SourceFields) -> SourceRecord:
    row = stored
    if "label" in fields.sent:
        row = row._replace(label=fields.label)
    if "description" in fields.sent:
        row = row._replace(description=fields.description)
    if "tags" in fields.sent:
        row = row._replace(tags=tags_text(fields.tags))
    return row._replace(
        updated=max(ctx.services.now_us(), stored.updated + 1),
        updated_by=ctx.principal,
        version=stored.version + 1,
        search=search_text(row.label, row.description, stored_tags(row.tags)),
    )


async def _commit(
    ctx: Context, changes: ChangeSet, row: SourceRecord, idempotency: Idempotency
) -> SourceWritten:
    idempotency.remember(changes, {})
    committed = await ctx.commit(changes)
    return SourceWritten(row, ctx.services.feed.cursor(committed.position))


async def _replayed(ctx: Context, source_id: str, earlier: Earlier) -> SourceWritten:
    row = await ctx.loaders.source_by_id.load(source_id)
    if row is None:
        raise Conflict(
            f"idempotencyKey: source {source_id}, which the key wrote, has been deleted since",
            field="idempotencyKey",
        )
    return SourceWritten(row, earlier.cursor)
