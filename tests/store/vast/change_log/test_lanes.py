"""Lanes: numbers without gaps, stamps that never go back, ids that never return."""

from __future__ import annotations

import re
from threading import Barrier, Thread

import pytest

from tams_gql.store.changes import NewEvent
from tams_gql.store.tables import EVENTS
from tams_gql.store.vast.change_log import lanes as lanes_module
from tams_gql.store.vast.change_log.frontier import START
from tams_gql.store.vast.change_log.known import Known
from tams_gql.store.vast.change_log.lanes import Lane, Lanes
from tams_gql.store.vast.layout import physical_of
from tams_gql.store.vast.wire.client import OutcomeUnknown, RowConflict
from tests.store.vast.change_log.processes import SECOND, Clock

NOW = Clock().now
EVENT = NewEvent("flows/created", "s", "f", "{}")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def known() -> Known:
    return Known()


@pytest.fixture
def lanes(known: Known, clock: Clock) -> Lanes:
    return Lanes(known, clock.now_us)


def commit(lane: Lane, count: int) -> list[tuple[int, int]]:
    """Use a lane for a transaction; the numbers and stamps of its events."""
    batch = lane.rows([EVENT] * count, 5)
    lane.committed()
    columns = batch.to_pydict()
    assert set(columns["lane"]) == {lane.id}
    return list(zip(columns["seq"], columns["stamped"], strict=True))


def fail(lanes: Lanes, failure: BaseException) -> None:
    """Let a transaction with events fail."""
    with lanes.taken() as lane:
        lane.rows([EVENT] * 5, 5)
        raise failure


def test_rows_are_complete(lanes: Lanes) -> None:
    with lanes.taken() as lane:
        batch = lane.rows([EVENT, NewEvent("x", None, None, "[]")], 5)
        assert lane.last_key == f"{lane.id}0000000000000002"
    assert batch.schema == physical_of(EVENTS).schema
    assert re.fullmatch("[0-9a-f]{12}", lane.id)
    first, second = batch.to_pylist()
    assert first == {
        **{"lane": lane.id, "seq": 1, "stamped": NOW, "key": f"{lane.id}0000000000000001"},
        **{"type": "flows/created", "created": 5, "source_id": "s", "flow_id": "f", "body": "{}"},
    }
    assert (second["seq"], second["key"]) == (2, f"{lane.id}0000000000000002")
    assert (second["stamped"], second["source_id"], second["body"]) == (NOW, None, "[]")


def test_numbers_have_no_gaps_and_stamps_do_not_go_back(lanes: Lanes, clock: Clock) -> None:
    used = []
    for count, step in ((2, 7), (1, -50), (3, 10)):
        clock.now += step
        with lanes.taken() as lane:
            used += commit(lane, count)
    assert [seq for seq, _ in used] == [1, 2, 3, 4, 5, 6]
    # Later transactions of a process come later in the log, whatever the clock says.
    assert [stamp - NOW for _, stamp in used] == [7, 7, 8, 9, 9, 9]


@pytest.mark.parametrize("failure", [RowConflict("x"), ValueError("x")])
def test_what_failed_leaves_its_numbers_to_the_next(lanes: Lanes, failure: Exception) -> None:
    with lanes.taken() as first:
        commit(first, 2)
    with pytest.raises(type(failure)):
        fail(lanes, failure)
    with lanes.taken() as lane:
        assert [seq for seq, _ in commit(lane, 1)] == [3]
        assert lane is first


@pytest.mark.parametrize("failure", [OutcomeUnknown(7), KeyboardInterrupt()])
def test_a_lane_whose_state_is_unknown_is_given_up(lanes: Lanes, failure: BaseException) -> None:
    with lanes.taken() as first:
        commit(first, 1)
    with pytest.raises(type(failure)):
        fail(lanes, failure)
    with lanes.taken() as lane:
        assert lane.id != first.id
        assert [seq for seq, _ in commit(lane, 1)] == [1]


def test_a_transaction_without_events_uses_no_numbers(lanes: Lanes, known: Known) -> None:
    with lanes.taken() as lane:
        assert lane.frontier(0) == START
        lane.committed()
    assert known.frontier == START
    with lanes.taken() as lane:
        assert [seq for seq, _ in commit(lane, 1)] == [1]


def test_the_position_before_and_after_the_commit(lanes: Lanes, known: Known, clock: Clock) -> None:
    with lanes.taken() as lane:
        told = lane.frontier(2)  # may be asked for before the rows are made
        clock.now += 3 * SECOND
        lane.rows([EVENT, EVENT], 5)
        assert lane.frontier(2) == told == START.after(lane.id, 2, NOW)
        assert known.frontier == START
        lane.committed()
    assert known.frontier == told
    assert known.newest == NOW


def test_events_follow_those_that_the_process_has_seen(
    lanes: Lanes, known: Known, clock: Clock
) -> None:
    theirs = START.after("0" * 12, 1, NOW + 30 * SECOND)  # by a clock that is ahead
    known.add(theirs, NOW + 30 * SECOND)
    with lanes.taken() as lane:
        ((_, stamp),) = commit(lane, 1)
    assert stamp == NOW + 30 * SECOND + 1


def test_events_follow_what_the_transaction_has_read(
    lanes: Lanes, known: Known, caplog: pytest.LogCaptureFixture
) -> None:
    def stamp_after(before_us: int) -> int:
        with lanes.taken() as lane:
            lane.follow(before_us)
            ((_, stamp),) = commit(lane, 1)
        return stamp - NOW

    far = 300 * SECOND
    assert stamp_after(0) == 0
    assert stamp_after(NOW + 5) == 6
    assert stamp_after(NOW + 2) == 7  # this process has seen more
    assert stamp_after(NOW + 7 + far) == 8 + far
    assert not caplog.records
    assert stamp_after(NOW + 9 + 2 * far) == 9 + far  # a clock has been wrong
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_few_lanes_are_used(lanes: Lanes) -> None:
    with lanes.taken() as a, lanes.taken() as b:
        assert a.id != b.id
        commit(a, 1)
        commit(b, 1)
    for _ in range(3):
        with lanes.taken() as lane:
            commit(lane, 1)
            assert lane is a  # given back last
    with lanes.taken() as one, lanes.taken() as other:
        assert (one, other) == (a, b)


def test_a_lane_ends_before_its_numbers_do(lanes: Lanes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes_module, "_LAST_REUSED", 10)
    with lanes.taken() as first:
        commit(first, 10)
    with lanes.taken() as lane:
        assert lane is first
        commit(lane, 1)
    with lanes.taken() as lane:
        assert lane is not first


def test_each_thread_has_a_lane_of_its_own(lanes: Lanes) -> None:
    used: list[tuple[str, int]] = []
    start = Barrier(8)

    def work() -> None:
        start.wait()
        for _ in range(200):
            with lanes.taken() as lane:
                used.extend((lane.id, seq) for seq, _ in commit(lane, 2))

    threads = [Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    by_lane: dict[str, list[int]] = {}
    for lane_id, seq in used:
        by_lane.setdefault(lane_id, []).append(seq)
    assert len(used) == 8 * 200 * 2
    assert len(by_lane) <= 8
    for numbers in by_lane.values():
        assert sorted(numbers) == list(range(1, len(numbers) + 1))


def test_what_is_known_of_the_log_gets_old() -> None:
    ticks = [100.0]
    known = Known(lambda: ticks[0])
    one, two = START.after("0" * 12, 1, NOW), START.after("1" * 12, 1, NOW)
    assert known.age_of(one) == float("inf")
    moment = known.moment()
    ticks[0] += 2
    known.add_all(one, NOW, moment)
    assert known.age_of(one) == known.age_of(one.union(two)) == 2
    assert known.age_of(START) == known.age_of(two) == float("inf")
    known.add(two, NOW + 1)
    assert known.frontier == one.union(two)
    assert known.newest == NOW + 1
    assert known.age_of(one) == 2  # what has come since it was whole came in that time
    known.add_all(START, 0, 50.0)  # an older answer that comes late
    assert (known.age_of(one), known.frontier) == (2, one.union(two))
