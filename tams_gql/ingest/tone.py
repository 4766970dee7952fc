"""The generated sound: a quiet tone in stereo with a beep at every full second."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE: Final = 48_000
"""Samples per second and channel."""

_TONE_HZ: Final = (440, 660)
_TONE_LEVEL: Final = 0.04
_BEEP_HZ: Final = 1_000
_BEEP_LEVEL: Final = 0.25
_BEEP_SAMPLES: Final = SAMPLE_RATE // 10

Sound = NDArray[np.float32]


def _second() -> Sound:
    """One second of sound; whole numbers of periods, so that seconds join without a click."""
    position = np.arange(SAMPLE_RATE)
    channels = []
    for frequency in _TONE_HZ:
        sound = _TONE_LEVEL * np.sin(2 * np.pi * frequency * position / SAMPLE_RATE)
        beep = _BEEP_LEVEL * np.sin(2 * np.pi * _BEEP_HZ * position / SAMPLE_RATE)
        sound[:_BEEP_SAMPLES] += beep[:_BEEP_SAMPLES]
        channels.append(sound)
    return np.stack(channels).astype(np.float32)


_SECOND: Final = _second()


def sound_at(sample: int, count: int) -> Sound:
    """``count`` samples of both channels from ``sample`` on, counted from a full second."""
    return np.take(_SECOND, np.arange(sample, sample + count), axis=1, mode="wrap")
