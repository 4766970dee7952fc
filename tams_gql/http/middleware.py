"""What surrounds every request: its id, its time, its size limit, and the last line for defects.

Pure ASGI, because Starlette's ``BaseHTTPMiddleware`` breaks context variables and streaming.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
import uuid
from collections.abc import Collection, Sequence
from typing import Any
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from tams_gql.logs import FIELDS, request_id

_logger = logging.getLogger("tams_gql.http")
_access = logging.getLogger("tams_gql.access")

_SANE_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_POLLED = frozenset({"/livez", "/readyz", "/metrics"})  # every few seconds
_LOGGED_PATH_CHARS = 500
_DRAIN_SECONDS = 2.0
_CLIENT_CLOSED_REQUEST = 499  # no answer was sent; the number that proxies log for it
_STARTS = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_EXPOSED_HEADERS = (
    "Accept-Ranges",
    "Content-Range",
    "ETag",
    "Link",
    "Location",
    "Retry-After",
    "Server-Timing",
    "X-Correlation-ID",
    "X-Paging-Count",
    "X-Paging-Limit",
    "X-Paging-NextKey",
    "X-Paging-Reverse-Order",
    "X-Paging-Timerange",
)


def http_middleware(
    *, max_request_bytes: int, unlimited: Sequence[str] = (), cors_origins: Collection[str] = ()
) -> list[Middleware]:
    """Return the whole stack, outermost first.

    ``unlimited`` are path prefixes with a body limit and CORS of their own. Errors and refusals
    are made inside CORS, so that a page in a browser can read them.
    """
    stack = [Middleware(RequestId), Middleware(RequestLog)]
    if cors_origins:
        stack.append(
            Middleware(
                CrossOrigin,
                own=tuple(unlimited),
                allow_origins=list(cors_origins),
                allow_methods=_METHODS,
                allow_headers=["*"],
                expose_headers=_EXPOSED_HEADERS,
                max_age=600,
            )
        )
    stack.append(Middleware(LastResort))
    stack.append(Middleware(BodyLimit, max_bytes=max_request_bytes, unlimited=tuple(unlimited)))
    return stack


class CrossOrigin:
    """Starlette's CORS for all paths but those that answer for themselves.

    Signed media URLs carry their own authorisation, so they are open to pages of every origin.
    """

    def __init__(self, app: ASGIApp, /, own: tuple[str, ...], **options: Any) -> None:
        self._app = app
        self._own = own
        self._cors = CORSMiddleware(app, **options)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        own = scope["type"] == "http" and scope["path"].startswith(self._own)
        await (self._app if own else self._cors)(scope, receive, send)


class RequestId:
    """Give each request an id: the client's, if it is a plain token, or a new one.

    The id is in ``tams_gql.logs.request_id`` while the request runs, and in the answer as
    ``X-Correlation-ID``.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request or WebSocket."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        asked = headers.get("x-request-id") or headers.get("x-correlation-id") or ""
        name = asked if _SANE_ID.fullmatch(asked) else uuid.uuid4().hex

        async def send_with_id(message: Message) -> None:
            if message["type"] in _STARTS:
                MutableHeaders(scope=message)["X-Correlation-ID"] = name
            await send(message)

        token = request_id.set(name)
        try:
            await self._app(scope, receive, send_with_id)
        finally:
            request_id.reset(token)


class RequestLog:
    """Log each request (method, path, status, milliseconds) and send ``Server-Timing``.

    The path is logged without its query string, because signed URLs carry their signature there.
    ``Server-Timing`` tells the time to the start of the answer, the log the time to its end.
    Probes that succeed are logged at debug level only.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request or WebSocket."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = _CLIENT_CLOSED_REQUEST

        async def send_with_timing(message: Message) -> None:
            nonlocal status
            if message["type"] in _STARTS:
                # Accepting a WebSocket is the answer 101 of HTTP.
                status = message.get("status", 101)
                spent = (time.perf_counter() - started) * 1000
                MutableHeaders(scope=message).append("Server-Timing", f"total;dur={spent:.1f}")
            elif message["type"] == "websocket.close" and status == _CLIENT_CLOSED_REQUEST:
                status = 403  # closed before it was accepted
            await send(message)

        try:
            await self._app(scope, receive, send_with_timing)
        finally:
            _log_request(scope, status, (time.perf_counter() - started) * 1000)


def _log_request(scope: Scope, status: int, spent_ms: float) -> None:
    method = scope.get("method", "WEBSOCKET")
    # raw_path is still percent-encoded and without the query.
    raw: bytes | None = scope.get("raw_path")
    path = raw.decode("latin-1") if raw is not None else quote(scope["path"])
    path = path.partition("?")[0][:_LOGGED_PATH_CHARS]
    level = logging.DEBUG if path in _POLLED and status == 200 else logging.INFO
    fields = {"method": method, "path": path, "status": status, "ms": round(spent_ms, 1)}
    _access.log(level, "%s %s %d %.1f ms", method, path, status, spent_ms, extra={FIELDS: fields})


class LastResort:
    """Catch what nothing else caught: log it with the request id, answer 500 without details.

    An answer that has already begun cannot be taken back; the server then closes the connection,
    so that the client sees that it is cut off.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request or WebSocket."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        begun = False

        async def watch(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] in _STARTS
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except (ClientDisconnect, WebSocketDisconnect):
            _logger.debug("the client went away")
        except Exception:
            _logger.exception("unexpected error")
            if scope["type"] == "websocket":
                # The socket may be closed already, which is all that this wants.
                with contextlib.suppress(Exception):
                    await send({"type": "websocket.close", "code": 1011})
            elif not begun:
                await _refusal(500, "INTERNAL", "Internal server error")(scope, receive, send)


class BodyLimit:
    """Refuse request bodies of more than ``max_bytes`` with 413, announced or streamed.

    Paths at or below a prefix of ``unlimited`` are left alone.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, unlimited: tuple[str, ...] = ()) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._unlimited = tuple(prefix.rstrip("/") for prefix in unlimited)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or self._is_unlimited(scope["path"]):
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "")
        if announced.isdecimal() and int(announced) > self._max_bytes:
            await self._refuse(scope, receive, send)
            return
        body = _CountedBody(receive, send, self._max_bytes)
        try:
            await self._app(scope, body.receive, body.send)
        except Exception:
            # Whatever the application made of the broken-off body, the client is told the reason.
            if not body.too_large:
                raise
        if body.too_large and not body.answer_begun:
            await self._refuse(scope, receive, send)

    def _is_unlimited(self, path: str) -> bool:
        return any(path == prefix or path.startswith(f"{prefix}/") for prefix in self._unlimited)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 413, then go on reading for a moment.

        Closing at once would reset the connection of a client that is still sending, and the
        answer would be lost with it.
        """
        message = f"The request body is larger than {self._max_bytes} bytes"
        response = _refusal(413, "LIMIT_EXCEEDED", message)
        response.headers["Connection"] = "close"

        async def hold_open(message: Message) -> None:
            last = message["type"] == "http.response.body"
            await send({**message, "more_body": True} if last else message)

        await response(scope, receive, hold_open)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                while (await receive()).get("more_body", False):
                    pass
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class _BodyTooLarge(Exception):
    """The application read past the limit."""


class _CountedBody:
    """Counts what the application reads, and keeps back its answer once that is too much."""

    def __init__(self, receive: Receive, send: Send, max_bytes: int) -> None:
        self._receive = receive
        self._send = send
        self._left = max_bytes
        self.too_large = False
        self.answer_begun = False

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            if self._left < 0:
                self.too_large = True
                raise _BodyTooLarge
        return message

    async def send(self, message: Message) -> None:
        if self.too_large and not self.answer_begun:
            return
        self.answer_begun = True
        await self._send(message)


def _refusal(status: int, code: str, message: str) -> JSONResponse:
    # The shape of a GraphQL error, which is what most clients of this server read.
    error = {"message": message, "extensions": {"code": code}}
    return JSONResponse({"errors": [error]}, status_code=status)
