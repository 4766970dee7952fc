"""What becomes of an operation whose client has left."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator

import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Message

from tams_gql.http.graphql import departure
from tams_gql.http.graphql.departure import WhileClientWaits
from tests.http.graphql_server import READS, GraphQLServer, eventually, graphql_server

LABEL = """
mutation Label($input: PatchFlowInput!) { patchFlow(input: $input) { flow { id } } }
"""


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(departure, "UNWATCHED_SECONDS", 0.05)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GraphQLServer]:
    with graphql_server(tmp_path_factory.mktemp("catalog")) as server:
        yield server


def leave(server: GraphQLServer, query: str, **variables: object) -> None:
    """Send an operation and leave while it reads."""
    body = json.dumps({"query": query, "variables": variables}).encode()
    server.gate.is_open = False
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(
            b"POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        eventually(lambda: server.gate.held == 1)


def test_a_query_is_given_up(server: GraphQLServer) -> None:
    try:
        leave(server, READS)
        eventually(lambda: server.gate.held == 0)
        eventually(lambda: server.turns.running == 0)
    finally:
        server.gate.is_open = True
    assert server.ask(READS).status_code == 200


def test_a_mutation_is_carried_out(server: GraphQLServer) -> None:
    flow_id = server.new_flow()
    try:
        leave(server, LABEL, input={"id": flow_id, "label": "Changed"})
    finally:
        server.gate.is_open = True
    read = f'{{ flow(id: "{flow_id}") {{ label }} }}'
    eventually(lambda: server.data(read) == {"flow": {"label": "Changed"}})


class _Client:
    """Says that it has left when it is told to."""

    def __init__(self) -> None:
        self.left = asyncio.Event()

    async def receive(self) -> Message:
        await self.left.wait()
        return {"type": "http.disconnect"}


async def wait_for(client: _Client, seconds: float) -> str:
    with WhileClientWaits(client.receive):
        await asyncio.sleep(seconds)
    return "answered"


async def test_an_answer_in_time_is_given() -> None:
    assert await wait_for(_Client(), 0.1) == "answered"
    gone = _Client()
    gone.left.set()
    assert await wait_for(gone, 0) == "answered"
    assert len(asyncio.all_tasks()) == 1


async def test_leaving_is_told_from_being_cancelled() -> None:
    gone = _Client()
    gone.left.set()
    with pytest.raises(ClientDisconnect):
        await wait_for(gone, 60)
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]
    staying = asyncio.create_task(wait_for(_Client(), 60))
    await asyncio.sleep(0.1)
    staying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await staying


async def test_what_fails_by_itself_fails_so() -> None:
    with pytest.raises(KeyError), WhileClientWaits(_Client().receive):
        raise KeyError
