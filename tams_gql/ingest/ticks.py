"""Exact conversion between media ticks, seconds and nanoseconds; no floats.

A tick is one unit of a stream's time base, a rational number of seconds. Everything rounds half
up, always from the absolute tick and never from a sum of rounded durations: one tick has exactly
one nanosecond value, so the end of a segment and the start of the next are the same number.
"""

from __future__ import annotations

import math
from fractions import Fraction

from tams_gql.model.time import NS

TS_TIME_BASE = Fraction(1, 90_000)
"""Time base of presentation and decoding times in MPEG-TS (application note 0002)."""

_ZERO = Fraction(0)

TS_WRAP = 2**33
"""MPEG-TS times count modulo this many ticks: 26.5 hours."""


def round_half_up(value: Fraction) -> int:
    """The integer nearest to ``value``; halves go up."""
    return (2 * value.numerator + value.denominator) // (2 * value.denominator)


def nanoseconds(ticks: int, time_base: Fraction) -> int:
    """Nanoseconds of ``ticks`` units of ``time_base`` seconds."""
    scaled = ticks * time_base.numerator * NS
    return (2 * scaled + time_base.denominator) // (2 * time_base.denominator)


class TickMap:
    """Turns ticks of ``source`` seconds into ticks of ``target``, moved by ``shift`` seconds."""

    __slots__ = ("_den", "_num", "_offset", "target")

    def __init__(self, source: Fraction, target: Fraction, shift: Fraction = _ZERO) -> None:
        self.target = target
        ratio, offset = source / target, shift / target
        # One integer division per tick: this runs twice for every packet.
        self._den = 2 * math.lcm(ratio.denominator, offset.denominator)
        self._num = int(ratio * self._den)
        self._offset = int(offset * self._den) + self._den // 2

    def __call__(self, ticks: int) -> int:
        """The target tick nearest to the source tick ``ticks``."""
        return (ticks * self._num + self._offset) // self._den

    def duration(self, ticks: int) -> int:
        """A length of ``ticks`` in target ticks; the shift does not apply."""
        return (ticks * self._num + self._den // 2) // self._den
