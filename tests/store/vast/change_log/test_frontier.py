"""Frontiers: sets of events that only grow, with texts of bounded length."""

from __future__ import annotations

import re

import pytest
from hypothesis import event as note
from hypothesis import given
from hypothesis import strategies as st

from tams_gql.model.errors import BadInput
from tams_gql.store.vast.change_log.frontier import (
    LATENESS_SECONDS,
    MAX_LANES,
    MAX_SEQ,
    START,
    Frontier,
    Seen,
    parse,
)

SECOND = 1_000_000
NOW = 1_700_000_000 * SECOND
LANES = [f"{number:012x}" for number in (1, 2**20, 2**47, 2**48 - 1)]

Event = tuple[str, int, int]  # lane, number, stamp


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """Events in an order in which they may become visible."""
    pauses = st.sampled_from([0, 1, 999_999, SECOND, 100 * SECOND, 299 * SECOND, 2000 * SECOND])
    now, last, waiting, visible = NOW, dict.fromkeys(LANES, 0), dict[str, Event](), list[Event]()
    for lane, pause, late in draw(
        st.lists(st.tuples(st.sampled_from(LANES), pauses, st.booleans()), min_size=12, max_size=40)
    ):
        if (
            not waiting
            or now + pause - min(stamp for _, _, stamp in waiting.values()) < 300 * SECOND
        ):
            now += pause
        if lane in waiting:
            visible.append(waiting.pop(lane))
        else:
            last[lane] += 1
            waiting[lane] = (lane, last[lane], now)
            if not late:
                visible.append(waiting.pop(lane))
    return visible


def frontier_of(events: list[Event]) -> Frontier:
    found = START
    for event in events:
        found = found.after(*event)
    return found


@given(histories(), st.data())
def test_a_frontier_is_the_set_of_what_was_visible(
    history: list[Event], data: st.DataObject
) -> None:
    count = data.draw(st.integers(0, len(history)))

    frontier = frontier_of(history[:count])

    # What was visible is included and what becomes visible later is not, however late it was.
    assert [frontier.includes(*event) for event in history] == [
        number < count for number in range(len(history))
    ]
    note(f"{len(frontier.lanes)} lanes")


def _reading(history: list[Event], data: st.DataObject) -> Frontier:
    """The frontier of some reader: it has had a first part of each lane of what was visible."""
    visible = history[: data.draw(st.integers(0, len(history)))]
    ordered = sorted(visible, key=lambda event: (event[2], event[0], event[1]))
    return frontier_of(ordered[: data.draw(st.integers(0, len(ordered)))])


@given(histories(), st.data())
def test_frontiers_form_a_semilattice(history: list[Event], data: st.DataObject) -> None:
    a, b, c = (_reading(history, data) for _ in range(3))

    assert a.union(a) == a == a.union(START)
    assert a.union(b) == b.union(a)
    assert a.union(b).union(c) == a.union(b.union(c))
    assert a.covers(b) == (a.union(b) == a)
    assert a.union(b).covers(a)
    assert a.covers(START)
    both = a.union(b)
    for event in history:
        assert both.includes(*event) == (a.includes(*event) or b.includes(*event))
        assert not a.covers(b) or a.includes(*event) >= b.includes(*event)


@given(histories(), st.data())
def test_the_order_of_reading_does_not_matter(history: list[Event], data: st.DataObject) -> None:
    ordered = sorted(history, key=lambda event: (event[2], event[0], event[1]))

    assert frontier_of(ordered) == frontier_of(history)
    assert frontier_of(ordered).text() == frontier_of(history).text()


@given(histories())
def test_texts_lead_back(history: list[Event]) -> None:
    frontier = frontier_of(history)

    assert parse(frontier.text()) == frontier
    assert re.fullmatch(r"[0-9a-z.-]{1,4096}", frontier.text())


def test_silent_lanes_are_forgotten_and_late_events_are_not() -> None:
    late = (LANES[1], 1, NOW)
    frontier = START.after(LANES[0], 7, NOW).after(LANES[2], 1, NOW + LATENESS_SECONDS * SECOND)

    assert set(frontier.lanes) == {LANES[0], LANES[2]}
    assert not frontier.includes(*late)
    later = frontier.after(LANES[2], 2, NOW + (LATENESS_SECONDS + 1) * SECOND)
    assert set(later.lanes) == {LANES[2]}
    assert later.includes(*late)
    assert not later.includes(LANES[0], 8, NOW + SECOND)


def _many(count: int) -> Frontier:
    found = START
    for number in range(count):
        found = found.after(f"{number:012x}", MAX_SEQ, NOW + number * SECOND)
    return found


def test_a_position_stays_within_its_bounds() -> None:
    full = _many(MAX_LANES)
    assert len(full.lanes) == MAX_LANES
    assert len(full.text()) <= 4096
    assert parse(full.text()) == full


def test_with_too_many_lanes_those_that_were_silent_for_longest_are_passed() -> None:
    more = _many(MAX_LANES + 10)

    assert sorted(more.lanes) == [f"{number:012x}" for number in range(10, MAX_LANES + 10)]
    assert more.horizon == NOW // SECOND + 10
    assert parse(more.text()) == more
    assert more.includes("0" * 12, 1, NOW)
    assert not more.includes("f" * 12, 1, NOW + 10 * SECOND)
    parts = [
        START.after(f"{number:012x}", MAX_SEQ, NOW + number * SECOND)
        for number in reversed(range(MAX_LANES + 10))
    ]
    joined = START
    for part in parts:
        joined = part.union(joined)
    assert joined == more


_ENTRY = f"{'a' * 12}000001384"


@pytest.mark.parametrize(
    "position",
    [
        *("", "x", "-1", ".", "1.", "1.0", "00", "01", "F", " 1", "1\n", "1" * 10, "1-1"),
        *(f"1.{_ENTRY}0", f"1{_ENTRY}", f"1.{_ENTRY}.{_ENTRY}", f"1.{_ENTRY}{_ENTRY}"),
        f"1.{'b' * 12}000001384{_ENTRY}",  # not in order
        f"1.{'a' * 12}000001385",  # older than lateness allows
        f"1.{'A' * 12}000001384",
        f"1.{'a' * 12}00000138g",
        "1." + "".join(f"{number:012x}000001384" for number in range(MAX_LANES + 1)),
    ],
)
def test_other_texts_are_refused(position: str) -> None:
    with pytest.raises(BadInput) as refused:
        parse(position)
    assert refused.value.message == f"{position[:80]!r} is not a position of this change log"


def test_an_entry_counts_seconds_from_the_horizon() -> None:
    assert parse(f"1.{_ENTRY}") == Frontier(1, {"a" * 12: Seen(1, 1 + LATENESS_SECONDS)})
    assert parse("0") == START


@given(st.text("0123456789abcdef.", max_size=60))
def test_any_text_is_a_frontier_or_refused(position: str) -> None:
    try:
        frontier = parse(position)
    except BadInput:
        return
    assert frontier.text() == position
