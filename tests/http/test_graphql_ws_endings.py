"""A connection is over when all that its operations began is over."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from starlette.types import Message
from starlette.websockets import WebSocket

from tams_gql.http.graphql.params import Params
from tams_gql.http.graphql.refusal import Malformed, Refusal
from tams_gql.http.graphql.websocket import Connection
from tests.gql import Data
from tests.waiting import until


class Operations:
    """Operations that go on until they are given up, and then take their time to let go."""

    def __init__(self) -> None:
        self.begun = 0
        self.ended = 0
        self.may_end = asyncio.Event()

    def admit(self, params: Params) -> Params:
        if params.query == "broken":
            raise ValueError("a defect")
        if params.query == "refused":
            raise Malformed("query", "not this one")
        return params

    async def outcomes(self, operation: Params, context: None) -> AsyncGenerator[Refusal, None]:
        self.begun += 1
        try:
            await asyncio.Event().wait()
            yield Refusal({"data": None}, executed=True)
        finally:
            await self.may_end.wait()
            self.ended += 1


class Line:
    """What a client says, what it hears, and how much of that it takes."""

    def __init__(self, operations: Any) -> None:
        self.said: asyncio.Queue[Message] = asyncio.Queue()
        self.heard: list[Message] = []
        self.takes = asyncio.Event()
        self.takes.set()
        self.is_held = False
        self.is_closed = False
        scope = {"type": "websocket", "subprotocols": ["graphql-transport-ws"], "headers": []}
        socket = WebSocket(scope, self.said.get, self._send)
        connection = Connection(socket, operations, None, max_operations=9)
        self.said.put_nowait({"type": "websocket.connect"})
        self.say({"type": "connection_init"})
        self.serving = asyncio.create_task(connection.serve())

    def say(self, message: Data) -> None:
        self.said.put_nowait({"type": "websocket.receive", "text": json.dumps(message)})

    def subscribe(self, query: str, id: str = "1") -> None:
        self.say({"type": "subscribe", "id": id, "payload": {"query": query}})

    def leave(self) -> None:
        self.said.put_nowait({"type": "websocket.disconnect", "code": 1001})

    async def _send(self, message: Message) -> None:
        if self.is_closed:
            raise RuntimeError("Unexpected ASGI message, after sending 'websocket.close'")
        self.is_held = not self.takes.is_set()
        await self.takes.wait()
        self.heard.append(message)


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_an_operation_that_was_completed_ends_before_its_connection() -> None:
    operations = Operations()
    line = Line(operations)
    line.subscribe("long")
    await until(lambda: operations.begun == 1)
    line.say({"type": "complete", "id": "1"})
    line.leave()
    await settle()
    # when the client is gone, the operation still lets go of what it has
    assert (operations.ended, line.serving.done()) == (0, False)
    operations.may_end.set()
    await line.serving
    assert operations.ended == 1


async def test_an_id_is_free_as_soon_as_its_operation_was_completed() -> None:
    operations = Operations()
    line = Line(operations)
    line.subscribe("long")
    await until(lambda: operations.begun == 1)
    line.say({"type": "complete", "id": "1"})
    line.subscribe("long")
    await until(lambda: operations.begun == 2)
    operations.may_end.set()
    line.leave()
    await line.serving
    assert operations.ended == 2


async def test_a_last_message_that_nobody_takes_does_not_outlive_its_connection() -> None:
    line = Line(Operations())
    await until(lambda: len(line.heard) == 2)
    line.takes.clear()
    line.subscribe("refused")
    await until(lambda: line.is_held)
    line.leave()
    await line.serving
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_failure_that_nobody_can_be_told_of_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    unseen = list[dict[str, Any]]()
    asyncio.get_running_loop().set_exception_handler(lambda _, told: unseen.append(told))
    line = Line(Operations())
    await until(lambda: len(line.heard) == 2)
    line.is_closed = True
    line.subscribe("broken")
    await settle()
    line.leave()
    await line.serving
    gc.collect()  # tasks tell of what nobody has seen when they go
    assert [record.getMessage() for record in caplog.records] == [
        "an operation failed outside the schema"
    ]
    assert unseen == []
