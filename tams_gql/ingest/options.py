"""The choices of a run, checked where they enter the program."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final
from uuid import UUID

from tams_gql.ingest.codecs import Container
from tams_gql.ingest.ids import NAMESPACE

DEFAULT_DURATION: Final = Fraction(4)
"""Wanted segment duration, in seconds."""

DEFAULT_CONCURRENCY: Final = 4
"""Uploads at the same time."""


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """How inputs are stored.

    ``duration`` is the target in seconds; ``start_ns`` is the timeline position of the first
    picture (or sound).
    """

    label: str | None = None
    container: Container = "ts"
    duration: Fraction = DEFAULT_DURATION
    start_ns: int = 0
    namespace: UUID = NAMESPACE
    concurrency: int = DEFAULT_CONCURRENCY
