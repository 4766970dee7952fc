"""The four queries: equal answers first, then load in turns on every server."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product
from random import Random
from statistics import median
from typing import Any

import orjson

from bench.clients import Client
from bench.queries import Query
from bench.servers import Server, ServerFailed

CONNECTIONS = (1, 8)
_WARM_UP_SECONDS = 0.5


@dataclass(slots=True)
class Target:
    """A server with the requests that ask it each query, and the sizes of the right answers."""

    server: Server
    path: Callable[[Query], str]
    bodies: dict[str, list[bytes]]
    sizes: dict[str, list[int]] = field(default_factory=dict)


@dataclass(slots=True)
class Cell:
    """What one server did with one query at one number of connections."""

    cpu_ms: list[float] = field(default_factory=list)
    """Processor time of a request, one value a round; empty where it cannot be read."""
    taken_us: list[float] = field(default_factory=list)
    elapsed: float = 0.0

    def summary(self) -> dict[str, Any]:
        """The numbers that are reported. Times in milliseconds."""
        return {
            "cpu_ms": median(self.cpu_ms) if self.cpu_ms else None,
            "cpu_ms_rounds": self.cpu_ms,
            "p50_ms": percentile(self.taken_us, 50) / 1000,
            "p99_ms": percentile(self.taken_us, 99) / 1000,
            "requests": len(self.taken_us),
            "requests_per_second": len(self.taken_us) / self.elapsed,
        }


def graphql_target(server: Server, queries: Sequence[Query]) -> Target:
    """The GraphQL server as a target."""
    bodies = {q.name: [q.graphql(request) for request in q.requests] for q in queries}
    return Target(server, lambda _: "/graphql", bodies)


def floor_target(server: Server, queries: Sequence[Query]) -> Target:
    """The minimal program as a target."""
    bodies = {q.name: [q.plain(request) for request in q.requests] for q in queries}
    return Target(server, lambda query: f"/{query.name}", bodies)


def compare(targets: Sequence[Target], queries: Sequence[Query]) -> None:
    """Ask every request of all. Raises ``ServerFailed`` if the data of two differ."""
    for query in queries:
        for target in targets:
            target.sizes[query.name] = []
        for nth in range(len(query.requests)):
            answers = []
            for target in targets:
                text = _ask(target, query, nth)
                target.sizes[query.name].append(len(text))
                answers.append(orjson.loads(text).get("data"))
            _check_equal(query, targets, answers)


def measure(
    client: Client,
    targets: Sequence[Target],
    queries: Sequence[Query],
    *,
    seconds: float,
    rounds: int,
    random: Random,
) -> dict[str, Any]:
    """Load every server with every query in parts, in a new order each round."""
    turns = list(product(targets, queries, CONNECTIONS))
    cells: dict[tuple[str, str, int], Cell] = {}
    for target, query in product(targets, queries):
        _load(client, target, query, 1, min(_WARM_UP_SECONDS, seconds))
    for _ in range(rounds):
        random.shuffle(turns)
        for target, query, connections in turns:
            key = (query.name, target.server.name, connections)
            cell = cells.setdefault(key, Cell())
            before = target.server.cpu_seconds()
            seen = _load(client, target, query, connections, seconds / rounds)
            after = target.server.cpu_seconds()
            cell.taken_us += seen["taken_us"]
            cell.elapsed += seen["elapsed"]
            if before is not None and after is not None:
                cell.cpu_ms.append((after - before) * 1000 / len(seen["taken_us"]))
    found: dict[str, Any] = {query.name: {} for query in queries}
    for (query_name, server_name, connections), cell in cells.items():
        found[query_name].setdefault(server_name, {})[str(connections)] = cell.summary()
    return found


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below which ``percent`` of the values lie (nearest rank)."""
    ranked = sorted(values)
    return ranked[min(int(len(ranked) * percent / 100), len(ranked) - 1)]


def _load(
    client: Client, target: Target, query: Query, connections: int, seconds: float
) -> dict[str, Any]:
    return client.do(
        "load",
        port=target.server.port,
        path=target.path(query),
        bodies=[body.decode() for body in target.bodies[query.name]],
        sizes=target.sizes[query.name],
        connections=connections,
        seconds=seconds,
    )


def _ask(target: Target, query: Query, nth: int) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", target.server.port, timeout=60)
    try:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        body = target.bodies[query.name][nth]
        connection.request("POST", target.path(query), body, headers)
        answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise ServerFailed(f"{target.server.name} answers {query.name} with {text[:500]!r}")
    return text


def _check_equal(query: Query, targets: Sequence[Target], answers: Sequence[Any]) -> None:
    for target, answer in zip(targets[1:], answers[1:], strict=True):
        if answer is None or answer != answers[0]:
            names = f"{targets[0].server.name} and {target.server.name}"
            raise ServerFailed(
                f"{names} answer {query.name} differently:\n"
                f"{orjson.dumps(answers[0])[:1000]!r}\n{orjson.dumps(answer)[:1000]!r}"
            )
