"""Media time: int64 nanoseconds, half-open ranges, and the text forms of TAMS.

The grammar is that of the TAMS schemas ``timestamp`` and ``timerange`` and of application note
0008. Parsing and formatting run thousands of times for one page of segments, so a text costs one
match of a compiled pattern and integer arithmetic: no floats, no decimals, no calendar.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from tams_gql.model.bounds import bad_input, refuse, shown
from tams_gql.model.errors import BadInput

NS: Final = 1_000_000_000
"""Nanoseconds in a second."""

OPEN_START_NS: Final = -(2**63)
"""``start_ns`` of a range that has no start."""

OPEN_END_NS: Final = 2**63 - 1
"""``end_ns`` of a range that has no end."""

# The two limits above mean "open", so a time that is written out lies strictly between them.
MIN_NS: Final = OPEN_START_NS + 1
"""The earliest time that can be written out."""

MAX_NS: Final = OPEN_END_NS - 1
"""The latest time that can be written out."""

# Ten digits of seconds hold every int64 of nanoseconds; with more, int() would cost what the
# client likes. Patterns without that limit serve only to choose the right message.
_SECONDS: Final = "(?:0|[1-9][0-9]{0,9})"
_ANY_SECONDS: Final = "(?:0|[1-9][0-9]*)"
_NANOSECONDS: Final = "(?:0|[1-9][0-9]{0,8})"


def _timestamp_pattern(seconds: str) -> str:
    return f"(-?{seconds}):({_NANOSECONDS})"


def _range_pattern(seconds: str) -> str:
    timestamp = _timestamp_pattern(seconds)
    return rf"([\[(])?(?:{timestamp})?(?:(_)(?:{timestamp})?)?([\])])?"


_match_timestamp = re.compile(_timestamp_pattern(_SECONDS)).fullmatch
_match_long_timestamp = re.compile(_timestamp_pattern(_ANY_SECONDS)).fullmatch
_match_range = re.compile(_range_pattern(_SECONDS)).fullmatch
_match_long_range = re.compile(_range_pattern(_ANY_SECONDS)).fullmatch

_TIMESTAMP_ALLOWED: Final = (
    'a timestamp is "seconds:nanoseconds", such as "1:40000000" or "-0:500000000": '
    "no leading zeros, nanoseconds at most 999999999"
)
_RANGE_ALLOWED: Final = (
    'a time range is "[start_end)" with timestamps "seconds:nanoseconds", such as "[0:0_10:0)", '
    '"[5:0_", "[10:0]", "_" (all time) or "()" (empty)'
)


def parse_timestamp(text: object, *, field: str = "timestamp") -> int:
    """Nanoseconds of a TAMS timestamp such as ``"-1:500000000"`` (minus one and a half seconds).

    Raises ``BadInput`` when the text breaks the grammar or lies outside ±292 years.
    """
    if not isinstance(text, str):
        refuse(field, text, _TIMESTAMP_ALLOWED)
    match = _match_timestamp(text)
    if match is None:
        if _match_long_timestamp(text):
            raise _too_far(text, field)
        refuse(field, text, _TIMESTAMP_ALLOWED)
    ns = _nanoseconds(*match.groups())
    if not MIN_NS <= ns <= MAX_NS:
        raise _too_far(text, field)
    return ns


def _nanoseconds(seconds: str, nanoseconds: str) -> int:
    # The sign counts for both parts, and "-0" has one too.
    if seconds[0] == "-":
        return int(seconds) * NS - int(nanoseconds)
    return int(seconds) * NS + int(nanoseconds)


def format_timestamp(ns: int) -> str:
    """The canonical text of ``ns`` nanoseconds; the sign stands before the seconds, even of 0."""
    if ns < 0:
        seconds, nanoseconds = divmod(-ns, NS)
        return f"-{seconds}:{nanoseconds}"
    seconds, nanoseconds = divmod(ns, NS)
    return f"{seconds}:{nanoseconds}"


@dataclass(frozen=True, slots=True)
class TimeRange:
    """A half-open range ``[start_ns, end_ns)`` of media time, in nanoseconds.

    ``text`` is what the client sent, or the canonical text of a range made here; it takes no part
    in equality. An open end is ``OPEN_START_NS`` or ``OPEN_END_NS``.

    The empty range has one form: ``start_ns = OPEN_END_NS``, ``end_ns = OPEN_START_NS``. With it
    the comparisons that stores push down (overlap ``start < q_end AND end > q_start``, containment
    ``start >= q_start AND end <= q_end``) find nothing, without a case of their own.
    """

    start_ns: int
    end_ns: int
    text: str = field(compare=False)

    @classmethod
    def parse(cls, text: object, *, field: str = "timerange") -> TimeRange:
        """Read the TAMS grammar, keeping ``text`` as sent.

        A bound without a marker is inclusive, a marker without a bound means nothing. A range is
        empty when it ends before it starts, or at its start with an exclusive marker, or when it
        has neither a timestamp nor ``_``. A lone timestamp is that one nanosecond.

        Raises ``BadInput`` when the text breaks the grammar, gives a lone timestamp an exclusive
        marker, or lies outside ±292 years.
        """
        if not isinstance(text, str):
            refuse(field, text, _RANGE_ALLOWED)
        match = _match_range(text)
        if match is None:
            if _match_long_range(text):
                raise _too_far(text, field)
            refuse(field, text, _RANGE_ALLOWED)
        opening, seconds, nanos, dash, end_seconds, end_nanos, closing = match.groups()
        start_ns, end_ns = OPEN_START_NS, OPEN_END_NS
        if seconds is not None:
            start_ns = _nanoseconds(seconds, nanos)
            if dash is None:
                return cls._instant(start_ns, opening, closing, text, field)
            if opening == "(":
                start_ns += 1
            if not MIN_NS <= start_ns <= MAX_NS:
                raise _too_far(text, field)
        elif dash is None:
            return cls(OPEN_END_NS, OPEN_START_NS, text)
        if end_seconds is not None:
            end_ns = _nanoseconds(end_seconds, end_nanos)
            if closing != ")":
                end_ns += 1
            if not MIN_NS <= end_ns <= MAX_NS:
                raise _too_far(text, field)
        if start_ns >= end_ns:
            return cls(OPEN_END_NS, OPEN_START_NS, text)
        return cls(start_ns, end_ns, text)

    @classmethod
    def _instant(
        cls, ns: int, opening: str | None, closing: str | None, text: str, field: str
    ) -> TimeRange:
        # Schema `timerange`: an instant cannot have exclusive markers, though its pattern has them.
        if opening == "(" or closing == ")":
            refuse(field, text, 'a single timestamp takes inclusive markers only, as in "[10:0]"')
        if not MIN_NS <= ns < MAX_NS:
            raise _too_far(text, field)
        return cls(ns, ns + 1, text)

    @classmethod
    def between(cls, start_ns: int, end_ns: int) -> TimeRange:
        """The range ``[start_ns, end_ns)`` with canonical text, empty when ``end <= start``.

        Either end may be open (``OPEN_START_NS``, ``OPEN_END_NS``). Raises ``BadInput`` when an
        end does not fit 64 bits.
        """
        if not (
            OPEN_START_NS <= start_ns <= OPEN_END_NS and OPEN_START_NS <= end_ns <= OPEN_END_NS
        ):
            raise BadInput("a time range must stay within ±292 years (64 bits of nanoseconds)")
        if start_ns >= end_ns:
            return _NEVER
        start = f"[{format_timestamp(start_ns)}" if start_ns != OPEN_START_NS else ""
        end = f"{format_timestamp(end_ns)})" if end_ns != OPEN_END_NS else ""
        return cls(start_ns, end_ns, f"{start}_{end}")

    @classmethod
    def everything(cls) -> TimeRange:
        """All time: ``_``."""
        return _EVERYTHING

    @classmethod
    def never(cls) -> TimeRange:
        """No time: ``()``."""
        return _NEVER

    @property
    def is_empty(self) -> bool:
        return self.start_ns >= self.end_ns

    @property
    def has_start(self) -> bool:
        """Whether the range begins somewhere; the empty range counts as bounded."""
        return self.start_ns != OPEN_START_NS

    @property
    def has_end(self) -> bool:
        """Whether the range ends somewhere; the empty range counts as bounded."""
        return self.end_ns != OPEN_END_NS

    @property
    def is_bounded(self) -> bool:
        return self.start_ns != OPEN_START_NS and self.end_ns != OPEN_END_NS

    @property
    def duration_ns(self) -> int | None:
        """Length in nanoseconds; 0 when empty, ``None`` when an end is open."""
        if self.start_ns >= self.end_ns:
            return 0
        return self.end_ns - self.start_ns if self.is_bounded else None

    def overlaps(self, other: TimeRange) -> bool:
        """Whether both share at least one nanosecond; an empty range shares none."""
        return self.start_ns < other.end_ns and self.end_ns > other.start_ns

    def covers(self, other: TimeRange) -> bool:
        """Whether ``other`` lies wholly inside; the empty range lies inside every range."""
        return self.start_ns <= other.start_ns and self.end_ns >= other.end_ns

    def intersection(self, other: TimeRange) -> TimeRange:
        """What both share; a range that lies wholly inside the other is returned itself."""
        if other.covers(self):
            return self
        if self.covers(other):
            return other
        return TimeRange.between(max(self.start_ns, other.start_ns), min(self.end_ns, other.end_ns))

    def hull(self, other: TimeRange) -> TimeRange:
        """The smallest range that holds both; a range that holds the other is returned itself."""
        if self.covers(other):
            return self
        if other.covers(self):
            return other
        return TimeRange.between(min(self.start_ns, other.start_ns), max(self.end_ns, other.end_ns))

    def shifted(self, offset_ns: int) -> TimeRange:
        """The range moved by ``offset_ns`` nanoseconds, with canonical text; open ends stay open.

        Raises ``BadInput`` when an end would leave ±292 years.
        """
        if self.start_ns >= self.end_ns:
            return _NEVER
        start_ns = self.start_ns + offset_ns if self.has_start else OPEN_START_NS
        end_ns = self.end_ns + offset_ns if self.has_end else OPEN_END_NS
        if (self.has_start and not MIN_NS <= start_ns <= MAX_NS) or (
            self.has_end and not MIN_NS <= end_ns <= MAX_NS
        ):
            raise BadInput(
                f"{shown(self.text)} shifted by {shown(offset_ns)} nanoseconds leaves ±292 years "
                "(64 bits of nanoseconds)"
            )
        return TimeRange.between(start_ns, end_ns)

    def __str__(self) -> str:
        return self.text


_NEVER: Final = TimeRange(OPEN_END_NS, OPEN_START_NS, "()")
_EVERYTHING: Final = TimeRange(OPEN_START_NS, OPEN_END_NS, "_")


def _too_far(text: str, field: str) -> BadInput:
    return bad_input(
        field,
        f"{shown(text)} is outside ±292 years; a time must lie between "
        f"{format_timestamp(MIN_NS)} and {format_timestamp(MAX_NS)}, the end of an inclusive "
        "range included",
    )
