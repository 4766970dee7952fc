"""Bit rates over segments, as application note 0013 defines them."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tams_gql.ingest.bit_rate import BitRates, bit_rates
from tams_gql.model.time import NS

Lengths = list[tuple[int, int]]


@pytest.mark.parametrize(
    ("segments", "expected"),
    [
        ([(1_000, NS)], BitRates(8, 8)),
        ([(1_000, NS), (3_000, NS), (1_000, NS)], BitRates(13, 24)),
        # Three short segments count together: each alone is shorter than half the target.
        ([(1_000, NS // 4), (2_000, NS // 4), (1_000, NS // 4)], BitRates(42, 48)),
        # A long one counts although it is longer than one and a half targets.
        ([(1_000, NS), (9_000, 3 * NS), (1_000, NS)], BitRates(17, 24)),
        # Too short for any run: the peak is not below the average.
        ([(1_000, NS // 10)], BitRates(80, 80)),
        ([], None),
        ([(10, 0)], None),
    ],
)
def test_examples(segments: Lengths, expected: BitRates | None) -> None:
    assert bit_rates(segments, Fraction(1)) == expected


sizes = st.lists(st.tuples(st.integers(0, 10**7), st.integers(1, 10 * NS)), min_size=1, max_size=30)


@given(sizes, st.fractions(Fraction(1, 2), 10, max_denominator=10))
def test_the_peak_by_definition(segments: Lengths, target: Fraction) -> None:
    peaks = []
    for begin in range(len(segments)):
        for end in range(begin + 1, len(segments) + 1):
            run = segments[begin:end]
            size, length = sum(s for s, _ in run), sum(ns for _, ns in run)
            fits = target / 2 <= Fraction(length, NS) <= target * 3 / 2
            if fits or (len(run) == 1 and Fraction(length, NS) > target * 3 / 2):
                peaks.append(int(Fraction(size * 8 * NS, length * 1_000)))
    total, length = sum(s for s, _ in segments), sum(ns for _, ns in segments)
    average = int(Fraction(total * 8 * NS, length * 1_000))
    assert bit_rates(segments, target) == BitRates(average, max([*peaks, average]))
