"""The kinds of change that the catalog announces."""

from __future__ import annotations

from enum import StrEnum


class EventType(StrEnum):
    """Event names of TAMS 8.2 (schema ``webhook``)."""

    FLOW_CREATED = "flows/created"
    FLOW_UPDATED = "flows/updated"
    FLOW_DELETED = "flows/deleted"
    SEGMENTS_ADDED = "flows/segments_added"
    SEGMENTS_DELETED = "flows/segments_deleted"
    SOURCE_CREATED = "sources/created"
    SOURCE_UPDATED = "sources/updated"
    SOURCE_DELETED = "sources/deleted"
