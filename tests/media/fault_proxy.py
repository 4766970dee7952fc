"""A proxy in front of an HTTP server that does to requests what networks and busy stores do.

It passes heads on unchanged, Host included, so that signatures stay good: clients are given the
proxy's address, and the server verifies the header that they sent.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from enum import Enum
from typing import Final

from tests.ports import free_port

_MAX_HEAD_BYTES: Final = 64 * 1_024
_BLOCK_BYTES: Final = 64 * 1_024


class Fault(Enum):
    """What becomes of one request."""

    NONE = "it is passed on"
    SLOW_DOWN = "it is answered with 503 and never reaches the server"
    NOT_IMPLEMENTED = "it is answered with 501 and never reaches the server"
    RESET = "its connection is reset before it reaches the server"
    LOST_ANSWER = "the server does it, but the connection is reset before the answer"
    CUT = "the connection is reset in the middle of the answer"
    SILENCE = "it is never answered"


class FaultProxy:
    """One listening proxy. Faults are taken from ``queued`` first, then from ``choose``."""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()
        self.port = 0
        self.queued: deque[Fault] = deque()
        self.choose: Callable[[str], Fault] = lambda request: Fault.NONE
        self.delay_seconds = 0.0
        self.let_through = asyncio.Event()
        """Requests wait until it is set, as it is at first."""
        self.let_through.set()
        self.waiting = 0
        """Requests that wait now."""
        self.requests: list[str] = []
        """The first line of every request, those that failed included."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def fail_at_random(self, rate: float, seed: int, *faults: Fault) -> None:
        """Let about ``rate`` of the requests meet one of ``faults``."""
        chance = random.Random(seed)
        self.choose = lambda request: (
            chance.choice(faults) if chance.random() < rate else Fault.NONE
        )

    def always(self, fault: Fault) -> None:
        self.choose = lambda request: fault

    async def start(self) -> None:
        """Listen; after ``stop`` again on the same port."""
        self.port = self.port or free_port()
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", self.port, limit=_MAX_HEAD_BYTES
        )

    async def stop(self) -> None:
        """Refuse connections and drop those that are open, as a server that has died does."""
        if self._server is not None:
            self._server.close()
            for task in set(self._open):
                task.cancel()
            await asyncio.gather(*self._open, return_exceptions=True)
            await self._server.wait_closed()
            self._server = None

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._serve(reader, writer)
        finally:
            self._open.discard(task)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        request = head.partition(b"\r\n")[0].decode("latin-1")
        self.requests.append(request)
        fault = self.queued.popleft() if self.queued else self.choose(request)
        await asyncio.sleep(self.delay_seconds)
        self.waiting += 1
        await self.let_through.wait()
        self.waiting -= 1
        match fault:
            case Fault.SLOW_DOWN:
                await _refuse(reader, writer, "503 Slow Down", "SlowDown")
            case Fault.NOT_IMPLEMENTED:
                await _refuse(reader, writer, "501 Not Implemented", "NotImplemented")
            case Fault.RESET:
                _reset(writer)
            case Fault.SILENCE:
                await asyncio.sleep(3_600)
            case _:
                await self._pass_on(head, reader, writer, fault)

    async def _pass_on(
        self,
        head: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        fault: Fault,
    ) -> None:
        upstream, to_upstream = await asyncio.open_connection(*self._upstream)
        try:
            to_upstream.write(_closing(head))
            sending = asyncio.create_task(_pump(reader, to_upstream))
            try:
                await _pump_answer(upstream, writer, fault)
            finally:
                sending.cancel()
                with suppress(asyncio.CancelledError, OSError):
                    await sending
        finally:
            to_upstream.transport.abort()


def _closing(head: bytes) -> bytes:
    """The head with a request for the connection's end: one connection carries one request."""
    lines = head[:-4].split(b"\r\n")
    kept = [line for line in lines if not line.lower().startswith(b"connection:")]
    return b"\r\n".join([*kept, b"Connection: close", b"", b""])


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while block := await reader.read(_BLOCK_BYTES):
        writer.write(block)
        await writer.drain()


async def _pump_answer(
    upstream: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Fault
) -> None:
    if fault is Fault.NONE:
        await _pump(upstream, writer)
        writer.write_eof()
        await writer.drain()
        # The client has the whole answer once it closes its side too, or a moment later.
        writer.close()
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(writer.wait_closed(), 1)
        return
    answer = await upstream.read()
    if fault is Fault.CUT:
        head_end = answer.find(b"\r\n\r\n") + 4
        writer.write(answer[: head_end + (len(answer) - head_end) // 2])
        await writer.drain()
        await asyncio.sleep(0.05)  # a reset overtakes what has not been read yet
    _reset(writer)


async def _refuse(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, status: str, code: str
) -> None:
    body = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code></Error>"
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: application/xml\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    writer.write((head + body).encode())
    writer.write_eof()
    await writer.drain()
    # Bytes of the request that nobody reads would turn the close into a reset.
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(reader.read(-1), 0.2)


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@asynccontextmanager
async def fault_proxy(host: str, port: int) -> AsyncIterator[FaultProxy]:
    """A proxy in front of ``host``:``port`` that lets everything through at first."""
    proxy = FaultProxy(host, port)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
