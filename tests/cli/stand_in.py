"""A server process with a tiny application: what the tests of serve and demo start.

The argument names a variation of the application or of what runs beside it.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from tams_gql.cli import demo
from tams_gql.cli.serve import run_server
from tams_gql.http.health import health_routes
from tams_gql.http.middleware import http_middleware
from tams_gql.logs import configure_logs
from tams_gql.model.errors import Unavailable
from tams_gql.settings import Settings, load_settings

STUCK_SECONDS = 60
CLIENTS = {
    "client": "import sys; print('loading into', sys.argv[1])",
    "failing_client": "import sys; print('no disk', file=sys.stderr); sys.exit(3)",
    "endless_client": "import os, time; print('pid', os.getpid(), flush=True); time.sleep(600)",
    "stubborn_client": "import os, signal, time; signal.signal(15, signal.SIG_IGN); "
    "print('pid', os.getpid(), flush=True); time.sleep(600)",
}


def make_app(variation: str, settings: Settings) -> Starlette:
    """Make the application."""
    stopping = asyncio.Event()

    async def about(request: Request) -> JSONResponse:
        loop = type(asyncio.get_running_loop()).__module__
        return JSONResponse({"loop": loop, "public_url": settings.public_url})

    async def endless(request: Request) -> StreamingResponse:
        async def ticks() -> AsyncIterator[bytes]:
            while not stopping.is_set():
                yield b"tick\n"
                await asyncio.sleep(0.05)

        return StreamingResponse(ticks())

    async def subscribe(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("subscribed")
        await socket.receive_text()

    async def stuck(request: Request) -> JSONResponse:
        print("stuck", flush=True)
        await asyncio.to_thread(time.sleep, STUCK_SECONDS)
        return JSONResponse({})

    async def blocking(request: Request) -> JSONResponse:
        time.sleep(0.2)  # noqa: ASYNC251 (the mistake that debug mode is to find)
        return JSONResponse({})

    async def check() -> None:
        if variation == "not_ready":
            raise ConnectionError("the secret host does not answer")

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        if variation == "no_store":
            raise Unavailable("the catalog has schema version 9, this program knows 1")
        yield
        print("closed", flush=True)

    app = Starlette(
        routes=[
            Route("/about", about),
            Route("/endless", endless),
            Route("/stuck", stuck),
            Route("/blocking", blocking),
            WebSocketRoute("/subscribe", subscribe),
            *health_routes({"store": check}),
        ],
        middleware=http_middleware(max_request_bytes=settings.max_request_bytes),
        lifespan=lifespan,
    )
    if variation == "told":
        app.state.begin_shutdown = stopping.set
    return app


if __name__ == "__main__":
    chosen = sys.argv[1]
    loaded = load_settings()
    configure_logs(loaded.log_level, loaded.log_format)
    beside = None
    if chosen in CLIENTS:
        if chosen == "endless_client":
            demo._CHILD_END_SECONDS = STUCK_SECONDS  # that it is killed then is not needed
        beside = partial(demo.play, client=(sys.executable, "-c", CLIENTS[chosen]))
    sys.exit(run_server(partial(make_app, chosen), loaded, beside))
