"""Several responses in one HTTP answer: server-sent events, and multipart subscriptions.

Server-sent events follow the GraphQL over SSE protocol in its distinct connections mode; multipart
answers follow Apollo's subscription protocol 1.0.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Protocol

import orjson
from starlette.types import Receive, Scope, Send

from tams_gql.http.graphql.accept import StreamType
from tams_gql.http.graphql.engine import Outcome
from tams_gql.http.graphql.refusal import error_response


class Format(Protocol):
    """How responses follow each other."""

    content_type: str
    begin: bytes
    heartbeat: bytes
    complete: bytes
    broken_off: bytes

    def next(self, outcome: Outcome) -> bytes:
        """One response."""


class EventStream:
    """``text/event-stream``.

    An answer that is broken off ends without the event ``complete``: clients connect again then.
    """

    content_type = "text/event-stream; charset=utf-8"
    begin = heartbeat = b":\n\n"
    complete = b"event: complete\ndata:\n\n"  # browsers drop an event without data
    broken_off = b""

    def next(self, outcome: Outcome) -> bytes:
        return b"event: next\ndata: %b\n\n" % orjson.dumps(outcome.response)


class MultipartParts:
    """``multipart/mixed`` with ``subscriptionSpec=1.0``.

    Clients wait for what comes after a part, or for its length, before they believe that it is
    whole: so each tells its length, and the delimiter is sent with it, not before the next one.
    """

    # Without quotes: some clients look for exactly these parameters.
    content_type = "multipart/mixed; boundary=graphql; subscriptionSpec=1.0"
    begin = b"--graphql\r\n"
    complete = b"--graphql--\r\n"

    def __init__(self) -> None:
        stopping = error_response("The server is stopping", "UNAVAILABLE")
        self.heartbeat = _part({})
        self.broken_off = _part({"payload": None, **stopping}) + self.complete

    def next(self, outcome: Outcome) -> bytes:
        if outcome.executed:
            return _part({"payload": outcome.response})
        # Errors beside the payload mean that nothing more comes.
        return _part({"payload": None, **outcome.response})


def _part(content: object) -> bytes:
    body = orjson.dumps(content)
    return (
        b"Content-Type: application/json; charset=utf-8\r\nContent-Length: %d\r\n\r\n"
        b"%b\r\n--graphql\r\n"
    ) % (len(body), body)


_FORMATS: Mapping[StreamType, type[Format]] = {
    "text/event-stream": EventStream,
    "multipart/mixed": MultipartParts,
}

_HEADERS = (
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),  # asks nginx to pass on what it gets at once
    (b"vary", b"accept"),
)


class StreamAnswer:
    """An answer that lasts until the operation ends, the client leaves, or the server stops."""

    def __init__(
        self,
        outcomes: AsyncGenerator[Outcome, None],
        stream_type: StreamType,
        *,
        stopping: asyncio.Event,
        heartbeat_seconds: float,
    ) -> None:
        self._outcomes = outcomes
        self._format = _FORMATS[stream_type]()
        self._stopping = stopping
        self._heartbeat_seconds = heartbeat_seconds
        self._last_sent = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        del scope
        headers = [(b"content-type", self._format.content_type.encode()), *_HEADERS]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        responses = asyncio.create_task(self._send_responses(send))
        others = [
            asyncio.create_task(self._send_heartbeats(send)),
            asyncio.create_task(_until_client_leaves(receive)),
            asyncio.create_task(_until(self._stopping)),
        ]
        try:
            await asyncio.wait([responses, *others], return_when=asyncio.FIRST_COMPLETED)
        finally:
            # Also when this task is cancelled: the operation must have let go of everything.
            await _cancelled([responses, *others])
        await self._end(responses, send)

    async def _end(self, responses: asyncio.Task[None], send: Send) -> None:
        if not responses.cancelled():
            responses.result()
            await _send(send, self._format.complete, last=True)
        elif self._stopping.is_set():
            await _send(send, self._format.broken_off, last=True)

    async def _send_responses(self, send: Send) -> None:
        # The first bytes take the headers with them through whatever stands between.
        await self._send_chunk(send, self._format.begin)
        async with aclosing(self._outcomes) as outcomes:
            async for outcome in outcomes:
                await self._send_chunk(send, self._format.next(outcome))

    async def _send_heartbeats(self, send: Send) -> None:
        loop = asyncio.get_running_loop()
        while True:
            idle = loop.time() - self._last_sent
            if idle >= self._heartbeat_seconds:
                await self._send_chunk(send, self._format.heartbeat)
                idle = 0
            await asyncio.sleep(self._heartbeat_seconds - idle)

    async def _send_chunk(self, send: Send, chunk: bytes) -> None:
        await _send(send, chunk, last=False)
        self._last_sent = asyncio.get_running_loop().time()


async def _send(send: Send, chunk: bytes, *, last: bool) -> None:
    await send({"type": "http.response.body", "body": chunk, "more_body": not last})


async def _until_client_leaves(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _until(event: asyncio.Event) -> None:
    await event.wait()


async def _cancelled(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
