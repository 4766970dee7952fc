"""Coverage of timelines as GraphQL objects."""

from __future__ import annotations

import strawberry

from tams_gql.model.time import TimeRange as Range
from tams_gql.model.time import format_timestamp
from tams_gql.resolvers import coverage
from tams_gql.schema.fields import column
from tams_gql.schema.scalars import BigInt, TimeRange, Timestamp


@strawberry.type(description="Which parts of a timeline hold segments.")
class Coverage:
    """A coverage report."""

    ranges: list[TimeRange] = column("The covered ranges in order; at most 10,000.")
    gaps: list[TimeRange] = column(
        "What is not covered inside the window or, where that is open, between the ranges."
    )
    duration: Timestamp = column("How much time is covered, without bridged gaps.")
    segment_count: int = column("How many segments overlap the window.")
    bytes: BigInt = column("The bytes of those segments' objects, unknown sizes counting 0.")


def coverage_of(found: coverage.Coverage) -> Coverage:
    """A coverage as a GraphQL object."""
    return Coverage(
        ranges=_texts(found.stretches),
        gaps=_texts(found.gaps),
        duration=Timestamp(format_timestamp(found.covered_ns)),
        segment_count=found.segment_count,
        bytes=BigInt(found.bytes),
    )


def _texts(stretches: coverage.Stretches) -> list[TimeRange]:
    return [TimeRange(Range.between(start, end).text) for start, end in stretches]
