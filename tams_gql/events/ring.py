"""The newest events of the log, as one reader of it had them, for all subscribers of a process."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Event:
    """One committed change. ``created`` is microseconds UTC, ``body`` the decoded JSON."""

    position: str
    cursor: str
    type: str
    created: int
    source_id: str | None
    flow_id: str | None
    body: dict[str, Any]
    shared: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)
    """Work done once for all subscribers that see this event in the same process."""


class Ring:
    """Events in the order of reading, each with a number that never returns."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._events: deque[Event] = deque()
        self.first = 0
        """The number of the oldest event that is here, or of the next one if there is none."""
        self.start: str | None = None
        """The position before ``first``; None while the log is not followed."""

    @property
    def next(self) -> int:
        """The number that the next event will have."""
        return self.first + len(self._events)

    @property
    def end(self) -> str:
        """The position after the newest event."""
        if self._events:
            return self._events[-1].position
        assert self.start is not None
        return self.start

    def begin(self, position: str | None) -> None:
        """Forget everything and go on after a position; whoever was here has fallen out."""
        self.first = self.next + 1
        self._events.clear()
        self.start = position

    def extend(self, events: Sequence[Event]) -> None:
        """Put in what was read after ``end``; the oldest fall out if there is no room."""
        self._events.extend(events)
        for _ in range(len(self._events) - self._size):
            self.start = self._events.popleft().position
            self.first += 1

    def before(self, number: int) -> str:
        """The position before the event of that number."""
        if number == self.first:
            assert self.start is not None
            return self.start
        return self._events[number - self.first - 1].position

    def take(self, number: int, limit: int) -> list[Event]:
        """Up to ``limit`` events from a number on that is still here."""
        start = number - self.first
        return [self._events[i] for i in range(start, min(start + limit, len(self._events)))]

    def passed(self, had: Callable[[str], bool]) -> int:
        """The number of the first event whose position is not ``had``, which holds for a prefix."""
        index = bisect_left(self._events, True, key=lambda event: not had(event.position))
        return self.first + index
