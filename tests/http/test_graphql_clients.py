"""Clients that others have written, against the real server."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import anyio.to_thread
import pytest
from gql import Client, gql
from gql.transport.aiohttp import AIOHTTPTransport
from gql.transport.async_transport import AsyncTransport
from gql.transport.exceptions import TransportQueryError
from gql.transport.httpx import HTTPXAsyncTransport
from gql.transport.websockets import WebsocketsTransport

from tests.catalog import PATIENCE_SECONDS
from tests.http.graphql_server import GraphQLServer, eventually, graphql_server

INSTALL_SECONDS = 120
HEARTBEAT_SECONDS = 40
EVENTS = 3

SCRIPTS = Path(__file__).with_name("node")
SERVICE = gql("{ service { name apiVersion } }")
PATCH = gql("mutation ($input: PatchFlowInput!) { patchFlow(input: $input) { flow { label } } }")
ADDED = gql("""
subscription ($flow: ID!) { segmentsAdded(flowIds: [$flow]) { segments { timerange } } }
""")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GraphQLServer]:
    with graphql_server(
        tmp_path_factory.mktemp("catalog"), stream_heartbeat=HEARTBEAT_SECONDS
    ) as server:
        yield server


def over_http(server: GraphQLServer) -> AsyncTransport:
    return HTTPXAsyncTransport(f"{server.url}/graphql", timeout=PATIENCE_SECONDS, trust_env=False)


def over_websocket(server: GraphQLServer) -> AsyncTransport:
    patience = int(PATIENCE_SECONDS)
    return WebsocketsTransport(
        server.ws_url,
        connect_timeout=patience,
        ack_timeout=patience,
        connect_args={"proxy": None},
    )


def over_multipart(server: GraphQLServer) -> AsyncTransport:
    return AIOHTTPTransport(f"{server.url}/graphql", timeout=int(PATIENCE_SECONDS))


def client_of(transport: AsyncTransport, **options: Any) -> Client:
    return Client(transport=transport, execute_timeout=PATIENCE_SECONDS, **options)


@asynccontextmanager
async def connected(transport: AsyncTransport) -> AsyncIterator[Any]:
    """A session of a client that has read the schema and checks its operations against it."""
    client = client_of(transport, fetch_schema_from_transport=True)
    async with client as session:
        assert client.schema is not None
        assert client.schema.subscription_type is not None
        yield session


@pytest.mark.parametrize("transport", [over_http, over_websocket])
async def test_gql_runs_queries_and_mutations(server: GraphQLServer, transport: Any) -> None:
    flow_id = server.new_flow()
    async with connected(transport(server)) as session:
        service = (await session.execute(SERVICE))["service"]
        assert service == {"name": "tams-gql", "apiVersion": "8.2"}
        PATCH.variable_values = {"input": {"id": flow_id, "label": "Camera 1"}}
        assert await session.execute(PATCH) == {"patchFlow": {"flow": {"label": "Camera 1"}}}
        PATCH.variable_values = {"input": {"id": "nobody", "label": "x"}}
        with pytest.raises(TransportQueryError) as refused:
            await session.execute(PATCH)
    [error] = refused.value.errors or []
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "field": "input.id"}


@pytest.mark.parametrize("transport", [over_websocket, over_multipart])
async def test_gql_follows_a_subscription(server: GraphQLServer, transport: Any) -> None:
    flow_id = server.new_flow()
    before = server.subscribers
    ADDED.variable_values = {"flow": flow_id}
    async with client_of(transport(server)) as session:
        loop = asyncio.get_running_loop()
        started = loop.time()
        events = session.subscribe(ADDED)
        feeder = Thread(target=feed, args=(server, flow_id, before + 1))
        feeder.start()
        received = [await anext(events) for _ in range(EVENTS)]
        await events.aclose()
        # Each arrives when it is sent, not with what comes next.
        assert loop.time() - started < HEARTBEAT_SECONDS
    await anyio.to_thread.run_sync(feeder.join)
    assert received == [
        {"segmentsAdded": {"segments": [{"timerange": timerange}]}} for timerange in seconds()
    ]
    await anyio.to_thread.run_sync(eventually, lambda: server.subscribers == before)


def seconds() -> list[str]:
    return [f"[{second}:0_{second + 1}:0)" for second in range(EVENTS)]


def feed(server: GraphQLServer, flow_id: str, subscribers: int) -> None:
    """Register a segment a time, as soon as the subscription is there."""
    eventually(lambda: server.subscribers == subscribers)
    for timerange in seconds():
        server.register(flow_id, timerange)


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts beside the packages that they use."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed")
    folder = tmp_path_factory.mktemp("node")
    shutil.copytree(SCRIPTS, folder, dirs_exist_ok=True)
    quietly = [
        "--no-audit",
        "--no-fund",
        "--ignore-scripts",
        "--fetch-retries=1",
        "--fetch-retry-mintimeout=1000",
    ]
    command = ["npm", "install", *quietly]
    try:
        done = subprocess.run(
            command, cwd=folder, timeout=INSTALL_SECONDS, capture_output=True, text=True
        )
    except subprocess.TimeoutExpired:
        pytest.skip("npm could not install the clients in time")
    if done.returncode != 0:
        pytest.skip(f"npm could not install the clients: {done.stderr.strip()[-200:]}")
    return folder


def node(scripts: Path, script: str, *arguments: str) -> list[Any]:
    """The lines of JSON that a script prints."""
    done = subprocess.run(
        ["node", script, *arguments],
        cwd=scripts,
        timeout=PATIENCE_SECONDS,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(("transport", "package"), [("ws", "graphql-ws"), ("sse", "graphql-sse")])
def test_the_reference_clients_run_everything(
    server: GraphQLServer, scripts: Path, transport: str, package: str
) -> None:
    flow_id = server.new_flow()
    before = server.subscribers
    url = server.ws_url if transport == "ws" else f"{server.url}/graphql"
    feeder = Thread(target=feed, args=(server, flow_id, before + 1))
    feeder.start()
    query, mutation, refused, *events = node(
        scripts, "subscribe.mjs", transport, url, flow_id, str(EVENTS)
    )
    feeder.join()
    assert query == {"data": {"__typename": "Query"}}
    assert mutation == {"data": {"patchFlow": {"flow": {"label": f"By {transport}"}}}}
    assert refused["errors"][0]["message"] == "Cannot query field 'nothing' on type 'Query'."
    assert events == [
        {"data": {"segmentsAdded": {"segments": [{"timerange": timerange}]}}}
        for timerange in seconds()
    ]
    eventually(lambda: server.subscribers == before)


def test_the_audits_of_graphql_over_http_pass(server: GraphQLServer, scripts: Path) -> None:
    [results] = node(scripts, "audit.mjs", f"{server.url}/graphql")
    found = Counter(result["name"].split()[0] for result in results)
    assert [result for result in results if result["status"] != "ok"] == []
    assert found == {"MUST": 13, "SHOULD": 23, "MAY": 25}
