"""How a stored object goes to the client: whole, in part, or not at all because it has it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from errno import EIO
from typing import Final
from urllib.parse import quote

from anyio.to_thread import run_sync
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tams_gql.http._media_answers import SAFE_HEADERS, refusal
from tams_gql.http.conditional import (
    ByteRange,
    RangeNotSatisfiable,
    http_date,
    refused_by_precondition,
    requested_range,
)
from tams_gql.media.local import StoredObject

# Each block costs a hop to a worker thread and back, which shows with segments of a few MiB.
_BLOCK_BYTES: Final = 1_024**2


def download(
    stored: StoredObject, name: str, method: str, asked: Headers, *, max_age: int
) -> ASGIApp:
    """The answer to GET or HEAD; it reads from ``stored``, so keep that open until it is sent.

    ``name`` is what a browser saves the object as; ``max_age`` (seconds) bounds every cache.
    """
    etag, modified, size = f'"{stored.stat.etag}"', stored.stat.modified, stored.stat.size
    headers = _headers(stored, name, max_age)
    match refused_by_precondition(asked, etag, modified):
        case 304:
            return Response(status_code=304, headers=headers)
        case 412:
            return refusal(412, "PRECONDITION_FAILED", "the object is another version")
    if method == "HEAD":  # only GET has ranges (RFC 9110, section 14.2)
        return Response(headers={**headers, "content-length": str(size)})
    try:
        part = requested_range(asked, etag, modified, size)
    except RangeNotSatisfiable:
        summary = f"the object has only {size} bytes"
        return refusal(416, "RANGE_NOT_SATISFIABLE", summary, content_range=f"bytes */{size}")
    return _ObjectBytes(stored, headers, part)


def _headers(stored: StoredObject, name: str, max_age: int) -> dict[str, str]:
    content_type = stored.description.content_type
    return {
        **SAFE_HEADERS,
        "accept-ranges": "bytes",
        "cache-control": f"private, max-age={max_age}",
        "content-disposition": f"{_disposition(content_type)}; filename*=UTF-8''{quote(name)}",
        "content-type": content_type,
        "etag": f'"{stored.stat.etag}"',
        "last-modified": http_date(stored.stat.modified),
    }


def _disposition(content_type: str) -> str:
    """Only what a browser plays or paints by itself may be shown; the rest is saved.

    An SVG picture is a document that can hold script, so it counts as the rest.
    """
    kind, _, subtype = content_type.lower().partition("/")
    shown = kind in ("audio", "video", "image") and "xml" not in subtype
    return "inline" if shown else "attachment"


class _ObjectBytes:
    """Sends the object, or one part of it, without ever blocking the event loop."""

    def __init__(
        self, stored: StoredObject, headers: Mapping[str, str], part: ByteRange | None
    ) -> None:
        size = stored.stat.size
        self._stored = stored
        self._status = 200 if part is None else 206
        self._part = part or ByteRange(0, size)
        self._headers = {**headers, "content-length": str(self._part.stop - self._part.start)}
        if part is not None:
            self._headers["content-range"] = f"bytes {part.start}-{part.stop - 1}/{size}"

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        raw = [
            (name.encode("latin-1"), text.encode("latin-1")) for name, text in self._headers.items()
        ]
        await send({"type": "http.response.start", "status": self._status, "headers": raw})
        # A server may drop silently what is sent to a client that left; only receive tells.
        left = asyncio.create_task(_disconnected(receive))
        try:
            await self._send_blocks(send, left)
        finally:
            left.cancel()
            with suppress(asyncio.CancelledError):
                await left

    async def _send_blocks(self, send: Send, left: asyncio.Task[None]) -> None:
        start, stop = self._part
        while start < stop and not left.done():
            block = await run_sync(self._stored.read, start, min(_BLOCK_BYTES, stop - start))
            if not block:
                raise OSError(EIO, "a media object became shorter while it was read")
            start += len(block)
            more = start < stop
            await send({"type": "http.response.body", "body": block, "more_body": more})
        if self._part.start == stop:
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
