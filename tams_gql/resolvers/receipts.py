"""The answers of a registration, and how a receipt keeps them for a repeated request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tams_gql.model.errors import BadInput, Conflict, TamsError
from tams_gql.resolvers.documents import segment_columns, segments_from_columns
from tams_gql.store.records import SegmentRecord


@dataclass(frozen=True, slots=True)
class Registered:
    """The answer to one item: the new segment, or why there is none."""

    index: int
    segment: SegmentRecord | None
    error: TamsError | None


def response_of(
    accepted: Mapping[int, SegmentRecord], failures: Mapping[int, TamsError]
) -> dict[str, Any]:
    """The answers as JSON."""
    return {
        "accepted": list(accepted),
        "segments": segment_columns(list(accepted.values())),
        "failed": [[i, e.code, e.message, e.field] for i, e in failures.items()],
    }


def results_of(response: Mapping[str, Any]) -> list[Registered]:
    """The answers in the order of the items."""
    segments = segments_from_columns(response["segments"])
    found = [Registered(i, s, None) for i, s in zip(response["accepted"], segments, strict=True)]
    found += [
        Registered(index, None, _error(code, message, field))
        for index, code, message, field in response["failed"]
    ]
    return sorted(found, key=lambda registered: registered.index)


def _error(code: str, message: str, field: str | None) -> TamsError:
    kind = Conflict if code == Conflict.code else BadInput
    return kind(message, field=field)
