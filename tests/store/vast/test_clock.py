"""The cluster's time, from headers with whole seconds."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tams_gql.store.vast.wire.clock import StoreClock

_NOW = 1_700_000_000.25


def _header(seconds: float) -> str:
    return formatdate(seconds, usegmt=True)


def test_without_headers_it_is_the_clock_of_the_machine() -> None:
    clock = StoreClock(lambda: _NOW)
    assert clock.now_us() == 1_700_000_000_250_000
    for date in (None, "", "soon", "Tue, 99 Foo 2023 00:00:00 GMT", "x" * 10_000):
        clock.observe(date, _NOW, _NOW)
    assert clock.offset_seconds == 0


def test_a_header_that_agrees_corrects_nothing() -> None:
    clock = StoreClock(lambda: _NOW)
    for part in (0.0, 0.3, 0.6, 0.99):
        clock.observe(_header(_NOW + part), _NOW + part, _NOW + part + 0.01)
    assert clock.offset_seconds == 0


@pytest.mark.parametrize("offset", [-3600.0, -2.5, -1.3, 1.3, 2.5, 86_400.0])
def test_of_all_corrections_that_explain_the_headers_it_takes_the_smallest(offset: float) -> None:
    clock = StoreClock(lambda: _NOW)
    clock.observe(_header(_NOW + offset), _NOW, _NOW + 0.01)
    first = clock.offset_seconds
    assert abs(first) <= abs(offset)
    assert abs(first - offset) <= 1.02
    for i in range(1, 20):
        at = _NOW + i * 0.13
        clock.observe(_header(at + offset), at, at + 0.01)
    assert abs(clock.offset_seconds) <= abs(offset)
    assert clock.offset_seconds == pytest.approx(offset, abs=0.15)


@given(
    st.floats(-100, 100),
    st.lists(st.tuples(st.floats(0, 30), st.floats(0, 2), st.floats(0, 1)), max_size=30),
)
def test_the_error_is_never_more_than_a_second_and_a_round_trip(
    offset: float, calls: list[tuple[float, float, float]]
) -> None:
    at, clock = _NOW, StoreClock(lambda: _NOW)
    longest = 0.0
    for pause, took, share in calls:
        at += pause
        longest = max(longest, took)
        clock.observe(_header(at + took * share + offset), at, at + took)
        assert abs(clock.offset_seconds - offset) <= 1.001 + longest
        at += took


def test_a_clock_that_is_set_is_followed_at_once() -> None:
    clock = StoreClock(lambda: _NOW)
    clock.observe(_header(_NOW + 50), _NOW, _NOW)
    assert clock.offset_seconds == pytest.approx(49.75, abs=0.01)
    clock.observe(_header(_NOW - 20), _NOW + 1, _NOW + 1)
    assert -21.3 < clock.offset_seconds < -19.9


def test_two_clocks_may_drift_apart() -> None:
    clock = StoreClock(lambda: _NOW)
    drift = 0.00005
    for hour in range(48):
        for i in range(50):
            elapsed = hour * 3600 + i * 0.71
            clock.observe(_header(_NOW + elapsed * (1 + drift)), _NOW + elapsed, _NOW + elapsed)
        assert clock.offset_seconds == pytest.approx(elapsed * drift, abs=0.3 + elapsed * drift / 9)


def test_a_machine_whose_clock_goes_backwards_during_a_call_learns_nothing() -> None:
    clock = StoreClock(lambda: _NOW)
    clock.observe(_header(_NOW + 500), _NOW, _NOW - 1)
    assert clock.offset_seconds == 0
