"""HTTP/1.1 over kept-alive sockets, just as much as these servers answer."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import orjson

_END = b"\r\n\r\n"
_LENGTH = b"\r\ncontent-length: "


class BadAnswer(Exception):
    """The server closed the connection or answered with an error."""


class Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._got = bytearray()
        self._body_at = 0
        self._end = 0
        self._answer: asyncio.Future[bytes] | None = None

    @classmethod
    async def open(cls, port: int) -> Connection:
        """Connect to a server of this machine."""
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(cls, "127.0.0.1", port)
        return connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not inherit from asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._got += data
        if not self._end and not self._read_head():
            return
        if len(self._got) >= self._end and self._answer is not None:
            self._answer.set_result(bytes(self._got[self._body_at :]))
            self._answer = None

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None:
            self._answer.set_exception(BadAnswer(f"the server closed the connection: {exc}"))
            self._answer = None

    def ask(self, request: bytes) -> asyncio.Future[bytes]:
        """Send a whole request; the body of its answer."""
        assert self._transport is not None
        self._got.clear()
        self._end = 0
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answer

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()

    def _read_head(self) -> bool:
        end = self._got.find(_END)
        if end < 0:
            return False
        head = bytes(self._got[:end]).lower() + b"\r\n"
        at = head.find(_LENGTH)
        if at < 0 or not head.startswith((b"http/1.1 200", b"http/1.1 201")):
            assert self._answer is not None
            self._answer.set_exception(BadAnswer(bytes(self._got[:2000]).decode("latin-1")))
            self._answer = None
            return False
        at += len(_LENGTH)
        self._body_at = end + len(_END)
        self._end = self._body_at + int(head[at : head.index(b"\r\n", at)])
        return True


def request(
    path: str, body: bytes, *, method: str = "POST", content_type: str = "application/json"
) -> bytes:
    """A whole request as bytes."""
    head = (
        f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: application/json\r\n"
        f"content-type: {content_type}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def graphql(connection: Connection, text: str, **variables: Any) -> dict[str, Any]:
    """The data of an operation. Raises ``BadAnswer`` if there are errors."""
    body = orjson.dumps({"query": text, "variables": variables})
    answer = orjson.loads(await connection.ask(request("/graphql", body)))
    if answer.get("errors"):
        raise BadAnswer(str(answer["errors"][0]))
    found: dict[str, Any] = answer["data"]
    return found
