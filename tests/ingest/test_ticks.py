"""Exact arithmetic between ticks and nanoseconds."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from tams_gql.ingest.ticks import TS_TIME_BASE, TS_WRAP, TickMap, nanoseconds, round_half_up
from tams_gql.model.time import NS

ticks = st.integers(-(2**50), 2**50)
bases = st.sampled_from(
    [
        *(Fraction(1, n) for n in (90_000, 48_000, 44_100, 12_800, 30_000, 1_000, 25, 14_112_000)),
        *(Fraction(1001, 30_000), Fraction(1001, 24_000)),
    ]
)
shifts = st.fractions(-10_000, 10_000, max_denominator=90_000)


def half_up(value: Fraction) -> int:
    """The definition, spelled out."""
    floor = value.numerator // value.denominator
    return floor + (value - floor >= Fraction(1, 2))


@given(st.fractions())
def test_rounding(value: Fraction) -> None:
    assert round_half_up(value) == half_up(value)


@given(ticks, bases)
def test_nanoseconds(count: int, base: Fraction) -> None:
    assert nanoseconds(count, base) == half_up(count * base * NS)


@given(ticks, bases, bases, shifts)
def test_tick_map(count: int, source: Fraction, target: Fraction, shift: Fraction) -> None:
    convert = TickMap(source, target, shift)
    assert convert(count) == half_up((count * source + shift) / target)
    assert convert.duration(count) == half_up(count * source / target)


@given(ticks, st.integers(0, 2**40), bases, bases)
def test_order_is_kept(count: int, more: int, source: Fraction, target: Fraction) -> None:
    convert = TickMap(source, target)
    assert convert(count) <= convert(count + more)


def test_frames_of_known_rates() -> None:
    assert [nanoseconds(n, Fraction(1001, 30_000)) for n in (1, 2, 3, 30_000)] == [
        *(33_366_667, 66_733_333, 100_100_000, 1001 * NS)
    ]
    assert TickMap(Fraction(1, 12_800), TS_TIME_BASE)(512) == 3_600
    assert nanoseconds(TS_WRAP, TS_TIME_BASE) == 95_443_717_688_889
