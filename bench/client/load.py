"""A closed loop: each connection sends its next request when it has the answer to the last."""

from __future__ import annotations

import asyncio
import time
from itertools import cycle
from typing import Any

from bench.client.http import BadAnswer, Connection, request


async def load(
    port: int, path: str, bodies: list[str], sizes: list[int], connections: int, seconds: float
) -> dict[str, Any]:
    """Ask the requests in turn for a while; how many and how long each took, in microseconds.

    ``sizes`` are those of the right answers, which were compared before.
    """
    requests = [request(path, body.encode()) for body in bodies]
    turns = cycle(list(zip(requests, sizes, strict=True)))
    opened = [await Connection.open(port) for _ in range(connections)]
    taken: list[float] = []
    started = time.perf_counter()
    deadline = started + seconds

    async def ask(connection: Connection) -> None:
        done = started
        while done <= deadline:  # at least once, however late it comes to it
            sent = time.perf_counter()
            asked, size = next(turns)
            answer = await connection.ask(asked)
            done = time.perf_counter()
            taken.append(done - sent)
            if len(answer) != size:
                raise BadAnswer(f"{len(answer)} bytes instead of {size}: {answer[:200]!r}")

    await asyncio.gather(*(ask(connection) for connection in opened))
    elapsed = time.perf_counter() - started
    for connection in opened:
        connection.close()
    return {"elapsed": elapsed, "taken_us": [round(value * 1e6, 1) for value in taken]}
