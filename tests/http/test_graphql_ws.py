"""GraphQL over WebSocket: the protocol ``graphql-transport-ws``, kept and broken."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from starlette.types import Message
from starlette.websockets import WebSocket
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tams_gql.http.graphql.params import Params
from tams_gql.http.graphql.refusal import Refusal
from tams_gql.http.graphql.websocket import Connection
from tests.catalog import PATIENCE_SECONDS
from tests.gql import Data
from tests.http.graphql_server import READS, TRIVIAL, GraphQLServer, eventually, graphql_server

FOLLOW = "subscription { events { cursor } }"
ADDED = (
    "subscription Added($flow: ID!) { segmentsAdded(flowIds: [$flow]) { segments { timerange } } }"
)
MAX_BYTES = 100_000
OPERATIONS = 5


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GraphQLServer]:
    with graphql_server(
        tmp_path_factory.mktemp("catalog"),
        max_subscriptions_per_connection=OPERATIONS,
        max_request_bytes=MAX_BYTES,
        request_timeout=1,
        cors_origins=("https://ui.example.com",),
    ) as server:
        yield server


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
    options = {"subprotocols": [Subprotocol("graphql-transport-ws")], "proxy": None, **options}
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


@pytest.mark.parametrize("init", [{}, {"payload": None}, {"payload": {"token": "x"}}])
def test_an_initialised_connection_runs_operations(server: GraphQLServer, init: Data) -> None:
    with opened(server) as client:
        client.send({"type": "connection_init", **init})
        assert client.receive() == {"type": "connection_ack"}
        for query, root in ((TRIVIAL, "Query"), ("mutation { __typename }", "Mutation")):
            client.subscribe(query, "same id")
            assert client.receive() == next_of("same id", {"__typename": root})
            assert client.receive() == {"id": "same id", "type": "complete"}


def test_events_arrive_until_the_client_has_enough(server: GraphQLServer) -> None:
    flow_id = server.new_flow()
    before = server.subscribers
    with initialised(server) as client:
        client.subscribe(ADDED, variables={"flow": flow_id}, operationName="Added", extensions={})
        eventually(lambda: server.subscribers == before + 1)
        for timerange in ("[0:0_1:0)", "[1:0_2:0)"):
            server.register(flow_id, timerange)
            data = {"segmentsAdded": {"segments": [{"timerange": timerange}]}}
            assert client.receive() == next_of("1", data)
        client.send({"id": "1", "type": "complete"})
        eventually(lambda: server.subscribers == before)
        client.subscribe(TRIVIAL)
        assert client.receive() == next_of("1", {"__typename": "Query"})


def test_a_connection_that_ends_releases_its_subscriptions(server: GraphQLServer) -> None:
    before = server.subscribers
    with initialised(server) as client:
        for n in range(OPERATIONS):
            client.subscribe(FOLLOW, str(n))
        eventually(lambda: server.subscribers == before + OPERATIONS)
    eventually(lambda: server.subscribers == before)
    with initialised(server) as client:
        client.subscribe(FOLLOW)
        eventually(lambda: server.subscribers == before + 1)
        client.socket.socket.close()
        eventually(lambda: server.subscribers == before)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({"query": "{"}, "Syntax Error: Expected Name, found <EOF>."),
        ({"query": "{ nothing }"}, "Cannot query field 'nothing' on type 'Query'."),
        ({"query": "subscription { no }"}, "Cannot query field 'no' on type 'Subscription'."),
        ({"query": TRIVIAL, "operationName": "X"}, 'Unknown operation named "X".'),
        ({}, "query: the request has no GraphQL document"),
    ],
)
def test_what_is_not_run_is_an_error_of_the_operation_alone(
    server: GraphQLServer, payload: Data, message: str
) -> None:
    with initialised(server) as client:
        client.send({"id": "a", "type": "subscribe", "payload": payload})
        answer = client.receive()
        [error] = answer.pop("payload")
        assert answer == {"id": "a", "type": "error"}
        assert (error["message"], error["extensions"]["code"]) == (message, "BAD_USER_INPUT")
        client.subscribe(TRIVIAL, "a")
        assert client.receive() == next_of("a", {"__typename": "Query"})


def test_a_field_that_fails_is_part_of_the_response(server: GraphQLServer) -> None:
    with initialised(server) as client:
        client.subscribe('{ ok: __typename flow(id: "x") { id } }')
        payload = client.receive()["payload"]
        assert payload["data"] == {"ok": "Query", "flow": None}
        assert payload["errors"][0]["path"] == ["flow"]


def test_pings_are_answered_with_their_payload_before_and_after_init(
    server: GraphQLServer,
) -> None:
    with opened(server) as client:
        client.send({"type": "ping"})
        assert client.receive() == {"type": "pong"}
        client.send({"type": "connection_init"})
        client.receive()
        client.send({"type": "ping", "payload": {"n": 1}})
        client.send({"type": "pong"})
        client.send({"type": "pong", "payload": {}})
        client.send({"type": "ping", "payload": None})
        assert client.receive() == {"type": "pong", "payload": {"n": 1}}
        assert client.receive() == {"type": "pong"}


def test_an_unknown_id_to_complete_is_no_mistake(server: GraphQLServer) -> None:
    with initialised(server) as client:
        client.send({"id": "never", "type": "complete"})
        client.send({"type": "ping"})
        assert client.receive() == {"type": "pong"}


def test_no_operation_before_init_is_4401(server: GraphQLServer) -> None:
    with opened(server) as client:
        client.subscribe(TRIVIAL)
        assert client.closed() == (4401, "Unauthorized")


@pytest.mark.parametrize("protocols", [None, ["graphql-ws"], ["other", "mqtt"]])
def test_another_subprotocol_is_4406(server: GraphQLServer, protocols: Any) -> None:
    # A client that is offered nothing it knows may close first, with its own mistake.
    options: Any = {"subprotocols": None, "additional_headers": {}}
    if protocols:
        options["additional_headers"] = {"Sec-WebSocket-Protocol": ", ".join(protocols)}
    with opened(server, **options) as client:
        assert client.closed() == (4406, "The subprotocol is graphql-transport-ws")


def test_the_known_subprotocol_is_found_among_others(server: GraphQLServer) -> None:
    protocols = [Subprotocol("graphql-ws"), Subprotocol("graphql-transport-ws")]
    with opened(server, subprotocols=protocols) as client:
        assert client.socket.subprotocol == "graphql-transport-ws"


def test_no_init_in_time_is_4408(server: GraphQLServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tams_gql.http.graphql.websocket.INIT_SECONDS", 0.2)
    with opened(server) as silent:
        assert silent.closed() == (4408, "Connection initialisation timeout")
    with opened(server) as pinging:
        started = time.monotonic()
        while time.monotonic() - started < 0.1:
            pinging.send({"type": "ping"})
            assert pinging.receive() == {"type": "pong"}
        assert pinging.closed() == (4408, "Connection initialisation timeout")
    with initialised(server) as client:
        time.sleep(0.3)
        client.subscribe(TRIVIAL)
        assert client.receive() == next_of("1", {"__typename": "Query"})


def test_an_id_in_use_is_4409(server: GraphQLServer) -> None:
    before = server.subscribers
    with initialised(server) as client:
        client.subscribe(FOLLOW, "mine")
        client.subscribe(TRIVIAL, "mine")
        assert client.closed() == (4409, "Subscriber for mine already exists")
    eventually(lambda: server.subscribers == before)


def test_a_long_id_is_cut_in_the_reason(server: GraphQLServer) -> None:
    id = "é" * 200
    with initialised(server) as client:
        client.subscribe(FOLLOW, id)
        client.subscribe(FOLLOW, id)
        code, reason = client.closed()
    assert code == 4409
    assert f"Subscriber for {id}".startswith(reason)
    assert 120 < len(reason.encode()) <= 123


def test_a_second_init_is_4429(server: GraphQLServer) -> None:
    with initialised(server) as client:
        client.send({"type": "connection_init"})
        assert client.closed() == (4429, "Too many initialisation requests")


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("", "The message is not valid JSON"),
        ("{", "The message is not valid JSON"),
        ("NaN", "The message is not valid JSON"),
        (b"{}", "Messages are text"),
        ([], "The message is not an object"),
        ("null", "The message is not an object"),
        ({}, "The message has no type that the protocol knows"),
        ({"type": "start"}, "The message has no type that the protocol knows"),
        ({"type": ["ping"]}, "The message has no type that the protocol knows"),
        ({"type": {}}, "The message has no type that the protocol knows"),
        ({"type": "next", "id": "1"}, "The message has no type that the protocol knows"),
        ({"type": "ping", "payload": 1}, "payload: an object or null is needed"),
        ({"type": "pong", "payload": []}, "payload: an object or null is needed"),
        ({"type": "connection_init", "payload": "x"}, "payload: an object or null is needed"),
        ({"type": "complete"}, "id: a string of 1 to 256 characters is needed"),
        ({"type": "complete", "id": 1}, "id: a string of 1 to 256 characters is needed"),
        ({"type": "subscribe", "id": ""}, "id: a string of 1 to 256 characters is needed"),
        ({"type": "subscribe", "id": "i" * 257}, "id: a string of 1 to 256 characters is needed"),
        ({"type": "subscribe", "id": "1"}, "payload: an object is needed, not null"),
        (
            {"type": "subscribe", "id": "1", "payload": [TRIVIAL]},
            "payload: an object is needed, not an array",
        ),
        (
            {"type": "subscribe", "id": "1", "payload": {"query": 1}},
            "payload.query: a string or null is needed, not a number",
        ),
        (
            {"type": "subscribe", "id": "1", "payload": {"query": TRIVIAL, "variables": "x"}},
            "payload.variables: an object or null is needed, not a string",
        ),
        (
            {"type": "subscribe", "id": "1", "payload": {"query": TRIVIAL, "operationName": {}}},
            "payload.operationName: a string or null is needed, not an object",
        ),
    ],
)
def test_what_is_no_message_is_4400_with_the_reason(
    server: GraphQLServer, message: Any, reason: str
) -> None:
    with initialised(server) as client:
        client.send(message)
        assert client.closed() == (4400, reason)


def test_an_operation_too_many_is_refused_by_name(server: GraphQLServer) -> None:
    before = server.subscribers
    with initialised(server) as client:
        for n in range(OPERATIONS):
            client.subscribe(FOLLOW, str(n))
        eventually(lambda: server.subscribers == before + OPERATIONS)
        client.subscribe(TRIVIAL, "more")
        assert client.receive() == {
            "id": "more",
            "type": "error",
            "payload": [
                {
                    "message": f"max_subscriptions_per_connection: {OPERATIONS} operations are "
                    "open on this connection; complete one first",
                    "extensions": {"code": "LIMIT_EXCEEDED", "limit": OPERATIONS},
                }
            ],
        }
        client.send({"id": "0", "type": "complete"})
        client.subscribe(TRIVIAL, "more")
        assert client.receive() == next_of("more", {"__typename": "Query"})
    eventually(lambda: server.subscribers == before)


def test_a_message_that_is_too_large_ends_the_connection_with_1009(
    server: GraphQLServer,
) -> None:
    with initialised(server) as client:
        client.subscribe(TRIVIAL + "#" * MAX_BYTES)
        assert client.closed()[0] == 1009


def test_a_query_that_takes_too_long_is_ended(server: GraphQLServer) -> None:
    server.gate.is_open = False
    try:
        with initialised(server) as client:
            client.subscribe(READS)
            answer = client.receive()
    finally:
        server.gate.is_open = True
    assert answer["type"] == "error"
    assert answer["payload"] == [
        {
            "message": "request_timeout: the operation took longer than 1 seconds",
            "extensions": {"code": "LIMIT_EXCEEDED", "limit": 1},
        }
    ]
    eventually(lambda: server.gate.held == 0)


def test_a_subscription_outlives_the_time_of_a_query(server: GraphQLServer) -> None:
    flow_id = server.new_flow()
    before = server.subscribers
    with initialised(server) as client:
        client.subscribe(ADDED, variables={"flow": flow_id})
        eventually(lambda: server.subscribers == before + 1)
        time.sleep(1.2)
        server.register(flow_id, "[0:0_1:0)")
        assert client.receive()["type"] == "next"
    eventually(lambda: server.subscribers == before)


def test_a_query_that_the_client_gave_up_gets_no_answer(server: GraphQLServer) -> None:
    server.gate.is_open = False
    try:
        with initialised(server) as client:
            client.subscribe(READS, "slow")
            eventually(lambda: server.gate.held == 1)
            client.send({"id": "slow", "type": "complete"})
            eventually(lambda: server.gate.held == 0)
            server.gate.is_open = True
            client.subscribe(TRIVIAL, "slow")
            assert client.receive() == next_of("slow", {"__typename": "Query"})
    finally:
        server.gate.is_open = True


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (None, True),
        ("https://ui.example.com", True),
        ("own", True),
        ("https://evil.example.com", False),
        ("http://127.0.0.1:1", False),
        ("null", False),
        ("https://[", False),
    ],
)
def test_only_pages_of_allowed_origins_may_connect(
    server: GraphQLServer, origin: str | None, allowed: bool
) -> None:
    headers = {} if origin is None else {"Origin": server.url if origin == "own" else origin}
    if allowed:
        with initialised(server, additional_headers=headers):
            return
    with pytest.raises(InvalidStatus) as refused, opened(server, additional_headers=headers):
        pass
    assert refused.value.response.status_code == 403


def test_a_client_that_does_not_read_costs_little(server: GraphQLServer) -> None:
    flow_id = server.new_flow(description="x" * 16_000)
    before = server.subscribers
    query = f"""subscription {{ segmentsAdded(flowIds: ["{flow_id}"]) {{
      segments {{ flow {{ a: description b: description c: description }} }}
    }} }}"""
    with lazy_client(server) as send:
        send({"type": "connection_init"})
        for n in range(OPERATIONS):
            send({"id": str(n), "type": "subscribe", "payload": {"query": query}})
        eventually(lambda: server.subscribers == before + OPERATIONS)
        for n in range(40):
            server.register(flow_id, *[f"[{n}:{m}_{n}:{m + 1})" for m in range(10)])
        # 200 events of half a megabyte were due: one may wait for each operation.
        eventually(lambda: server.unread_bytes > 0)
        time.sleep(0.2)
        assert server.unread_bytes < (OPERATIONS + 1) * 600_000
    eventually(lambda: server.subscribers == before)


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

        def send(message: Data) -> None:
            frame = Frame(Opcode.TEXT, json.dumps(message).encode())
            raw.sendall(frame.serialize(mask=True))

        yield send


class _Outcomes:
    """Operations that answer as soon as they are let, and that tell when they have ended."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.ended = 0

    def admit(self, params: Params) -> Params:
        return params

    async def outcomes(self, operation: Params, context: None) -> AsyncGenerator[Refusal, None]:
        try:
            await self.go.wait()
            yield Refusal({"data": None}, executed=True)
        finally:
            self.ended += 1


@pytest.mark.parametrize("answers", [True, False])
async def test_a_connection_that_the_server_has_closed_itself_ends_quietly(
    caplog: pytest.LogCaptureFixture, answers: bool
) -> None:
    received: asyncio.Queue[Message] = asyncio.Queue()
    outcomes, sent = _Outcomes(), list[Message]()

    async def send(message: Message) -> None:
        if closed:
            raise RuntimeError("Unexpected ASGI message, after sending 'websocket.close'")
        sent.append(message)

    def say(message: Data) -> None:
        received.put_nowait({"type": "websocket.receive", "text": json.dumps(message)})

    closed = False
    scope = {"type": "websocket", "subprotocols": ["graphql-transport-ws"], "headers": []}
    socket = WebSocket(scope, received.get, send)
    operations: Any = outcomes
    task = asyncio.create_task(Connection(socket, operations, None, max_operations=9).serve())
    received.put_nowait({"type": "websocket.connect"})
    say({"type": "connection_init"})
    for id in "12":
        say({"type": "subscribe", "id": id, "payload": {"query": TRIVIAL}})
    await asyncio.sleep(0.01)
    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.send"]
    closed = True
    if answers:
        outcomes.go.set()
        await asyncio.sleep(0.01)
    received.put_nowait({"type": "websocket.disconnect", "code": 1009})
    await task
    assert outcomes.ended == 2
    assert caplog.records == []


words = st.sampled_from(
    [
        *("type", "id", "payload", "query", "variables", "operationName", "extensions"),
        *("connection_init", "subscribe", "complete", "ping", "pong", "1", TRIVIAL, FOLLOW),
    ]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=4),
    max_leaves=10,
)
messages = (
    st.fixed_dictionaries(
        {"type": words | values}, optional={"id": words | values, "payload": values}
    )
    | values
)


@given(st.lists(messages, min_size=1, max_size=6))
@example([{"type": "subscribe", "id": {}, "payload": {"query": TRIVIAL}}])
@example([{"type": "subscribe", "id": "1", "payload": {"query": TRIVIAL, "extensions": [1]}}])
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_message_breaks_the_server(server: GraphQLServer, sent: list[Any]) -> None:
    with initialised(server) as client:
        with suppress(ConnectionClosed):
            for message in sent:
                client.send(json.dumps(message))
            client.send({"type": "ping", "payload": {"last": True}})
            while client.receive() != {"type": "pong", "payload": {"last": True}}:
                pass
        client.socket.close()
        assert client.socket.close_code in (1000, 4400, 4409, 4429)
    assert server.errors.messages == []
