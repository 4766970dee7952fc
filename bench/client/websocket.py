"""A subscriber over a WebSocket: hears text frames and notes when they came."""

from __future__ import annotations

import asyncio
import base64
import os
import time
from collections.abc import Callable
from typing import Any, cast

import orjson

_TEXT, _CLOSE, _PING, _PONG = 0x1, 0x8, 0x9, 0xA
_END = b"\r\n\r\n"

Heard = Callable[[bytes, int], None]
"""Called with each text and the wall clock in microseconds when it arrived."""


class WebSocket(asyncio.Protocol):
    """The client's side of one connection, for servers that do not split messages."""

    def __init__(self, heard: Heard) -> None:
        self._heard = heard
        self._transport: asyncio.Transport | None = None
        self._got = bytearray()
        self._upgraded = False
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @classmethod
    async def open(cls, port: int, heard: Heard) -> WebSocket:
        """Connect and wait for the upgrade."""
        loop = asyncio.get_running_loop()
        _, socket = await loop.create_connection(lambda: cls(heard), "127.0.0.1", port)
        await socket.ready
        return socket

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not inherit from asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        key = base64.b64encode(os.urandom(16)).decode()
        self._transport.write(
            "GET /graphql HTTP/1.1\r\nhost: 127.0.0.1\r\nupgrade: websocket\r\n"
            f"connection: upgrade\r\nsec-websocket-key: {key}\r\nsec-websocket-version: 13\r\n"
            "sec-websocket-protocol: graphql-transport-ws\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        now_us = time.time_ns() // 1000
        self._got += data
        if not self._upgraded:
            end = self._got.find(_END)
            if end < 0:
                return
            if not self._got.startswith(b"HTTP/1.1 101"):
                refusal = bytes(self._got[:500]).decode("latin-1")
                self.ready.set_exception(ConnectionError(refusal))
                return
            del self._got[: end + len(_END)]
            self._upgraded = True
            self.ready.set_result(None)
        while (frame := self._next_frame()) is not None:
            kind, payload = frame
            if kind == _PING:
                self._send(_PONG, payload)
            elif kind == _TEXT:
                self._heard(payload, now_us)

    def send(self, message: dict[str, Any]) -> None:
        """Send a JSON message."""
        self._send(_TEXT, orjson.dumps(message))

    def close(self) -> None:
        """Say goodbye and hang up."""
        self._send(_CLOSE, b"\x03\xe8")
        if self._transport is not None:
            self._transport.close()

    def _next_frame(self) -> tuple[int, bytes] | None:
        got = self._got
        if len(got) < 2:
            return None
        size, at = got[1] & 0x7F, 2
        if size >= 126:
            at += 2 if size == 126 else 8
            size = int.from_bytes(got[2:at], "big")
        if len(got) < at + size:
            return None
        kind, payload = got[0] & 0x0F, bytes(got[at : at + size])
        del got[: at + size]
        return kind, payload

    def _send(self, kind: int, payload: bytes) -> None:
        assert self._transport is not None
        size = len(payload)
        head = bytes([0x80 | kind])
        head += bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
        # Clients must mask; with the mask 0 the payload stays as it is.
        self._transport.write(head + bytes(4) + payload)
