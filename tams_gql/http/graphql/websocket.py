"""One connection of the GraphQL over WebSocket protocol (``graphql-transport-ws``)."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing, suppress
from typing import Any, Generic, TypeVar

import orjson
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from tams_gql.http.graphql.messages import (
    SUBPROTOCOL,
    ClientMessage,
    Complete,
    ConnectionInit,
    InvalidMessage,
    Ping,
    Subscribe,
    read_message,
)
from tams_gql.http.graphql.operations import Operations
from tams_gql.http.graphql.refusal import Malformed, NotRun, error_response

ContextT = TypeVar("ContextT")

INIT_SECONDS = 10.0

_INVALID_MESSAGE = 4400
_UNAUTHORIZED = 4401
_SUBPROTOCOL_NOT_ACCEPTABLE = 4406
_INIT_TIMEOUT = 4408
_SUBSCRIBER_EXISTS = 4409
_TOO_MANY_INITS = 4429
_MAX_REASON_BYTES = 123  # RFC 6455, section 5.5

_log = logging.getLogger(__name__)


class _Close(Exception):
    """The client has broken the protocol."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Connection(Generic[ContextT]):
    """Serves the operations of one client side by side.

    What the client sends while an answer waits for it to read is left in the network, and each
    operation goes on only after its last response was taken: a slow client costs a bounded amount.
    """

    def __init__(
        self,
        socket: WebSocket,
        operations: Operations[ContextT],
        context: ContextT,
        *,
        max_operations: int,
    ) -> None:
        self._socket = socket
        self._operations = operations
        self._context = context
        self._max_operations = max_operations
        self._running: dict[str, asyncio.Task[None]] = {}
        # Others have no id any more: they send their last message, or let go of what they have.
        self._unfinished: set[asyncio.Task[None]] = set()
        self._given_up: set[asyncio.Task[None]] = set()
        self._initialised = False

    async def serve(self) -> None:
        """Serve until one side closes."""
        if SUBPROTOCOL not in self._socket.scope["subprotocols"]:
            await self._socket.accept()
            await self._close(_SUBPROTOCOL_NOT_ACCEPTABLE, f"The subprotocol is {SUBPROTOCOL}")
            return
        await self._socket.accept(SUBPROTOCOL)
        try:
            await self._take_messages()
        except _Close as broken:
            await self._close(broken.code, broken.reason)
        except TimeoutError:
            await self._close(_INIT_TIMEOUT, "Connection initialisation timeout")
        except WebSocketDisconnect:
            pass
        finally:
            await self._end_operations()

    async def _take_messages(self) -> None:
        async with asyncio.timeout(INIT_SECONDS) as waiting:
            while True:
                await self._take(await self._receive())
                if self._initialised:
                    waiting.reschedule(None)

    async def _receive(self) -> ClientMessage:
        event = await self._socket.receive()
        if event["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(event.get("code", 1005))
        text = event.get("text")
        if text is None:
            raise _Close(_INVALID_MESSAGE, "Messages are text")
        try:
            return read_message(text)
        except InvalidMessage as refused:
            raise _Close(_INVALID_MESSAGE, str(refused)) from None

    async def _take(self, message: ClientMessage) -> None:
        if isinstance(message, ConnectionInit):
            await self._initialise()
        elif isinstance(message, Ping):
            payload = {} if message.payload is None else {"payload": message.payload}
            await self._send({"type": "pong", **payload})
        elif isinstance(message, Subscribe):
            await self._begin(message)
        elif isinstance(message, Complete):
            # Its last response may be on its way, so an unknown id is no mistake.
            task = self._running.pop(message.id, None)
            if task is not None:
                self._give_up(task)

    async def _initialise(self) -> None:
        if self._initialised:
            raise _Close(_TOO_MANY_INITS, "Too many initialisation requests")
        self._initialised = True
        await self._send({"type": "connection_ack"})

    async def _begin(self, message: Subscribe) -> None:
        if not self._initialised:
            raise _Close(_UNAUTHORIZED, "Unauthorized")
        if message.id in self._running:
            raise _Close(_SUBSCRIBER_EXISTS, f"Subscriber for {message.id} already exists")
        limit = self._max_operations
        if len(self._running) >= limit:
            refusal = error_response(
                f"max_subscriptions_per_connection: {limit} operations are open on this "
                "connection; complete one first",
                "LIMIT_EXCEEDED",
                limit=limit,
            )
            await self._send({"id": message.id, "type": "error", "payload": refusal["errors"]})
            return
        task = asyncio.create_task(self._run(message))
        self._running[message.id] = task
        self._unfinished.add(task)
        task.add_done_callback(self._forget)

    async def _run(self, message: Subscribe) -> None:
        with suppress(WebSocketDisconnect):
            try:
                await self._answer(message)
            except WebSocketDisconnect:
                raise
            except Exception:
                _log.exception("an operation failed outside the schema")
                internal = error_response("Something went wrong on the server.", "INTERNAL")
                await self._finish(message.id, {"type": "error", "payload": internal["errors"]})

    async def _answer(self, message: Subscribe) -> None:
        try:
            operation = self._operations.admit(message.params)
        except NotRun as refused:
            return await self._refuse(message.id, refused.refusal.response)
        except Malformed as refused:
            error = error_response(str(refused), "BAD_USER_INPUT", field=refused.field)
            return await self._refuse(message.id, error)
        async with aclosing(self._operations.outcomes(operation, self._context)) as outcomes:
            async for outcome in outcomes:
                if not outcome.executed:
                    return await self._refuse(message.id, outcome.response)
                await self._send({"id": message.id, "type": "next", "payload": outcome.response})
        return await self._finish(message.id, {"type": "complete"})

    async def _refuse(self, id: str, response: dict[str, Any]) -> None:
        await self._finish(id, {"type": "error", "payload": response["errors"]})

    async def _finish(self, id: str, last: dict[str, Any]) -> None:
        # Before it is sent: the client may use the id again as soon as it has this.
        if self._running.get(id) is asyncio.current_task():
            del self._running[id]
        await self._send({"id": id, **last})

    async def _send(self, message: dict[str, Any]) -> None:
        if self._socket.application_state is not WebSocketState.CONNECTED:
            raise WebSocketDisconnect
        text = orjson.dumps(message).decode()
        try:
            await self._socket.send_text(text)
        except RuntimeError:
            # The server has closed it by itself: for a message too large, for want of a pong.
            raise WebSocketDisconnect from None

    async def _close(self, code: int, reason: str) -> None:
        # Operations send from other tasks: none may try to after this.
        await self._end_operations()
        if self._socket.application_state is WebSocketState.CONNECTED:
            short = reason.encode()[:_MAX_REASON_BYTES].decode(errors="ignore")
            with suppress(RuntimeError):  # as above
                await self._socket.close(code, short)

    def _give_up(self, task: asyncio.Task[None]) -> None:
        # Once only: a second time it would be kept from letting go of what it has.
        if task not in self._given_up:
            self._given_up.add(task)
            task.cancel()

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._unfinished.discard(task)
        self._given_up.discard(task)

    async def _end_operations(self) -> None:
        self._running = {}
        tasks = [*self._unfinished]
        for task in tasks:
            self._give_up(task)
        await asyncio.gather(*tasks, return_exceptions=True)
