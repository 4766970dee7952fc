"""One external copy, read with as little trust as possible."""

from __future__ import annotations

import base64
import binascii
import logging
import socket
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from multidict import CIMultiDictProxy
from yarl import URL

from tams_gql.media.external.addresses import connected, may_be_read
from tams_gql.media.external.rules import ExternalRules
from tams_gql.media.port import check_content_type
from tams_gql.model.errors import BadInput, Conflict, LimitExceeded, NotFound, Unavailable

if TYPE_CHECKING:
    from aiohttp.abc import AbstractResolver

logger = logging.getLogger(__name__)

_MAX_REDIRECTS: Final = 5
_CONNECT_SECONDS: Final = 10.0
_SILENCE_SECONDS: Final = 30.0
_BLOCK_BYTES: Final = 2**18
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_GONE: Final = frozenset({404, 410})
_HEADERS: Final = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "tams-gql"}
# What stores say of the bytes.
_DECLARED: Final = {
    "content-md5": "md5",
    **{f"x-amz-checksum-{name}": name for name in ("crc32", "crc32c", "crc64nvme", "sha256")},
}


@dataclass(frozen=True, slots=True)
class Download:
    """An external copy that is being read.

    ``size`` is in bytes, None if the server does not say. ``checksums`` are those that it declares
    (base64 by algorithm). ``blocks`` gives the bytes once: it raises Unavailable if they are not
    as many as said, LimitExceeded if they are too many.
    """

    size: int | None
    content_type: str | None
    blocks: AsyncGenerator[bytes, None]
    checksums: Mapping[str, str] = field(default_factory=dict)


@asynccontextmanager
async def opened(
    url: str, rules: ExternalRules, *, resolver: AbstractResolver | None = None
) -> AsyncIterator[Download]:
    """Ask for the bytes at a URL; redirects are followed, each held to the rules anew.

    Every connection goes to an address that was checked, not to a name that was. Proxies of the
    environment are not used: they would connect to what nobody has checked.
    Raises Forbidden if the rules do not allow it, NotFound, Conflict, LimitExceeded, Unavailable;
    what an error says is the same whether an address is refused or does not answer.
    """
    async with AsyncExitStack() as stack:
        try:
            session = await stack.enter_async_context(_session(rules, resolver))
            answer = await _answer(session, URL(url, encoded=True), rules)
            response = await stack.enter_async_context(answer)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # Not the error's own text: it has the host, the address and maybe the query in it.
            logger.warning("an external copy cannot be read (%s)", type(error).__name__)
            raise Unavailable("the external copy cannot be read from here now") from None
        yield _download(response, rules)


def _session(rules: ExternalRules, resolver: AbstractResolver | None) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            resolver=resolver or aiohttp.ThreadedResolver(),
            use_dns_cache=False,
            force_close=True,
            socket_factory=partial(_checked_socket, rules),
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=_HEADERS,
        trust_env=False,
        auto_decompress=False,
        read_bufsize=_BLOCK_BYTES,
    )


def _timeout(seconds: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(
        total=max(seconds, 0.001),  # 0 would be for ever
        connect=_CONNECT_SECONDS,
        sock_connect=_CONNECT_SECONDS,
        sock_read=_SILENCE_SECONDS,
    )


def _checked_socket(rules: ExternalRules, info: tuple[Any, ...]) -> socket.socket:
    """A socket for the address that is about to be connected to, if it may be."""
    family, kind, protocol, _, place = info
    address = connected(place[0])
    if not may_be_read(address, rules.networks):
        logger.warning("an external copy lies at %s, which may not be read", address)
        raise PermissionError("the address may not be read")
    return socket.socket(family, kind, protocol)


async def _answer(
    session: aiohttp.ClientSession, url: URL, rules: ExternalRules
) -> aiohttp.ClientResponse:
    ends = time.monotonic() + rules.timeout
    for _ in range(_MAX_REDIRECTS + 1):
        rules.check_place(url.scheme, url.raw_host or "", url.port)
        left = _timeout(ends - time.monotonic())
        response = await session.get(url, allow_redirects=False, timeout=left)
        if response.status not in _REDIRECTS:
            return response
        response.close()
        target = url.join(URL(response.headers.get("Location", ""), encoded=True))
        if url.scheme == "https" and target.scheme != "https":
            raise Unavailable("the external copy is redirected from https to less")
        url = target
    raise Unavailable("the external copy is redirected too often")


def _download(response: aiohttp.ClientResponse, rules: ExternalRules) -> Download:
    if response.status in _GONE:
        raise NotFound("there is nothing at the URL of the external copy")
    if response.status != 200:
        raise Unavailable(f"the server of the external copy answers {response.status}")
    if _is_encoded(response.headers):
        raise Unavailable("the server gives the external copy in another encoding only")
    content_type = _content_type(response)
    if content_type == "text/html":
        # A page that says so, with status 200, where something is missing or wants a login.
        raise Conflict("the server of the external copy answers with a web page")
    size = response.content_length
    if size is not None:
        _check_size(size, rules)
    return Download(
        size,
        content_type,
        _blocks(response, rules),
        _checksums(response.headers),
    )


def _is_encoded(headers: CIMultiDictProxy[str]) -> bool:
    """Whether the bytes are packed, by either header and however often it is there."""
    given = [*headers.getall("Content-Encoding", []), *headers.getall("Transfer-Encoding", [])]
    found = {name.strip().lower() for name in ",".join(given).split(",")}
    return not found <= {"", "identity", "chunked"}


def _content_type(response: aiohttp.ClientResponse) -> str | None:
    """What the server says, if it can be said of an object here."""
    if "Content-Type" not in response.headers:
        return None
    try:
        return check_content_type(response.content_type)
    except BadInput:
        return None


async def _blocks(
    response: aiohttp.ClientResponse, rules: ExternalRules
) -> AsyncGenerator[bytes, None]:
    seen = 0
    try:
        async for block in response.content.iter_chunked(_BLOCK_BYTES):
            seen += len(block)
            _check_size(seen, rules)
            yield block
    except (aiohttp.ClientError, OSError) as error:
        logger.warning("an external copy broke off (%s)", type(error).__name__)
        raise Unavailable("the external copy broke off while it was read") from None


def _check_size(size: int, rules: ExternalRules) -> None:
    if size > rules.max_bytes:
        raise LimitExceeded(
            f"the external copy is larger than external_copy_max_bytes, {rules.max_bytes} bytes",
            limit=rules.max_bytes,
        )


def _checksums(headers: CIMultiDictProxy[str]) -> dict[str, str]:
    """The digests of the whole body, which are all that can be compared."""
    composite = headers.get("x-amz-checksum-type", "").upper() == "COMPOSITE"
    found = [
        (name, headers[header])
        for header, name in _DECLARED.items()
        if header in headers and not (composite and header.startswith("x-amz-"))
    ]
    for part in ",".join(headers.getall("x-goog-hash", [])).split(","):
        name, _, digest = part.strip().partition("=")
        found += [(name, digest)] if name in ("md5", "crc32c") else []
    return {name: digest for name, digest in found if _is_digest(digest)}


def _is_digest(text: str) -> bool:
    # The checksum of a composite object of S3 ends with the number of its parts.
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return bool(text)
