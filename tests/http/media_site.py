"""A media server as tests see it: its URL, its folder, its clock, and clients of several kinds."""

from __future__ import annotations

import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from starlette.applications import Starlette
from starlette.routing import BaseRoute

from tams_gql.http.media import media_routes
from tams_gql.media.local import LocalMedia
from tams_gql.media.port import PutRequest, ReadMethod, SignedRequest, StorageBackend
from tests.media.serving import serving
from tests.waiting import PATIENCE_SECONDS

BACKEND = StorageBackend(id="2ad06302-a05f-4e74-8b59-a1c4a3bcb7b1", label="local")
MPEG_TS = "video/mp2t"
LIMIT = 2_000_000
TTL = 300


class Clock:
    """The server's time, which a test can move on."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@dataclass(frozen=True)
class Site:
    """A running server, and what a test may know of it."""

    media: LocalMedia
    objects: Path
    url: str
    client: httpx.Client
    clock: Clock

    def new_key(self, name: str = "object") -> str:
        return f"2026/03/04/12/{name}-{uuid.uuid4()}"

    def read_url(self, key: str, method: ReadMethod = "GET") -> str:
        [url] = self.media.sign_get([key], expires_in=TTL, method=method)
        return url

    def upload_request(self, key: str, content_type: str = MPEG_TS) -> SignedRequest:
        [request] = self.media.sign_put([PutRequest(key, content_type)], expires_in=TTL)
        return request

    def put(
        self, key: str, body: bytes | Iterator[bytes], signed_for: str = MPEG_TS, **headers: str
    ) -> httpx.Response:
        """Upload as the signed request says, but for ``headers`` (underscores become dashes)."""
        request = self.upload_request(key, signed_for)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.put(request.url, headers=dict(request.headers) | named, content=body)

    def stored(self, body: bytes, content_type: str = MPEG_TS, name: str = "object") -> str:
        key = self.new_key(name)
        assert self.put(key, body, content_type).status_code == 200
        return key

    def get(self, key: str, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.get(self.read_url(key), headers=named)

    def drafts(self) -> list[Path]:
        return list((self.objects / ".drafts").iterdir())


@contextmanager
def media_site(
    folder: Path,
    *others: BaseRoute,
    limit: int = LIMIT,
    idle_seconds: float = PATIENCE_SECONDS,
) -> Iterator[Site]:
    """Serve a media folder in ``folder``, with ``others`` on the same origin.

    ``limit`` is the size in bytes of the largest object, ``idle_seconds`` how long an upload may
    pause: longer than any client of a busy machine does.
    """
    clock = Clock()
    backends: list[LocalMedia] = []

    def app(url: str) -> Starlette:
        backends.append(
            LocalMedia(
                folder,
                backend=BACKEND,
                public_url=url,
                max_object_bytes=limit,
                durable=False,
                clock=clock,
            )
        )
        routes = media_routes(backends[0], upload_idle_seconds=idle_seconds)
        return Starlette(routes=[*routes, *others])

    with serving(app) as url, client_of_a_site() as client:
        yield Site(backends[0], folder / "media" / "objects", url, client, clock)


def client_of_a_site() -> httpx.Client:
    """One that waits for a busy server."""
    return httpx.Client(timeout=PATIENCE_SECONDS, trust_env=False)


def eventually(condition: Callable[[], bool]) -> None:
    """Wait for what the server does on its own; fail if it does not happen."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def assert_error(answer: httpx.Response, status: int, code: str, summary: str) -> None:
    """One error shape everywhere: type, summary, time (schemas/error.json)."""
    body = answer.json()
    assert (answer.status_code, body["type"]) == (status, code)
    assert summary in body["summary"]
    assert sorted(body) == ["summary", "time", "type"]
    assert datetime.fromisoformat(body["time"]).tzinfo is not None
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["access-control-allow-origin"] == "*"


def connect(site: Site) -> socket.socket:
    parts = urlsplit(site.url)
    connection = socket.create_connection((parts.hostname, parts.port))
    connection.settimeout(PATIENCE_SECONDS)
    return connection


def head_of(request: SignedRequest, *, content_length: int | None, extra: str = "") -> bytes:
    parts = urlsplit(request.url)
    headers = "".join(f"{name}: {value}\r\n" for name, value in request.headers)
    if content_length is not None:
        headers += f"Content-Length: {content_length}\r\n"
    return f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: x\r\n{headers}{extra}\r\n".encode()
