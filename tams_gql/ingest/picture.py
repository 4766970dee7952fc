"""The generated picture: colour bars, a moving marker, and a burnt-in clock.

Pictures are planar 4:2:0 with limited range, as video is: one array of ``height * 3 / 2`` rows,
luma above the two chroma planes, which is the layout PyAV takes without conversion.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from tams_gql.ingest.bitmap_font import HEIGHT, text_mask

Picture = NDArray[np.uint8]

_BLACK: Final = 16
_GREY: Final = 40
_WHITE: Final = 235
_NEUTRAL: Final = 128

# 75 % colour bars in the order of the test card: red, green, blue from 0 to 1.
_BARS: Final = tuple(
    (0.75 * red, 0.75 * green, 0.75 * blue) for green in (1, 0) for red in (1, 0) for blue in (1, 0)
)


def _bt709(red: float, green: float, blue: float) -> tuple[int, int, int]:
    """Eight-bit luma and chroma of a colour (ITU-R BT.709)."""
    luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return (
        round(16 + 219 * luma),
        round(128 + 224 * (blue - luma) / 1.8556),
        round(128 + 224 * (red - luma) / 1.5748),
    )


class Canvas:
    """Draws pictures of one size; width and height are multiples of four."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self.width = width
        self.height = height
        self._split = height * 2 // 3 // 2 * 2
        self._scale = max(2, width // 128)
        self._background = self._draw_background(title)

    def _planes(self, picture: Picture) -> tuple[Picture, Picture, Picture]:
        width, height = self.width, self.height
        luma, chroma = picture[:height], picture[height:].reshape(-1)
        count = width * height // 4
        shape = (height // 2, width // 2)
        return luma, chroma[:count].reshape(shape), chroma[count:].reshape(shape)

    def _draw_background(self, title: str) -> Picture:
        picture = np.full((self.height * 3 // 2, self.width), _NEUTRAL, dtype=np.uint8)
        luma, blue, red = self._planes(picture)
        luma[:] = _GREY
        edges = [self.width * bar // len(_BARS) // 2 * 2 for bar in range(len(_BARS) + 1)]
        for bar, colour in enumerate(_BARS):
            values = _bt709(*colour)
            left, right = edges[bar], edges[bar + 1]
            luma[: self._split, left:right] = values[0]
            blue[: self._split // 2, left // 2 : right // 2] = values[1]
            red[: self._split // 2, left // 2 : right // 2] = values[2]
        size = max(1, self._scale // 2)
        y = self.height - (HEIGHT + 3) * size
        self._write(luma, title, y, size)
        return picture

    def _write(self, luma: Picture, text: str, y: int, scale: int) -> None:
        """Put ``text`` in the middle of the rows from ``y`` on."""
        mask = text_mask(text, scale)[:, : self.width]
        x = (self.width - mask.shape[1]) // 2
        luma[y : y + mask.shape[0], x : x + mask.shape[1]][mask] = _WHITE

    def draw(self, clock: str, phase: float) -> Picture:
        """A picture with ``clock`` burnt in and the marker at ``phase`` (0 to 1) of its way."""
        picture = self._background.copy()
        luma, blue, red = self._planes(picture)
        self._draw_marker(luma, blue, red, phase)
        self._write(luma, clock, self._split + 2 * self._scale, self._scale)
        return picture

    def _draw_marker(self, luma: Picture, blue: Picture, red: Picture, phase: float) -> None:
        size = self.height // 8 // 2 * 2
        x = int(phase * (self.width - size)) // 2 * 2
        y = (self._split - size) // 4 * 2
        luma[y : y + size, x : x + size] = _WHITE
        luma[y + size // 4 : y + size * 3 // 4, x + size // 4 : x + size * 3 // 4] = _BLACK
        for plane in (blue, red):
            plane[y // 2 : (y + size) // 2, x // 2 : (x + size) // 2] = _NEUTRAL


def half_size(picture: Picture, width: int, height: int) -> Picture:
    """Every second pixel of every second row of a ``width`` by ``height`` picture."""
    luma = picture[:height:2, ::2]
    count = width * height // 4
    chroma = picture[height:].reshape(-1)
    planes = [
        plane.reshape(height // 2, width // 2)[::2, ::2].reshape(-1)
        for plane in (chroma[:count], chroma[count:])
    ]
    return np.concatenate([luma.reshape(-1), *planes]).reshape(height * 3 // 4, width // 2)
