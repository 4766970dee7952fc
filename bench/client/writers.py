"""Concurrent writers: registration of external objects, and the whole way of an upload."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from uuid import uuid4

from bench.client.http import BadAnswer, Connection, graphql, request

_SEGMENT_SECONDS = 2

_PUT_FLOW = """
mutation PutFlow($input: PutFlowInput!) {
  putFlow(input: $input) { event }
}
"""
_REGISTER = """
mutation Register($input: RegisterSegmentsInput!) {
  registerSegments(input: $input) { registeredCount }
}
"""
_ALLOCATE = """
mutation Allocate($input: AllocateStorageInput!) {
  allocateStorage(input: $input) {
    mediaObjects { objectId putUrl { url headers { name value } } }
  }
}
"""

Segments = list[dict[str, Any]]
Write = Callable[[Connection, str, int], Awaitable[None]]


class NewFlow(NamedTuple):
    """A flow and the cursor of the event that tells of it."""

    id: str
    event: str


async def new_flow(connection: Connection) -> NewFlow:
    """Make an empty flow."""
    flow_id = str(uuid4())
    flow = {
        "id": flow_id,
        "sourceId": str(uuid4()),
        "codec": "video/h264",
        "container": "video/mp2t",
        "essenceParameters": {
            "frameWidth": 1920,
            "frameHeight": 1080,
            "frameRate": {"numerator": 25},
        },
    }
    done = await graphql(connection, _PUT_FLOW, input={"video": flow})
    return NewFlow(flow_id, done["putFlow"]["event"])


def segment(object_id: str, nth: int, **more: Any) -> dict[str, Any]:
    """The segment at one place of a flow's timeline."""
    start, end = nth * _SEGMENT_SECONDS, (nth + 1) * _SEGMENT_SECONDS
    return {"objectId": object_id, "timerange": f"[{start}:0_{end}:0)", **more}


def external(first: int, count: int) -> Segments:
    """Segments whose objects lie outside the service."""
    segments = []
    for nth in range(first, first + count):
        object_id = str(uuid4())
        url = {"url": f"https://media.example.com/{object_id}.ts", "label": "origin"}
        segments.append(segment(object_id, nth, getUrls=[url]))
    return segments


async def register_all(connection: Connection, flow_id: str, segments: Segments) -> None:
    """Register segments. Raises ``BadAnswer`` unless all were taken."""
    wanted = {"flowId": flow_id, "segments": segments}
    done = await graphql(connection, _REGISTER, input=wanted)
    if done["registerSegments"]["registeredCount"] != len(segments):
        raise BadAnswer(f"not all segments were registered: {done}")


async def register(port: int, writers: int, batch: int, seconds: float) -> dict[str, Any]:
    """Each writer appends batches of external objects to a flow of its own."""

    async def write(connection: Connection, flow_id: str, first: int) -> None:
        await register_all(connection, flow_id, external(first, batch))

    return await _timed(port, writers, batch, seconds, write)


async def upload(
    port: int, writers: int, batch: int, seconds: float, object_bytes: int
) -> dict[str, Any]:
    """Each writer allocates storage, uploads the bytes one by one, then registers the batch."""
    payload = b"\x47" * object_bytes

    async def write(connection: Connection, flow_id: str, first: int) -> None:
        wanted = {"flowId": flow_id, "limit": batch}
        done = await graphql(connection, _ALLOCATE, input=wanted)
        places = done["allocateStorage"]["mediaObjects"]
        for place in places:
            url = urlsplit(place["putUrl"]["url"])
            [header] = place["putUrl"]["headers"]
            path = f"{url.path}?{url.query}"
            put = request(path, payload, method="PUT", content_type=header["value"])
            await connection.ask(put)
        segments = [segment(p["objectId"], first + nth) for nth, p in enumerate(places)]
        await register_all(connection, flow_id, segments)

    return await _timed(port, writers, batch, seconds, write)


async def _timed(
    port: int, writers: int, batch: int, seconds: float, write: Write
) -> dict[str, Any]:
    opened = [await Connection.open(port) for _ in range(writers)]
    flows = [(await new_flow(connection)).id for connection in opened]
    taken: list[float] = []
    started = time.perf_counter()
    deadline = started + seconds

    async def keep_writing(connection: Connection, flow_id: str) -> None:
        first, done = 0, started
        while done <= deadline:  # at least once, however late it comes to it
            sent = time.perf_counter()
            await write(connection, flow_id, first)
            done = time.perf_counter()
            taken.append(done - sent)
            first += batch

    await asyncio.gather(*map(keep_writing, opened, flows))
    elapsed = time.perf_counter() - started
    for connection in opened:
        connection.close()
    return {
        "elapsed": elapsed,
        "segments": len(taken) * batch,
        "taken_us": [round(value * 1e6, 1) for value in taken],
    }
