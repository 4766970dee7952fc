"""Small media files, encoded on the spot."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

WIDTH, HEIGHT = 128, 72


@dataclass(frozen=True)
class Recipe:
    """A file to make.

    ``pts`` gives every picture's time in milliseconds (variable rate). Every ``closed`` pictures a
    closed group is forced to begin.
    """

    rate: Fraction = Fraction(25)
    pictures: int = 100
    gop: int = 25
    b_frames: int = 2
    video: str | None = "libx264"
    audio: str | None = "aac"
    sample_rate: int = 48_000
    format: str | None = None
    pts: Sequence[int] | None = None
    closed: int | None = None
    codec_options: dict[str, str] = field(default_factory=dict)
    muxer_options: dict[str, str] = field(default_factory=dict)

    def but(self, **changes: object) -> Recipe:
        """The recipe with some values changed."""
        return replace(self, **changes)  # type: ignore[arg-type]

    @property
    def seconds(self) -> Fraction:
        if self.pts is not None:
            return Fraction(self.pts[-1], 1000)
        return self.pictures / self.rate


def make(path: Path, recipe: Recipe | None = None) -> Path:
    """Encode ``recipe`` into ``path``."""
    recipe = recipe or Recipe()
    with av.open(
        str(path), "w", format=recipe.format, container_options=recipe.muxer_options
    ) as output:
        video = _video(output, recipe) if recipe.video else None
        audio = _audio(output, recipe) if recipe.audio else None
        if video is not None:
            _encode_pictures(output, video, recipe)
        if audio is not None:
            _encode_sound(output, audio, recipe)
    return path


def _video(output: OutputContainer, recipe: Recipe) -> VideoStream:
    assert recipe.video is not None
    base = Fraction(1, 1000) if recipe.pts is not None else 1 / recipe.rate
    stream = output.add_stream(recipe.video, rate=recipe.rate, time_base=base)
    assert isinstance(stream, VideoStream)
    context = stream.codec_context
    context.width, context.height, context.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    context.gop_size, context.max_b_frames = recipe.gop, recipe.b_frames
    context.thread_count = 1
    options = {}
    if recipe.video == "libx264":
        options = {"preset": "ultrafast", "bf": str(recipe.b_frames), "sc_threshold": "0"}
    if recipe.video == "libx265":
        options = {"preset": "ultrafast", "x265-params": "log-level=none:keyint=25:scenecut=0"}
    context.options = options | recipe.codec_options
    return stream


def _audio(output: OutputContainer, recipe: Recipe) -> AudioStream:
    assert recipe.audio is not None
    stream = output.add_stream(recipe.audio, rate=recipe.sample_rate, layout="stereo")
    assert isinstance(stream, AudioStream)
    return stream


def _encode_pictures(output: OutputContainer, stream: VideoStream, recipe: Recipe) -> None:
    count = len(recipe.pts) if recipe.pts is not None else recipe.pictures
    for number in range(count):
        picture = np.full((HEIGHT * 3 // 2, WIDTH), 40 + number % 150, dtype=np.uint8)
        picture[:HEIGHT, (number * 3) % WIDTH] = 235
        frame = VideoFrame.from_ndarray(picture, "yuv420p")
        if recipe.pts is not None:
            frame.pts, frame.time_base = recipe.pts[number], Fraction(1, 1000)
        else:
            frame.pts, frame.time_base = number, 1 / recipe.rate
        if recipe.closed and number % recipe.closed == 0:
            frame.pict_type = PictureType.I
        output.mux(stream.encode(frame))
    output.mux(stream.encode())


def _encode_sound(output: OutputContainer, stream: AudioStream, recipe: Recipe) -> None:
    rate = recipe.sample_rate
    total, size = int(recipe.seconds * rate), 1024
    for begin in range(0, total, size):
        position = np.arange(begin, min(begin + size, total))
        tone = (0.2 * np.sin(2 * np.pi * 440 * position / rate) * 32767).astype(np.int16)
        frame = AudioFrame.from_ndarray(
            np.repeat(tone, 2).reshape(1, -1), format="s16", layout="stereo"
        )
        frame.sample_rate, frame.pts, frame.time_base = rate, begin, Fraction(1, rate)
        output.mux(stream.encode(frame))
    output.mux(stream.encode())


def shift(source: Path, target: Path, seconds: Fraction) -> Path:
    """Copy ``source`` to an MP4 whose times are moved; what gets negative is cut by edit list."""
    options = {"avoid_negative_ts": "disabled"}
    with (
        av.open(str(source)) as reader,
        av.open(str(target), "w", container_options=options) as writer,
    ):
        streams = {s.index: writer.add_stream_from_template(s, opaque=True) for s in reader.streams}
        for packet in reader.demux():
            if packet.size and packet.pts is not None and packet.dts is not None:
                ticks = round(seconds / packet.time_base)
                packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks
                packet.stream = streams[packet.stream_index]
                writer.mux_one(packet)
    return target


def make_hls(
    source: Path, folder: Path, options: dict[str, str] | None = None, kind: str | None = None
) -> Path:
    """Copy ``source`` into HLS segments of one second; ``kind`` keeps only video or audio."""
    folder.mkdir(parents=True)
    settings = {"hls_time": "1", "hls_list_size": "0", "hls_playlist_type": "vod"} | (options or {})
    before = Path.cwd()
    os.chdir(folder)  # else the muxer writes absolute paths into the playlist
    try:
        with (
            av.open(str(source)) as reader,
            av.open("index.m3u8", "w", format="hls", container_options=settings) as writer,
        ):
            chosen = [s for s in reader.streams if kind in (None, s.type)]
            streams = {s.index: writer.add_stream_from_template(s, opaque=True) for s in chosen}
            for packet in reader.demux(*chosen):
                if packet.size:
                    packet.stream = streams[packet.stream_index]
                    writer.mux_one(packet)
    finally:
        os.chdir(before)
    return folder / "index.m3u8"
