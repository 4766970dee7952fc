"""Clients of ``graphql-transport-ws`` that say what they are told to say."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.catalog import PATIENCE_SECONDS
from tests.gql import Data
from tests.http.graphql_server import GraphQLServer

FOLLOW = "subscription { events { cursor } }"
ADDED = (
    "subscription Added($flow: ID!) { segmentsAdded(flowIds: [$flow]) { segments { timerange } } }"
)


class Client:
    """One end of a connection, which says what it is told to say."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    def send(self, message: object) -> None:
        """Text and bytes as they are, anything else as JSON."""
        self.socket.send(message if isinstance(message, str | bytes) else json.dumps(message))

    def receive(self) -> Any:
        return json.loads(self.socket.recv(timeout=PATIENCE_SECONDS))

    def subscribe(self, query: str, id: str = "1", **payload: Any) -> None:
        self.send({"id": id, "type": "subscribe", "payload": {"query": query, **payload}})

    def closed(self) -> tuple[int, str]:
        """Code and reason of the server's close, after whatever it says before."""
        with suppress(ConnectionClosed):
            while True:
                self.receive()
        code, reason = self.socket.close_code, self.socket.close_reason
        assert code is not None
        assert reason is not None
        return code, reason


@contextmanager
def opened(server: GraphQLServer, **options: Any) -> Iterator[Client]:
    usual = {"subprotocols": [Subprotocol("graphql-transport-ws")], "proxy": None}
    options = {**usual, "open_timeout": PATIENCE_SECONDS, **options}
    with connect(server.ws_url, **options) as socket:
        yield Client(socket)


@contextmanager
def initialised(server: GraphQLServer, **options: Any) -> Iterator[Client]:
    with opened(server, **options) as client:
        client.send({"type": "connection_init"})
        assert client.receive() == {"type": "connection_ack"}
        yield client


def next_of(id: str, data: Data) -> Data:
    return {"id": id, "type": "next", "payload": {"data": data}}


@contextmanager
def lazy_client(server: GraphQLServer) -> Iterator[Callable[[Data], None]]:
    """A client that never reads, not even into a buffer of a library."""
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.connect(("127.0.0.1", server.port))
        raw.sendall(
            b"GET /graphql HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OTAxMjM0NQ==\r\n"
            b"Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n"
        )
        assert raw.recv(1000).startswith(b"HTTP/1.1 101 ")

        def send(message: Data) -> None:
            frame = Frame(Opcode.TEXT, json.dumps(message).encode())
            raw.sendall(frame.serialize(mask=True))

        yield send
