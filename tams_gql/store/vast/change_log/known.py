"""What one process knows of the log, shared by its writers and readers."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock

from tams_gql.store.vast.change_log.frontier import START, Frontier


class Known:
    """Events that are committed, as far as this process has heard. Thread-safe.

    ``frontier`` was all of the log at some moment, with what this process has committed since.
    """

    def __init__(self, ticks: Callable[[], float] = time.monotonic) -> None:
        self._ticks = ticks
        self._lock = Lock()
        self._frontier = START
        self._newest = 0
        self._whole = START  # all of the log at that moment
        self._moment = float("-inf")

    @property
    def frontier(self) -> Frontier:
        """The known events."""
        return self._frontier

    @property
    def newest(self) -> int:
        """The latest stamp among them, in microseconds."""
        return self._newest

    def moment(self) -> float:
        """Now, to be given to ``add_all`` by who begins to read the log."""
        return self._ticks()

    def add(self, events: Frontier, newest: int) -> None:
        """Take in events that are committed."""
        with self._lock:
            self._frontier = self._frontier.union(events)
            self._newest = max(self._newest, newest)

    def add_all(self, events: Frontier, newest: int, moment: float) -> None:
        """Take in everything that was committed at a moment."""
        self.add(events, newest)
        with self._lock:
            if moment > self._moment:
                self._whole, self._moment = events, moment

    def age_of(self, frontier: Frontier) -> float:
        """For how many seconds at most there may have been commits that are not in ``frontier``.

        Infinite if that cannot be told.
        """
        with self._lock:
            whole, moment = self._whole, self._moment
        return self._ticks() - moment if frontier.covers(whole) else float("inf")
