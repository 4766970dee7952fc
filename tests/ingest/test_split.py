"""A file cut into segments is still the same film: proved by demuxing and decoding the pieces."""

from __future__ import annotations

import itertools
import wave
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import pytest

from tams_gql.ingest.codecs import Container
from tams_gql.ingest.errors import UnusableMedia
from tams_gql.ingest.plan import SegmentPlan, StreamPlan, plan_media
from tams_gql.ingest.scan import scan_file
from tams_gql.ingest.segmenter import write_segments
from tams_gql.ingest.ticks import nanoseconds, round_half_up
from tams_gql.model.time import NS, TimeRange
from tests.ingest.media_maker import Recipe, make, shift
from tests.ingest.reading import FoundFrame, frames_of, joined, packets_of, seconds_of

BOTH: Sequence[Container] = ("ts", "fmp4")
TICK = Fraction(1, 1000)  # the coarsest time base among the sources, Matroska's


@dataclass(frozen=True)
class Stored:
    """One written segment: its plan, its initialisation segment, its own bytes."""

    plan: SegmentPlan
    initialisation: bytes
    body: bytes

    @property
    def content(self) -> bytes:
        return self.initialisation + self.body


@dataclass(frozen=True)
class Track:
    """All segments of one stream."""

    plan: StreamPlan
    segments: list[Stored]

    @property
    def whole(self) -> bytes:
        return self.segments[0].initialisation + joined([s.body for s in self.segments])

    def frames(self) -> list[FoundFrame]:
        """The decoded frames of all segments, on the flow's timeline."""
        offset = seconds_of(self.segments[0].plan.ts_offset_ns)
        return [FoundFrame(f.pts + offset, f.content) for f in frames_of(self.whole)]


def split(
    path: Path,
    container: Container,
    folder: Path,
    duration: Fraction = Fraction(1),
    start_ns: int = 0,
) -> list[Track]:
    folder.mkdir(exist_ok=True)
    plans = plan_media(scan_file(path, container), container, duration, start_ns)
    tracks = {plan.scan.index: Track(plan, []) for plan in plans}
    for plan, segment, file in write_segments(path, plans, container, folder, lambda *_: True):
        body = file.path.read_bytes()[file.offset :]
        assert len(body) == file.size
        tracks[plan.scan.index].segments.append(Stored(segment, file.initialisation, body))
        file.path.unlink()
    return list(tracks.values())


def assert_stored_as_registered(track: Track) -> None:
    """Every object, on its own, has the times that its registration says."""
    for segment in track.segments:
        packets = packets_of(segment.content)
        plan = segment.plan
        assert len(packets) == plan.stop - plan.first
        whole, span = plan.object_timerange, plan.timerange
        first = min(packet.pts for packet in packets)
        assert round_half_up(first * NS) == whole.start_ns
        assert whole.start_ns <= span.start_ns - plan.ts_offset_ns
        assert span.end_ns - plan.ts_offset_ns <= whole.end_ns
        if track.plan.scan.is_video:
            assert packets[0].key
            assert plan.key_frame_count == sum(packet.key for packet in packets)
            assert plan.sample_count == len(packets)
            last = round_half_up(max(packet.pts for packet in packets) * NS)
            assert span.end_ns - plan.last_duration_ns == last + plan.ts_offset_ns


def assert_abut(track: Track) -> None:
    spans = [segment.plan.timerange for segment in track.segments]
    for before, after in itertools.pairwise(spans):
        assert before.end_ns == after.start_ns
    assert [s.plan.first for s in track.segments[1:]] == [s.plan.stop for s in track.segments[:-1]]


FILES = [
    *("b-frames.mp4", "ntsc.mp4", "film.ts", "open-gop.ts", "variable.mp4", "variable.mkv"),
    *("matroska.mkv", "hevc.mp4", "mpeg2.ts", "sound.wav", "sound.m4a"),
]


# MPEG-TS cannot carry PCM; the refusal is tested below.
PAIRS = [(name, kind) for name in FILES for kind in BOTH if (name, kind) != ("sound.wav", "ts")]


@pytest.mark.parametrize(("name", "container"), PAIRS)
def test_segments_hold_exactly_the_frames_of_the_file(
    name: str, container: Container, media: Callable[[str], Path], tmp_path: Path
) -> None:
    path = media(name)
    for track in split(path, container, tmp_path / "segments"):
        assert_stored_as_registered(track)
        assert_abut(track)
        assert len({segment.initialisation for segment in track.segments}) == 1
        assert bool(track.segments[0].initialisation) == (container == "fmp4")
        original, stored = frames_of(path, track.plan.scan.index), track.frames()
        # Encoder delay is cut when the whole file is decoded, and kept in the stored object.
        run_in = len(stored) - len(original)
        assert run_in == (1 if track.plan.scan.preroll >= 1024 else 0)
        assert [f.pts for f in stored] == sorted(f.pts for f in stored)
        origin = seconds_of(track.segments[0].plan.timerange.start_ns)
        shown = stored[run_in:]
        # A part of the first frame may be run-in as well; the second begins where it does.
        for ours, theirs in zip(shown[1:], original[1:], strict=True):
            moved = (ours.pts - shown[1].pts) - (theirs.pts - original[1].pts)
            assert abs(moved) <= Fraction(1, 44_100)
        cut = track.plan.scan.preroll % 1024
        assert abs(shown[0].pts + Fraction(cut, 48_000) - origin) <= TICK
        if track.plan.scan.is_video:
            assert [f.content for f in shown] == [f.content for f in original]


def test_video_lies_on_the_frame_grid_from_the_start(
    media: Callable[[str], Path], tmp_path: Path
) -> None:
    start_ns = 3_600 * NS
    [video, _] = split(media("ntsc.mp4"), "ts", tmp_path / "s", start_ns=start_ns)
    period = Fraction(1001, 30_000)
    expected = [start_ns + nanoseconds(n, period) for n in range(150)]
    assert [round_half_up(frame.pts * NS) for frame in video.frames()] == expected
    assert [s.plan.timerange for s in video.segments] == [
        TimeRange.between(start_ns + n * 1_001_000_000, start_ns + (n + 1) * 1_001_000_000)
        for n in range(5)
    ]
    assert {s.plan.last_duration_ns for s in video.segments} == {33_366_667}


def test_audio_is_cut_at_the_first_packet_at_or_after_the_video_cut(
    media: Callable[[str], Path], tmp_path: Path
) -> None:
    [video, audio] = split(media("b-frames.mp4"), "ts", tmp_path / "s")
    cuts = [s.plan.timerange.start_ns for s in video.segments[1:]]
    begins = [s.plan.timerange.start_ns for s in audio.segments[1:]]
    frame = nanoseconds(1024, Fraction(1, 48_000))
    assert cuts == [NS, 2 * NS, 3 * NS]
    assert all(0 <= begin - cut < frame for begin, cut in zip(begins, cuts, strict=True))
    assert [s.plan.sample_count for s in audio.segments] == [47 * 1024, 47 * 1024, 47 * 1024, 47616]
    assert {s.plan.last_duration_ns for s in audio.segments} == {20_833}
    assert audio.segments[0].plan.timerange.start_ns == 0
    # The encoder's run-in is in the object, before the segment begins.
    first = audio.segments[0].plan
    assert first.object_timerange.start_ns + first.ts_offset_ns == -nanoseconds(
        1024, Fraction(1, 48_000)
    )


def test_sound_alone_is_cut_by_duration_without_drift(
    media: Callable[[str], Path], tmp_path: Path
) -> None:
    [track] = split(media("sound.wav"), "fmp4", tmp_path / "s", duration=Fraction(1, 2))
    begins = [s.plan.timerange.start_ns for s in track.segments]
    frame = nanoseconds(4096, Fraction(1, 48_000))  # one packet of a WAV file
    assert len(begins) == 8
    assert all(0 <= begin - n * NS // 2 < frame for n, begin in enumerate(begins))
    assert sum(s.plan.sample_count or 0 for s in track.segments) == 4 * 48_000
    assert track.segments[-1].plan.timerange.end_ns == 4 * NS


def test_the_cut_is_the_key_frame_nearest_to_the_target(
    media: Callable[[str], Path], tmp_path: Path
) -> None:
    lengths = {}
    for target in (Fraction(1, 2), Fraction(7, 5), Fraction(8, 5), Fraction(100)):
        [video, _] = split(media("b-frames.mp4"), "ts", tmp_path / f"s{target.numerator}", target)
        lengths[target] = [s.plan.stop - s.plan.first for s in video.segments]
    assert lengths == {
        Fraction(1, 2): [25, 25, 25, 25],
        Fraction(7, 5): [25, 25, 25, 25],
        Fraction(8, 5): [50, 50],
        Fraction(100): [100],
    }


def test_open_groups_are_not_cut_while_closed_ones_come_often_enough(
    media: Callable[[str], Path], tmp_path: Path
) -> None:
    [video, _] = split(media("open-gop.ts"), "ts", tmp_path / "s", Fraction(3, 2))
    keys = sum(packet.key for packet in packets_of(media("open-gop.ts")))
    assert keys == 6
    assert [s.plan.stop - s.plan.first for s in video.segments] == [54, 54, 54]
    for segment in video.segments:
        packets = packets_of(segment.content)
        assert packets[0].pts == min(packet.pts for packet in packets)


def test_a_stream_of_open_groups_keeps_every_picture(tmp_path: Path) -> None:
    recipe = Recipe(
        video="libx265",
        audio=None,
        codec_options={
            "preset": "medium",
            "x265-params": "log-level=none:open-gop=1:keyint=25:min-keyint=25:scenecut=0:bframes=3",
        },
    )
    path = make(tmp_path / "open.ts", recipe)
    scan = scan_file(path, "ts").streams[0]
    keys = [p for p in range(len(scan.packets)) if scan.packets.is_key(p)]
    assert len(keys) == 4
    [video] = split(path, "ts", tmp_path / "s")
    assert_abut(video)
    assert [f.content for f in video.frames()] == [f.content for f in frames_of(path)]


def test_pictures_before_an_edit_list_are_kept_but_not_presented(
    media: Callable[[str], Path], tmp_path: Path
) -> None:
    path = shift(media("b-frames.mp4"), tmp_path / "edited.mp4", Fraction(-12, 25))
    shown = frames_of(path)
    [video, audio] = split(path, "ts", tmp_path / "s")
    first = video.segments[0].plan
    assert first.timerange == TimeRange.between(0, 520_000_000)
    hidden_ns = first.timerange.start_ns - (first.object_timerange.start_ns + first.ts_offset_ns)
    assert hidden_ns > 0
    assert first.sample_count == 13
    assert sum(s.plan.sample_count or 0 for s in video.segments) == len(shown)
    on_timeline = [f for f in video.frames() if f.pts >= 0]
    assert [f.content for f in on_timeline] == [f.content for f in shown]
    assert_abut(video)
    assert_abut(audio)


def test_media_that_begins_before_zero_is_stored_after_zero(
    media: Callable[[str], Path], tmp_path: Path
) -> None:
    for container in BOTH:
        for track in split(media("b-frames.mp4"), container, tmp_path / container):
            for segment in track.segments:
                assert min(packet.dts for packet in packets_of(segment.content)) >= 0


def test_files_longer_than_the_counter_of_mpeg_ts_go_on(tmp_path: Path) -> None:
    # Three pictures a second for 28 hours would take long: pictures 1,000 seconds apart do as well.
    pts = [n * 1_000_000 for n in range(101)]
    path = make(tmp_path / "long.mkv", Recipe(pts=pts, gop=1, b_frames=0, audio=None))
    [video] = split(path, "ts", tmp_path / "s", duration=Fraction(1000))
    offsets = [s.plan.ts_offset_ns for s in video.segments]
    assert set(offsets) == {-NS, 89_999 * NS}
    assert_stored_as_registered(video)
    found = []
    for segment in video.segments:
        for packet in packets_of(segment.content):
            assert 0 <= packet.pts < Fraction(2**33, 90_000)
            found.append(packet.pts + seconds_of(segment.plan.ts_offset_ns))
    assert found == [1000 * number for number in range(101)]
    assert_abut(video)


def test_a_gap_in_a_stream_of_fixed_rate_stays_visible(tmp_path: Path) -> None:
    steady = [n * 40 for n in range(200) if not 75 <= n < 100]
    path = make(tmp_path / "gap.mkv", Recipe(pts=steady, gop=25, b_frames=0, audio=None))
    plans = plan_media(scan_file(path, "ts"), "ts", Fraction(1), 0)
    spans = [segment.timerange for segment in plans[0].segments]
    assert TimeRange.between(2 * NS, 3 * NS) in spans
    assert not any(s.start_ns < 4 * NS and s.end_ns > 3 * NS for s in spans)
    assert spans[-1].end_ns == 8 * NS


@pytest.mark.parametrize(
    ("name", "container", "reason"),
    [
        (
            "sound.wav",
            "ts",
            "pcm_s16le audio cannot be stored in MPEG-TS (--container fmp4 can carry it)",
        ),
        ("vp8.mkv", "fmp4", "vp8 video cannot be stored in fragmented MP4"),
    ],
)
def test_a_codec_that_the_container_cannot_carry_is_refused(
    name: str, container: Container, reason: str, media: Callable[[str], Path], tmp_path: Path
) -> None:
    if name == "vp8.mkv":
        path = make(tmp_path / name, Recipe(video="libvpx", audio=None, b_frames=0, pictures=5))
    else:
        path = media(name)
    with pytest.raises(UnusableMedia) as caught:
        scan_file(path, container)
    assert caught.value.message == f"{path}: {reason}"


def test_many_channels_without_names_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "many.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(12)
        file.setsampwidth(2)
        file.setframerate(48_000)
        file.writeframes(bytes(24 * 4_800))
    with pytest.raises(UnusableMedia, match="does not say what its 12 audio channels are"):
        scan_file(path, "fmp4")
