"""HTTP/1.1 as far as the protocol needs it: requests with bodies on every method."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any
from urllib.parse import unquote, unquote_plus

from .errors import bad_request

_REASONS = {
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    409: "Conflict",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    507: "Insufficient Storage",
}
_SMALL = 256 * 1024


@dataclass
class Request:
    """One RPC as it arrived; header names are lower case."""

    method: str
    path: list[str]
    command: str
    params: dict[str, str]
    headers: dict[str, str]
    body: bytes
    keep_alive: bool

    @property
    def bucket(self) -> str:
        """The first path element."""
        return self.path[0] if self.path else ""

    @property
    def schema(self) -> str:
        """The schema of a table command: everything between bucket and table."""
        return "/".join(self.path[1:-1])

    @property
    def table(self) -> str:
        """The table of a table command: the last path element."""
        return self.path[-1] if len(self.path) > 2 else ""

    def flag(self, name: str) -> bool:
        """Whether a header says true."""
        return self.headers.get(name, "").lower() == "true"

    def number(self, name: str, default: int) -> int:
        """A header as an integer; RpcError 400 when it is none."""
        try:
            return int(self.headers.get(name, default))
        except ValueError:
            raise bad_request(f"{name} must be an integer") from None


@dataclass
class Reply:
    """What goes back; ``body`` may be many buffers that are not copied unless small."""

    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: Sequence[Any] = ()
    chunked: bool = False
    content_type: str = "application/octet-stream"

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return sum(memoryview(part).nbytes for part in self.body)


class Incomplete(Exception):
    """The client closed the connection between or inside requests."""


class Stream:
    """Buffered reading of requests from one connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = bytearray()

    def _fill(self) -> None:
        data = self._connection.recv(262_144)
        if not data:
            raise Incomplete
        self._buffer += data

    def _until(self, mark: bytes) -> bytes:
        start = 0
        while (end := self._buffer.find(mark, start)) < 0:
            start = max(0, len(self._buffer) - len(mark))
            self._fill()
        return self._take(end, len(mark))

    def _take(self, size: int, skip: int = 0) -> bytes:
        while len(self._buffer) < size + skip:
            self._fill()
        taken = bytes(self._buffer[:size])
        del self._buffer[: size + skip]
        return taken

    def read(self) -> Request:
        """The next request; Incomplete when there is none."""
        head = self._until(b"\r\n\r\n").decode("latin-1")
        first, _, rest = head.partition("\r\n")
        method, target, version = first.split(" ", 2)
        headers = {}
        for line in rest.split("\r\n"):
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        if headers.get("expect", "").lower() == "100-continue":
            self._connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        path, _, query = target.partition("?")
        items = query.split("&") if query else []
        command = items[0] if items and "=" not in items[0] else ""
        params = {}
        for item in items:
            key, found, value = item.partition("=")
            if found:
                params[key] = unquote_plus(value)
        return Request(
            method,
            [unquote(part) for part in path.split("/") if part],
            command,
            params,
            headers,
            self._body(headers),
            version == "HTTP/1.1" and headers.get("connection", "").lower() != "close",
        )

    def _body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            parts = []
            while size := int(self._until(b"\r\n").split(b";")[0], 16):
                parts.append(self._take(size, 2))
            self._until(b"\r\n")
            return b"".join(parts)
        return self._take(int(headers.get("content-length") or 0))


def _date(offset: float, cache: dict[int, str]) -> str:
    second = int(time.time() + offset)
    if second not in cache:
        cache.clear()
        cache[second] = formatdate(second, usegmt=True)
    return cache[second]


class Sender:
    """Writes replies of one server."""

    def __init__(self) -> None:
        self._dates: dict[int, str] = {}

    def head(self, reply: Reply, version: str, clock_offset: float, keep_alive: bool) -> bytes:
        """Status line and headers."""
        lines = [
            f"HTTP/1.1 {reply.status} {_REASONS.get(reply.status, 'Unknown')}",
            f"Server: vast {version}",
            f"Date: {_date(clock_offset, self._dates)}",
            f"Content-Type: {reply.content_type}",
            "Transfer-Encoding: chunked" if reply.chunked else f"Content-Length: {reply.size}",
            f"Connection: {'keep-alive' if keep_alive else 'close'}",
        ]
        lines += [f"{name}: {value}" for name, value in reply.headers]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def drip(self, connection: socket.socket, head: bytes, reply: Reply, seconds: float) -> None:
        """Send a reply whose body comes byte by byte."""
        connection.sendall(head)
        for byte in b"".join(memoryview(part).cast("B") for part in reply.body):
            connection.sendall(b"1\r\n%c\r\n" % byte if reply.chunked else bytes([byte]))
            time.sleep(seconds)
        if reply.chunked:
            connection.sendall(b"0\r\n\r\n")

    def send(
        self, connection: socket.socket, head: bytes, reply: Reply, cut: int | None = None
    ) -> int:
        """Send a reply, or only the first ``cut`` bytes of its body; return the bytes sent.

        Small answers are one write: with several, delayed acknowledgements would cost 40 ms.
        """
        parts: list[bytes | memoryview] = [head]
        body = [memoryview(part).cast("B") for part in reply.body]
        size = sum(part.nbytes for part in body)
        if reply.chunked and size:
            parts.append(f"{size:x}\r\n".encode())
        parts += body if cut is None else [b"".join(body)[:cut]]
        if reply.chunked and cut is None:
            parts.append(b"\r\n0\r\n\r\n" if size else b"0\r\n\r\n")
        total = sum(len(part) for part in parts)
        if total <= _SMALL:
            connection.sendall(b"".join(parts))
        else:
            for part in parts:
                connection.sendall(part)
        return total
