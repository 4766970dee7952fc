"""Making the live source's segments: exactly two seconds of pictures each, on the clock.

The timeline counts nanoseconds of UTC since 1970. Pictures lie on multiples of 40 ms and segments
begin on even seconds; sound is cut at the first AAC frame that begins at or after each boundary,
since its frames do not divide two seconds.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

from av.packet import Packet
from av.stream import Stream

from tams_gql.ingest.api import SegmentDraft
from tams_gql.ingest.codecs import Container
from tams_gql.ingest.encoders import FRAME_SAMPLES, Encoders
from tams_gql.ingest.essence import Essence, VideoEssence
from tams_gql.ingest.media_input import MediaStream
from tams_gql.ingest.mux import SegmentWriter, WrittenSegment
from tams_gql.ingest.picture import Canvas
from tams_gql.ingest.plan import whole_turns
from tams_gql.ingest.scan import describe
from tams_gql.ingest.ticks import TS_TIME_BASE, nanoseconds, round_half_up
from tams_gql.ingest.tone import SAMPLE_RATE, sound_at
from tams_gql.model.time import NS, TimeRange

SEGMENT_SECONDS: Final = 2
RATE: Final = 25
SIZE: Final = (640, 360)
_BIT_RATE: Final = 800_000
_PICTURES: Final = SEGMENT_SECONDS * RATE

_TIME_BASE: Final = TS_TIME_BASE
"""Divides pictures (3,600 ticks) and AAC frames (1,920 ticks), in both containers."""


@dataclass(frozen=True, slots=True)
class LiveSegment:
    """A finished segment of the video or of the audio."""

    is_video: bool
    file: WrittenSegment
    draft: SegmentDraft


class LiveMaker:
    """Encodes pictures and sound from ``start_seconds`` (even seconds of UTC) on, without a gap.

    ``picture`` makes one picture and the sound that goes with it; the caller decides when.
    """

    def __init__(self, start_seconds: int, container: Container, folder: Path) -> None:
        self._canvas = Canvas(*SIZE, "TAMS LIVE")
        self._encoders = Encoders(SIZE, RATE, _PICTURES, _BIT_RATE)
        self._start_seconds = start_seconds
        self._number = 0
        self._sample = 0
        base = start_seconds * TS_TIME_BASE.denominator
        self._video = _Cutter(self._encoders.video, container, folder, base)
        self._audio = _Cutter(self._encoders.audio, container, folder, base)

    def essences(self) -> tuple[Essence, Essence]:
        """What the video and the audio are."""
        video = describe(self._encoders.video)
        assert isinstance(video, VideoEssence)
        return video.with_frame_rate(Fraction(RATE)), describe(self._encoders.audio)

    @property
    def due_ns(self) -> int:
        """Nanoseconds of UTC at which the next picture is shown."""
        return self._start_seconds * NS + self._number * NS // RATE

    def picture(self) -> Iterator[LiveSegment]:
        """Make the next picture; hands out the segments that are complete now."""
        number, self._number = self._number, self._number + 1
        seconds, frame = divmod(number, RATE)
        clock = time.strftime("%H:%M:%S", time.gmtime(self._start_seconds + seconds))
        picture = self._canvas.draw(f"{clock}:{frame:02} UTC", (number % _PICTURES) / _PICTURES)
        for packet in self._encoders.encode_picture(picture, number):
            yield from self._video.take(packet, Fraction(1, RATE))
        # The encoder holds a frame back: sound runs ahead, so that its segments are not late.
        wanted = self._number * SAMPLE_RATE // RATE + 2 * FRAME_SAMPLES
        while self._sample < wanted:
            sound = sound_at(self._sample, FRAME_SAMPLES)
            for packet in self._encoders.encode_sound(sound, self._sample):
                yield from self._audio.take(packet, Fraction(1, SAMPLE_RATE))
            self._sample += FRAME_SAMPLES

    def close(self) -> None:
        """Drop what is unfinished."""
        self._video.discard()
        self._audio.discard()
        self._encoders.close()


class _Cutter:
    """Cuts one encoder's packets into segments at the boundaries of the clock.

    ``base`` is the tick of the first picture. A segment is complete when the next one begins.
    """

    def __init__(self, stream: MediaStream, container: Container, folder: Path, base: int) -> None:
        self._stream = stream
        self._is_video = stream.type == "video"
        self._container = container
        self._folder = folder
        self._base = base
        self._boundary = base
        self._count = 0
        self._writer: SegmentWriter | None = None
        self._first = self._last = self._turn = self._packets = 0

    def take(self, packet: Packet[Stream], time_base: Fraction) -> Iterator[LiveSegment]:
        """Add a packet with times in ``time_base``; hands out the segment that it ends."""
        assert packet.pts is not None
        tick = self._base + round_half_up(packet.pts * time_base / _TIME_BASE)
        length = round_half_up((packet.duration or 0) * time_base / _TIME_BASE)
        if tick < self._base:
            return  # the encoder's run-in, before the first sound
        if tick >= self._boundary:
            if self._writer is not None:
                yield self._end(self._writer, tick)
            self._begin(tick)
        assert self._writer is not None
        at = tick - self._turn
        self._writer.write(packet, at, at, length)
        self._last = tick
        self._packets += 1

    def _begin(self, tick: int) -> None:
        self._count += 1
        self._boundary += SEGMENT_SECONDS * _TIME_BASE.denominator
        self._first, self._turn, self._packets = tick, whole_turns(tick), 0
        path = self._folder / f"{self._stream.type}-{self._count}.segment"
        self._writer = SegmentWriter(
            path, self._container, self._stream, _TIME_BASE, number=self._count
        )

    def _end(self, writer: SegmentWriter, end: int) -> LiveSegment:
        start_ns, end_ns = nanoseconds(self._first, _TIME_BASE), nanoseconds(end, _TIME_BASE)
        turn_ns = nanoseconds(self._turn, _TIME_BASE)
        last_ns = (
            nanoseconds(self._last, _TIME_BASE)
            if self._is_video
            else end_ns - nanoseconds(1, Fraction(1, SAMPLE_RATE))
        )
        draft = SegmentDraft(
            timerange=TimeRange.between(start_ns, end_ns),
            object_timerange=TimeRange.between(start_ns - turn_ns, end_ns - turn_ns),
            ts_offset_ns=turn_ns,
            last_duration_ns=end_ns - last_ns,
            sample_count=self._packets * (1 if self._is_video else FRAME_SAMPLES),
            key_frame_count=1 if self._is_video else None,
        )
        return LiveSegment(self._is_video, writer.close(), draft)

    def discard(self) -> None:
        """Give up the segment that is not complete."""
        if self._writer is not None:
            self._writer.discard()
            self._writer = None
