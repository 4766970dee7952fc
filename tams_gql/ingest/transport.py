"""HTTP to the server and to signed URLs: what is tried again, and what an answer means.

Connection errors, 5xx answers, 408, 429 and the code ``UNAVAILABLE`` are tried again with growing
pauses; anything else is final. Signed URLs and credentials never get into a message.
"""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self, TypeVar
from urllib.parse import urljoin, urlsplit
from weakref import WeakSet

import httpx

from tams_gql.model.errors import (
    BadInput,
    Conflict,
    Forbidden,
    LimitExceeded,
    NotFound,
    ReadOnly,
    TamsError,
    Unauthenticated,
    Unavailable,
)
from tams_gql.model.jitter import CHANCE

_BY_CODE: Final[dict[str, type[TamsError]]] = {
    error.code: error
    for error in (
        *(BadInput, NotFound, Conflict, ReadOnly, Forbidden),
        *(Unauthenticated, LimitExceeded, Unavailable),
    )
}

_BLOCK_BYTES: Final = 1 << 18
_LONGEST_SUMMARY: Final = 200
_LARGEST_GET: Final = 64 << 20
_TOKEN: Final = re.compile("[!-~]+")

_T = TypeVar("_T")


@cache
def _tls() -> ssl.SSLContext:
    """The trusted authorities, which take a tenth of a second to load."""
    return httpx.create_ssl_context()


class Cancelled(Exception):
    """The run is being stopped; nothing more is sent."""


class UrlExpired(Exception):
    """A signed URL is not accepted any more; a new one is needed."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a call is tried, and the pause after the first failure, which then doubles."""

    attempts: int = 7
    first_seconds: float = 0.25
    longest_seconds: float = 8.0

    def pause(self, failures: int) -> float:
        """Seconds to wait after ``failures`` failures, with jitter."""
        wait = min(self.longest_seconds, self.first_seconds * float(2 ** (failures - 1)))
        return wait * CHANCE.uniform(0.5, 1.0)


def shown_url(url: str) -> str:
    """``url`` without credentials, query and fragment, for messages and tags."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "a malformed URL"  # whatever is in it, a password perhaps
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"


def is_address(url: str) -> bool:
    """Whether ``url`` is an http or https address that could be called."""
    try:
        parts, parsed = urlsplit(url), httpx.URL(url)
        parts.port  # noqa: B018 (reading it checks it)
        parsed.host.encode("idna")  # what looking it up does
    except (httpx.InvalidURL, ValueError):
        return False
    return parts.scheme in ("http", "https") and bool(parsed.host)


def error_of(answer: Mapping[str, Any]) -> TamsError:
    """The error in a GraphQL error object, or in a per-item error of a batch."""
    extensions = answer.get("extensions") or answer
    code = extensions.get("code")
    message = str(answer.get("message") or code)
    return _BY_CODE.get(str(code), TamsError)(message, field=extensions.get("field"))


class Transport:
    """One connection pool for GraphQL calls, uploads and downloads; safe to use from threads.

    ``stop`` ends pauses and refuses new calls once it is set. ``timeout`` is the longest silence
    in seconds.
    """

    def __init__(
        self,
        base_url: str,
        *,
        token: str | None = None,
        retry: Retry | None = None,
        stop: threading.Event | None = None,
        timeout: float = 60,
    ) -> None:
        base = base_url.rstrip("/").removesuffix("/graphql")
        if not is_address(base):
            raise BadInput(f"url {shown_url(base_url)!r} is not an http(s) address", field="url")
        if token and not _TOKEN.fullmatch(token):
            # Said here and without the token; the client's own message would show it.
            raise BadInput(
                "token holds characters that no HTTP header can, a line break perhaps",
                field="token",
            )
        self._endpoint = f"{base}/graphql"
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._retry = retry or Retry()
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._hooks = {"trace": self._connected}
        self.stop = stop or threading.Event()
        self._client = httpx.Client(
            verify=_tls(),
            timeout=httpx.Timeout(timeout, connect=min(timeout, 5)),
            follow_redirects=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()

    def abort(self) -> None:
        """Stop, and break off the calls of other threads, whose server may never answer."""
        self.stop.set()
        for open_socket in list(self._sockets):
            with suppress(OSError):
                open_socket.shutdown(socket.SHUT_RDWR)

    def _connected(self, event: str, info: Mapping[str, Any]) -> None:
        # A hook of HTTPX: closing a client does not wake those who wait for an answer.
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            self._sockets.add(info["return_value"].get_extra_info("socket"))
            if self.stop.is_set():
                self.abort()

    def graphql(self, document: str, variables: Mapping[str, object]) -> dict[str, Any]:
        """Run one operation and return its ``data``; raises the ``TamsError`` of its error."""
        body = {"query": document, "variables": variables}

        def call() -> dict[str, Any]:
            response = self._client.post(
                self._endpoint, json=body, headers=self._headers, extensions=self._hooks
            )
            return self._data(response)

        return self._persist(call, shown_url(self._endpoint))

    def _data(self, response: httpx.Response) -> dict[str, Any]:
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if isinstance(answer, dict) and answer.get("errors"):
            raise error_of(answer["errors"][0])
        where = shown_url(self._endpoint)
        _refuse_status(response, where)
        if not isinstance(answer, dict) or not isinstance(answer.get("data"), dict):
            raise BadInput(f"{where} is not a GraphQL endpoint", field="url")
        data: dict[str, Any] = answer["data"]
        return data

    def put(self, url: str, headers: Mapping[str, str], path: Path, offset: int, size: int) -> None:
        """Upload ``size`` bytes of ``path`` from ``offset`` to a signed URL.

        Raises ``UrlExpired`` when the signature is refused.
        """
        url = urljoin(self._endpoint, url)

        def call() -> None:
            response = self._client.put(
                url,
                content=_blocks(path, offset, size),
                headers={**headers, "Content-Length": str(size)},
                extensions=self._hooks,
            )
            if response.status_code in (401, 403, 410):
                raise UrlExpired
            _refuse_status(response, f"upload to {shown_url(url)}", _summary(response))

        self._persist(call, shown_url(url))

    def get(self, url: str) -> bytes:
        """Download something small."""
        return self.get_at(url)[0]

    def get_at(self, url: str) -> tuple[bytes, str]:
        """Download something small; its bytes and the address that redirects have led to.

        Raises ``LimitExceeded`` when it has more than 64 MiB.
        """
        url = _checked(urljoin(self._endpoint, url))

        def call() -> tuple[bytes, str]:
            content = bytearray()
            with self._client.stream(
                "GET", url, follow_redirects=True, extensions=self._hooks
            ) as response:
                _refuse_status(response, shown_url(url))
                for block in response.iter_bytes(_BLOCK_BYTES):
                    content += block
                    if len(content) > _LARGEST_GET:
                        raise LimitExceeded(f"{shown_url(url)} has more than {_LARGEST_GET} bytes")
                return bytes(content), str(response.url)

        return self._persist(call, shown_url(url))

    def download(self, url: str, target: IO[bytes], byte_range: tuple[int, int] | None) -> None:
        """Append ``url`` to ``target``, block by block.

        ``byte_range`` is (offset, size) of the part that is wanted.
        """
        _checked(url)
        begin = target.tell()

        def call() -> None:
            target.seek(begin)
            target.truncate()
            with self._client.stream(
                "GET",
                url,
                headers=_range_header(byte_range),
                follow_redirects=True,
                extensions=self._hooks,
            ) as response:
                _refuse_status(response, shown_url(url))
                skip, left = 0, None
                if byte_range is not None and response.status_code == 200:
                    skip, left = byte_range
                for block in response.iter_bytes(_BLOCK_BYTES):
                    wanted = block[skip:] if left is None else block[skip:][:left]
                    skip = max(0, skip - len(block))
                    target.write(wanted)
                    if left is not None:
                        left -= len(wanted)
                        if not left:
                            break

        self._persist(call, shown_url(url))

    def _persist(self, call: Callable[[], _T], where: str) -> _T:
        failures = 0
        while True:
            if self.stop.is_set():
                raise Cancelled
            try:
                return call()
            except Unavailable as error:
                problem: TamsError = error
            except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError):  # of a redirect
                raise BadInput(f"{where} is not an http(s) address", field="url") from None
            except httpx.TooManyRedirects:
                raise BadInput(f"{where} redirects in a circle", field="url") from None
            except httpx.TransportError as error:
                reason = str(error) or type(error).__name__
                problem = Unavailable(f"{where} cannot be reached: {reason}")
            failures += 1
            self.back_off(failures, problem)

    def back_off(self, failures: int, problem: TamsError) -> None:
        """Pause after a number of failures; raises ``problem`` when it was one too many."""
        if failures >= self._retry.attempts:
            raise problem
        self.stop.wait(self._retry.pause(failures))


def _checked(url: str) -> str:
    # A playlist may name anything.
    if not is_address(url):
        raise BadInput(f"{shown_url(url)} is not an http(s) address", field="url")
    return url


def _summary(response: httpx.Response) -> str:
    """What the server says in the body of a refusal (TAMS error object), as the end of a line."""
    try:
        found = response.json()
    except ValueError:
        return ""
    summary = found.get("summary") if isinstance(found, dict) else None
    return f": {summary[:_LONGEST_SUMMARY]}" if isinstance(summary, str) else ""


def _refuse_status(response: httpx.Response, where: str, summary: str = "") -> None:
    status = response.status_code
    if status >= 500 or status in (408, 429):
        raise Unavailable(f"{where} answered {status}{summary}")
    if status == 401:
        raise Unauthenticated(f"{where} asks for credentials")
    if status == 403:
        raise Forbidden(f"{where} refuses access")
    if status == 404:
        raise NotFound(f"{where} does not exist")
    if status >= 300:
        raise BadInput(f"{where} answered {status}{summary}")


def _range_header(byte_range: tuple[int, int] | None) -> dict[str, str]:
    if byte_range is None:
        return {}
    offset, size = byte_range
    return {"Range": f"bytes={offset}-{offset + size - 1}"}


def _blocks(path: Path, offset: int, size: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(offset)
        while size > 0:
            block = file.read(min(_BLOCK_BYTES, size))
            if not block:
                return
            size -= len(block)
            yield block
