"""Encoders for generated pictures and sound, kept open for as long as they are fed."""

from __future__ import annotations

from fractions import Fraction
from typing import Final

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.codec.context import Flags
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from tams_gql.ingest.picture import Picture
from tams_gql.ingest.tone import SAMPLE_RATE, Sound

FRAME_SAMPLES: Final = 1024
"""Samples of one AAC frame."""

PRIMING_SAMPLES: Final = 1024
"""The encoder's first packet lies this many samples before the first sound."""

_BT709: Final = 1  # H.273's number, for primaries, transfer and matrix alike
_LIMITED: Final = 1


def set_up_video(
    stream: VideoStream, size: tuple[int, int], rate: int, gop: int, bit_rate: int
) -> None:
    """H.264 with closed groups of exactly ``gop`` pictures and no reordering.

    One thread: pictures this small gain nothing from more, and the bytes are always the same.
    """
    context = stream.codec_context
    context.width, context.height = size
    context.pix_fmt = "yuv420p"
    context.time_base = Fraction(1, rate)
    context.bit_rate = bit_rate
    context.thread_count = 1
    context.colorspace = context.color_primaries = context.color_trc = _BT709
    context.color_range = _LIMITED
    context.flags |= Flags.global_header
    context.options = {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "x264-params": f"keyint={gop}:min-keyint={gop}:scenecut=0:open-gop=0",
    }


def video_frame(picture: Picture, pts: int, rate: int) -> VideoFrame:
    """A picture as frame number ``pts`` of a stream of ``rate`` frames a second."""
    frame = VideoFrame.from_ndarray(picture, "yuv420p")
    frame.pts, frame.time_base = pts, Fraction(1, rate)
    frame.colorspace, frame.color_range = _BT709, _LIMITED
    return frame


def audio_frame(sound: Sound, pts: int) -> AudioFrame:
    """Sound as a frame whose first sample is number ``pts``."""
    frame = AudioFrame.from_ndarray(sound, "fltp", "stereo")
    frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, pts, Fraction(1, SAMPLE_RATE)
    return frame


class Encoders:
    """A video and an audio encoder whose packets go into segments.

    The streams belong to a muxer that writes nothing; they serve as templates for segments.
    """

    def __init__(self, size: tuple[int, int], rate: int, gop: int, bit_rate: int) -> None:
        self._rate = rate
        self._sink = av.open("encoders", "w", format="null")
        self.video: VideoStream = self._sink.add_stream("libx264", rate=rate)
        set_up_video(self.video, size, rate, gop, bit_rate)
        self.audio: AudioStream = self._sink.add_stream("aac", rate=SAMPLE_RATE, layout="stereo")
        self.audio.codec_context.bit_rate = 96_000
        self._sink.start_encoding()  # opens the encoders, which then know their headers

    def encode_picture(self, picture: Picture, number: int) -> list[Packet[Stream]]:
        """Packets of picture ``number``; their times count pictures."""
        return list(self.video.encode(video_frame(picture, number, self._rate)))

    def encode_sound(self, sound: Sound, sample: int) -> list[Packet[Stream]]:
        """Packets out of one frame of sound; their times count samples."""
        return list(self.audio.encode(audio_frame(sound, sample)))

    def close(self) -> None:
        """Let the encoders go; what they still hold is dropped."""
        self._sink.close()
