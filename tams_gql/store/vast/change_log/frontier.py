"""Frontiers: which events of a log with many writers a reader has had.

A VAST database has no sequence that numbers commits in their order, and a slow transaction may
commit long after it wrote its events. So every writer numbers its own events, in *lanes*, and a
position in the log says for each lane how far a reader has come. Lanes that have been silent for
longer than an event can be late need not be named: what is stamped before the ``horizon`` has been
had. That bounds the size of a position.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

from tams_gql.model.errors import BadInput

LATENESS_SECONDS = 900
"""How long after its stamp an event can become visible, the differences of clocks included."""

MAX_LANES = 192  # a position stays within 4,096 characters
MAX_SEQ = 2**24 - 1  # the greatest number in a lane, which has to be given up before that

_MICROSECONDS = 1_000_000
_LANE_CHARS, _SEQ_CHARS, _AGE_CHARS = 12, 6, 3
_ENTRY_CHARS = _LANE_CHARS + _SEQ_CHARS + _AGE_CHARS
_POSITION = re.compile(rf"([0-9a-f]{{1,9}})(?:\.((?:[0-9a-f]{{{_ENTRY_CHARS}}})+))?")


class Seen(NamedTuple):
    """How far a lane has been read: the number of the last event and the second of its stamp."""

    seq: int
    second: int


@dataclass(frozen=True, slots=True)
class Frontier:
    """A set of events: those stamped before ``horizon`` (seconds) and the first ones of some lanes.

    The sets that readers have are such that all events of a lane before one of theirs are theirs
    as well. The frontier of a set depends on nothing else, so equal sets have equal texts.
    """

    horizon: int
    lanes: Mapping[str, Seen]

    def includes(self, lane: str, seq: int, stamped: int) -> bool:
        """Whether the event is in the set; ``stamped`` is in microseconds."""
        return self._has(lane, Seen(seq, stamped // _MICROSECONDS))

    def covers(self, other: Frontier) -> bool:
        """Whether every event of ``other`` is in this set too."""
        return self.horizon >= other.horizon and all(
            self._has(lane, seen) for lane, seen in other.lanes.items()
        )

    def union(self, other: Frontier) -> Frontier:
        """The events of both."""
        if self.covers(other):
            return self
        lanes = dict(self.lanes)
        for lane, seen in other.lanes.items():
            lanes[lane] = max(lanes.get(lane, seen), seen)
        return _of(max(self.horizon, other.horizon), lanes)

    def after(self, lane: str, seq: int, stamped: int) -> Frontier:
        """The set with one more event, and with what that one's time shows to be past."""
        second = stamped // _MICROSECONDS
        one = Frontier(max(0, second - LATENESS_SECONDS), {lane: Seen(seq, second)})
        return self.union(one)

    def text(self) -> str:
        """The position that clients and receipts keep."""
        start = f"{self.horizon:x}"
        if not self.lanes:
            return start
        entries = [
            f"{lane}{seen.seq:06x}{seen.second - self.horizon:03x}"
            for lane, seen in sorted(self.lanes.items())
        ]
        return f"{start}.{''.join(entries)}"

    def _has(self, lane: str, event: Seen) -> bool:
        if event.second < self.horizon:
            return True
        seen = self.lanes.get(lane)
        return seen is not None and seen.seq >= event.seq


START = Frontier(0, MappingProxyType({}))
"""Before the first event."""


def _of(horizon: int, lanes: Mapping[str, Seen]) -> Frontier:
    """The frontier without the lanes that the horizon has passed.

    If more lanes have been active than a position can name, the horizon passes those that have
    been silent for longest, as if their events could not be as late as others.
    """
    kept = {lane: seen for lane, seen in lanes.items() if seen.second >= horizon}
    if len(kept) > MAX_LANES:
        seconds = sorted((seen.second for seen in kept.values()), reverse=True)
        return _of(seconds[MAX_LANES] + 1, kept)
    return Frontier(horizon, MappingProxyType(kept))


@lru_cache(maxsize=512)
def parse(position: str) -> Frontier:
    """The frontier behind a position; ``BadInput`` if it is not the text of one."""
    found = _POSITION.fullmatch(position)
    if found is not None:
        horizon, entries = int(found[1], 16), found[2] or ""
        starts = range(0, len(entries), _ENTRY_CHARS)
        lanes = dict(_entry(entries[at : at + _ENTRY_CHARS], horizon) for at in starts)
        ages = [seen.second - horizon for seen in lanes.values()]
        frontier = _of(horizon, lanes)
        if max(ages, default=0) <= LATENESS_SECONDS and frontier.text() == position:
            return frontier
    raise BadInput(f"{position[:80]!r} is not a position of this change log")


def _entry(text: str, horizon: int) -> tuple[str, Seen]:
    lane, seq, age = text[:_LANE_CHARS], text[_LANE_CHARS:-_AGE_CHARS], text[-_AGE_CHARS:]
    return lane, Seen(int(seq, 16), horizon + int(age, 16))
