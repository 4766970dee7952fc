"""Rows and change sets for tests, complete and valid unless a test says otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from tams_gql.store.changes import AddSegments, ChangeSet, Insert, NewEvent, Row
from tams_gql.store.tables import FLOWS, OBJECTS, SEGMENTS, SOURCES, Table

NOW = 1_700_000_000_000_000
"""Microseconds UTC: the record time of everything that does not name another."""

VIDEO = "urn:x-nmos:format:video"

_DEFAULTS: Mapping[Table, Mapping[str, Any]] = {
    SOURCES: {
        "format": VIDEO,
        "created": NOW,
        "updated": NOW,
        "version": 1,
        "explicit": True,
        "flow_count": 0,
    },
    FLOWS: {
        "source_id": "source",
        "format": VIDEO,
        "read_only": False,
        "created": NOW,
        "metadata_updated": NOW,
        "version": 1,
        "body": "{}",
    },
    OBJECTS: {"instances": "[]", "created": NOW, "ref_count": 0},
    SEGMENTS: {"object_id": "object", "ts_offset_ns": 0, "created": NOW},
}


def _row(table: Table, values: Mapping[str, Any]) -> Row:
    unknown = set(values).difference(table.columns)
    assert not unknown, f"{table.name} has no column {sorted(unknown)}"
    complete = {**_DEFAULTS[table], **values}
    return tuple(complete.get(column) for column in table.columns)


def tags_json(tags: Mapping[str, str | list[str]] | None) -> str | None:
    """Tags as the store keeps them."""
    return None if tags is None else orjson.dumps(tags).decode()


def source(source_id: str, **values: Any) -> Row:
    """A row of ``sources``."""
    return _row(SOURCES, {"id": source_id, **values})


def flow(flow_id: str, **values: Any) -> Row:
    """A row of ``flows``."""
    return _row(FLOWS, {"id": flow_id, **values})


def media_object(object_id: str, **values: Any) -> Row:
    """A row of ``objects``: allocated, not used by any segment."""
    return _row(OBJECTS, {"id": object_id, **values})


def segment(flow_id: str, start_ns: int, end_ns: int, **values: Any) -> Row:
    """A row of ``segments``."""
    given = {
        "flow_id": flow_id,
        "start_ns": start_ns,
        "end_ns": end_ns,
        "id": f"{flow_id}@{start_ns}",
        "timerange": f"[0:{start_ns}_0:{end_ns})",
    }
    return _row(SEGMENTS, {**given, **values})


def segments(flow_id: str, spans: Iterable[tuple[int, int]], **values: Any) -> AddSegments:
    """The addition of one segment a span."""
    return AddSegments(flow_id, tuple(segment(flow_id, a, b, **values) for a, b in spans))


def insert(table: Table, *rows: Row) -> Insert:
    """Complete rows of one table."""
    return Insert(table, table.columns, rows)


def flows(*flow_ids: str, **values: Any) -> list[Insert]:
    """Flows that differ in their ids alone."""
    return [insert(FLOWS, *(flow(flow_id, **values) for flow_id in flow_ids))]


def objects(*object_ids: str, **values: Any) -> Insert:
    """Objects that differ in their ids alone."""
    return insert(OBJECTS, *(media_object(object_id, **values) for object_id in object_ids))


def event(body: str = "{}", **values: Any) -> NewEvent:
    """An event about nothing in particular."""
    given = {"type": "flows/updated", "source_id": None, "flow_id": None, **values}
    return NewEvent(body=body, **given)


def changes(*inserts: Insert, **parts: Any) -> ChangeSet:
    """A change set made ``NOW``."""
    return ChangeSet(**{"now_us": NOW, "insert": list(inserts), **parts})
