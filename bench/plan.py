"""What a run is asked to measure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PARTS = ("trips", "queries", "ingest", "delivery")


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure, and for how long."""

    data_dir: Path
    seconds: float
    rounds: int
    parts: tuple[str, ...]
    queries: tuple[str, ...]
    against: Path | None
    output: Path | None
    seed: int
