"""How the emulator behaves where a real cluster's behaviour is unknown or varies."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

_ALLOWED = {
    "isolation": ("snapshot", "read_committed"),
    "conflict": ("eager", "commit", "none"),
    "granularity": ("row", "cell"),
    "projections": ("current", "stale"),
}


@dataclass
class Switches:
    """Values may be changed while the emulator runs; they apply to the next RPC."""

    isolation: str = "snapshot"
    """``snapshot`` (taken at begin) or ``read_committed`` (each statement sees the latest)."""
    conflict: str = "eager"
    """Write-write conflicts of rows: ``eager`` (409 at the statement), ``commit`` (409 at the
    commit of the later one) or ``none`` (the last writer wins). Schema changes are always eager."""
    granularity: str = "row"
    """Whether two updates of different columns of one row conflict (``row``) or not (``cell``)."""
    version: str = "5.5.0.0"
    """Four numbers, sent as ``Server: vast A.B.C.D``."""
    latency_ms: float = 0.0
    """Added to every RPC."""
    jitter_ms: float = 0.0
    """At most this much more, evenly distributed."""
    check_access_key: bool = True
    """Whether an access key id other than the emulator's own is answered with 403."""
    clock_offset_seconds: float = 0.0
    """Shift of the ``Date`` header."""
    transaction_idle_seconds: float = 0.0
    """Open transactions expire after being idle this long; 0 means never."""
    lost_transaction_status: int = 404
    """Status for an unknown, ended or expired transaction id."""
    content_length_queries: bool = False
    """Answer queries with ``Content-Length`` instead of chunked transfer encoding."""
    projections: str = "current"
    """Whether semi-sorted projections have what the transaction sees (``current``), or what was
    there when they were made (``stale``)."""
    vips: list[str] = field(default_factory=lambda: ["127.0.0.1"])
    """Data addresses listed in table statistics."""

    def change(self, **values: Any) -> dict[str, Any]:
        """Set some switches; return the former values. Raises ValueError for unknown ones."""
        known = {item.name for item in fields(self)}
        for name, value in values.items():
            if name not in known:
                raise ValueError(f"unknown switch {name!r}; known are {sorted(known)}")
            if name in _ALLOWED and value not in _ALLOWED[name]:
                raise ValueError(f"{name} must be one of {_ALLOWED[name]}, not {value!r}")
        former = {name: getattr(self, name) for name in values}
        for name, value in values.items():
            setattr(self, name, value)
        return former

    def version_tuple(self) -> tuple[int, ...]:
        """The server version as numbers."""
        return tuple(int(part) for part in self.version.split("."))
