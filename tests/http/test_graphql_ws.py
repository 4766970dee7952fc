"""GraphQL over WebSocket: the protocol ``graphql-transport-ws``, kept and broken."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from tests.catalog import PATIENCE_SECONDS
from tests.gql import Data
from tests.http.graphql_server import READS, TRIVIAL, GraphQLServer, eventually, graphql_server
from tests.http.graphql_ws_client import ADDED, FOLLOW, initialised, next_of, opened
from tests.impatience import impatient

MAX_BYTES = 100_000
OPERATIONS = 5


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GraphQLServer]:
    with graphql_server(
        tmp_path_factory.mktemp("catalog"),
        max_subscriptions_per_connection=OPERATIONS,
        max_request_bytes=MAX_BYTES,
        cors_origins=("https://ui.example.com",),
    ) as server:
        yield server


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
        give_up = time.monotonic() + PATIENCE_SECONDS
        with suppress(ConnectionClosed):
            while time.monotonic() < give_up:  # pings do not put it off
                pinging.send({"type": "ping"})
                assert pinging.receive() == {"type": "pong"}
        assert pinging.closed() == (4408, "Connection initialisation timeout")


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
        with initialised(server) as client, impatient(server.app):
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
        with impatient(server.app):
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
