"""The results as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

OURS, OTHER, FLOOR = "ours", "other", "floor"
"""The names of the measured programs: this checkout, the one it is measured against, the least."""


def report(results: Mapping[str, Any], about: Mapping[str, str]) -> str:
    """Tables of everything that was measured."""
    machine = results["machine"]
    load = "/".join(f"{value:.1f}" for value in machine["load"])
    parts = [
        f"{results['segments']:,} segments; {machine['cpus']} CPUs, load before {load};"
        f" Python {machine['python']}, SQLite {machine['sqlite']}"
    ]
    if "trips" in results:
        parts.append(_trips(results["trips"], about))
    if "queries" in results:
        parts.append(_queries(results["queries"]))
    if "ingest" in results:
        parts.append(_ingest(results["ingest"]))
    if "delivery" in results:
        parts.append(_delivery(results["delivery"]))
    return "\n\n".join(parts)


def _trips(trips: Mapping[str, Sequence[str]], about: Mapping[str, str]) -> str:
    rows = [[name, str(len(calls)), ", ".join(calls), about[name]] for name, calls in trips.items()]
    return _table(["query", "round trips", "calls", "what it asks"], rows)


def _queries(queries: Mapping[str, Any]) -> str:
    head = ["query", "conn", "server", "CPU ms/req", "ratio", "p50 ms", "ratio", "p99 ms", "req/s"]
    rows = []
    for query, servers in queries.items():
        # Measured in a shuffled order, shown in a fixed one with the floor last.
        names = sorted(servers, key=lambda name: (name == FLOOR, name != OURS))
        for connections in sorted(servers[FLOOR]):
            floor = servers[FLOOR][connections]
            for server in names:
                cells = servers[server]
                cell = cells[connections]
                rows.append(
                    [
                        *(query, connections, server),
                        *(_number(cell["cpu_ms"]), _ratio(cell["cpu_ms"], floor["cpu_ms"])),
                        *(_number(cell["p50_ms"]), _ratio(cell["p50_ms"], floor["p50_ms"])),
                        *(_number(cell["p99_ms"]), _number(cell["requests_per_second"])),
                    ]
                )
    return _table(head, rows)


def _ingest(ingest: Mapping[str, Any]) -> str:
    head = ["ingest", "server", "segments/s", "CPU us/segment", "batch p50 ms", "batch p99 ms"]
    rows = [
        [
            *(way, server, _number(found["segments_per_second"])),
            *(_number(found["cpu_us_per_segment"]),),
            *(_number(found["batch_p50_ms"]), _number(found["batch_p99_ms"])),
        ]
        for server, ways in ingest.items()
        for way, found in ways.items()
    ]
    return _table(head, rows)


def _delivery(delivery: Mapping[str, Any]) -> str:
    names = ("answer", "since_sent", "since_answer")
    titles = ("sent to answer", "sent to delivery", "answer to delivery")
    head = ["subscribers", "server", *(f"{t} p{p} ms" for t in titles for p in (50, 99))]
    rows = [
        [subscribers, server, *(_number(found[f"{n}_p{p}_ms"]) for n in names for p in (50, 99))]
        for server, counts in delivery.items()
        for subscribers, found in counts.items()
    ]
    return _table(head, rows)


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def _ratio(value: float | None, floor: float | None) -> str:
    return "-" if value is None or not floor else f"{value / floor:.1f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    ruler = ["-" * width for width in widths]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, ruler, *rows)
    )
