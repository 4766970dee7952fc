"""The demo programme and the demo's live channel."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from tams_gql.ingest.api import Catalog
from tams_gql.ingest.bitmap_font import text_mask
from tams_gql.ingest.demo import play_demo, store_programme
from tams_gql.ingest.generate import GOP, generate_programme, timecode
from tams_gql.ingest.options import IngestOptions
from tams_gql.ingest.picture import Canvas, half_size
from tams_gql.ingest.tone import SAMPLE_RATE, sound_at
from tams_gql.model.time import NS, TimeRange
from tests.ingest.catalog_server import FakeCatalog
from tests.ingest.reading import frames_of, packets_of, stream_kinds
from tests.ingest.test_files import Record
from tests.ingest.test_live import NOON, JumpingClock


def test_the_programme_is_stored_once_and_the_channel_goes_on(
    fake: FakeCatalog, catalog: Catalog
) -> None:
    record = Record()
    play_demo(catalog, IngestOptions(), record, JumpingClock(NOON * NS, (NOON + 3) * NS))
    video, proxy, audio, multi = list(fake.flows.values())[:4]

    assert [flow["label"] for flow in (video, proxy, audio, multi)] == [
        "Demo programme (video)",
        "Demo programme (proxy)",
        "Demo programme (audio)",
        "Demo programme",
    ]
    assert video["sourceId"] == proxy["sourceId"] != audio["sourceId"]
    assert [flow["generation"] for flow in (video, proxy, audio)] == [0, 1, 0]
    assert [member["role"] for member in multi["collection"]] == ["video", "proxy", "audio"]
    tags = {tag["name"]: tag["values"] for tag in video["tags"]}
    assert tags["demo"] == ["true"]
    assert tags["genre"] == ["test card"]
    for flow, size in ((video, (640, 360)), (proxy, (320, 180))):
        essence = flow["essenceParameters"]
        assert (essence["frameWidth"], essence["frameHeight"]) == size
        assert essence["colorspace"] == "BT709"
        found = [TimeRange.parse(s["timerange"]) for s in fake.segments(flow["id"])]
        assert found == [TimeRange.between(2 * n * NS, (2 * n + 2) * NS) for n in range(30)]
        assert len(frames_of(fake.content(fake.segments(flow["id"])[7]))) == GOP
    assert proxy["avgBitRate"] < video["avgBitRate"]
    assert TimeRange.parse(fake.segments(audio["id"])[-1]["timerange"]).end_ns == 60 * NS
    assert record.begun == [("Demo programme", 90), ("Demo live channel", None)]
    live = list(fake.flows.values())[4:]
    assert [flow["label"] for flow in live] == [
        "Demo live channel (video)",
        "Demo live channel (audio)",
        "Demo live channel",
    ]

    uploads = fake.uploads
    assert store_programme(catalog, IngestOptions(), record) is None
    assert fake.uploads == uploads
    play_demo(catalog, IngestOptions(), record, JumpingClock((NOON + 8) * NS, (NOON + 11) * NS))
    assert record.notes == ["Demo programme: already stored"]
    assert [s["timerange"] for s in fake.segments(live[0]["id"])] == [
        TimeRange.between((NOON + n) * NS, (NOON + n + 2) * NS).text for n in (0, 8)
    ]


def test_the_generated_file_is_the_same_every_time(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        generate_programme(tmp_path / name, seconds=4)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    assert stream_kinds(tmp_path / "a.mp4") == ["video", "video", "audio"]
    packets = packets_of(tmp_path / "a.mp4")
    assert [n for n, packet in enumerate(packets) if packet.key] == [0, GOP]
    assert all(packet.pts == packet.dts for packet in packets)
    assert packets[-1].end == Fraction(4)


def test_timecodes() -> None:
    assert timecode(0) == "00:00:00:00"
    assert timecode(25 * 3_661 + 24) == "01:01:01:24"


def test_pictures_move_and_tell_the_time() -> None:
    canvas = Canvas(640, 360, "TITLE")
    first, again = canvas.draw("00:00:00:00", 0.0), canvas.draw("00:00:00:00", 0.0)
    assert first.shape == (540, 640)
    assert (first == again).all()
    assert not (first == canvas.draw("00:00:00:01", 0.0)).all()
    assert not (first == canvas.draw("00:00:00:00", 0.5)).all()
    assert first.min() >= 16
    assert first.max() <= 240
    small = half_size(first, 640, 360)
    assert small.shape == (270, 320)
    assert (small[:180] == first[:360:2, ::2]).all()


def test_text_is_drawn_from_bitmaps() -> None:
    one = text_mask("1", 1).astype(int).tolist()
    assert ["".join(map(str, row)) for row in one] == [
        *("001000", "011000", "001000", "001000", "001000", "001000", "011100")
    ]
    assert text_mask("12:30", 3).shape == (21, 90)
    assert not text_mask("é", 1).any()


def test_seconds_of_sound_join() -> None:
    whole = sound_at(0, 3 * SAMPLE_RATE)
    assert whole.shape == (2, 3 * SAMPLE_RATE)
    assert (whole[:, :SAMPLE_RATE] == whole[:, SAMPLE_RATE : 2 * SAMPLE_RATE]).all()
    assert abs(whole).max() < 0.3
    assert (sound_at(SAMPLE_RATE - 10, 20) == whole[:, SAMPLE_RATE - 10 : SAMPLE_RATE + 10]).all()
