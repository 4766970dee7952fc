"""Codecs: their media types in the catalog and the containers that can carry them.

FFmpeg's MPEG-TS muxer writes codecs that it does not know as private data without a word, so what
a container can carry is decided here. Media types are those registered with IANA where there is
one; raw audio uses the names of the TAMS flow schemas.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Container = Literal["ts", "fmp4"]

CONTAINER_TYPES: Final[dict[Container, str]] = {
    "ts": "video/mp2t",
    "fmp4": "video/iso.segment",
}
"""Media type of the segments of each container."""

CONTAINER_NAMES: Final[dict[Container, str]] = {"ts": "MPEG-TS", "fmp4": "fragmented MP4"}


USUAL_LAYOUTS: Final = dict(
    enumerate(("mono", "stereo", "2.1", "4.0", "5.0", "5.1", "6.1", "7.1"), start=1)
)
"""FFmpeg's name of the usual loudspeakers for a number of channels."""


@dataclass(frozen=True, slots=True)
class Codec:
    """One codec by FFmpeg's name: its media type and the containers that can carry it."""

    media_type: str
    containers: frozenset[Container] = frozenset()


_TS: Final[frozenset[Container]] = frozenset({"ts"})
_FMP4: Final[frozenset[Container]] = frozenset({"fmp4"})
_BOTH: Final[frozenset[Container]] = _TS | _FMP4

_VIDEO: Final = {
    "h264": Codec("video/h264", _BOTH),
    "hevc": Codec("video/h265", _BOTH),
    "mpeg1video": Codec("video/mpv", _BOTH),
    "mpeg2video": Codec("video/mpv", _BOTH),
    "mpeg4": Codec("video/mp4v-es", _FMP4),
    "av1": Codec("video/av1", _FMP4),
    "vp9": Codec("video/vp9", _FMP4),
    "vp8": Codec("video/vp8"),
    "vvc": Codec("video/h266"),
    "mjpeg": Codec("video/jpeg", _FMP4),
    "jpeg2000": Codec("video/jp2"),
    "prores": Codec("video/x-prores"),
    "dnxhd": Codec("video/x-dnxhd"),
    "ffv1": Codec("video/ffv1"),
    "dvvideo": Codec("video/dv"),
    "rawvideo": Codec("video/raw"),
}

_AUDIO: Final = {
    "aac": Codec("audio/aac", _BOTH),
    "aac_latm": Codec("audio/mp4a-latm", _TS),
    "mp1": Codec("audio/mpeg", _TS),
    "mp2": Codec("audio/mpeg", _BOTH),
    "mp3": Codec("audio/mpeg", _BOTH),
    "ac3": Codec("audio/ac3", _BOTH),
    "eac3": Codec("audio/eac3", _BOTH),
    "opus": Codec("audio/opus", _BOTH),
    "flac": Codec("audio/flac", _FMP4),
    "alac": Codec("audio/x-alac", _FMP4),
    "dts": Codec("audio/vnd.dts"),
    "vorbis": Codec("audio/vorbis"),
}

# FFmpeg's ISO-BMFF muxer stores these sample formats as integer and floating-point PCM tracks.
_PCM_IN_FMP4: Final = frozenset(
    f"pcm_{kind}{bits}{order}"
    for kind, sizes in (("s", (16, 24, 32)), ("f", (32, 64)))
    for bits in sizes
    for order in ("le", "be")
)


def find_codec(name: str) -> Codec | None:
    """The codec called ``name`` by FFmpeg, or None when the catalog has no media type for it."""
    if name.startswith("pcm_"):
        media_type = "audio/x-raw-float" if name.startswith("pcm_f") else "audio/x-raw-int"
        return Codec(media_type, _FMP4 if name in _PCM_IN_FMP4 else frozenset())
    return _VIDEO.get(name) or _AUDIO.get(name)
