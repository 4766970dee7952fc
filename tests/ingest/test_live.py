"""The live source, on a clock that the test moves."""

from __future__ import annotations

import itertools
import time
from fractions import Fraction
from threading import Event

import pytest

from tams_gql.ingest import live as module
from tams_gql.ingest.api import Catalog
from tams_gql.ingest.codecs import Container
from tams_gql.ingest.live import LiveOptions, WallClock, live_flows, mark_waiting, run_live
from tams_gql.ingest.live_segments import SEGMENT_SECONDS
from tams_gql.ingest.options import IngestOptions
from tams_gql.ingest.transport import Transport
from tams_gql.model.errors import Conflict
from tams_gql.model.time import NS, TimeRange, parse_timestamp
from tests.ingest.catalog_server import FakeCatalog, refused
from tests.ingest.conftest import QUICK
from tests.ingest.reading import frames_of, joined, packets_of
from tests.ingest.test_files import Record
from tests.waiting import PATIENCE_SECONDS

NOON = 1_795_435_200


@pytest.fixture(autouse=True)
def _time_for_the_last_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of these tests is faster than any sender."""
    monkeypatch.setattr(module, "_LAST_WORDS_SECONDS", PATIENCE_SECONDS)


SEGMENT_NS = SEGMENT_SECONDS * NS


class JumpingClock:
    """Is always on time, jumps when told to, and says stop at ``until_ns``."""

    def __init__(self, now_ns: int, until_ns: int, jumps: dict[int, int] | None = None) -> None:
        self._now_ns = now_ns
        self._until_ns = until_ns
        self._jumps = jumps or {}

    def now_ns(self) -> int:
        return self._now_ns

    def wait_until(self, due_ns: int) -> bool:
        self._now_ns = max(self._now_ns, due_ns)
        for at_ns, to_ns in list(self._jumps.items()):
            if self._now_ns >= at_ns:
                self._now_ns = to_ns
                del self._jumps[at_ns]
        # The sender works in real time; a picture each millisecond leaves it room.
        time.sleep(0.001)
        return self._now_ns >= self._until_ns


def run(
    fake: FakeCatalog,
    clock: JumpingClock,
    container: Container = "ts",
    window_ns: int | None = None,
) -> tuple[list[str], Record]:
    record = Record()
    options = IngestOptions(container=container)
    live = LiveOptions(window_ns=window_ns)
    with Transport(fake.url, retry=QUICK) as transport:
        run_live(Catalog(transport), options, live, record, clock)
    return [spec.id for spec in live_flows(options, live)], record


def spans(fake: FakeCatalog, flow_id: str) -> list[TimeRange]:
    return [TimeRange.parse(segment["timerange"]) for segment in fake.segments(flow_id)]


@pytest.mark.parametrize("container", ["ts", "fmp4"])
def test_segments_of_two_seconds_from_the_next_even_second(
    container: Container, fake: FakeCatalog
) -> None:
    start = NOON * NS + NS // 2
    clock = JumpingClock(start, (NOON + 8) * NS + NS)
    (video, audio, multi), record = run(fake, clock, container)
    first = NOON + 2
    assert spans(fake, video) == [
        TimeRange.between((first + 2 * n) * NS, (first + 2 * n + 2) * NS) for n in range(3)
    ]
    heard = spans(fake, audio)
    frame = Fraction(1024 * NS, 48_000)
    assert [0 <= s.start_ns - (first + 2 * n) * NS < frame for n, s in enumerate(heard)] == [
        True
    ] * 3
    assert [a.end_ns for a in heard[:-1]] == [b.start_ns for b in heard[1:]]
    assert record.segments == 6
    assert {fake.flows[f]["status"] for f in (video, audio, multi)} == {"INGESTING"}
    for flow_id in (video, audio):
        for segment in fake.segments(flow_id):
            packets, offset = (
                packets_of(fake.content(segment)),
                parse_timestamp(segment["tsOffset"]),
            )
            assert offset % (90_000 * NS) == 0
            span = TimeRange.parse(segment["timerange"])
            assert abs(packets[0].pts * NS + offset - span.start_ns) < 1
            assert abs(packets[-1].end * NS + offset - span.end_ns) < 1
            assert 0 <= packets[0].pts < Fraction(2**33, 90_000)
    pictures = fake.segments(video)
    assert [len(frames_of(fake.content(s))) for s in pictures] == [50, 50, 50]
    assert [(s["sampleCount"], s["keyFrameCount"]) for s in pictures] == [(50, 1)] * 3
    inits = {s.get("initObjectId") for s in pictures}
    assert len(inits) == 1
    assert (inits == {None}) == (container == "ts")


def test_the_sound_has_no_hole_between_segments(fake: FakeCatalog) -> None:
    (_, audio, _), _ = run(fake, JumpingClock(NOON * NS, (NOON + 7) * NS))
    whole = joined([fake.content(segment) for segment in fake.segments(audio)])
    times = [packet.pts for packet in packets_of(whole)]
    steps = {b - a for a, b in itertools.pairwise(times)}
    assert steps == {Fraction(1024, 48_000)}


def test_a_restart_goes_on_in_the_same_flows_after_a_gap(fake: FakeCatalog) -> None:
    first, _ = run(fake, JumpingClock(NOON * NS, (NOON + 3) * NS))
    second, _ = run(fake, JumpingClock((NOON + 21) * NS, (NOON + 25) * NS))
    assert first == second
    assert [s.start_ns // NS - NOON for s in spans(fake, first[0])] == [0, 22]


def test_a_restart_within_the_same_segment_does_not_overlap(fake: FakeCatalog) -> None:
    ids, _ = run(fake, JumpingClock(NOON * NS, (NOON + 2) * NS + 2 * 40_000_000))
    run(fake, JumpingClock((NOON + 2) * NS - 1, (NOON + 7) * NS))
    assert [s.start_ns // NS - NOON for s in spans(fake, ids[0])] == [0, 4]


def test_falling_behind_leaves_a_gap_instead_of_running_late(fake: FakeCatalog) -> None:
    clock = JumpingClock(NOON * NS, (NOON + 33) * NS, jumps={(NOON + 3) * NS: (NOON + 29) * NS})
    ids, record = run(fake, clock)
    assert [s.start_ns // NS - NOON for s in spans(fake, ids[0])] == [0, 30]
    assert record.notes == ["fell behind the clock: going on at the present time"]


def test_a_clock_that_went_back_is_a_conflict(fake: FakeCatalog) -> None:
    run(fake, JumpingClock(NOON * NS, (NOON + 3) * NS))
    with pytest.raises(Conflict, match="which is later than now"):
        run(fake, JumpingClock((NOON - 3600) * NS, NOON * NS))


def test_a_window_keeps_the_newest_segments_only(fake: FakeCatalog) -> None:
    clock = JumpingClock(NOON * NS, (NOON + 13) * NS)
    (video, audio, _), _ = run(fake, clock, window_ns=5 * NS)
    assert [s.start_ns // NS - NOON for s in spans(fake, video)] == [6, 8, 10]
    assert len(spans(fake, audio)) == 3


def test_a_server_that_is_away_costs_segments_but_not_the_source(fake: FakeCatalog) -> None:
    away = iter([503] * QUICK.attempts)
    fake.fail = lambda name: next(away, None) if name == "IngestRegister" else None
    ids, record = run(fake, JumpingClock(NOON * NS, (NOON + 7) * NS))
    assert len(spans(fake, ids[0])) == 2
    assert len(record.notes) == 1
    assert record.notes[0].startswith("gave up [1795435200:0_1795435202:0): ")


def test_a_refusal_ends_the_source(fake: FakeCatalog) -> None:
    fake.fail = lambda name: refused("CONFLICT", "taken") if name == "IngestRegister" else None
    with pytest.raises(Conflict, match="taken"):
        run(fake, JumpingClock(NOON * NS, (NOON + 60) * NS))


def test_flows_are_marked_when_the_source_stops(fake: FakeCatalog) -> None:
    ids, _ = run(fake, JumpingClock(NOON * NS, (NOON + 3) * NS))
    with Transport(fake.url) as transport:
        mark_waiting(Catalog(transport), IngestOptions(), LiveOptions())
    assert {fake.flows[flow_id]["status"] for flow_id in ids} == {"AWAITING_CONTENT"}


def test_the_wall_clock_waits_and_can_be_stopped() -> None:
    stop = Event()
    clock = WallClock(stop)
    due = time.time_ns() + 30_000_000
    assert clock.wait_until(due) is False
    assert clock.now_ns() >= due
    stop.set()
    assert clock.wait_until(time.time_ns() + 60 * NS) is True
