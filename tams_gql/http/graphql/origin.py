"""Which web pages may open a WebSocket: browsers ask nobody before they do."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers

_PORTS = {"http": 80, "https": 443}


def origin_allowed(headers: Headers, allowed: Collection[str]) -> bool:
    """Whether the page is of the server's own origin or of an allowed one.

    Programs other than browsers send no origin; they could send any.
    """
    origin = headers.get("origin")
    if origin is None or "*" in allowed or headers.get("sec-fetch-site") == "same-origin":
        return True
    return origin.lower() in allowed or _is_own(origin, headers.get("host", ""))


def _is_own(origin: str, host: str) -> bool:
    # A proxy may have ended TLS, so the scheme of the request tells nothing.
    try:
        page = urlsplit(origin)
        own = urlsplit(f"//{host}")
        port = page.port or _PORTS.get(page.scheme)
        return page.hostname is not None and (page.hostname, port) == (
            own.hostname,
            own.port or _PORTS.get(page.scheme),
        )
    except ValueError:
        return False
