"""What streams are said to be."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
from av.codec.context import CodecContext

from tams_gql.ingest import probe
from tams_gql.ingest.essence import AudioEssence, Essence, VideoEssence
from tams_gql.ingest.packet_index import PacketIndex
from tams_gql.ingest.scan import scan_file
from tests.ingest.media_maker import Recipe, make


def essences(path: Path) -> list[Essence]:
    return [stream.essence for stream in scan_file(path, None).streams]


def test_variable_rate_is_said_instead_of_a_rate(media: Callable[[str], Path]) -> None:
    video = essences(media("variable.mp4"))[0]
    assert isinstance(video, VideoEssence)
    described = video.to_input(init_segments=False)
    assert described["vfr"] is True
    assert "frameRate" not in described


@pytest.mark.parametrize("name", ["ntsc.mp4", "matroska.mkv"])
def test_fractional_rates_are_exact(name: str, media: Callable[[str], Path]) -> None:
    video = essences(media(name))[0]
    assert isinstance(video, VideoEssence)
    assert video.frame_rate == Fraction(30_000, 1_001)
    assert "vfr" not in video.to_input(init_segments=False)


def test_adts_tells_the_object_type(media: Callable[[str], Path]) -> None:
    audio = essences(media("film.ts"))[1]
    assert audio == AudioEssence("audio/aac", 44_100, 2, coded_frame_size=1024, mp4_oti=2)


@pytest.mark.parametrize(
    ("codec", "suffix", "expected"),
    [
        (
            "pcm_s24le",
            "wav",
            AudioEssence("audio/x-raw-int", 48_000, 2, bit_depth=24, unc_type="INTERLEAVED"),
        ),
        (
            "pcm_f32le",
            "wav",
            AudioEssence("audio/x-raw-float", 48_000, 2, bit_depth=32, unc_type="INTERLEAVED"),
        ),
        ("libmp3lame", "mp3", AudioEssence("audio/mpeg", 48_000, 2, coded_frame_size=1152)),
        ("ac3", "ac3", AudioEssence("audio/ac3", 48_000, 2, coded_frame_size=1536)),
        ("libopus", "ogg", AudioEssence("audio/opus", 48_000, 2)),
        ("flac", "flac", AudioEssence("audio/flac", 48_000, 2)),
    ],
)
def test_audio_codecs(codec: str, suffix: str, expected: AudioEssence, tmp_path: Path) -> None:
    path = make(tmp_path / f"x.{suffix}", Recipe(video=None, audio=codec, pictures=25))
    assert essences(path) == [expected]


def test_colour_depth_and_sampling() -> None:
    context = CodecContext.create("hevc", "r")
    context.width, context.height, context.pix_fmt = 3840, 2160, "yuv422p10le"
    context.colorspace, context.color_trc, context.field_order = 9, 18, 2
    assert probe._colour(context) == ("BT2100", "HLG")
    assert probe._sampling(context) == (10, 2, 1)
    context.color_trc, context.pix_fmt = 14, "gbrp"
    assert probe._colour(context) == ("BT2020", "SDR")
    assert probe._sampling(context) == (8, None, None)


@pytest.mark.parametrize(
    ("fields", "mode"), [("tff=1", "INTERLACED_TFF"), ("bff=1", "INTERLACED_BFF")]
)
@pytest.mark.parametrize("suffix", ["ts", "mp4"])
def test_interlaced_video(fields: str, mode: str, suffix: str, tmp_path: Path) -> None:
    recipe = Recipe(audio=None, pictures=25, codec_options={"x264-params": fields})
    [video] = essences(make(tmp_path / f"i.{suffix}", recipe))
    assert isinstance(video, VideoEssence)
    assert video.interlace_mode == mode
    assert video.frame_rate == 25


def test_decoding_times_that_are_missing_are_filled_in() -> None:
    packets = PacketIndex()
    for pts, dts in ((0, None), (120, None), (40, 0), (80, 40)):
        packets.append(pts, dts, 40, 1, 0)
    assert packets.settle_dts(40) is None
    assert list(packets.dts) == [-80, -40, 0, 40]
    packets.append(120, 30, 40, 1, 0)
    assert packets.settle_dts(40) == 4
