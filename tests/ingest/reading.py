"""Reading media back: what a player finds in files and in stored segments."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.audio.frame import AudioFrame
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream


@dataclass(frozen=True)
class FoundPacket:
    """A demuxed packet: its times in seconds, whether it is a key frame, its size in bytes."""

    pts: Fraction
    dts: Fraction
    end: Fraction
    key: bool


@dataclass(frozen=True)
class FoundFrame:
    """A decoded frame: its time in seconds and its content."""

    pts: Fraction
    content: bytes


def _open(content: bytes | Path) -> InputContainer:
    if isinstance(content, Path):
        return av.open(str(content), "r")
    # A single picture is too short to be recognised; a reader of a flow knows its container.
    return av.open(io.BytesIO(content), "r", format="mpegts" if content[0] == 0x47 else None)


def packets_of(content: bytes | Path, index: int = 0) -> list[FoundPacket]:
    """The packets of one stream, in their order."""
    found = []
    with _open(content) as media:
        for packet in media.demux(media.streams[index]):
            if packet.size and packet.pts is not None and packet.dts is not None:
                base = packet.time_base
                found.append(
                    FoundPacket(
                        packet.pts * base,
                        packet.dts * base,
                        (packet.pts + (packet.duration or 0)) * base,
                        packet.is_keyframe,
                    )
                )
    return found


def frames_of(content: bytes | Path, index: int = 0) -> list[FoundFrame]:
    """The decoded frames of one stream, in order of presentation."""
    with _open(content) as media:
        stream = media.streams[index]
        frames = []
        for frame in media.decode(stream):
            assert isinstance(frame, VideoFrame | AudioFrame)
            assert frame.pts is not None
            pts = frame.pts * Fraction(frame.time_base or 0)
            frames.append(FoundFrame(pts, frame.to_ndarray().tobytes()))
        return frames


def stream_kinds(path: Path) -> list[str]:
    """``video`` or ``audio`` for each stream of a file."""
    with av.open(str(path)) as media:
        return ["video" if isinstance(s, VideoStream) else "audio" for s in media.streams]


def seconds_of(ns: int) -> Fraction:
    """Nanoseconds as seconds."""
    return Fraction(ns, 1_000_000_000)


def joined(parts: Sequence[bytes]) -> bytes:
    """Segments one after the other, as a player appends them."""
    return b"".join(parts)
