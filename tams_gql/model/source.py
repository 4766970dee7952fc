"""What clients may say about a source; the rest follows from its flows (schema ``source``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tams_gql.model.bounds import (
    MAX_DESCRIPTION_CHARS,
    MAX_LABEL_CHARS,
    check_text,
    dotted,
    refuse,
)
from tams_gql.model.json_body import check_body
from tams_gql.model.tags import TagsJson, parse_tags

_KEYS = ("label", "description", "tags")


@dataclass(frozen=True, slots=True)
class SourceFields:
    """The fields of a create or an update.

    ``sent`` holds the names that the client gave. One that was given as ``null`` is in ``sent``
    with an empty value: an update clears it. One that was not given stays as it is.
    """

    label: str | None = None
    description: str | None = None
    tags: TagsJson = field(default_factory=dict)
    sent: frozenset[str] = frozenset()


def parse_source_fields(body: Mapping[str, object], *, field: str = "") -> SourceFields:
    """Check label, description and tags; raises ``BadInput`` also for any other key."""
    checked = check_body(body, field)
    for key in checked:
        if key not in _KEYS:
            refuse(dotted(field, key), checked[key], f"only {', '.join(_KEYS)} can be set")
    tags = checked.get("tags")
    return SourceFields(
        label=_text(checked, "label", MAX_LABEL_CHARS, field),
        description=_text(checked, "description", MAX_DESCRIPTION_CHARS, field),
        tags={} if tags is None else parse_tags(tags, field=dotted(field, "tags")),
        sent=frozenset(checked),
    )


def _text(body: Mapping[str, object], key: str, max_chars: int, field: str) -> str | None:
    value = body.get(key)
    return None if value is None else check_text(value, dotted(field, key), max_chars=max_chars)
