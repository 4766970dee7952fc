"""A web server for playlists and segments, with byte ranges."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit


@dataclass
class Web:
    """What is served: files of a folder, and pages made at each request."""

    folder: Path
    url: str = ""
    pages: dict[str, Callable[[], str]] = field(default_factory=dict)
    requests: Counter[str] = field(default_factory=Counter)
    moved: dict[str, str] = field(default_factory=dict)
    ranges: bool = True
    inspect: Callable[[Message], None] = lambda _: None

    def get(self, path: str) -> bytes | None:
        self.requests[path] += 1
        if path in self.pages:
            return self.pages[path]().encode()
        file = self.folder / path.lstrip("/")
        return file.read_bytes() if file.is_file() else None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    web: Web

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.web.inspect(self.headers)
        body = self.web.get(urlsplit(self.path).path)
        status = 200 if body is not None else 404
        wanted = self.headers.get("Range")
        if body is not None and wanted and self.web.ranges:
            first, last = wanted.removeprefix("bytes=").split("-")
            body, status = body[int(first) : int(last) + 1], 206
        location = self.web.moved.get(urlsplit(self.path).path)
        if location is not None:
            status, body = 302, b""
        self.send_response(status)
        if location is not None:
            self.send_header("Location", location)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")
        self.wfile.flush()


@contextmanager
def serving(folder: Path) -> Iterator[Web]:
    """Serve ``folder`` on a free port of the loopback interface."""
    web = Web(folder)
    handler = type("Handler", (_Handler,), {"web": web})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    web.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
