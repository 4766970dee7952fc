"""Boxes of ISO base media files (ISO/IEC 14496-12), as far as fragments need them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO


@dataclass(frozen=True, slots=True)
class Box:
    """A top-level box: its four-letter type, and where it lies in the file in bytes."""

    kind: bytes
    offset: int
    size: int


def top_boxes(file: IO[bytes]) -> Iterator[Box]:
    """The top-level boxes of ``file``, until its end or the first that is malformed."""
    offset = 0
    while True:
        file.seek(offset)
        header = file.read(16)
        if len(header) < 8:
            return
        size, kind = int.from_bytes(header[:4], "big"), header[4:8]
        if size == 1:
            size = int.from_bytes(header[8:16], "big")
        elif size == 0:
            size = file.seek(0, 2) - offset
        if size < 8:
            return
        yield Box(kind, offset, size)
        offset += size


def split_initialisation(file: IO[bytes]) -> tuple[bytes, int]:
    """The initialisation segment at the start of ``file``, and the offset where fragments begin.

    Raises ``ValueError`` when there is no fragment.
    """
    for box in top_boxes(file):
        if box.kind in (b"moof", b"styp", b"sidx"):
            file.seek(0)
            return file.read(box.offset), box.offset
    raise ValueError("no movie fragment")
