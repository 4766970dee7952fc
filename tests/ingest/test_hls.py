"""Ingesting HLS: byte for byte, on one exact timeline, live lists included."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import pytest

from tams_gql.ingest import hls
from tams_gql.ingest.api import Catalog
from tams_gql.ingest.errors import UnusableMedia
from tams_gql.ingest.files import Outcome
from tams_gql.ingest.hls import ingest_hls
from tams_gql.ingest.media_input import open_media
from tams_gql.ingest.mux import SegmentWriter
from tams_gql.ingest.options import IngestOptions
from tams_gql.ingest.ticks import TS_TIME_BASE
from tams_gql.ingest.transport import Transport
from tams_gql.model.errors import BadInput
from tams_gql.model.time import NS, TimeRange, parse_timestamp
from tests.ingest.catalog_server import FakeCatalog, fail_nth
from tests.ingest.conftest import QUICK
from tests.ingest.media_maker import Recipe, make, make_hls
from tests.ingest.reading import frames_of, joined, packets_of
from tests.ingest.test_files import Record
from tests.ingest.web_server import Web, serving

FRAGMENTS = {"hls_segment_type": "fmp4"}
OPTIONS = IngestOptions()


def run(fake: FakeCatalog, source: str | Path, options: IngestOptions = OPTIONS) -> Outcome:
    with Transport(fake.url, retry=QUICK) as transport:
        return ingest_hls(Catalog(transport), str(source), options, Record())


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    folder = tmp_path / "www"
    folder.mkdir()
    with serving(folder) as found:
        yield found


def carrier(fake: FakeCatalog) -> str:
    """The flow that holds segments; the test expects one."""
    [flow_id] = [flow_id for flow_id in fake.flows if fake.segments(flow_id)]
    return flow_id


def spans(fake: FakeCatalog, flow_id: str) -> list[TimeRange]:
    return [TimeRange.parse(segment["timerange"]) for segment in fake.segments(flow_id)]


def playlist(*lines: str, target: str = "1", end: bool = True) -> str:
    head = ["#EXTM3U", "#EXT-X-VERSION:7", f"#EXT-X-TARGETDURATION:{target}"]
    return "\n".join([*head, *lines, *(["#EXT-X-ENDLIST"] if end else [])]) + "\n"


def assert_times_match(fake: FakeCatalog, flow_id: str) -> None:
    """The stored times of the first stream, moved by tsOffset, are the registered ones."""
    for segment in fake.segments(flow_id):
        offset = parse_timestamp(segment["tsOffset"])
        first = min(packet.pts for packet in packets_of(fake.content(segment)))
        span = TimeRange.parse(segment["timerange"])
        assert abs(first * NS + offset - span.start_ns) < 1


def test_muxed_transport_stream_segments_are_kept_as_they_are(
    fake: FakeCatalog, media: Callable[[str], Path], tmp_path: Path
) -> None:
    index = make_hls(media("ntsc.mp4"), tmp_path / "talk show")
    outcome = run(fake, index)
    [video], [audio], [multi] = (fake.of_kind(kind) for kind in ("video", "audio", "multi"))
    assert outcome == Outcome(5, 0, [video["id"], audio["id"], multi["id"]])
    files = sorted(index.parent.glob("*.ts"))
    stored = [fake.content(segment) for segment in fake.segments(multi["id"])]
    assert stored == [file.read_bytes() for file in files]
    assert multi["container"] == "video/mp2t"
    assert "container" not in video
    assert "container" not in audio
    assert multi["collection"] == [
        {
            "flowId": video["id"],
            "role": "video",
            "containerMapping": {
                "trackIndex": 0,
                "formatTrackIndex": 0,
                "mp2tsContainer": {"pid": 256},
            },
        },
        {
            "flowId": audio["id"],
            "role": "audio",
            "containerMapping": {
                "trackIndex": 1,
                "formatTrackIndex": 0,
                "mp2tsContainer": {"pid": 257},
            },
        },
    ]
    assert multi["label"] == "talk show"
    assert multi["segmentDuration"] == {"numerator": 1, "denominator": 1}
    assert spans(fake, multi["id"]) == [
        TimeRange.between(n * 1_001_000_000, (n + 1) * 1_001_000_000) for n in range(5)
    ]
    assert_times_match(fake, multi["id"])
    assert {flow["status"] for flow in fake.flows.values()} == {"CLOSED_COMPLETE"}
    sizes = [len(content) for content in stored]
    assert multi["avgBitRate"] == sum(sizes) * 8 * 1000 // 5_005_000


def test_fragments_refer_to_one_initialisation_segment(
    fake: FakeCatalog, media: Callable[[str], Path], tmp_path: Path
) -> None:
    index = make_hls(media("b-frames.mp4"), tmp_path / "h", FRAGMENTS, "video")
    outcome = run(fake, index)
    [video] = fake.flows.values()
    assert outcome == Outcome(4, 0, [video["id"]])
    assert video["container"] == "video/iso.segment"
    assert video["essenceParameters"]["initSegments"] is True
    segments = fake.segments(video["id"])
    [init] = {segment["initObjectId"] for segment in segments}
    assert fake.contents[init] == (index.parent / "init.mp4").read_bytes()
    bodies = [fake.contents[segment["objectId"]] for segment in segments]
    assert bodies == [f.read_bytes() for f in sorted(index.parent.glob("*.m4s"))]
    whole = fake.contents[init] + joined(bodies)
    original = frames_of(media("b-frames.mp4"))
    assert [f.content for f in frames_of(whole)] == [f.content for f in original]
    assert spans(fake, video["id"]) == [TimeRange.between(n * NS, (n + 1) * NS) for n in range(4)]
    assert [segment["sampleCount"] for segment in segments] == [25, 25, 25, 25]
    assert_times_match(fake, video["id"])


@pytest.mark.parametrize("ranges", [True, False])
def test_byte_ranges_over_http(
    ranges: bool, fake: FakeCatalog, web: Web, media: Callable[[str], Path]
) -> None:
    index = make_hls(media("b-frames.mp4"), web.folder / "h", {"hls_flags": "single_file"}, "video")
    web.ranges = ranges
    run(fake, f"{web.url}/h/index.m3u8")
    segments = fake.segments(carrier(fake))
    assert len(segments) == 4
    whole = joined([fake.content(segment) for segment in segments])
    assert whole == (index.parent / "index.ts").read_bytes()


def test_a_second_run_stores_nothing(
    fake: FakeCatalog, media: Callable[[str], Path], tmp_path: Path
) -> None:
    index = make_hls(media("b-frames.mp4"), tmp_path / "h", FRAGMENTS)
    first = run(fake, index)
    uploads, before = fake.uploads, fake.segments(first.flow_ids[-1])
    assert run(fake, index) == Outcome(0, 4, first.flow_ids)
    assert (fake.uploads, fake.segments(first.flow_ids[-1])) == (uploads, before)


@pytest.mark.parametrize("deleted", [[0], [2], [4], [0, 1, 3]])
def test_segments_deleted_meanwhile_are_stored_again(
    deleted: list[int], fake: FakeCatalog, media: Callable[[str], Path], tmp_path: Path
) -> None:
    index = make_hls(media("ntsc.mp4"), tmp_path / "h", kind="video")
    run(fake, index)
    flow_id = carrier(fake)
    before = spans(fake, flow_id)
    fake.stored[flow_id] = [s for n, s in enumerate(fake.stored[flow_id]) if n not in deleted]
    assert run(fake, index).stored == len(deleted)
    assert spans(fake, flow_id) == before


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_an_interrupted_run_is_completed_by_the_next(
    number: int, fake: FakeCatalog, media: Callable[[str], Path], tmp_path: Path
) -> None:
    index = make_hls(media("ntsc.mp4"), tmp_path / "h", kind="video")
    fake.fail = fail_nth("PUT", number, status=400)
    with pytest.raises(BadInput):
        run(fake, index, IngestOptions(concurrency=1))
    fake.fail = lambda _: None
    outcome = run(fake, index)
    assert outcome.stored + outcome.known == 5
    assert spans(fake, carrier(fake)) == [
        TimeRange.between(n * 1_001_000_000, (n + 1) * 1_001_000_000) for n in range(5)
    ]


def test_the_best_variant_with_its_audio(
    fake: FakeCatalog, web: Web, media: Callable[[str], Path]
) -> None:
    for name, kind in (("v", "video"), ("a", "audio")):
        make_hls(media("b-frames.mp4"), web.folder / name, FRAGMENTS, kind)
    (web.folder / "master.m3u8").write_text(
        "#EXTM3U\n"
        '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="x",DEFAULT=YES,URI="a/index.m3u8"\n'
        '#EXT-X-STREAM-INF:BANDWIDTH=1,RESOLUTION=2x2,AUDIO="a"\nmissing.m3u8\n'
        '#EXT-X-STREAM-INF:BANDWIDTH=2,RESOLUTION=128x72,AUDIO="a"\nv/index.m3u8\n'
    )
    outcome = run(fake, f"{web.url}/master.m3u8", IngestOptions(label="Show", start_ns=5 * NS))
    [video], [audio], [multi] = (fake.of_kind(kind) for kind in ("video", "audio", "multi"))
    listed = [(web.folder / name / "index.m3u8").read_text().count("#EXTINF") for name in "va"]
    assert outcome.stored == sum(listed)
    assert [(flow["label"], flow.get("container")) for flow in (video, audio, multi)] == [
        ("Show (video)", "video/iso.segment"),
        ("Show (audio)", "video/iso.segment"),
        ("Show", None),
    ]
    assert multi["collection"] == [
        {"flowId": video["id"], "role": "video"},
        {"flowId": audio["id"], "role": "audio"},
    ]
    assert spans(fake, video["id"])[0].start_ns == 5 * NS
    # Both keep the distance that their timestamps have.
    apart = packets_of(fake.content(fake.segments(audio["id"])[0]))[0].pts
    apart -= min(p.pts for p in packets_of(fake.content(fake.segments(video["id"])[0])))
    begun = spans(fake, audio["id"])[0].start_ns - 5 * NS
    assert abs(begun - apart * NS) <= 1 + Fraction(1024 * NS, 48_000)
    assert_times_match(fake, video["id"])


def test_a_discontinuity_goes_on_where_the_segment_before_ended(
    fake: FakeCatalog, media: Callable[[str], Path], tmp_path: Path
) -> None:
    for name in ("a", "b"):
        make_hls(media("ntsc.mp4"), tmp_path / name, kind="video")
    listed = ["#EXTINF:1.001,\na/index2.ts", "#EXTINF:1.001,\na/index3.ts"]
    again = ["#EXT-X-DISCONTINUITY", "#EXTINF:1.001,\nb/index0.ts", "#EXTINF:1.001,\nb/index1.ts"]
    index = tmp_path / "both.m3u8"
    index.write_text(playlist(*listed, *again))
    run(fake, index)
    flow_id = carrier(fake)
    assert spans(fake, flow_id) == [
        TimeRange.between(n * 1_001_000_000, (n + 1) * 1_001_000_000) for n in range(4)
    ]
    assert len({segment["tsOffset"] for segment in fake.segments(flow_id)}) == 2
    assert_times_match(fake, flow_id)


def test_a_gap_between_segments_is_kept(
    fake: FakeCatalog, media: Callable[[str], Path], tmp_path: Path
) -> None:
    make_hls(media("b-frames.mp4"), tmp_path / "h", kind="video")
    index = tmp_path / "h" / "gap.m3u8"
    index.write_text(
        playlist(
            *("#EXTINF:1,\nindex0.ts", "#EXT-X-GAP", "#EXTINF:1,\nlost.ts", "#EXTINF:1,\nindex2.ts")
        )
    )
    assert run(fake, index).stored == 2
    assert spans(fake, carrier(fake)) == [
        TimeRange.between(0, NS),
        TimeRange.between(2 * NS, 3 * NS),
    ]


def test_the_counter_of_mpeg_ts_may_go_round(
    fake: FakeCatalog, media: Callable[[str], Path], tmp_path: Path
) -> None:
    # Half-way through the second of three segments the stored times start again from zero.
    source = media("b-frames.mp4")
    start = 2**33 - 90_000 - 45_000
    with open_media(str(source), source) as reader:
        stream = reader.streams.video[0]
        packets = [packet for packet in reader.demux(*[stream]) if packet.size][:75]
        for part in range(3):
            path = tmp_path / f"{part}.ts"
            writer = SegmentWriter(path, "ts", stream, TS_TIME_BASE)
            for packet in packets[part * 25 : part * 25 + 25]:
                assert packet.pts is not None
                assert packet.dts is not None
                pts, dts = (int(t * packet.time_base * 90_000) for t in (packet.pts, packet.dts))
                writer.write(packet, start + pts, start + dts, 3_600)
            writer.close()
    index = tmp_path / "wrap.m3u8"
    index.write_text(playlist(*(f"#EXTINF:1,\n{part}.ts" for part in range(3))))
    run(fake, index)
    segments = fake.segments(carrier(fake))
    assert spans(fake, carrier(fake)) == [TimeRange.between(n * NS, (n + 1) * NS) for n in range(3)]
    for number, segment in enumerate(segments):
        stored = (start + number * 90_000) % 2**33
        expected = number * NS - Fraction(stored * NS, 90_000)
        assert abs(parse_timestamp(segment["tsOffset"]) - expected) <= 1
        assert TimeRange.parse(segment["objectTimerange"]).start_ns >= 0


class _Live:
    """A live playlist that shows one more segment at each request, three at most."""

    def __init__(self, count: int, name: str = "index{}.ts", step: int = 1) -> None:
        self.count, self.name, self.step, self.asked = count, name, step, 0

    def __call__(self) -> str:
        self.asked += 1
        newest = min(self.count, 1 + self.asked // self.step)
        oldest = max(0, newest - 3)
        listed = [f"#EXTINF:1,\n{self.name.format(n)}" for n in range(oldest, newest)]
        head = f"#EXT-X-MEDIA-SEQUENCE:{oldest}"
        ended = newest == self.count and self.asked > self.count * self.step
        return playlist(head, *listed, target="0.05", end=ended)


def test_a_live_playlist_is_followed_to_its_end(
    fake: FakeCatalog, web: Web, media: Callable[[str], Path]
) -> None:
    make_hls(media("ntsc.mp4"), web.folder / "h", kind="video")
    web.pages["/h/live.m3u8"] = _Live(5)
    outcome = run(fake, f"{web.url}/h/live.m3u8")
    assert outcome.stored == 5
    assert spans(fake, carrier(fake)) == [
        TimeRange.between(n * 1_001_000_000, (n + 1) * 1_001_000_000) for n in range(5)
    ]
    assert fake.flows[carrier(fake)]["status"] == "CLOSED_COMPLETE"


def test_addresses_are_relative_to_where_redirects_lead(
    fake: FakeCatalog, web: Web, media: Callable[[str], Path]
) -> None:
    make_hls(media("ntsc.mp4"), web.folder / "cdn" / "h", kind="video")
    web.pages["/cdn/main.m3u8"] = lambda: "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nh/index.m3u8\n"
    web.moved = {"/watch": "/cdn/main.m3u8", "/circle": "/circle"}
    first = run(fake, f"{web.url}/watch")
    assert first.stored == 5
    # What identifies the input is the address that was asked for.
    assert run(fake, f"{web.url}/watch") == Outcome(0, 5, first.flow_ids)
    with pytest.raises(BadInput, match="redirects in a circle"):
        run(fake, f"{web.url}/circle")


@pytest.mark.parametrize("segment", ["http://[bad/a.ts", "http://h:99999/a.ts", "ftp://h/a.ts"])
def test_a_segment_at_an_address_that_cannot_be_is_one_error(
    segment: str, fake: FakeCatalog, web: Web
) -> None:
    web.pages["/live.m3u8"] = lambda: playlist(f"#EXTINF:1,\n{segment}")
    with pytest.raises(BadInput, match=r"is not an http\(s\) address|is malformed"):
        run(fake, f"{web.url}/live.m3u8")


def test_a_download_that_hangs_does_not_hold_up_an_error(
    fake: FakeCatalog, web: Web, media: Callable[[str], Path]
) -> None:
    make_hls(media("ntsc.mp4"), web.folder / "h", kind="video")
    (web.folder / "h" / "index1.ts").write_bytes(b"no media")
    answered = threading.Event()

    def hang() -> str:
        answered.wait(60)
        return ""

    web.pages["/h/index2.ts"] = hang
    begun = time.monotonic()
    with pytest.raises(UnusableMedia, match=r"index1.ts: "):
        run(fake, f"{web.url}/h/index.m3u8")
    answered.set()
    assert time.monotonic() - begun < 30


def test_a_live_playlist_without_a_duration_is_not_asked_without_a_pause() -> None:
    assert [hls._pause(Fraction(target)) for target in ("0", "0.001", "6", "1000000000000")] == [
        *(1.0, 0.05, 6.0, 60.0)
    ]


@pytest.mark.skipif(sys.platform == "darwin", reason="file names there are UTF-8")
def test_names_that_are_not_utf_8(
    fake: FakeCatalog, media: Callable[[str], Path], tmp_path: Path
) -> None:
    index = make_hls(media("ntsc.mp4"), tmp_path / "h", kind="video")
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    index.parent.rename(folder)
    outcome = run(fake, folder / "index.m3u8")
    assert outcome.stored == 5
    assert fake.flows[outcome.flow_ids[0]]["label"] == "caf\ufffd (video)"


def test_following_can_be_taken_up_again(
    fake: FakeCatalog, web: Web, media: Callable[[str], Path]
) -> None:
    make_hls(media("ntsc.mp4"), web.folder / "h", kind="video")
    live = _Live(5)
    web.pages["/h/live.m3u8"] = live
    broken = web.folder / "h" / "index2.ts"
    shutil.move(broken, web.folder / "aside")
    with pytest.raises(Exception, match="does not exist"):
        run(fake, f"{web.url}/h/live.m3u8")
    shutil.move(web.folder / "aside", broken)
    assert 1 <= len(fake.segments(carrier(fake))) <= 2
    run(fake, f"{web.url}/h/live.m3u8")
    found = spans(fake, carrier(fake))
    # What left the list in between is missing; the rest lies where it belongs.
    assert all(span.start_ns % 1_001_000_000 == 0 for span in found)
    assert found[-1].end_ns == 5_005_000_000


def test_a_playlist_that_moved_on_leaves_a_gap_of_the_right_length(
    fake: FakeCatalog, web: Web, media: Callable[[str], Path]
) -> None:
    make_hls(media("ntsc.mp4"), web.folder / "h", kind="video")
    first = ["#EXTINF:1,\nindex0.ts", "#EXTINF:1,\nindex1.ts"]
    later = ["#EXT-X-MEDIA-SEQUENCE:3", "#EXTINF:1,\nindex3.ts", "#EXTINF:1,\nindex4.ts"]
    pages = [playlist(*first), playlist(*later)]
    web.pages["/h/live.m3u8"] = lambda: pages[0]
    run(fake, f"{web.url}/h/live.m3u8")
    pages.pop(0)
    assert run(fake, f"{web.url}/h/live.m3u8").stored == 2
    assert [span.start_ns for span in spans(fake, carrier(fake))] == [
        n * 1_001_000_000 for n in (0, 1, 3, 4)
    ]


def test_a_live_rendition_waits_for_its_video(fake: FakeCatalog, web: Web, tmp_path: Path) -> None:
    source = make(tmp_path / "plain.mp4", Recipe(b_frames=0))
    for name, kind in (("v", "video"), ("a", "audio")):
        make_hls(source, web.folder / name, kind=kind)
        web.pages[f"/{name}/live.m3u8"] = _Live(4, step=2 if kind == "video" else 1)
    web.pages["/master.m3u8"] = lambda: (
        "#EXTM3U\n"
        '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="x",DEFAULT=YES,URI="a/live.m3u8"\n'
        '#EXT-X-STREAM-INF:BANDWIDTH=2,AUDIO="a"\nv/live.m3u8\n'
    )
    run(fake, f"{web.url}/master.m3u8")
    [video], [audio] = fake.of_kind("video"), fake.of_kind("audio")
    assert spans(fake, video["id"])[0].start_ns == 0
    assert abs(spans(fake, audio["id"])[0].start_ns) <= 22_000_000
    assert spans(fake, video["id"])[-1].end_ns == 4 * NS


def test_packed_audio_and_changing_codecs_are_refused(
    fake: FakeCatalog, tmp_path: Path, media: Callable[[str], Path]
) -> None:
    sound = make(tmp_path / "0.aac", Recipe(video=None, format="adts", pictures=25))
    index = tmp_path / "packed.m3u8"
    index.write_text(playlist(f"#EXTINF:1,\n{sound.name}"))
    with pytest.raises(UnusableMedia) as packed:
        run(fake, index)
    assert packed.value.message == (
        f"file://{tmp_path}/0.aac: is aac: only MPEG-TS and MP4 segments can be stored as they are"
    )
    make_hls(media("b-frames.mp4"), tmp_path / "a", kind="video")
    make_hls(media("b-frames.mp4"), tmp_path / "b", kind="audio")
    index.write_text(
        playlist(
            "#EXTINF:1,\na/index0.ts",
            *("#EXT-X-DISCONTINUITY", "#EXTINF:1,\nb/index0.ts", "#EXTINF:1,\nb/index1.ts"),
        )
    )
    with pytest.raises(
        UnusableMedia, match="holds aac in video/mp2t, the playlist began with h264"
    ):
        run(fake, index)


def test_a_playlist_from_the_network_does_not_read_local_files(
    fake: FakeCatalog, web: Web, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.ts"
    secret.write_bytes(b"private")
    web.pages["/x.m3u8"] = lambda: playlist(f"#EXTINF:1,\n{secret.as_uri()}")
    with pytest.raises(UnusableMedia, match="a playlist from the network points to a local file"):
        run(fake, f"{web.url}/x.m3u8")
    assert fake.uploads == 0
