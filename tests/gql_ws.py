"""A client of ``graphql-transport-ws`` that can hold many subscriptions on one connection."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from tests.gql import Data, Variables, without_location
from tests.waiting import PATIENCE_SECONDS

TRANSPORT_WS = Subprotocol("graphql-transport-ws")


class Ended(Exception):
    """The server has completed the subscription."""


class Refused(Exception):
    """The server has answered with errors; ``errors`` are without their places in the query."""

    def __init__(self, errors: list[Data]) -> None:
        super().__init__(errors)
        self.errors = [without_location(error) for error in errors]


class Stream:
    """One operation on a connection."""

    def __init__(self, connection: Connection, id: str) -> None:
        self.id = id
        self._connection = connection
        self._messages: asyncio.Queue[Data | ConnectionClosed] = asyncio.Queue()

    def put(self, message: Data | ConnectionClosed) -> None:
        """Take what the server sent for this operation."""
        self._messages.put_nowait(message)

    async def next(self) -> Data:
        """The data of the next event; raises ``Refused``, ``Ended`` or ``ConnectionClosed``."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            message = await self._messages.get()
        if isinstance(message, ConnectionClosed):
            raise message
        if message["type"] == "complete":
            raise Ended
        if message["type"] == "error":
            raise Refused(message["payload"])
        payload: Data = message["payload"]
        if "errors" in payload:
            raise Refused(payload["errors"])
        data: Data = payload["data"]
        return data

    async def take(self, count: int) -> list[Data]:
        """The data of the next events."""
        return [await self.next() for _ in range(count)]

    @property
    def waiting(self) -> int:
        """How many messages have come and were not taken."""
        return self._messages.qsize()

    async def complete(self) -> None:
        """Tell the server that nothing more is wanted."""
        await self._connection.send({"type": "complete", "id": self.id})


class Connection:
    """An initialised connection."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._streams: dict[str, Stream] = {}
        self._others: asyncio.Queue[Data] = asyncio.Queue()
        self._reader = asyncio.create_task(self._read())

    async def send(self, message: object) -> None:
        """Send any JSON."""
        await self._socket.send(json.dumps(message))

    async def subscribe(self, query: str, variables: Variables | None = None) -> Stream:
        """Start an operation; what it answers can be taken from the stream."""
        stream = Stream(self, str(len(self._streams) + 1))
        self._streams[stream.id] = stream
        payload: dict[str, Any] = {"query": query, "variables": variables}
        await self.send({"id": stream.id, "type": "subscribe", "payload": payload})
        return stream

    async def other(self) -> Data:
        """The next message that belongs to no operation."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self._others.get()

    async def close(self) -> None:
        """Close the connection."""
        await self._socket.close()
        await self._reader

    async def _read(self) -> None:
        try:
            while True:
                self._give(json.loads(await self._socket.recv()))
        except ConnectionClosed as closed:
            for stream in self._streams.values():
                stream.put(closed)

    def _give(self, message: Data) -> None:
        stream = self._streams.get(message.get("id", ""))
        if stream is None:
            self._others.put_nowait(message)
        else:
            stream.put(message)


def ws_url(public_url: str) -> str:
    """The WebSocket of a server."""
    return f"ws{public_url.removeprefix('http')}/graphql"


@asynccontextmanager
async def opened(public_url: str, **options: Any) -> AsyncIterator[ClientConnection]:
    """A connection on which nothing has been said yet."""
    async with connect(
        ws_url(public_url),
        subprotocols=[TRANSPORT_WS],
        proxy=None,
        max_size=None,
        open_timeout=PATIENCE_SECONDS,
        **options,
    ) as socket:
        yield socket


@asynccontextmanager
async def connected(public_url: str) -> AsyncIterator[Connection]:
    """An initialised connection."""
    async with opened(public_url) as socket:
        await socket.send('{"type": "connection_init"}')
        assert json.loads(await socket.recv()) == {"type": "connection_ack"}
        connection = Connection(socket)
        try:
            yield connection
        finally:
            await connection.close()
