"""Applications behind a real uvicorn socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import uvicorn
from starlette.types import ASGIApp

Serve = Callable[[ASGIApp], Awaitable[int]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serve an application on a free port of this machine; return the port."""
    running: list[tuple[uvicorn.Server, asyncio.Task[None]]] = []

    async def run(app: ASGIApp) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(
            app, ws="websockets-sansio", lifespan="off", log_config=None, access_log=False
        )
        server = uvicorn.Server(config)
        running.append((server, asyncio.create_task(server.serve(sockets=[listener]))))
        port: int = listener.getsockname()[1]
        # The socket listens already: a request that comes too early waits in its queue.
        return port

    yield run
    for server, task in running:
        server.should_exit = True
        await task
