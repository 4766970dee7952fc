"""The GraphQL endpoint: for programs by HTTP and WebSocket, for browsers also a page."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Generic, TypeVar

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from tams_gql.http.explorer.page import PAGE_HEADERS
from tams_gql.http.graphql.accept import Accepted, accepted
from tams_gql.http.graphql.answers import refused_answer
from tams_gql.http.graphql.engine import Engine
from tams_gql.http.graphql.exchange import Exchange
from tams_gql.http.graphql.limits import TransportLimits
from tams_gql.http.graphql.messages import SUBPROTOCOL
from tams_gql.http.graphql.operations import Operations
from tams_gql.http.graphql.origin import origin_allowed
from tams_gql.http.graphql.refusal import Refused
from tams_gql.http.graphql.websocket import Connection

ContextT = TypeVar("ContextT")

_log = logging.getLogger(__name__)

_TRY_AGAIN_LATER = 1013  # RFC 6455's registry of close codes
_METHODS = "GET, HEAD, POST, OPTIONS"


class GraphQLEndpoint(Generic[ContextT]):
    """An ASGI application for one path. ``new_context`` is given the headers of the request."""

    def __init__(
        self,
        engine: Engine[ContextT],
        new_context: Callable[[Headers], ContextT],
        *,
        explorer_html: str,
        limits: TransportLimits,
        allowed_origins: tuple[str, ...],
    ) -> None:
        self._operations = Operations(engine, limits.operations)
        self._new_context = new_context
        self._explorer_html = explorer_html
        self._limits = limits
        self._allowed_origins = allowed_origins
        self._stopping = asyncio.Event()
        self._connections = 0

    def begin_shutdown(self) -> None:
        """End the answers that would go on for ever. WebSockets are closed by the server."""
        self._stopping.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request or a connection."""
        if scope["type"] == "websocket":
            await self._connect(WebSocket(scope, receive, send))
            return
        headers = Headers(scope=scope)
        accept = accepted(", ".join(headers.getlist("accept")))
        try:
            response = await self._response(scope, headers, accept, receive)
        except Refused as refused:
            response = refused_answer(refused, accept.json)
        await response(scope, receive, send)

    async def _connect(self, socket: WebSocket) -> None:
        if not origin_allowed(socket.headers, self._allowed_origins):
            await socket.close()  # before it was accepted: the answer is 403
            return
        if self._connections >= self._limits.connections:
            await self._refuse(socket)
            return
        context = self._new_context(socket.headers)
        limit = self._limits.operations_per_connection
        self._connections += 1
        try:
            await Connection(socket, self._operations, context, max_operations=limit).serve()
        finally:
            self._connections -= 1

    async def _refuse(self, socket: WebSocket) -> None:
        """Close a connection that is one too many. Browsers tell programs of nothing else."""
        message = f"max_websockets: {self._limits.connections} are open; try again later"
        _log.warning("%s", message)
        await socket.accept(SUBPROTOCOL if SUBPROTOCOL in socket.scope["subprotocols"] else None)
        await socket.close(_TRY_AGAIN_LATER, message)

    async def _response(
        self, scope: Scope, headers: Headers, accept: Accepted, receive: Receive
    ) -> ASGIApp:
        method = scope["method"]
        if method == "POST":
            return await self._exchange(headers, receive, accept).post()
        if method in ("GET", "HEAD"):
            query_string = scope["query_string"]
            if _is_for_page(query_string, headers):
                return HTMLResponse(self._explorer_html, headers=dict(PAGE_HEADERS))
            head = method == "HEAD"
            return await self._exchange(headers, receive, accept).get(query_string, head=head)
        if method == "OPTIONS":
            return Response(status_code=204, headers={"Allow": _METHODS})
        raise Refused(405, "The methods are GET and POST", headers={"Allow": _METHODS})

    def _exchange(self, headers: Headers, receive: Receive, accept: Accepted) -> Exchange[ContextT]:
        return Exchange(
            self._operations,
            self._new_context(headers),
            headers,
            receive,
            accept,
            self._limits,
            self._stopping,
        )


def _is_for_page(query_string: bytes, headers: Headers) -> bool:
    """Only for browsers: programs that accept anything want to hear what was wrong."""
    asks = b"query=" in query_string or b"extensions=" in query_string
    return not asks and "text/html" in headers.get("accept", "")
