"""Plans of reads: everything is read, little else, in few selects."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tams_gql.store.vast.reading.window_plan import Stretch, Timeline, grouped, portions, united
from tests.store.given import MAX_NS, MIN_NS, examples

_ranges = st.tuples(st.integers(-500, 500), st.integers(1, 50)).map(lambda r: (r[0], r[0] + r[1]))

SECOND = 1_000_000_000
HOUR = 3600 * SECOND


@examples(200)
@given(ranges=st.lists(_ranges, max_size=150))
def test_united_ranges_hold_the_given_ones(ranges: list[tuple[int, int]]) -> None:
    found = united(ranges)

    assert len(found) <= 64
    assert all(a[1] < b[0] for a, b in pairwise(found))
    assert all(any(f <= first and end <= e for f, e in found) for first, end in ranges)
    bounds = {moment for given in ranges for moment in given}
    assert {moment for one in found for moment in one} <= bounds


def test_the_narrowest_gaps_are_closed() -> None:
    ranges = [(i * 10, i * 10 + 9) for i in range(65)]
    ranges[20] = (200, 209 - 5)

    (wide,) = [r for r in united(ranges) if r[1] - r[0] > 9]

    assert wide in [(i * 10, i * 10 + 19) for i in range(64)]


def _flow(number: int, segment_ns: int, count: int, start: int = 0) -> Timeline:
    return Timeline(count, start, start + segment_ns * count, segment_ns)


def test_windows_at_the_same_time_are_one_select() -> None:
    timelines = [_flow(i, SECOND, 86_400) for i in range(200)]
    stretches = [Stretch(f"f{i}", HOUR, HOUR + 60 * SECOND) for i in range(200)]

    (group,) = grouped(stretches, timelines)

    assert sorted(group.members) == list(range(200))
    assert group.ranges == ((HOUR, HOUR + 60 * SECOND),)
    assert 11_999 < group.rows < 12_001


def test_flows_recorded_one_after_the_other_are_one_select() -> None:
    timelines = [_flow(i, SECOND, 3_600, start=i * HOUR) for i in range(24)]
    stretches = [Stretch(f"f{i}", i * HOUR, i * HOUR + 50 * SECOND) for i in range(24)]

    (group,) = grouped(stretches, timelines)

    assert len(group.ranges) == 24
    assert group.rows < 24 * 51


def test_pages_of_very_different_rates_are_several_selects() -> None:
    lengths = [SECOND // 25, SECOND, 60 * SECOND, HOUR]
    timelines = [_flow(i, lengths[i % 4], 1_000_000 // 10 ** (i % 4)) for i in range(200)]
    stretches = [Stretch(f"f{i}", 0, 50 * lengths[i % 4]) for i in range(200)]

    groups = grouped(stretches, timelines)

    assert len(groups) == 4
    assert sum(group.rows for group in groups) < 10_001


def test_pages_all_over_one_time_are_parted() -> None:
    timelines = [_flow(i, SECOND, 86_400) for i in range(100)]
    stretches = [Stretch(f"f{i}", i * 800 * SECOND, (i * 800 + 50) * SECOND) for i in range(100)]

    groups = grouped(stretches, timelines)

    assert sum(group.rows for group in groups) < 5_000 * 10
    assert len(groups) <= 32


def test_a_bound_on_rows_parts_what_belongs_together() -> None:
    timelines = [_flow(i, SECOND, 1_000) for i in range(10)]
    stretches = [Stretch(f"f{i}", 0, 1_000 * SECOND) for i in range(10)]

    groups = grouped(stretches, timelines, most_rows=2_500)

    assert sorted(at for group in groups for at in group.members) == list(range(10))
    assert max(group.rows for group in groups) <= 2_500
    (alone,) = grouped(stretches[:1], timelines[:1], most_rows=10)
    assert 999 < alone.rows < 1_001


def test_portions_make_up_a_stretch() -> None:
    timeline = Timeline(100, MIN_NS, MAX_NS, 1)
    found = list(portions(Stretch("f", MIN_NS, MAX_NS), timeline, 10))

    assert found[0][0] == MIN_NS
    assert found[-1][1] == MAX_NS
    assert all(a[1] == b[0] for a, b in pairwise(found))
    assert 10 <= len(found) <= 11


@examples(100)
@given(
    asked=st.lists(
        st.tuples(st.integers(0, 5), _ranges, st.integers(1, 100), st.integers(1, 50)),
        min_size=1,
        max_size=30,
    ),
    most=st.sampled_from([1.0, 50.0, 1e9]),
)
def test_every_stretch_is_read_once(
    asked: list[tuple[int, tuple[int, int], int, int]], most: float
) -> None:
    stretches = [Stretch(f"f{flow}", *span) for flow, span, _, _ in asked]
    timelines = [Timeline(count, -50, -50 + count * ns, ns) for _, _, count, ns in asked]

    groups = grouped(stretches, timelines, most)

    assert sorted(at for group in groups for at in group.members) == list(range(len(asked)))
    for group in groups:
        for at in group.members:
            span = stretches[at]
            assert any(f <= span.first_ns and span.end_ns <= e for f, e in group.ranges)


def test_nothing_is_nothing() -> None:
    assert grouped([], []) == []
