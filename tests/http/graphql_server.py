"""The real application behind a real socket, in a thread of its own, as GraphQL clients see it."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette

from tams_gql.app import create_app
from tams_gql.context import Services
from tams_gql.http.graphql.turns import Turns
from tams_gql.store.changes import ChangeSet, Committed
from tams_gql.store.port import CatalogStore, ChangeLog, ReadSession
from tests.catalog import PATIENCE_SECONDS, quick_settings
from tests.gql import Data
from tests.impatience import operations_of
from tests.seed import PUT_FLOW, REGISTER, external, flow_input

JSON = "application/json"
GRAPHQL_JSON = "application/graphql-response+json"
UTF_8 = "; charset=utf-8"

TRIVIAL = "{ __typename }"
READS = "{ sources { nodes { id } } }"
"""A query that opens a session of the store, so that a gate can hold it up."""

NEEDS_A_VARIABLE = "query Flow($id: ID!) { flow(id: $id) { id } }"


class Gate:
    """A store whose sessions open only while the gate is open."""

    def __init__(self) -> None:
        self.is_open = True
        self.held = 0
        self._store: CatalogStore

    def before(self, store: CatalogStore) -> Gate:
        """Stand before a store."""
        self._store = store
        return self

    @property
    def log(self) -> ChangeLog:
        return self._store.log

    def session(self) -> AbstractAsyncContextManager[ReadSession]:
        return self._session()

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[ReadSession]:
        self.held += 1
        try:
            while not self.is_open:  # noqa: ASYNC110 (opened from the test's thread)
                await asyncio.sleep(0.002)
        finally:
            self.held -= 1
        async with self._store.session() as session:
            yield session

    async def commit(self, changes: ChangeSet, seen: ReadSession | None = None) -> Committed:
        return await self._store.commit(changes, seen)

    async def check(self) -> None:
        await self._store.check()

    async def close(self) -> None:
        await self._store.close()


class Errors(logging.Handler):
    """Keeps what one server logs as an error: a handler that failed must not pass unseen."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.thread: int | None = None
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self.thread:
            self.messages.append(self.format(record))


@dataclass
class GraphQLServer:
    """A running server, and what a test may know of it."""

    url: str
    app: Starlette
    http: httpx.Client
    gate: Gate
    errors: Errors
    services: list[Services] = field(default_factory=list)
    _uvicorn: uvicorn.Server | None = None

    @property
    def ws_url(self) -> str:
        return "ws" + self.url.removeprefix("http") + "/graphql"

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def subscribers(self) -> int:
        """How many subscriptions follow the change log."""
        return self.services[0].feed._subscribers

    @property
    def turns(self) -> Turns:
        """Who runs and who waits."""
        return operations_of(self.app)._turns

    @property
    def unread_bytes(self) -> int:
        """What the server keeps for clients that do not read it."""
        assert self._uvicorn is not None
        open_now = list(self._uvicorn.server_state.connections)
        return sum(connection.transport.get_write_buffer_size() for connection in open_now)

    def send(
        self,
        body: object,
        accept: str | None = GRAPHQL_JSON,
        content_type: str | None = JSON,
        **headers: str,
    ) -> httpx.Response:
        """POST a body: bytes as they are, anything else as JSON."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = self.http.build_request(
            "POST",
            "/graphql",
            **({"content": body} if isinstance(body, bytes) else {"json": body}),
            headers=named,
        )
        _set(request, "accept", accept)
        _set(request, "content-type", content_type)
        return self.http.send(request)

    def ask(self, query: str, accept: str | None = GRAPHQL_JSON, **members: Any) -> httpx.Response:
        """POST an operation."""
        return self.send({"query": query, **members}, accept)

    def get(self, accept: str | None = GRAPHQL_JSON, **params: str) -> httpx.Response:
        """GET an operation."""
        request = self.http.build_request("GET", "/graphql", params=params)
        _set(request, "accept", accept)
        return self.http.send(request)

    def data(self, query: str, **variables: Any) -> Data:
        """The data of an operation that must succeed."""
        answer = self.ask(query, variables=variables).json()
        assert "errors" not in answer, answer
        data: Data = answer["data"]
        return data

    def new_flow(self, **fields: Any) -> str:
        """The id of a new video flow."""
        payload = self.data(PUT_FLOW, input=flow_input(**fields))
        flow_id: str = payload["putFlow"]["flow"]["id"]
        return flow_id

    def register(self, flow_id: str, *timeranges: str) -> None:
        """Register segments on a flow in one commit."""
        items = [external(timerange) for timerange in timeranges]
        done = self.data(REGISTER, input={"flowId": flow_id, "segments": items})
        assert done["registerSegments"]["registeredCount"] == len(items)


@contextmanager
def graphql_server(data_dir: Path, **values: Any) -> Iterator[GraphQLServer]:
    """Serve a new catalog; fail at the end if anything was logged as an error."""
    gate, services, errors = Gate(), list[Services](), Errors()

    def refit(given: Services) -> Services:
        services.append(replace(given, store=gate.before(given.store)))
        return services[0]

    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        settings = quick_settings(data_dir, **values).listening_on(listener.getsockname()[1])
        app = create_app(settings, refit)
        config = uvicorn.Config(
            app,
            ws="websockets-sansio",
            ws_max_size=settings.max_request_bytes,
            lifespan="on",
            log_config=None,
            access_log=False,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        logging.getLogger().addHandler(errors)
        thread.start()
        errors.thread = thread.ident
        try:
            eventually(lambda: server.started)
            with httpx.Client(
                base_url=settings.public_url, timeout=PATIENCE_SECONDS, trust_env=False
            ) as http:
                yield GraphQLServer(settings.public_url, app, http, gate, errors, services, server)
        finally:
            gate.is_open = True
            server.should_exit = True
            thread.join()
            logging.getLogger().removeHandler(errors)
    assert errors.messages == []


def refused(answer: httpx.Response, status: int, message: str, **extensions: Any) -> None:
    """A refusal is a GraphQL error with a code, whatever was wrong."""
    [error] = answer.json()["errors"]
    assert (answer.status_code, error["message"]) == (status, message)
    assert error["extensions"] == {"code": "BAD_USER_INPUT", **extensions}
    assert "data" not in answer.json()


def eventually(condition: Callable[[], bool]) -> None:
    """Wait for what the server does on its own; fail if it does not happen."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def _set(request: httpx.Request, name: str, value: str | None) -> None:
    if value is None:
        request.headers.pop(name, None)
    else:
        request.headers[name] = value
