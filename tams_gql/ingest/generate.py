"""The demo programme: a minute of test card with clock, moving marker and beeps, as a file.

It carries the pictures twice, in full and in half size, so that ingest stores a proxy of the same
source beside the video.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Final

import av

from tams_gql.ingest.encoders import (
    FRAME_SAMPLES,
    audio_frame,
    set_up_video,
    video_frame,
)
from tams_gql.ingest.picture import Canvas, half_size
from tams_gql.ingest.tone import SAMPLE_RATE, sound_at

RATE: Final = 25
SIZE: Final = (640, 360)
PROXY_SIZE: Final = (320, 180)
GOP: Final = 2 * RATE
SECONDS: Final = 60

_BIT_RATE: Final = 800_000
_PROXY_BIT_RATE: Final = 250_000
_AUDIO_BIT_RATE: Final = 96_000


def timecode(frame: int, rate: int = RATE) -> str:
    """``frame`` as hours, minutes, seconds and frames."""
    seconds, frames = divmod(frame, rate)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}:{frames:02}"


def generate_programme(path: Path, seconds: int = SECONDS) -> None:
    """Write the programme to ``path`` as MP4: video, proxy, and AAC in stereo."""
    canvas = Canvas(*SIZE, "TAMS DEMO PROGRAMME")
    with av.open(str(path), "w", format="mp4") as output:
        video = output.add_stream("libx264", rate=RATE)
        set_up_video(video, SIZE, RATE, GOP, _BIT_RATE)
        proxy = output.add_stream("libx264", rate=RATE)
        set_up_video(proxy, PROXY_SIZE, RATE, GOP, _PROXY_BIT_RATE)
        audio = output.add_stream("aac", rate=SAMPLE_RATE, layout="stereo")
        audio.codec_context.bit_rate = _AUDIO_BIT_RATE
        sample = 0
        for number in range(seconds * RATE):
            phase = Fraction(number % GOP, GOP)
            picture = canvas.draw(timecode(number), float(abs(2 * phase - 1)))
            output.mux(video.encode(video_frame(picture, number, RATE)))
            output.mux(proxy.encode(video_frame(half_size(picture, *SIZE), number, RATE)))
            # Sound keeps up with the pictures, so that the file is interleaved.
            end = min(seconds * SAMPLE_RATE, (number + 1) * SAMPLE_RATE // RATE)
            while sample < end:
                count = min(FRAME_SAMPLES, seconds * SAMPLE_RATE - sample)
                output.mux(audio.encode(audio_frame(sound_at(sample, count), sample)))
                sample += count
        for stream in (video, proxy, audio):
            output.mux(stream.encode())
