"""The shape of the generated catalog: every id and value follows from the seed and a number.

Three flows a source, 1,000 segments a flow. Every tenth segment uses the object of the one before
it, so there are 0.9 objects for a segment. Sources and flows are numbered from the newest; the
first flows hold the segments, and a small catalog has others beside them that are still empty.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b

FLOWS_PER_SOURCE = 3
SEGMENTS_PER_FLOW = 1000
SEGMENT_NS = 1_920_000_000
"""How long a segment lasts: 48 frames at 25 frames a second."""

# Fewer would not fill a page of 100 flows of one format and tag.
_LEAST_SOURCES = 334
_SEGMENTS_PER_REPEAT = 10

GENRES = ("news", "sport", "drama", "music")
NEWEST_US = 1_760_000_000_000_000
"""Record time of the newest source, microseconds UTC."""
_SOURCE_STEP_US = 60_000_001


@dataclass(frozen=True, slots=True)
class Rendition:
    """What the flows at one place below their source are like."""

    name: str
    max_bit_rate: int
    width: int
    height: int
    channels: int


RENDITIONS = (
    Rendition("master", 50_000, 1920, 1080, 8),
    Rendition("web", 5_000, 1280, 720, 2),
    Rendition("proxy", 800, 640, 360, 1),
)


@dataclass(frozen=True, slots=True)
class Place:
    """A segment by its flow and its place on the timeline."""

    flow: int
    nth: int


@dataclass(frozen=True, slots=True)
class Shape:
    """A catalog of ``segments`` segments."""

    segments: int
    seed: int = 1

    @property
    def filled_flows(self) -> int:
        """How many flows have segments."""
        return -(-self.segments // SEGMENTS_PER_FLOW)

    @property
    def sources(self) -> int:
        """How many sources there are."""
        return max(-(-self.filled_flows // FLOWS_PER_SOURCE), _LEAST_SOURCES)

    @property
    def flows(self) -> int:
        """How many flows there are."""
        return self.sources * FLOWS_PER_SOURCE

    def segments_of(self, flow: int) -> int:
        """How many segments a flow has."""
        return min(max(self.segments - flow * SEGMENTS_PER_FLOW, 0), SEGMENTS_PER_FLOW)

    def objects(self) -> Iterator[Place]:
        """Every object by the segment that used it first."""
        for flow in range(self.filled_flows):
            for nth in range(self.segments_of(flow)):
                if not is_repeat(nth):
                    yield Place(flow, nth)

    def id(self, kind: str, *numbers: int) -> str:
        """A UUID of version 4 in form, in no order."""
        text = f"{self.seed} {kind} {' '.join(map(str, numbers))}"
        digits = blake2b(text.encode(), digest_size=16).hexdigest()
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"

    def object_id(self, place: Place) -> str:
        """The id of the object that a segment uses."""
        nth = place.nth - 1 if is_repeat(place.nth) else place.nth
        return self.id("object", place.flow, nth)


def is_repeat(nth: int) -> bool:
    """Whether a segment shows the object of the segment before it once more."""
    return nth % _SEGMENTS_PER_REPEAT == _SEGMENTS_PER_REPEAT - 1


def is_video(source: int) -> bool:
    """Whether a source is pictures; the others are sound."""
    return source % 3 != 2


def genre_of(source: int) -> str:
    """The genre that a source and its flows are tagged with."""
    return GENRES[source % len(GENRES)]


def created_us(source: int) -> int:
    """When a source and what belongs to it was made."""
    return NEWEST_US - source * _SOURCE_STEP_US


def size_of(object_id: str) -> int:
    """The size of an object in bytes."""
    return 400_000 + int(object_id[:5], 16)
