"""A server on which clients have media of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_network
from typing import Any

from aiohttp import web

from tams_gql.media.external.rules import ExternalRules, HostRule

Answer = Callable[[web.Request], Any]


class Elsewhere:
    """A server that clients have media on. ``asked`` are the paths that were requested."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.port = 0

    def url(self, path: str, host: str = "media.test") -> str:
        return f"http://{host}:{self.port}{path}"

    def rules(self, *networks: str, **values: Any) -> ExternalRules:
        """Rules by which ``media.test`` may be read at these addresses."""
        hosts = tuple(HostRule(name, self.port) for name in ("media.test", "*.media.test"))
        found = tuple(map(ip_network, networks or ("127.0.0.0/8",)))
        return ExternalRules(**{"hosts": hosts, "networks": found, **values})

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(f"{request.host.partition(':')[0]}{request.rel_url}")
        self.headers.append(dict(request.headers))
        answer = self.answers[request.path](request)
        found: web.StreamResponse = await answer if asyncio.iscoroutine(answer) else answer
        return found


@asynccontextmanager
async def serving_elsewhere() -> AsyncIterator[Elsewhere]:
    """Such a server, on all addresses of this machine."""
    server = Elsewhere()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", 0).start()
    server.port = runner.addresses[0][1]
    try:
        yield server
    finally:
        await runner.cleanup()
