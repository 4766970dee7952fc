"""Absolute HTTP URLs that clients give: media outside our storage, targets of webhooks."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from tams_gql.model.bounds import refuse

MAX_URL_CHARS: Final = 4_096

_ALLOWED: Final = (
    f"an absolute http or https URL in printable ASCII, at most {MAX_URL_CHARS} characters"
)


def parse_http_url(text: object, *, field: str) -> str:
    """``text`` as sent, if it is an absolute ``http`` or ``https`` URL with a host.

    Characters beyond printable ASCII must come percent-encoded (RFC 3986), so that a URL can
    stand in a header or a playlist as it is.
    """
    if not isinstance(text, str) or not _is_http_url(text):
        refuse(field, text, _ALLOWED)
    return text


def _is_http_url(text: str) -> bool:
    # isprintable() lets the space through.
    if len(text) > MAX_URL_CHARS or not (text.isascii() and text.isprintable()) or " " in text:
        return False
    try:
        parts = urlsplit(text)
        # Reading the port is what checks it.
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
