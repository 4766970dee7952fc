"""What sources and flows can be filtered and ordered by, in domain terms."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from tams_gql.model.formats import ContentFormat, FlowStatus
from tams_gql.store.scan import OrderBy, Tagged, Where, eq, is_in


class SourceSort(Enum):
    """What sources can be ordered by; the value is the column."""

    CREATED = "created"
    UPDATED = "updated"
    LABEL = "label"


class FlowSort(Enum):
    """What flows can be ordered by; the value is the column."""

    CREATED = "created"
    METADATA_UPDATED = "metadata_updated"
    LABEL = "label"


@dataclass(frozen=True, slots=True)
class SourceFilter:
    """All given conditions must hold; None leaves one out."""

    ids: tuple[str, ...] | None = None
    formats: tuple[ContentFormat, ...] | None = None
    label: str | None = None
    tags: tuple[Tagged, ...] = ()

    def where(self) -> tuple[Where, ...]:
        """The conditions on columns."""
        return _conditions(
            None if self.ids is None else is_in("id", self.ids),
            None if self.formats is None else is_in("format", [f.value for f in self.formats]),
            None if self.label is None else eq("label", self.label),
        )


@dataclass(frozen=True, slots=True)
class FlowFilter:
    """All given conditions must hold; None leaves one out."""

    ids: tuple[str, ...] | None = None
    source_ids: tuple[str, ...] | None = None
    formats: tuple[ContentFormat, ...] | None = None
    codec: str | None = None
    container: str | None = None
    label: str | None = None
    statuses: tuple[FlowStatus, ...] | None = None
    read_only: bool | None = None
    frame_width: int | None = None
    frame_height: int | None = None
    profile_id: str | None = None
    tags: tuple[Tagged, ...] = ()

    def where(self) -> tuple[Where, ...]:
        """The conditions on columns."""
        exact = {
            "codec": self.codec,
            "container": self.container,
            "label": self.label,
            "read_only": self.read_only,
            "frame_width": self.frame_width,
            "frame_height": self.frame_height,
            "profile_id": self.profile_id,
        }
        return _conditions(
            None if self.ids is None else is_in("id", self.ids),
            None if self.source_ids is None else is_in("source_id", self.source_ids),
            None if self.formats is None else is_in("format", [f.value for f in self.formats]),
            None if self.statuses is None else is_in("status", [s.value for s in self.statuses]),
            *(eq(column, value) for column, value in exact.items() if value is not None),
        )


def _conditions(*where: Where | None) -> tuple[Where, ...]:
    return tuple(w for w in where if w is not None)


def order_by(sort: SourceSort | FlowSort, descending: bool | None) -> tuple[OrderBy, ...]:
    """A total order. Without a direction times come newest first and labels alphabetically.

    The id decides between equals and, after all labels, orders what has none (TAMS 8.2, sort_by).
    """
    down = sort.value != "label" if descending is None else descending
    return (OrderBy(sort.value, down), OrderBy("id", down))
