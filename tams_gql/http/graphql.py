"""The GraphQL endpoint: HTTP and WebSocket, and the explorer for browsers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import orjson
from cross_web import AsyncHTTPRequestAdapter, HTTPException
from graphql import GraphQLError
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.http import GraphQLHTTPResponse, GraphQLRequestData
from strawberry.http.base import BaseRequestProtocol
from strawberry.schema import BaseSchema
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import (
    BaseGraphQLTransportWSHandler,
)
from strawberry.subscriptions.protocols.graphql_transport_ws.types import Message, SubscribeMessage
from strawberry.types import ExecutionResult

from tams_gql.context import Context
from tams_gql.http.explorer.page import PAGE_HEADERS

_INIT_SECONDS = 10


class _TransportWs(BaseGraphQLTransportWSHandler[Context, None]):
    """The protocol of the library, for clients that keep to it and for others."""

    async def handle_message(self, message: Message) -> None:
        if _is_message(message):
            await super().handle_message(message)
        else:
            await self.handle_invalid_message("Failed to parse message")

    async def handle_subscribe(self, message: SubscribeMessage) -> None:
        most, count = self.max_subscriptions_per_connection, len(self.operations)
        is_new = self.connection_acknowledged and message["id"] not in self.operations
        if most is None or count < most or not is_new:
            await super().handle_subscribe(message)
            return
        text = f"max_subscriptions_per_connection: {most} operations run on this connection already"
        error = GraphQLError(text, extensions={"code": "LIMIT_EXCEEDED", "limit": most})
        await self.send_message(
            {"id": message["id"], "type": "error", "payload": [error.formatted]}
        )


class GraphQLEndpoint(GraphQL[Context, None]):
    """Answers queries and mutations over HTTP, and everything over graphql-transport-ws."""

    graphql_transport_ws_handler_class = _TransportWs

    def __init__(
        self,
        schema: BaseSchema,
        new_context: Callable[[], Context],
        *,
        explorer_html: str,
        max_subscriptions: int,
        timeout_seconds: int,
        allowed_origins: tuple[str, ...],
    ) -> None:
        super().__init__(
            schema,
            subscription_protocols=(GRAPHQL_TRANSPORT_WS_PROTOCOL,),
            connection_init_wait_timeout=timedelta(seconds=_INIT_SECONDS),
            max_subscriptions_per_connection=max_subscriptions,
            allowed_origins=allowed_origins,
        )
        self._new_context = new_context
        self._explorer_html = explorer_html
        self._timeout_seconds = timeout_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.run(WebSocket(scope, receive=receive, send=send))
            return
        try:
            response = await self.run(Request(scope, receive=receive))
        except HTTPException as refused:
            response = _refusal(refused.status_code, refused.reason)
        await response(scope, receive, send)

    async def get_context(
        self, request: Request | WebSocket, response: Response | WebSocket
    ) -> Context:
        return self._new_context()

    def should_render_graphql_ide(self, request: BaseRequestProtocol) -> bool:
        """Only for browsers: programs that accept anything want to hear what was wrong."""
        wants_page = "text/html" in request.headers.get("accept", "")
        return request.method == "GET" and wants_page and "query" not in request.query_params

    async def render_graphql_ide(self, request: Request) -> Response:
        return HTMLResponse(self._explorer_html, headers=dict(PAGE_HEADERS))

    async def execute_single(
        self,
        request: Request,
        request_adapter: AsyncHTTPRequestAdapter,
        sub_response: Response,
        context: Context,
        root_value: None,
        request_data: GraphQLRequestData,
    ) -> ExecutionResult:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await super().execute_single(
                    request, request_adapter, sub_response, context, root_value, request_data
                )
        except TimeoutError:
            limit = self._timeout_seconds
            extensions = {"code": "LIMIT_EXCEEDED", "limit": limit}
            message = f"request_timeout: the operation took longer than {limit} seconds"
            return ExecutionResult(data=None, errors=[GraphQLError(message, extensions=extensions)])

    def parse_json(self, data: str | bytes) -> Any:
        """The JSON of a body or parameter. The library takes for granted that it is no scalar."""
        parsed = super().parse_json(data)
        if parsed is not None and not isinstance(parsed, dict | list):
            raise HTTPException(400, "A JSON object is expected")
        return parsed or {}

    def decode_json(self, data: str | bytes) -> object:
        return orjson.loads(data)

    def encode_json(self, data: object) -> str:
        # Text, because a WebSocket message of this protocol is a text frame.
        return orjson.dumps(data).decode()

    def create_response(
        self,
        response_data: GraphQLHTTPResponse | list[GraphQLHTTPResponse],
        sub_response: Response,
    ) -> Response:
        response = Response(orjson.dumps(response_data), media_type="application/json")
        response.headers.raw.extend(sub_response.headers.raw)
        if sub_response.status_code:
            response.status_code = sub_response.status_code
        return response


def _is_message(message: object) -> bool:
    """Whether a client's message has the shape of the protocol; its type may be unknown."""
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        return False
    if message["type"] == "complete":
        return isinstance(message.get("id"), str)
    if message["type"] != "subscribe":
        return True
    asked = message.get("payload")
    return (
        isinstance(message.get("id"), str)
        and isinstance(asked, dict)
        and isinstance(asked.get("query"), str)
        and isinstance(asked.get("variables"), dict | None)
        and isinstance(asked.get("operationName"), str | None)
    )


def _refusal(status: int, reason: str) -> JSONResponse:
    """A request that is no GraphQL operation, in the form of GraphQL errors."""
    error: Mapping[str, Any] = {"message": reason, "extensions": {"code": "BAD_USER_INPUT"}}
    headers = {"Allow": "GET, POST"} if status == 405 else None
    return JSONResponse({"errors": [error]}, status_code=status, headers=headers)
