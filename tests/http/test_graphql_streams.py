"""Subscriptions over HTTP: server-sent events and multipart answers."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import pytest
from starlette.types import Message

from tams_gql.http.graphql.refusal import Refusal
from tams_gql.http.graphql.streams import StreamAnswer
from tests.gql import Data
from tests.http.graphql_server import (
    GRAPHQL_JSON,
    JSON,
    TRIVIAL,
    GraphQLServer,
    eventually,
    graphql_server,
)
from tests.http.graphql_stream_client import EVENTS, PARTS, Events, Parts, gotten, posted
from tests.http.graphql_ws_client import FOLLOW
from tests.waiting import PATIENCE_SECONDS, until

ADDED = """
subscription Added($flow: ID!, $after: String) {
  segmentsAdded(flowIds: [$flow], after: $after) { cursor segments { timerange flow { id } } }
}
"""
LONG = "a: description b: description c: description"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GraphQLServer]:
    with graphql_server(tmp_path_factory.mktemp("catalog"), stream_heartbeat=1) as server:
        yield server


def added(flow_id: str, timerange: str) -> list[Data]:
    return [{"timerange": timerange, "flow": {"id": flow_id}}]


@pytest.mark.parametrize("opened", [posted, gotten])
def test_events_arrive_as_they_are_committed(server: GraphQLServer, opened: Any) -> None:
    flow_id = server.new_flow()
    before = server.subscribers
    with opened(server, EVENTS, ADDED, flow=flow_id) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["cache-control"] == "no-store, no-transform"
        assert answer.headers["x-accel-buffering"] == "no"
        eventually(lambda: server.subscribers == before + 1)
        events = Events(answer)
        for timerange in ("[0:0_1:0)", "[1:0_2:0)"):
            server.register(flow_id, timerange)
            name, data = events.next()
            assert name == "next"
            assert data["data"]["segmentsAdded"]["segments"] == added(flow_id, timerange)
    eventually(lambda: server.subscribers == before)


@pytest.mark.parametrize("opened", [posted, gotten])
def test_parts_arrive_as_they_are_committed(server: GraphQLServer, opened: Any) -> None:
    flow_id = server.new_flow()
    before = server.subscribers
    with opened(server, f"{PARTS}, {JSON}", ADDED, flow=flow_id) as answer:
        assert answer.status_code == 200
        expected = "multipart/mixed; boundary=graphql; subscriptionSpec=1.0"
        assert answer.headers["content-type"] == expected
        eventually(lambda: server.subscribers == before + 1)
        parts = Parts(answer)
        for timerange in ("[0:0_1:0)", "[1:0_2:0)"):
            server.register(flow_id, timerange)
            body = parts.next()
            assert body.keys() == {"payload"}
            segments = body["payload"]["data"]["segmentsAdded"]["segments"]
            assert segments == added(flow_id, timerange)
    eventually(lambda: server.subscribers == before)


def test_a_stream_can_go_on_where_another_ended(server: GraphQLServer) -> None:
    flow_id = server.new_flow()
    before = server.subscribers
    with posted(server, EVENTS, ADDED, flow=flow_id) as answer:
        eventually(lambda: server.subscribers == before + 1)
        server.register(flow_id, "[0:0_1:0)")
        cursor = Events(answer).next()[1]["data"]["segmentsAdded"]["cursor"]
    server.register(flow_id, "[1:0_2:0)")
    with posted(server, EVENTS, ADDED, flow=flow_id, after=cursor) as answer:
        data = Events(answer).next()[1]["data"]
    assert data["segmentsAdded"]["segments"] == added(flow_id, "[1:0_2:0)")


def test_a_silent_stream_shows_that_it_lives(server: GraphQLServer) -> None:
    flow_id = server.new_flow()
    begin = b"--graphql\r\n"
    beat = (
        b"Content-Type: application/json; charset=utf-8\r\nContent-Length: 2\r\n\r\n"
        b"{}\r\n--graphql\r\n"
    )
    for accept, expected in ((EVENTS, b":\n\n" * 2), (PARTS, begin + beat)):
        received = b""
        with posted(server, accept, ADDED, flow=flow_id) as answer:
            chunks = answer.iter_bytes()  # as the network cuts them
            while len(received) < len(expected):
                received += next(chunks)
        assert received[: len(expected)] == expected


@pytest.mark.parametrize("query", [TRIVIAL, "mutation { __typename }"])
def test_single_responses_come_as_a_stream_of_one(server: GraphQLServer, query: str) -> None:
    root = "Mutation" if query.startswith("mutation") else "Query"
    expected = {"data": {"__typename": root}}
    with posted(server, EVENTS, query) as answer:
        events = Events(answer)
        assert events.next() == ("next", expected)
        assert events.next() == ("complete", None)
        with pytest.raises(EOFError):
            events.next()
    with posted(server, PARTS, query) as answer:
        parts = Parts(answer)
        assert parts.next() == {"payload": expected}
        with pytest.raises(EOFError):
            parts.next()


def test_a_query_is_plain_json_where_that_is_as_welcome(server: GraphQLServer) -> None:
    answer = server.ask(TRIVIAL, f"{EVENTS}, {PARTS}, {GRAPHQL_JSON}")
    assert answer.headers["content-type"] == f"{GRAPHQL_JSON}; charset=utf-8"


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("{", "Syntax Error: Expected Name, found <EOF>."),
        ("{ nothing }", "Cannot query field 'nothing' on type 'Query'."),
        ("subscription { no }", "Cannot query field 'no' on type 'Subscription'."),
    ],
)
@pytest.mark.parametrize("opened", [posted, gotten])
def test_what_is_not_run_is_told_in_the_stream(
    server: GraphQLServer, opened: Any, query: str, message: str
) -> None:
    with opened(server, EVENTS, query) as answer:
        events = Events(answer)
        assert answer.status_code == 200
        name, body = events.next()
        assert name == "next"
        assert body.keys() == {"errors"}
        [error] = body["errors"]
        assert (error["message"], error["extensions"]) == (message, {"code": "BAD_USER_INPUT"})
        assert events.next() == ("complete", None)
    with opened(server, PARTS, query) as answer:
        parts = Parts(answer)
        assert parts.next() == {"payload": None, **body}
        with pytest.raises(EOFError):
            parts.next()


def test_a_bad_cursor_ends_the_stream_with_its_error(server: GraphQLServer) -> None:
    with posted(server, EVENTS, ADDED, flow=server.new_flow(), after="nonsense") as answer:
        events = Events(answer)
        [error] = events.next()[1]["errors"]
        assert error["extensions"]["field"] == "after"
        assert events.next() == ("complete", None)


@pytest.mark.parametrize("accept", [JSON, GRAPHQL_JSON, "*/*"])
def test_a_subscription_without_a_stream_is_406(server: GraphQLServer, accept: str) -> None:
    answer = server.ask(FOLLOW, accept)
    [error] = answer.json()["errors"]
    assert answer.status_code == 406
    assert error["message"] == (
        "A subscription is answered with text/event-stream or "
        "multipart/mixed;subscriptionSpec=1.0, or over a WebSocket"
    )


@pytest.mark.parametrize("accept", [EVENTS, PARTS])
def test_a_request_that_is_none_is_refused_with_a_status(
    server: GraphQLServer, accept: str
) -> None:
    assert server.send(b"{", accept).status_code == 400
    assert server.send({"query": FOLLOW}, accept, "text/plain").status_code == 415


def test_a_client_that_is_gone_without_a_word_releases_everything(server: GraphQLServer) -> None:
    before = server.subscribers
    body = json.dumps({"query": FOLLOW}).encode()
    clients = []
    for _ in range(20):
        client = socket.create_connection(("127.0.0.1", server.port))
        client.sendall(
            b"POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Accept: text/event-stream\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        clients.append(client)
    eventually(lambda: server.subscribers == before + 20)
    for client in clients:
        client.close()
    eventually(lambda: server.subscribers == before)


def test_a_client_that_does_not_read_holds_nobody_up_and_costs_little(
    server: GraphQLServer,
) -> None:
    flow_id = server.new_flow(description="x" * 16_000)
    before = server.subscribers
    query = f"""subscription {{
      segmentsAdded(flowIds: ["{flow_id}"]) {{ segments {{ flow {{ {LONG} }} }} }}
    }}"""
    body = json.dumps({"query": query}).encode()
    lazy = socket.socket()
    lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    lazy.connect(("127.0.0.1", server.port))
    with lazy:
        lazy.sendall(
            b"POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Accept: text/event-stream\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        eventually(lambda: server.subscribers == before + 1)
        with posted(server, EVENTS, ADDED, flow=flow_id) as answer:
            eventually(lambda: server.subscribers == before + 2)
            events = Events(answer)
            for start in range(0, 400, 10):
                ranges = [f"[{n}:0_{n + 1}:0)" for n in range(start, start + 10)]
                server.register(flow_id, *ranges)
                segments = events.next()[1]["data"]["segmentsAdded"]["segments"]
                assert [segment["timerange"] for segment in segments] == ranges
        # 40 events of half a megabyte were due.
        eventually(lambda: server.unread_bytes > 0)
        time.sleep(0.2)
        assert server.unread_bytes < 1_000_000
    eventually(lambda: server.subscribers == before)


class _Receiver:
    """The ASGI server's side of one answer."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.gone = asyncio.Event()

    async def receive(self) -> Message:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    @property
    def ended(self) -> bool:
        return self.sent[-1].get("more_body") is False


class _Endless:
    """Outcomes that never come, and whether that was ended in good order."""

    begun = closed = False

    async def outcomes(self) -> AsyncGenerator[Refusal, None]:
        self.begun = True
        try:
            await asyncio.Event().wait()
            yield Refusal({})
        finally:
            await asyncio.sleep(0)  # giving back what is used takes a moment
            self.closed = True


@pytest.mark.parametrize(
    ("accept", "end"),
    [
        ("text/event-stream", b":\n\n"),
        (
            "multipart/mixed",
            b'{"payload":null,"errors":[{"message":"The server is stopping",'
            b'"extensions":{"code":"UNAVAILABLE"}}]}\r\n--graphql\r\n--graphql--\r\n',
        ),
    ],
)
async def test_a_stopping_server_ends_its_streams(accept: Any, end: bytes) -> None:
    endless, receiver, stopping = _Endless(), _Receiver(), asyncio.Event()
    answer = StreamAnswer(endless.outcomes(), accept, stopping=stopping, heartbeat_seconds=600)
    task = asyncio.create_task(answer({}, receiver.receive, receiver.send))
    await until(lambda: endless.begun)
    stopping.set()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await task
    assert (endless.closed, receiver.ended) == (True, True)
    assert receiver.body.endswith(end)
    assert b"complete" not in receiver.body


@pytest.mark.parametrize("leave", ["disconnect", "cancel"])
async def test_outcomes_are_closed_before_the_request_ends(leave: str) -> None:
    endless, receiver = _Endless(), _Receiver()
    answer = StreamAnswer(
        endless.outcomes(), "text/event-stream", stopping=asyncio.Event(), heartbeat_seconds=60
    )
    task = asyncio.create_task(answer({}, receiver.receive, receiver.send))
    await until(lambda: endless.begun)
    if leave == "cancel":
        task.cancel()
    else:
        receiver.gone.set()
    await asyncio.gather(task, return_exceptions=True)
    assert endless.closed
    assert task.cancelled() is (leave == "cancel")
