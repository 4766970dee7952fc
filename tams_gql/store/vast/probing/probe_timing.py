"""How long the calls of a small read and a small write take."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from tams_gql.store.vast.layout import Physical
from tams_gql.store.vast.probing.probe_door import Door

ROUNDS = 20


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds that a kind of call took."""

    call: str
    median: float
    p95: float
    longest: float


def latencies(door: Door, table: Physical) -> list[Latency]:
    """Time begin, insert, select and commit, one after the other, for some rounds."""
    taken: dict[str, list[float]] = {"begin": [], "insert": [], "select": [], "commit": []}

    def timed(call: str, work: Callable[[], object]) -> None:
        began = time.perf_counter()
        work()
        taken[call].append((time.perf_counter() - began) * 1000)

    for number in range(ROUNDS):
        began = time.perf_counter()
        with door.begin() as party:
            taken["begin"].append((time.perf_counter() - began) * 1000)
            row = {"name": f"row {number}", "one": number, "two": 0}
            timed("insert", lambda party=party, row=row: party.insert(table, [row]))  # type: ignore[misc]
            timed("select", lambda party=party: party.select(table, ("name", "one")))  # type: ignore[misc]
            timed("commit", party.commit)
    return [_latency(call, sorted(times)) for call, times in taken.items()]


def _latency(call: str, times: list[float]) -> Latency:
    last = len(times) - 1
    return Latency(call, times[last // 2], times[round(last * 0.95)], times[last])
