"""Bit rates of a flow, as application note 0013 defines them over segments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from tams_gql.model.time import NS


@dataclass(frozen=True, slots=True)
class BitRates:
    """Average and peak, in units of 1,000 bit/s."""

    average: int
    maximum: int


def bit_rates(segments: Sequence[tuple[int, int]], target: Fraction) -> BitRates | None:
    """The rates of segments given as (bytes, nanoseconds); ``target`` is in seconds.

    The peak is that of any run of consecutive segments that lasts between half and one and a half
    target durations, or of one segment that alone lasts longer. None without any duration.
    """
    total_ns = sum(duration for _, duration in segments)
    if total_ns <= 0:
        return None
    average = _thousand_bits(sum(size for size, _ in segments), total_ns)
    shortest, longest = target * NS / 2, target * NS * 3 / 2
    peak = 0
    for begin in range(len(segments)):
        size = duration = 0
        for at in range(begin, len(segments)):
            segment_size, segment_duration = segments[at]
            if duration and duration + segment_duration > longest:
                break
            size, duration = size + segment_size, duration + segment_duration
            if duration >= shortest:
                peak = max(peak, _thousand_bits(size, duration))
    return BitRates(average, max(peak, average))


def _thousand_bits(size: int, duration_ns: int) -> int:
    return size * 8 * NS // (duration_ns * 1_000)
