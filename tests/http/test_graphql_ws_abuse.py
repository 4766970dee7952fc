"""WebSocket clients that send nonsense, that do not read, and connections that the server ends."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from starlette.types import Message
from starlette.websockets import WebSocket
from websockets.exceptions import ConnectionClosed

from tams_gql.http.graphql.params import Params
from tams_gql.http.graphql.refusal import Refusal
from tams_gql.http.graphql.websocket import Connection
from tests.gql import Data
from tests.http.graphql_server import TRIVIAL, GraphQLServer, eventually, graphql_server
from tests.http.graphql_ws_client import FOLLOW, initialised, lazy_client
from tests.waiting import until

OPERATIONS = 5


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GraphQLServer]:
    with graphql_server(
        tmp_path_factory.mktemp("catalog"), max_subscriptions_per_connection=OPERATIONS
    ) as server:
        yield server


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


class _Outcomes:
    """Operations that answer as soon as they are let, and that tell when they have ended."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.begun = 0
        self.ended = 0

    def admit(self, params: Params) -> Params:
        return params

    async def outcomes(self, operation: Params, context: None) -> AsyncGenerator[Refusal, None]:
        self.begun += 1
        try:
            await self.go.wait()
            yield Refusal({"data": None}, executed=True)
        finally:
            self.ended += 1


class _Wire:
    """The ASGI server's side of a connection that has just been initialised."""

    def __init__(self) -> None:
        self.closed = False
        self.sent: list[Message] = []
        self.refused = 0
        self._received: asyncio.Queue[Message] = asyncio.Queue()
        self._received.put_nowait({"type": "websocket.connect"})
        self.say({"type": "connection_init"})

    def say(self, message: Data) -> None:
        self._received.put_nowait({"type": "websocket.receive", "text": json.dumps(message)})

    def disconnect(self, code: int) -> None:
        self._received.put_nowait({"type": "websocket.disconnect", "code": code})

    async def _send(self, message: Message) -> None:
        if self.closed:
            self.refused += 1
            raise RuntimeError("Unexpected ASGI message, after sending 'websocket.close'")
        self.sent.append(message)

    def serve(self, outcomes: Any) -> asyncio.Task[None]:
        scope = {"type": "websocket", "subprotocols": ["graphql-transport-ws"], "headers": []}
        socket = WebSocket(scope, self._received.get, self._send)
        return asyncio.create_task(Connection(socket, outcomes, None, max_operations=9).serve())


@pytest.mark.parametrize("answers", [True, False])
async def test_a_connection_that_the_server_has_closed_itself_ends_quietly(
    caplog: pytest.LogCaptureFixture, answers: bool
) -> None:
    wire, outcomes = _Wire(), _Outcomes()
    task = wire.serve(outcomes)
    for id in "12":
        wire.say({"type": "subscribe", "id": id, "payload": {"query": TRIVIAL}})
    await until(lambda: outcomes.begun == 2)
    assert [message["type"] for message in wire.sent] == ["websocket.accept", "websocket.send"]
    wire.closed = True
    if answers:
        outcomes.go.set()
        await until(lambda: wire.refused == 2)
    wire.disconnect(1009)
    await task
    assert outcomes.ended == 2
    assert caplog.records == []


async def test_one_that_was_initialised_in_time_may_be_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # What it says is there before the server looks, however late that is.
    monkeypatch.setattr("tams_gql.http.graphql.websocket.INIT_SECONDS", 0.05)
    wire, outcomes = _Wire(), _Outcomes()
    task = wire.serve(outcomes)
    await until(lambda: len(wire.sent) == 2)
    await asyncio.sleep(0.2)
    outcomes.go.set()
    wire.say({"type": "subscribe", "id": "1", "payload": {"query": TRIVIAL}})
    await until(lambda: len(wire.sent) == 4)
    wire.disconnect(1000)
    await task
    assert [json.loads(message["text"])["type"] for message in wire.sent[1:]] == [
        *("connection_ack", "next", "complete"),
    ]


def test_a_ping_that_cannot_be_sent_back_is_an_invalid_message(server: GraphQLServer) -> None:
    for depth, answered in ((200, True), (400, False)):
        payload: Any = {"a": None}
        for _ in range(depth):
            payload = {"a": payload}
        with initialised(server) as client:
            client.send({"type": "ping", "payload": payload})
            if answered:
                assert client.receive() == {"type": "pong", "payload": payload}
                continue
            with pytest.raises(ConnectionClosed) as closed:
                client.receive()
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (
                4400,
                "payload: it is nested too deep to be sent back",
            )
    assert server.errors.messages == []


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
