"""Columns that are never NULL: the database has no constraints, so writers keep them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tams_gql.store.tables import (
    COLLECTIONS,
    FLOWS,
    JOBS,
    OBJECTS,
    PROFILES,
    SEGMENTS,
    SERVICE,
    SOURCES,
    STORAGE_BACKENDS,
    Table,
)

_REQUIRED: Mapping[Table, frozenset[str]] = {
    SOURCES: frozenset(("format", "created", "updated", "version", "explicit", "flow_count")),
    FLOWS: frozenset(
        ("source_id", "format", "read_only", "created", "metadata_updated", "version", "body")
    ),
    SEGMENTS: frozenset(("end_ns", "id", "object_id", "timerange", "ts_offset_ns", "created")),
    OBJECTS: frozenset(("instances", "created", "ref_count")),
    STORAGE_BACKENDS: frozenset(("body", "created")),
    PROFILES: frozenset(("format", "created", "body")),
    COLLECTIONS: frozenset(("child_id", "parent_source_id", "child_source_id")),
    JOBS: frozenset(("kind", "state", "body", "attempts", "created", "updated")),
    SERVICE: frozenset(("value",)),
}


def check_required(table: Table, row: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` if one of these values is missing where it must not be."""
    for column in _REQUIRED.get(table, frozenset()).union(table.key).intersection(row):
        if row[column] is None:
            raise ValueError(f"{table.name}.{column} must not be NULL")
