"""Stored rows as JSON documents of the specification, and flow documents as rows.

A flow's row has typed columns for what is filtered, sorted or edited alone; its ``body`` holds the
rest of what the client sent, vendor keys included, so that nothing is lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from tams_gql.model.events import EventType
from tams_gql.model.flow import FlowBody
from tams_gql.model.time import format_timestamp
from tams_gql.store.changes import NewEvent
from tams_gql.store.records import FlowRecord, MemberRecord, SegmentRecord, SourceRecord

_TEXT_COLUMNS = (
    *("label", "description", "codec", "container", "status", "generation"),
    *("avg_bit_rate", "max_bit_rate", "metadata_version", "created_by", "updated_by", "profile_id"),
)
_NOT_IN_BODY = {*_TEXT_COLUMNS, "id", "source_id", "format", "tags", "read_only", "flow_collection"}


def to_json_text(value: object) -> str:
    """Compact JSON."""
    return orjson.dumps(value).decode()


def tags_text(tags: object) -> str | None:
    """Tags as stored: NULL for none."""
    return to_json_text(tags) if tags else None


def stored_tags(text: str | None) -> dict[str, Any]:
    """Tags from their stored form."""
    return {} if text is None else orjson.loads(text)


def search_text(label: object, description: object, tags: Mapping[str, Any] | None) -> str | None:
    """What text search looks at: one line each for label, description and every tag value.

    Case-folded, as the terms of a search are. Terms hold no white space, so none spans two lines.
    """
    lines = [text for text in (label, description) if isinstance(text, str)]
    for value in (tags or {}).values():
        lines += [value] if isinstance(value, str) else value
    # A text index may end a text at U+0000, and terms never hold one that matters.
    return "\n".join(lines).casefold().replace("\0", "\n") or None


def rfc3339(us: int) -> str:
    """A record time, microseconds UTC, as RFC 3339."""
    moment = datetime.fromtimestamp(us / 1_000_000, UTC)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def members_of(flow: FlowBody, source_of: dict[str, str]) -> list[MemberRecord]:
    """The rows of a flow's collection. ``source_of`` gives each member's source."""
    return [
        MemberRecord(
            parent_id=flow.id,
            position=position,
            child_id=member.id,
            role=member.role,
            mapping=None
            if member.container_mapping is None
            else to_json_text(member.container_mapping.to_json()),
            parent_source_id=flow.source_id,
            child_source_id=source_of[member.id],
        )
        for position, member in enumerate(flow.flow_collection)
    ]


def flow_row(
    flow: FlowBody, *, created: int, updated: int, version: int, by: tuple[str | None, str | None]
) -> FlowRecord:
    """The row of a flow. ``by`` names who created and who updated it."""
    document: dict[str, Any] = flow.to_json()
    essence: dict[str, Any] = document.get("essence_parameters") or {}
    columns = {name: document.get(name) for name in _TEXT_COLUMNS}
    columns |= {"created_by": by[0], "updated_by": by[1]}
    body = {key: value for key, value in document.items() if key not in _NOT_IN_BODY}
    return FlowRecord(
        id=flow.id,
        source_id=flow.source_id,
        format=flow.format.value,
        tags=tags_text(document.get("tags")),
        read_only=flow.read_only,
        frame_width=essence.get("frame_width"),
        frame_height=essence.get("frame_height"),
        sample_rate=essence.get("sample_rate"),
        channels=essence.get("channels"),
        init_segments=essence.get("init_segments"),
        created=created,
        metadata_updated=updated,
        version=version,
        search=search_text(flow.label, flow.description, document.get("tags")),
        body=to_json_text(body),
        **columns,
    )


def flow_document(row: FlowRecord, members: Sequence[MemberRecord]) -> dict[str, Any]:
    """A flow as the specification's JSON, without what depends on segments and parents."""
    document: dict[str, Any] = {"id": row.id, "source_id": row.source_id, "format": row.format}
    document |= {name: value for name in _TEXT_COLUMNS if (value := getattr(row, name)) is not None}
    document |= orjson.loads(row.body)
    document["tags"] = stored_tags(row.tags)
    document["read_only"] = row.read_only
    document["created"] = rfc3339(row.created)
    document["metadata_updated"] = rfc3339(row.metadata_updated)
    if members:
        document["flow_collection"] = [_member_document(member) for member in members]
    return document


def _member_document(member: MemberRecord) -> dict[str, Any]:
    document: dict[str, Any] = {"id": member.child_id}
    if member.role is not None:
        document["role"] = member.role
    if member.mapping is not None:
        document["container_mapping"] = orjson.loads(member.mapping)
    return document


def source_document(row: SourceRecord) -> dict[str, Any]:
    """A source as the specification's JSON, without its collections."""
    document: dict[str, Any] = {"id": row.id, "format": row.format}
    for name in ("label", "description", "created_by", "updated_by"):
        if (value := getattr(row, name)) is not None:
            document[name] = value
    document["tags"] = stored_tags(row.tags)
    document["created"] = rfc3339(row.created)
    document["updated"] = rfc3339(row.updated)
    return document


def segment_columns(rows: Sequence[SegmentRecord]) -> dict[str, list[Any]]:
    """Segments by column, as the change log carries them."""
    columns = zip(*rows, strict=True)
    return {
        name: list(values)
        for name, values in zip(SegmentRecord._fields, columns, strict=True)
        if any(value is not None for value in values)
    }


def segments_from_columns(columns: dict[str, list[Any]]) -> list[SegmentRecord]:
    """The inverse of ``segment_columns``."""
    count = len(columns["id"])
    missing: list[Any] = [None] * count
    ordered: Iterable[list[Any]] = (columns.get(name, missing) for name in SegmentRecord._fields)
    return list(map(SegmentRecord._make, zip(*ordered, strict=True)))


def range_text(start_ns: int, end_ns: int) -> str:
    """A bounded range in canonical form."""
    return f"[{format_timestamp(start_ns)}_{format_timestamp(end_ns)})"


def source_event(kind: EventType, row: SourceRecord) -> NewEvent:
    """The announcement of a source as it is now."""
    return NewEvent(kind, row.id, None, to_json_text({"source": source_document(row)}))
