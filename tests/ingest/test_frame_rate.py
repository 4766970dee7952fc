"""Telling fixed from variable frame rates."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tams_gql.ingest.frame_rate import measure_frame_rate
from tams_gql.ingest.ticks import round_half_up

RATES = [
    Fraction(*rate)
    for rate in (
        *((24_000, 1001), (24, 1), (25, 1), (30_000, 1001), (30, 1), (50, 1)),
        *((60_000, 1001), (60, 1), (12_500, 1000), (7, 1)),
    )
]


def times(rate: Fraction, base: Fraction, numbers: list[int], start: int = 0) -> np.ndarray:
    return np.array([start + round_half_up(n / rate / base) for n in numbers], dtype=np.int64)


@pytest.mark.parametrize("base", [Fraction(1, 90_000), Fraction(1, 1_000), Fraction(1, 12_800)])
@pytest.mark.parametrize("rate", RATES)
def test_a_fixed_rate_is_found_through_rounding_without_hints(
    rate: Fraction, base: Fraction
) -> None:
    assert measure_frame_rate(times(rate, base, list(range(2_000))), base, []) == rate


@given(
    st.sampled_from(RATES[:8]),
    st.lists(st.integers(1, 298), max_size=20, unique=True),
    st.integers(-(10**9), 10**9),
)
def test_dropped_pictures_leave_the_rate_fixed(
    rate: Fraction, dropped: list[int], start: int
) -> None:
    numbers = [n for n in range(300) if n not in dropped]
    pts = times(rate, Fraction(1, 90_000), numbers, start)
    assert measure_frame_rate(pts, Fraction(1, 90_000), [rate]) == rate


def test_uneven_steps_are_a_variable_rate() -> None:
    pts = np.array([n * 40 + (n * n * 7) % 31 for n in range(100)], dtype=np.int64)
    assert measure_frame_rate(pts, Fraction(1, 1_000), [Fraction(25)]) is None


def test_every_second_picture_missing_is_not_called_dropped() -> None:
    pts = times(Fraction(50), Fraction(1, 90_000), [0, 1, 3, 4, 6, 7, 9, 10, 12, 13])
    assert measure_frame_rate(pts, Fraction(1, 90_000), [Fraction(50)]) is None


def test_a_single_picture_has_the_rate_that_the_container_claims() -> None:
    one = np.array([5], dtype=np.int64)
    assert measure_frame_rate(one, Fraction(1, 1_000), [Fraction(0), Fraction(25)]) == 25
    assert measure_frame_rate(one, Fraction(1, 1_000), []) is None
