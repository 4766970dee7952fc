"""Reading and building the few flatbuffers of the protocol.

Slots are read directly: the modules that ship with the SDK cannot be imported without the whole
SDK, and an ``isin`` of thousands of values is decoded ten times faster this way.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

_UOFFSET = struct.Struct("<I")
_SOFFSET = struct.Struct("<i")
_VOFFSET = struct.Struct("<H")


class Record:
    """A flatbuffers table inside a buffer; fields are addressed by slot."""

    __slots__ = ("_buffer", "_length", "_position", "_vtable")

    def __init__(self, buffer: bytes, position: int) -> None:
        self._buffer = buffer
        self._position = position
        self._vtable = position - _SOFFSET.unpack_from(buffer, position)[0]
        self._length = _VOFFSET.unpack_from(buffer, self._vtable)[0]

    @classmethod
    def root(cls, buffer: bytes) -> Record:
        """The root table of ``buffer``."""
        return cls(buffer, _UOFFSET.unpack_from(buffer, 0)[0])

    def _field(self, slot: int) -> int:
        entry = 4 + 2 * slot
        if entry >= self._length:
            return 0
        offset: int = _VOFFSET.unpack_from(self._buffer, self._vtable + entry)[0]
        return offset and self._position + offset

    def _target(self, slot: int) -> int:
        field = self._field(slot)
        return field and field + int(_UOFFSET.unpack_from(self._buffer, field)[0])

    def number(self, slot: int, layout: str, default: Any = 0) -> Any:
        """The scalar of a slot in the given ``struct`` layout."""
        field = self._field(slot)
        if field:
            return struct.unpack_from("<" + layout, self._buffer, field)[0]
        # a value equal to the default is left out of the buffer
        return bool(default) if layout == "?" else default

    def record(self, slot: int) -> Record | None:
        """The table a slot refers to."""
        target = self._target(slot)
        return Record(self._buffer, target) if target else None

    def raw(self, slot: int) -> bytes:
        """The bytes of a string or byte vector."""
        target = self._target(slot)
        if not target:
            return b""
        length = _UOFFSET.unpack_from(self._buffer, target)[0]
        return bytes(self._buffer[target + 4 : target + 4 + length])

    def text(self, slot: int) -> str:
        """A string."""
        return self.raw(slot).decode()

    def records(self, slot: int) -> Iterator[Record]:
        """The tables of a vector."""
        target = self._target(slot)
        if not target:
            return
        (length,) = _UOFFSET.unpack_from(self._buffer, target)
        for entry in range(target + 4, target + 4 + 4 * length, 4):
            yield Record(self._buffer, entry + _UOFFSET.unpack_from(self._buffer, entry)[0])


_Builder: Callable[[int], Any] = import_module("flatbuffers").Builder


class Writer:
    """Builds one flatbuffer; objects are finished before the objects that refer to them."""

    def __init__(self) -> None:
        self._builder = _Builder(256)

    def text(self, value: str) -> int:
        """Add a string; return its offset."""
        offset: int = self._builder.CreateString(value)
        return offset

    def vector(self, offsets: list[int]) -> int:
        """Add a vector of tables; return its offset."""
        self._builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self._builder.PrependUOffsetTRelative(offset)
        end: int = self._builder.EndVector()
        return end

    def table(self, slots: int, fields: dict[int, tuple[str, Any]]) -> int:
        """Add a table of ``slots`` slots; ``fields`` maps a slot to (kind, value)."""
        builder = self._builder
        builder.StartObject(slots)
        for slot, (kind, value) in fields.items():
            if kind == "ref":
                builder.PrependUOffsetTRelativeSlot(slot, value, 0)
            else:
                getattr(builder, f"Prepend{kind}Slot")(slot, value, 0)
        end: int = builder.EndObject()
        return end

    def finish(self, root: int) -> bytes:
        """The buffer whose root table is ``root``."""
        self._builder.Finish(root)
        return bytes(self._builder.Output())
