"""The cluster's time, from the ``Date`` headers of its answers.

Processes on several machines stamp their events with this clock, so it must differ little between
them. A header has whole seconds: it bounds the difference of the clocks to one second and a round
trip, and the bounds of many answers together do better. Of all corrections within the bounds the
smallest is taken, which is none at all where the machine's clock is right.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from threading import Lock

_DRIFT = 0.0002  # how much two clocks may part per second: several times what quartz does


class StoreClock:
    """Thread-safe. Without any (valid) header it is the machine's clock."""

    def __init__(self, local: Callable[[], float] = time.time) -> None:
        self._local = local
        self._lock = Lock()
        self._bounds: tuple[float, float] | None = None  # of the cluster's time minus ours, seconds
        self._observed = 0.0

    def now_us(self) -> int:
        """Microseconds UTC."""
        return round((self._local() + self.offset_seconds) * 1_000_000)

    @property
    def offset_seconds(self) -> float:
        """What is added to the machine's clock."""
        with self._lock:
            if self._bounds is None:
                return 0.0
            low, high = self._bounds
            return max(low, min(0.0, high))

    def observe(self, date: str | None, sent: float, received: float) -> None:
        """Take in the ``Date`` of an answer; the times are the machine's clock around the call."""
        if date is None or (stamp := _seconds(date)) is None or received < sent:
            return
        low, high = stamp - received, stamp + 1 - sent
        with self._lock:
            if self._bounds is not None:
                # Bounds grow with their age; if they do not meet, one of the clocks was set.
                slack = max(0.0, received - self._observed) * _DRIFT
                known_low, known_high = self._bounds[0] - slack, self._bounds[1] + slack
                if known_low < high and low < known_high:
                    low, high = max(low, known_low), min(high, known_high)
            self._bounds, self._observed = (low, high), received


def _seconds(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return None
