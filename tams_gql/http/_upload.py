"""What an upload declares in its headers, and its body as it arrives."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Final

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Send

from tams_gql.model.bounds import shown
from tams_gql.model.errors import BadInput, TamsError

# How much of a refused upload is still taken in, so that the client gets to read the refusal:
# closing at once makes the system reset the connection, and the answer can be lost with it.
_LINGER_SECONDS: Final = 2.0
_LINGER_BYTES: Final = 16 * 1_024**2
# Header names of checksums (TAMS application note 0021): the standard one, and those of S3.
_CONTENT_MD5: Final = "content-md5"
_S3_CHECKSUM: Final = "x-amz-checksum-"
# These two say what the checksum headers are, and are none themselves.
_S3_REMARKS: Final = frozenset({"x-amz-checksum-algorithm", "x-amz-checksum-type"})

# To ignore one of these would store something else than the client means.
_REFUSED: Final = {
    "Content-Encoding": "send the object as it is",
    "Content-Range": "send the whole object",
    "If-Match": "an upload has no conditions",
    "If-None-Match": "an upload has no conditions",
}


class UploadStalled(TamsError):
    """The client stopped sending in the middle of an upload."""

    code = "REQUEST_TIMEOUT"


class UploadBody:
    """Reads the request body once, never waiting longer than ``idle_seconds`` for more of it."""

    def __init__(self, receive: Receive, *, idle_seconds: float) -> None:
        self._receive = receive
        self._idle_seconds = idle_seconds
        self.ended = False
        """Nothing more can come: the body is complete, or the client is gone."""

    async def blocks(self) -> AsyncGenerator[bytes, None]:
        """The bytes in the pieces they arrive in.

        Raises ClientDisconnect if the client goes away first, and UploadStalled.
        """
        while not self.ended:
            try:
                async with asyncio.timeout(self._idle_seconds):
                    block = await self._next()
            except TimeoutError:
                raise UploadStalled(
                    f"nothing arrived for {self._idle_seconds:g} seconds; nothing was stored"
                ) from None
            yield block

    async def drain(self) -> None:
        """Take in and forget what the client still sends, within bounds."""
        taken = 0
        with suppress(TimeoutError, ClientDisconnect):
            async with asyncio.timeout(_LINGER_SECONDS):
                while not self.ended and taken < _LINGER_BYTES:
                    taken += len(await self._next())

    async def _next(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.ended = True
            raise ClientDisconnect
        self.ended = not message.get("more_body", False)
        body: bytes = message.get("body", b"")
        return body


def check_declarations(headers: Headers, content_type: str) -> None:
    """Refuse what would store something else than what the URL is signed for.

    Raises BadInput if the content type is not the signed one, if the body is not the plain, whole
    object, or if the upload is conditional.
    """
    declared = headers.get("content-type", "").strip()
    if declared.lower() != content_type.lower():
        raise BadInput(
            f"Content-Type: {shown(declared)} is not allowed; "
            f"this URL is signed for {content_type}",
            field="Content-Type",
        )
    for name, instead in _REFUSED.items():
        if name in headers:
            raise BadInput(f"{name}: {shown(headers[name])} is not allowed; {instead}", field=name)


def declared_length(headers: Headers) -> int | None:
    """How many bytes the client says will come; None if it does not say. Raises BadInput."""
    text = headers.get("content-length")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise BadInput(
            f"Content-Length: {shown(text)} is not allowed; it must be a number of bytes",
            field="Content-Length",
        )
    return int(text)


def declared_checksums(headers: Headers) -> dict[str, bytes]:
    """The raw digests the client declares, by algorithm. Raises BadInput if one is not Base64."""
    declared: dict[str, bytes] = {}
    for name, value in headers.items():
        if name == _CONTENT_MD5:
            algorithm = "md5"
        elif name.startswith(_S3_CHECKSUM) and name not in _S3_REMARKS:
            algorithm = name.removeprefix(_S3_CHECKSUM)
        else:
            continue
        try:
            declared[algorithm] = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise BadInput(
                f"{name}: {shown(value)} is not allowed; it must be a digest in Base64", field=name
            ) from None
    return declared


async def answer_before_the_end(answer: Response, body: UploadBody, send: Send) -> None:
    """Send a refusal while the client is still sending, in a way that it gets to read it."""
    headers = [*answer.raw_headers, (b"connection", b"close")]
    await send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
    # The client has the whole answer now; the connection closes once this is said to be the end.
    await send({"type": "http.response.body", "body": answer.body, "more_body": True})
    await body.drain()
    await send({"type": "http.response.body", "body": b"", "more_body": False})
