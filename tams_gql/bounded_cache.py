"""A cache that forgets what was used longest ago once it is full."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

# One value may take this part of the room, so that no single one empties the cache.
_LARGEST_PART = 4


class BoundedCache(Generic[K, V]):
    """Keeps values in at most ``max_bytes`` bytes and ``max_entries`` entries.

    How many bytes a value takes is what its owner says. Not for several threads.
    """

    def __init__(self, *, max_bytes: int, max_entries: int) -> None:
        self._max_bytes = max_bytes
        self._max_entries = max_entries
        self._entries: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def bytes(self) -> int:
        """How many bytes the values take together."""
        return self._bytes

    def get(self, key: K) -> V | None:
        """The value, which counts as used now; None if it is not here."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def put(self, key: K, value: V, size: int) -> None:
        """Keep a value of ``size`` bytes, unless it alone takes over a quarter of the room."""
        self._drop(key)
        if size * _LARGEST_PART > self._max_bytes:
            return
        self._entries[key] = (value, size)
        self._bytes += size
        while self._bytes > self._max_bytes or len(self._entries) > self._max_entries:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: K) -> None:
        _, size = self._entries.pop(key, (None, 0))
        self._bytes -= size
