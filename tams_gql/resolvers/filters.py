"""What lists can be filtered, searched and ordered by, in domain terms.

A filter is a set of conditions that must all hold, and may nest others: ``every`` of which must
match, ``some`` of which one must, and ``none`` of which may. The plain part becomes predicates that
every backend pushes down; nesting becomes a combined condition that stays exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from tams_gql.model.errors import BadInput
from tams_gql.model.formats import ContentFormat, FlowStatus
from tams_gql.model.time import TimeRange
from tams_gql.store.scan import (
    AllOf,
    Among,
    AnyOf,
    Condition,
    Not,
    Op,
    OrderBy,
    Tagged,
    Where,
    compare,
    eq,
    is_in,
)
from tams_gql.store.tables import COLLECTIONS, FLOW_COUNTERS

MAX_SEARCH_TERMS = 16
MAX_SEARCH_CHARS = 1_024


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
    """Conditions on sources; None leaves one out. Times are microseconds UTC.

    No ids in ``collected_by_ids`` ask for sources that no source collects (TAMS 8.2, GET sources).
    """

    ids: tuple[str, ...] | None = None
    formats: tuple[ContentFormat, ...] | None = None
    label: str | None = None
    created_after: int | None = None
    created_before: int | None = None
    updated_after: int | None = None
    collected_by_ids: tuple[str, ...] | None = None
    tags: tuple[Tagged, ...] = ()
    every: tuple[SourceFilter, ...] = ()
    some: tuple[SourceFilter, ...] | None = None
    none: SourceFilter | None = None

    def where(self) -> tuple[Where, ...]:
        """The conditions on columns."""
        return _given(
            _in("id", self.ids),
            _in("format", self.formats),
            _equal("label", self.label),
            _bound("created", Op.GT, self.created_after),
            _bound("created", Op.LT, self.created_before),
            _bound("updated", Op.GT, self.updated_after),
        )

    def beyond(self) -> tuple[Condition, ...]:
        """The conditions that are not on columns of the table."""
        return _collected(self.collected_by_ids, "child_source_id", "parent_source_id")


@dataclass(frozen=True, slots=True)
class FlowFilter:
    """Conditions on flows; None leaves one out. Times are microseconds UTC.

    ``timerange`` matches flows whose own time range, from first to last segment, overlaps it, and
    flows without segments if it is empty. No ids in ``collected_by_ids`` ask for flows that no flow
    collects (both TAMS 8.2, GET flows).
    """

    ids: tuple[str, ...] | None = None
    source_ids: tuple[str, ...] | None = None
    formats: tuple[ContentFormat, ...] | None = None
    codec: str | None = None
    container: str | None = None
    label: str | None = None
    statuses: tuple[FlowStatus, ...] | None = None
    read_only: bool | None = None
    generation: int | None = None
    frame_width: int | None = None
    frame_height: int | None = None
    sample_rate: int | None = None
    channels: int | None = None
    init_segments: bool | None = None
    profile_id: str | None = None
    timerange: TimeRange | None = None
    created_after: int | None = None
    created_before: int | None = None
    updated_after: int | None = None
    collected_by_ids: tuple[str, ...] | None = None
    tags: tuple[Tagged, ...] = ()
    every: tuple[FlowFilter, ...] = ()
    some: tuple[FlowFilter, ...] | None = None
    none: FlowFilter | None = None

    def where(self) -> tuple[Where, ...]:
        """The conditions on columns."""
        exact = (
            *("codec", "container", "label", "read_only", "generation", "frame_width"),
            *("frame_height", "sample_rate", "channels", "profile_id"),
        )
        return _given(
            _in("id", self.ids),
            _in("source_id", self.source_ids),
            _in("format", self.formats),
            _in("status", self.statuses),
            *(_equal(column, getattr(self, column)) for column in exact),
            self._init_segments(),
            _bound("created", Op.GT, self.created_after),
            _bound("created", Op.LT, self.created_before),
            _bound("metadata_updated", Op.GT, self.updated_after),
        )

    def _init_segments(self) -> Where | None:
        # Absent means false (TAMS 8.2, essence parameter `init_segments`).
        if self.init_segments is None:
            return None
        if self.init_segments:
            return eq("init_segments", True)
        return Where("init_segments", (*eq("init_segments", False).any_of, *_NULL.any_of))

    def beyond(self) -> tuple[Condition, ...]:
        """The conditions that are not on columns of the table."""
        return (
            *_within(self.timerange),
            *_collected(self.collected_by_ids, "child_id", "parent_id"),
        )


def _within(timerange: TimeRange | None) -> tuple[Condition, ...]:
    if timerange is None:
        return ()
    if timerange.is_empty:
        return (Among("id", FLOW_COUNTERS, "flow_id", (eq("segment_count", 0),)),)
    overlap = (
        compare("min_start_ns", Op.LT, timerange.end_ns),
        compare("max_end_ns", Op.GT, timerange.start_ns),
    )
    return (Among("id", FLOW_COUNTERS, "flow_id", overlap),)


def _collected(ids: tuple[str, ...] | None, child: str, parent: str) -> tuple[Condition, ...]:
    if ids is None:
        return ()
    if not ids:
        return (Not(Among("id", COLLECTIONS, child, ())),)
    return (Among("id", COLLECTIONS, child, (is_in(parent, ids),)),)


_NULL = compare("init_segments", Op.IS_NULL)

Filter = SourceFilter | FlowFilter


def matching(chosen: Filter, search: str | None = None) -> Condition | None:
    """What of a filter is more than ``where()`` and ``tags``; None if nothing is.

    Raises ``BadInput`` for a search of too many terms.
    """
    parts = (*_nested(chosen), *search_terms(search))
    return AllOf(parts) if parts else None


def _nested(chosen: Filter) -> tuple[Condition, ...]:
    parts: list[Condition] = [*chosen.beyond(), *map(_whole, chosen.every)]
    if chosen.some is not None:
        parts.append(AnyOf(tuple(map(_whole, chosen.some))))
    if chosen.none is not None:
        parts.append(Not(_whole(chosen.none)))
    return tuple(parts)


def _whole(chosen: Filter) -> Condition:
    return AllOf((*chosen.where(), *chosen.tags, *_nested(chosen)))


def search_terms(search: str | None) -> tuple[Where, ...]:
    """Every word must occur, in any case, inside the label, the description or a tag value."""
    if search is not None and len(search) > MAX_SEARCH_CHARS:
        raise BadInput(
            f"search: {len(search)} characters are too many; at most {MAX_SEARCH_CHARS}",
            field="search",
        )
    terms = [] if search is None else search.casefold().replace("\0", " ").split()
    if len(terms) > MAX_SEARCH_TERMS:
        raise BadInput(
            f"search: {len(terms)} words are too many; at most {MAX_SEARCH_TERMS}", field="search"
        )
    return tuple(compare("search", Op.CONTAINS, term) for term in dict.fromkeys(terms))


def order_by(sort: SourceSort | FlowSort, descending: bool | None) -> tuple[OrderBy, ...]:
    """A total order. Without a direction times come newest first and labels alphabetically.

    The id decides between equals and, after all labels, orders what has none (TAMS 8.2, sort_by).
    """
    down = sort.value != "label" if descending is None else descending
    return (OrderBy(sort.value, down), OrderBy("id", down))


def _given(*where: Where | None) -> tuple[Where, ...]:
    return tuple(w for w in where if w is not None)


def _in(column: str, values: Sequence[str | Enum] | None) -> Where | None:
    if values is None:
        return None
    return is_in(column, _plain(values))


def _plain(values: Iterable[str | Enum]) -> list[str]:
    return [str(v.value) if isinstance(v, Enum) else v for v in values]


def _equal(column: str, value: str | int | None) -> Where | None:
    return None if value is None else eq(column, value)


def _bound(column: str, op: Op, value: int | None) -> Where | None:
    return None if value is None else compare(column, op, value)
