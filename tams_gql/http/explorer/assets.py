"""The page's scripts, styles and fonts: read once, served from memory under a versioned path.

The version is a digest of all the files, so a path with the current version never changes its
content and may be kept for a year. A path with any other version, as an old page asks for during an
upgrade, still answers with the current file but has to be checked each time.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

_STATIC = Path(__file__).parent / "static"

# Named here because the standard library's table depends on the machine it runs on.
_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".woff2": "font/woff2",
}
_ALREADY_COMPRESSED = frozenset({".woff2"})
_REFUSED = re.compile(r"0(\.0*)?")
_VERSION_DIGITS = 16


@dataclass(frozen=True, slots=True)
class _Asset:
    body: bytes
    suffix: str
    digest: str


def explorer_routes(prefix: str = "/graphql/static") -> list[BaseRoute]:
    """Return the routes that serve the page's files below ``prefix``.

    Reads the files (about 1.6 MB), so that the first request does not have to.
    """
    asset_version()
    return [Route(f"{prefix}/{{version}}/{{name:path}}", _serve, methods=["GET"])]


@cache
def asset_version() -> str:
    """Return the digest of all the files that stands in their paths."""
    listing = "".join(f"{name} {asset.digest}\n" for name, asset in sorted(_assets().items()))
    return hashlib.sha256(listing.encode()).hexdigest()[:_VERSION_DIGITS]


async def _serve(request: Request) -> Response:
    name = request.path_params["name"]
    asset = _assets().get(name)
    if asset is None:
        raise HTTPException(404)
    compress = asset.suffix not in _ALREADY_COMPRESSED and _accepts_gzip(request)
    # Each encoding is its own representation, and strong validators must differ between them.
    etag = f'"{asset.digest}-gzip"' if compress else f'"{asset.digest}"'
    headers = {
        "Cache-Control": _cache_control(request.path_params["version"]),
        "ETag": etag,
        "Vary": "Accept-Encoding",
        "X-Content-Type-Options": "nosniff",
    }
    if _is_current(request, etag):
        return Response(status_code=304, headers=headers)
    headers["Content-Type"] = _MEDIA_TYPES[asset.suffix]
    if not compress:
        return Response(asset.body, headers=headers)
    headers["Content-Encoding"] = "gzip"
    return Response(await asyncio.to_thread(_gzipped, name), headers=headers)


@cache
def _assets() -> Mapping[str, _Asset]:
    files = (path for path in _STATIC.rglob("*") if path.is_file())
    return MappingProxyType({path.relative_to(_STATIC).as_posix(): _read(path) for path in files})


def _read(path: Path) -> _Asset:
    body = path.read_bytes()
    return _Asset(body, path.suffix, hashlib.sha256(body).hexdigest())


@cache
def _gzipped(name: str) -> bytes:
    return gzip.compress(_assets()[name].body, mtime=0)


def _cache_control(version: str) -> str:
    if version == asset_version():
        return "public, max-age=31536000, immutable"
    return "no-cache"


def _accepts_gzip(request: Request) -> bool:
    """Tell whether the client takes gzip, honouring a refusal by ``q=0`` (RFC 9110, 12.5.3)."""
    for item in request.headers.get("accept-encoding", "").lower().split(","):
        coding, _, weight = item.replace(" ", "").partition(";q=")
        if coding == "gzip":
            return not _REFUSED.fullmatch(weight)
    return False


def _is_current(request: Request, etag: str) -> bool:
    tags = request.headers.get("if-none-match", "").split(",")
    return any(tag.strip().removeprefix("W/") in {etag, "*"} for tag in tags)
