"""What this process has done, as plain counters by label. They start at zero and only grow."""

from __future__ import annotations

from collections import Counter as _Counts
from collections.abc import Mapping
from typing import Final


class Counter:
    """Numbers by the values of some labels. For the event loop's thread only."""

    def __init__(self, name: str, meaning: str, *labels: str) -> None:
        self.name = name
        self.meaning = meaning
        self.labels = labels
        self._counts: _Counts[tuple[str, ...]] = _Counts()

    def add(self, *values: str, by: int = 1) -> None:
        """Count ``by`` more for one value of each label."""
        if len(values) != len(self.labels):
            raise ValueError(f"{self.name} has the labels {self.labels}, not {len(values)} values")
        self._counts[values] += by

    def get(self, *values: str) -> int:
        """What has been counted for these values."""
        return self._counts[values]

    def all(self) -> Mapping[tuple[str, ...], int]:
        """Everything that has been counted, by the labels' values."""
        return dict(self._counts)


GC_OBJECTS: Final = Counter(
    "tams_gc_objects_total",
    "Lapsed objects: reclaimed, reused by somebody who came first, or corrected because they were"
    " in use although their reference count said no.",
    "outcome",
)
GC_BYTES: Final = Counter("tams_gc_bytes_total", "Bytes of the reclaimed objects, where known.")
JOBS: Final = Counter(
    "tams_jobs_total",
    "Attempts at background jobs: done, retried later, failed, or lost to another worker.",
    "kind",
    "outcome",
)
INTEGRITY_CHECKS: Final = Counter(
    "tams_integrity_checks_total",
    "Stored copies of which a sample was read: ok, mismatch, missing, or unreadable.",
    "outcome",
)

COUNTERS: Final = (GC_OBJECTS, GC_BYTES, JOBS, INTEGRITY_CHECKS)
