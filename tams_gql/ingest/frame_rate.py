"""Measuring a frame rate from presentation times: fixed, or variable."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

_COMMON_RATES: Final = tuple(
    Fraction(*rate)
    for rate in (
        *((24000, 1001), (24, 1), (25, 1), (30000, 1001), (30, 1), (48, 1), (50, 1)),
        *((60000, 1001), (60, 1), (100, 1), (120000, 1001), (120, 1), (10, 1), (12, 1), (15, 1)),
    )
)

_MOST: Final = 9  # in ten: fewer single steps than this are not "a fixed rate with drops"


def measure_frame_rate(
    pts: NDArray[np.int64], time_base: Fraction, hints: Iterable[Fraction]
) -> Fraction | None:
    """The fixed frame rate of pictures shown at ``pts`` (sorted ticks), or None when it varies.

    A rate is fixed when every step from picture to picture is a whole number of frames, nearly
    always one, within the rounding of the time base and 2 % of a frame. Dropped pictures do not
    make a rate variable. ``hints`` are the rates that the container claims, the best first.
    """
    candidates = [rate for rate in hints if rate > 0]
    if len(pts) < 2:
        return candidates[0] if candidates else None
    steps = np.diff(pts)
    mean = Fraction(len(steps), 1) / (int(pts[-1] - pts[0]) * time_base)
    near = [rate for rate in _COMMON_RATES if abs(rate - mean) * 20 < mean]
    fitting = []
    for order, rate in enumerate([*candidates, *near, mean.limit_denominator(1001)]):
        error = _misfit(steps, 1 / (rate * time_base))
        if error is not None:
            fitting.append((error, order, rate))
    return min(fitting)[2] if fitting else None


def _misfit(steps: NDArray[np.int64], period: Fraction) -> int | None:
    """Ticks by which ``steps`` add up to something else than whole frames; None: they do not fit.

    ``period`` is the length of a frame in ticks.
    """
    num, den = period.numerator, period.denominator
    frames = np.maximum((2 * steps * den + num) // (2 * num), 1)
    tolerance = max(2 * den, num // 50)
    if np.abs(steps * den - frames * num).max() > tolerance:
        return None
    if int((frames == 1).sum()) * 10 < len(steps) * _MOST:
        return None
    drift = abs(int(steps.sum()) * den - int(frames.sum()) * num)
    return drift // den if drift <= tolerance else None
