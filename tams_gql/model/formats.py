"""What flows and sources are, and how far a flow has come."""

from __future__ import annotations

from enum import StrEnum


class ContentFormat(StrEnum):
    """The kind of content; the value is the URN of schema ``content-format``."""

    VIDEO = "urn:x-nmos:format:video"
    AUDIO = "urn:x-nmos:format:audio"
    # The odd prefix is the specification's own: NMOS knows no image format.
    IMAGE = "urn:x-tam:format:image"
    DATA = "urn:x-nmos:format:data"
    MULTI = "urn:x-nmos:format:multi"


class FlowStatus(StrEnum):
    """The ingest status that clients maintain (schema ``flow-status``); it proves nothing."""

    AWAITING_CONTENT = "awaiting_content"
    INGESTING = "ingesting"
    REPLICATION_IN_PROGRESS = "replication_in_progress"
    CLOSED_COMPLETE = "closed_complete"
