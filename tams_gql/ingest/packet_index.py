"""The packets of one stream as columns: what planning needs, without their bytes."""

from __future__ import annotations

from array import array
from typing import Final

import numpy as np
from numpy.typing import NDArray

KEY: Final = 1
HIDDEN: Final = 2

NO_TICKS: Final = -(2**63)
"""A decoding time or duration that the container does not give."""


class PacketIndex:
    """Times (in ticks), sizes (in bytes) and flags by packet, in the order of the container.

    A packet costs 33 bytes of memory, so that a day of audio and video fits in 250 MB.
    ``HIDDEN`` packets are decoded but not presented: those before an edit list's start.
    """

    def __init__(self) -> None:
        self.pts = array("q")
        self.dts = array("q")
        self.duration = array("q")
        self.size = array("q")
        self.flags = bytearray()

    def __len__(self) -> int:
        return len(self.pts)

    def append(self, pts: int, dts: int | None, duration: int, size: int, flags: int) -> None:
        """Add one packet; ``duration`` 0 is unknown."""
        self.pts.append(pts)
        self.dts.append(NO_TICKS if dts is None else dts)
        self.duration.append(duration)
        self.size.append(size)
        self.flags.append(flags)

    def is_key(self, packet: int) -> bool:
        """Whether decoding can begin at ``packet``."""
        return bool(self.flags[packet] & KEY)

    def is_hidden(self, packet: int) -> bool:
        """Whether ``packet`` is decoded but not presented."""
        return bool(self.flags[packet] & HIDDEN)

    def presented_pts(self) -> NDArray[np.int64]:
        """Sorted presentation times of the packets that are presented."""
        pts = np.array(self.pts, dtype=np.int64)
        shown = (np.frombuffer(bytes(self.flags), dtype=np.uint8) & HIDDEN) == 0
        return np.sort(pts[shown])

    def fill_durations(self, nominal: int) -> None:
        """Give packets without a duration the ``nominal`` one."""
        for packet, duration in enumerate(self.duration):
            if duration <= 0:
                self.duration[packet] = nominal

    def settle_dts(self, step: int) -> int | None:
        """Fill decoding times that the container left out, ``step`` ticks apart.

        Matroska gives none for the first pictures. Returns the first packet whose decoding time
        is not after the one before it, or None when all are in order.
        """
        later = NO_TICKS
        for packet in range(len(self) - 1, -1, -1):
            if self.dts[packet] == NO_TICKS:
                pts = self.pts[packet]
                self.dts[packet] = pts if later == NO_TICKS else min(pts, later - step)
            later = self.dts[packet]
        for packet in range(1, len(self)):
            if self.dts[packet] <= self.dts[packet - 1]:
                return packet
        return None
