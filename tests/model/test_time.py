"""Timestamps and time ranges: the grammar, its edges, and arithmetic against the BBC's library."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from mediatimestamp import TimeRange as Reference
from mediatimestamp import Timestamp

from tams_gql.model.errors import BadInput
from tams_gql.model.time import (
    MAX_NS,
    MIN_NS,
    NS,
    OPEN_END_NS,
    OPEN_START_NS,
    TimeRange,
    format_timestamp,
    parse_timestamp,
)

NEVER = (OPEN_END_NS, OPEN_START_NS)
ALWAYS = (OPEN_START_NS, OPEN_END_NS)

# Many near neighbours, where markers decide, and some from the whole line.
NANOSECONDS = st.one_of(
    st.integers(-4, 4),
    st.integers(-4, 4).map(lambda seconds: seconds * NS),
    st.integers(MIN_NS + 2, MAX_NS - 2),
)
MARKED_STARTS = st.sampled_from(["", "[", "("])
MARKED_ENDS = st.sampled_from(["", "]", ")"])


def stamp(ns: int) -> str:
    return f"{'-' if ns < 0 else ''}{abs(ns) // NS}:{abs(ns) % NS}"


@st.composite
def range_texts(draw: st.DrawFn) -> str:
    opening, closing = draw(MARKED_STARTS), draw(MARKED_ENDS)
    start, end = draw(st.none() | NANOSECONDS), draw(st.none() | NANOSECONDS)
    if start is not None and draw(st.integers(0, 9)) == 0:
        return f"{opening.replace('(', '[')}{stamp(start)}{closing.replace(')', ']')}"
    if start is None and end is None and draw(st.booleans()):
        return opening + closing
    return f"{opening}{'' if start is None else stamp(start)}_" + (
        f"{'' if end is None else stamp(end)}{closing}"
    )


RANGES = range_texts().map(TimeRange.parse)
HALF_OPEN = (
    st.lists(NANOSECONDS, min_size=2, max_size=2, unique=True)
    .map(sorted)
    .map(lambda ends: f"[{stamp(ends[0])}_{stamp(ends[1])})")
)


def bounds(timerange: TimeRange) -> tuple[int, int]:
    return timerange.start_ns, timerange.end_ns


def reference_bounds(reference: Any) -> tuple[int, int]:
    """The whole nanoseconds inside a range of the reference, whose time is continuous."""
    start, end = ALWAYS
    if reference.is_empty():
        return NEVER
    if reference.start is not None:
        start = reference.start.to_nanosec() + (not reference.includes_start())
    if reference.end is not None:
        end = reference.end.to_nanosec() + bool(reference.includes_end())
    return (start, end) if start < end else NEVER


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("0:0", 0),
        ("-0:0", 0),
        ("1:40000000", 1_040_000_000),
        ("-1:500000000", -1_500_000_000),
        ("-0:1", -1),
        ("0:999999999", 999_999_999),
        ("1694429247:40000000", 1_694_429_247_040_000_000),
        ("9223372036:854775806", MAX_NS),
        ("-9223372036:854775807", MIN_NS),
    ],
)
def test_a_timestamp_is_read_as_nanoseconds(text: str, ns: int) -> None:
    assert parse_timestamp(text) == ns


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "1:",
        ":1",
        "01:0",
        "1:00",
        "1:01",
        "1:1000000000",
        "+1:0",
        "--1:0",
        "1:-1",
        "1.5",
        " 1:0",
        "1:0 ",
        "1:0\n",
        "\u0661:0",
        "now",
        "1:0_2:0",
        "[1:0]",
        "x" * 1_000,
    ],
)
def test_a_malformed_timestamp_is_refused(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_timestamp(text, field="segments.3.ts_offset")
    assert caught.value.field == "segments.3.ts_offset"
    assert caught.value.message.startswith("segments.3.ts_offset: ")
    assert 'a timestamp is "seconds:nanoseconds"' in caught.value.message
    assert len(caught.value.message) < 300


@pytest.mark.parametrize(
    "text",
    [
        "9223372036:854775807",
        "-9223372036:854775808",
        "9999999999:0",
        "-99999999999:0",
        "1" + "0" * 10_000 + ":0",
    ],
)
def test_a_timestamp_beyond_64_bits_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="outside ±292 years") as caught:
        parse_timestamp(text)
    assert caught.value.field == "timestamp"
    assert len(caught.value.message) < 300


@pytest.mark.parametrize("value", [None, 0, 1.5, True, b"1:0", ["1:0"]])
def test_only_text_is_a_timestamp_or_a_range(value: object) -> None:
    with pytest.raises(BadInput) as caught:
        parse_timestamp(value, field="a")
    assert caught.value.field == "a"
    with pytest.raises(BadInput) as caught:
        TimeRange.parse(value, field="b")
    assert caught.value.field == "b"


def test_a_refused_text_is_cut_to_80_characters() -> None:
    with pytest.raises(BadInput) as caught:
        TimeRange.parse("y" * 500, field="timerange")
    assert caught.value.message.startswith("timerange: '" + "y" * 78 + "…")
    assert "y" * 79 not in caught.value.message


@given(st.integers(MIN_NS, MAX_NS))
@example(MIN_NS)
@example(MAX_NS)
@example(-1)
@example(-NS)
def test_a_timestamp_round_trips_as_in_the_reference(ns: int) -> None:
    text = format_timestamp(ns)
    assert text == Timestamp.from_nanosec(ns).to_sec_nsec()
    assert parse_timestamp(text) == ns == Timestamp.from_str(text).to_nanosec()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[0:0_10:0)", (0, 10 * NS)),
        ("[0:0_10:0]", (0, 10 * NS + 1)),
        ("(0:0_10:0)", (1, 10 * NS)),
        ("(0:0_10:0]", (1, 10 * NS + 1)),
        # A bound without a marker is inclusive.
        ("0:0_10:0", (0, 10 * NS + 1)),
        ("0:0_10:0)", (0, 10 * NS)),
        ("(0:0_10:0", (1, 10 * NS + 1)),
        ("[-2:500000000_-1:0)", (-2_500_000_000, -NS)),
        # Open ends, with and without a marker, which then means nothing.
        ("[5:0_", (5 * NS, OPEN_END_NS)),
        ("(5:0_", (5 * NS + 1, OPEN_END_NS)),
        ("[5:0_)", (5 * NS, OPEN_END_NS)),
        ("[5:0_]", (5 * NS, OPEN_END_NS)),
        ("5:0_", (5 * NS, OPEN_END_NS)),
        ("_5:0)", (OPEN_START_NS, 5 * NS)),
        ("_5:0]", (OPEN_START_NS, 5 * NS + 1)),
        ("_5:0", (OPEN_START_NS, 5 * NS + 1)),
        ("[_5:0)", (OPEN_START_NS, 5 * NS)),
        ("(_5:0)", (OPEN_START_NS, 5 * NS)),
        ("_", ALWAYS),
        ("(_)", ALWAYS),
        ("[_]", ALWAYS),
        ("[_", ALWAYS),
        ("_)", ALWAYS),
        # Instants.
        ("[10:0]", (10 * NS, 10 * NS + 1)),
        ("10:0", (10 * NS, 10 * NS + 1)),
        ("[10:0", (10 * NS, 10 * NS + 1)),
        ("10:0]", (10 * NS, 10 * NS + 1)),
        ("[10:0_10:0]", (10 * NS, 10 * NS + 1)),
        ("10:0_10:0", (10 * NS, 10 * NS + 1)),
        ("-0:0", (0, 1)),
        # Empty: neither a timestamp nor "_", an exclusive marker at equal ends, end before start.
        ("()", NEVER),
        ("[]", NEVER),
        ("[)", NEVER),
        ("(", NEVER),
        ("]", NEVER),
        ("", NEVER),
        ("[10:0_10:0)", NEVER),
        ("(10:0_10:0]", NEVER),
        ("(10:0_10:0)", NEVER),
        ("[10:0_9:0]", NEVER),
        ("[0:0_-0:1]", NEVER),
        # No whole nanosecond lies between these two.
        ("(0:0_0:1)", NEVER),
        # The last times that fit.
        ("[-9223372036:854775807_9223372036:854775806)", (MIN_NS, MAX_NS)),
        ("[-9223372036:854775807_9223372036:854775805]", (MIN_NS, MAX_NS)),
        ("[9223372036:854775805]", (MAX_NS - 1, MAX_NS)),
    ],
)
def test_a_range_is_read_as_half_open_nanoseconds(text: str, expected: tuple[int, int]) -> None:
    timerange = TimeRange.parse(text)
    assert bounds(timerange) == expected
    assert timerange.text == str(timerange) == text
    assert timerange.is_empty == (expected == NEVER)


@pytest.mark.parametrize(
    "text",
    [
        "__",
        "[0:0_1:0_2:0)",
        "[0:0_1:0))",
        "[[0:0_1:0)",
        "]0:0_1:0[",
        "{0:0_1:0}",
        "[0:0-1:0)",
        "[0:0,1:0)",
        "[0:0 _ 1:0)",
        " ",
        "eternity",
        "[00:0_1:0)",
        "[0:00_1:0)",
        "[0:0_01:0)",
        "[0:0_1:0)\n",
    ],
)
def test_a_malformed_range_is_refused(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        TimeRange.parse(text, field="input.window")
    assert caught.value.field == "input.window"
    assert repr(text) in caught.value.message
    assert 'a time range is "[start_end)"' in caught.value.message


@pytest.mark.parametrize("text", ["(10:0)", "[10:0)", "(10:0]", "(10:0", "10:0)"])
def test_an_instant_takes_no_exclusive_marker(text: str) -> None:
    with pytest.raises(BadInput, match="inclusive markers only") as caught:
        TimeRange.parse(text)
    assert caught.value.field == "timerange"


@pytest.mark.parametrize(
    "text",
    [
        "[9223372036:854775806]",
        "[0:0_9223372036:854775806]",
        "[0:0_9223372036:854775807)",
        "(9223372036:854775806_",
        "[-9223372036:854775808_0:0)",
        "_-9223372036:854775808)",
        "[-9223372036:854775808]",
        "[0:0_99999999999:0)",
        "[0:0_1" + "0" * 10_000 + ":0)",
    ],
)
def test_a_range_beyond_64_bits_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="outside ±292 years") as caught:
        TimeRange.parse(text, field="timerange")
    assert caught.value.field == "timerange"
    assert len(caught.value.message) < 300


# The reference reads more than TAMS allows; each of these the product refuses.
@pytest.mark.parametrize(
    "text",
    [
        "[0:0_1:0)junk",
        "[0:0_1:1000000000)",
        "[00:0_1:0)",
        "[0_1)",
        "[0.5_1.5)",
        "[1970-01-01T00:00:00Z_1970-01-01T00:00:01Z)",
        "[ 0:0_1:0)",
        "[+0:0_1:0)",
        "[\u0661:0_2:0)",
        "(10:0)",
    ],
)
def test_what_only_the_reference_reads(text: str) -> None:
    Reference.from_str(text)
    with pytest.raises(BadInput):
        TimeRange.parse(text)


@given(range_texts())
def test_a_range_is_read_as_in_the_reference(text: str) -> None:
    assert bounds(TimeRange.parse(text)) == reference_bounds(Reference.from_str(text))


@given(RANGES)
def test_canonical_text_means_the_same_range(timerange: TimeRange) -> None:
    canonical = TimeRange.between(timerange.start_ns, timerange.end_ns)
    assert canonical == timerange
    again = TimeRange.parse(canonical.text)
    assert again == canonical
    assert again.text == canonical.text


@pytest.mark.parametrize(
    ("start_ns", "end_ns", "text"),
    [
        (0, 10 * NS, "[0:0_10:0)"),
        (-1_500_000_000, -1, "[-1:500000000_-0:1)"),
        (5 * NS, 5 * NS + 1, "[5:0_5:1)"),
        (5 * NS, OPEN_END_NS, "[5:0_"),
        (OPEN_START_NS, 5 * NS, "_5:0)"),
        (OPEN_START_NS, OPEN_END_NS, "_"),
        (5, 5, "()"),
        (6, 5, "()"),
        (OPEN_END_NS, OPEN_START_NS, "()"),
    ],
)
def test_between_writes_canonical_text(start_ns: int, end_ns: int, text: str) -> None:
    assert TimeRange.between(start_ns, end_ns).text == text


@pytest.mark.parametrize(("start_ns", "end_ns"), [(OPEN_START_NS - 1, 0), (0, OPEN_END_NS + 1)])
def test_between_refuses_what_64_bits_do_not_hold(start_ns: int, end_ns: int) -> None:
    with pytest.raises(BadInput, match="±292 years"):
        TimeRange.between(start_ns, end_ns)


def test_text_takes_no_part_in_equality() -> None:
    short, long = TimeRange.parse("[10:0]"), TimeRange.parse("[10:0_10:0]")
    assert short == long
    assert hash(short) == hash(long)
    assert TimeRange.parse("[5:0_4:0)") == TimeRange.parse("()") == TimeRange.never()
    assert TimeRange.parse("(_)") == TimeRange.everything()


@pytest.mark.parametrize(
    ("text", "has_start", "has_end", "bounded", "duration_ns"),
    [
        ("[1:0_3:0)", True, True, True, 2 * NS),
        ("[1:0]", True, True, True, 1),
        ("[1:0_", True, False, False, None),
        ("_1:0)", False, True, False, None),
        ("_", False, False, False, None),
        ("()", True, True, True, 0),
    ],
)
def test_ends_and_duration(
    text: str, has_start: bool, has_end: bool, bounded: bool, duration_ns: int | None
) -> None:
    timerange = TimeRange.parse(text)
    assert (timerange.has_start, timerange.has_end, timerange.is_bounded) == (
        has_start,
        has_end,
        bounded,
    )
    assert timerange.duration_ns == duration_ns


@given(range_texts(), range_texts())
def test_intersection_and_overlap_agree_with_the_reference(one: str, two: str) -> None:
    ours, other = TimeRange.parse(one), TimeRange.parse(two)
    expected = reference_bounds(Reference.from_str(one).intersect_with(Reference.from_str(two)))
    assert bounds(ours.intersection(other)) == expected
    assert ours.overlaps(other) == other.overlaps(ours) == (expected != NEVER)


@given(range_texts(), range_texts())
def test_whatever_the_reference_says_is_inside_is_inside(one: str, two: str) -> None:
    if Reference.from_str(one).contains_subrange(Reference.from_str(two)):
        assert TimeRange.parse(one).covers(TimeRange.parse(two))


@given(HALF_OPEN, HALF_OPEN)
def test_covering_agrees_with_the_reference_on_half_open_ranges(one: str, two: str) -> None:
    expected = Reference.from_str(one).contains_subrange(Reference.from_str(two))
    assert TimeRange.parse(one).covers(TimeRange.parse(two)) == expected


def test_covering_differs_from_the_reference_where_time_is_whole_nanoseconds() -> None:
    # The same nanoseconds, but the reference sees the time between 0:0 and 0:1 too.
    assert TimeRange.parse("[0:1_5:0)").covers(TimeRange.parse("(0:0_5:0)"))
    assert not Reference.from_str("[0:1_5:0)").contains_subrange(Reference.from_str("(0:0_5:0)"))


def test_the_empty_range_covers_itself_unlike_in_the_reference() -> None:
    assert TimeRange.never().covers(TimeRange.never())
    assert not Reference.never().contains_subrange(Reference.never())


@given(range_texts(), range_texts())
def test_hull_agrees_with_the_reference(one: str, two: str) -> None:
    ours, other = TimeRange.parse(one), TimeRange.parse(two)
    first, second = Reference.from_str(one), Reference.from_str(two)
    # "(0:0_0:1)" holds time in the reference, but no nanosecond.
    assume(ours.is_empty == first.is_empty() and other.is_empty == second.is_empty())
    expected = reference_bounds(first.extend_to_encompass_timerange(second))
    assert bounds(ours.hull(other)) == expected


SMALL = st.tuples(st.integers(-5, 5), st.integers(-5, 5)).map(lambda ends: TimeRange.between(*ends))


@given(SMALL, SMALL)
def test_ranges_behave_as_sets_of_nanoseconds(one: TimeRange, two: TimeRange) -> None:
    first, second = set(range(*bounds(one))), set(range(*bounds(two)))
    both, union = first & second, first | second
    assert set(range(*bounds(one.intersection(two)))) == both
    assert one.overlaps(two) == bool(both)
    assert one.covers(two) == (second <= first)
    hull = set(range(min(union), max(union) + 1)) if union else set()
    assert set(range(*bounds(one.hull(two)))) == hull
    assert one.duration_ns == len(first)


@given(HALF_OPEN.map(TimeRange.parse), RANGES)
def test_the_empty_range_needs_no_case_of_its_own_in_pushed_down_predicates(
    stored: TimeRange, window: TimeRange
) -> None:
    overlap = stored.start_ns < window.end_ns and stored.end_ns > window.start_ns
    contained = stored.start_ns >= window.start_ns and stored.end_ns <= window.end_ns
    assert overlap == stored.overlaps(window)
    assert contained == window.covers(stored)
    if window.is_empty:
        assert not overlap
        assert not contained


def test_a_range_inside_the_other_keeps_its_text() -> None:
    instant, window = TimeRange.parse("[5:0]"), TimeRange.parse("[0:0_10:0]")
    assert instant.intersection(window) is instant
    assert window.intersection(instant) is instant
    assert instant.hull(window) is window
    assert window.hull(instant) is window


@given(RANGES, st.integers(-10 * NS, 10 * NS))
def test_shifting_moves_bounds_and_leaves_open_ends(timerange: TimeRange, offset: int) -> None:
    start, end = bounds(timerange)
    moved = (
        start + offset if start != OPEN_START_NS else start,
        end + offset if end != OPEN_END_NS else end,
    )
    if timerange.is_empty:
        assert timerange.shifted(offset) == TimeRange.never()
    elif any(
        not MIN_NS <= ns <= MAX_NS
        for ns, old in zip(moved, (start, end), strict=True)
        if old not in ALWAYS
    ):
        with pytest.raises(BadInput, match="leaves ±292 years"):
            timerange.shifted(offset)
    else:
        shifted = timerange.shifted(offset)
        assert bounds(shifted) == moved
        assert shifted.text == TimeRange.between(*moved).text


@pytest.mark.parametrize(
    ("text", "offset_ns", "expected"),
    [
        ("[10:0]", -10 * NS, "[0:0_0:1)"),
        ("(5:0_", NS, "[6:1_"),
        ("_5:0]", NS, "_6:1)"),
        ("_", 5, "_"),
        ("()", 5, "()"),
    ],
)
def test_a_shifted_range_has_canonical_text(text: str, offset_ns: int, expected: str) -> None:
    assert TimeRange.parse(text).shifted(offset_ns).text == expected


def test_an_open_end_cannot_be_reached_by_shifting() -> None:
    near_end = TimeRange.between(0, MAX_NS)
    with pytest.raises(BadInput, match="shifted by 1 nanoseconds leaves ±292 years"):
        near_end.shifted(1)
    with pytest.raises(BadInput, match="leaves ±292 years"):
        TimeRange.parse("[0:0_").shifted(-(2**63))
