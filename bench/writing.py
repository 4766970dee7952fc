"""Ingest and delivery, on a new catalog with default settings: every commit is synced."""

from __future__ import annotations

from typing import Any

from bench.clients import Client
from bench.reading import percentile
from bench.servers import Server

WRITERS = 8
BATCH = 100
UPLOAD_BATCH = 20
OBJECT_BYTES = 4096
SUBSCRIBERS = (1, 100)
_EVENT_INTERVAL = 0.1
_LEAST_EVENTS = 3


def measure_ingest(client: Client, server: Server, seconds: float) -> dict[str, Any]:
    """Segments a second: registration alone, and with allocation and upload before it."""
    how: dict[str, Any] = {"writers": WRITERS, "seconds": seconds}
    uploads = {"batch": UPLOAD_BATCH, "object_bytes": OBJECT_BYTES}
    return {
        "register": _timed(client, server, "register", **how, batch=BATCH),
        "upload": _timed(client, server, "upload", **how, **uploads),
    }


def measure_delivery(client: Client, server: Server, seconds: float) -> dict[str, Any]:
    """From a registration to its subscribers, in milliseconds."""
    found = {}
    for subscribers in SUBSCRIBERS:
        seen = client.do(
            "follow",
            port=server.port,
            subscribers=subscribers,
            events=max(_LEAST_EVENTS, round(seconds / _EVENT_INTERVAL)),
            interval=_EVENT_INTERVAL,
        )
        found[str(subscribers)] = {
            "deliveries": len(seen["since_sent_us"]),
            **_spread("answer", seen["answer_us"]),
            **_spread("since_sent", seen["since_sent_us"]),
            **_spread("since_answer", seen["since_answer_us"]),
        }
    return found


def _timed(client: Client, server: Server, job: str, **arguments: Any) -> dict[str, Any]:
    before = server.cpu_seconds()
    seen = client.do(job, port=server.port, **arguments)
    after = server.cpu_seconds()
    segments = seen["segments"]
    cpu = None if before is None or after is None else (after - before) * 1e6 / segments
    return {
        "segments": segments,
        "segments_per_second": segments / seen["elapsed"],
        "cpu_us_per_segment": cpu,
        **_spread("batch", seen["taken_us"]),
    }


def _spread(name: str, values_us: list[float]) -> dict[str, float]:
    return {f"{name}_p{p}_ms": percentile(values_us, p) / 1000 for p in (50, 99)}
