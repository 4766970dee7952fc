"""Signed URLs of the local backend.

A URL is ``{base}{key}?method=…&expires=…[&type=…]&signature=…``. The signature is an HMAC-SHA256,
in hexadecimal, over method, storage id, expiry, content type and key. A query counts only in the
exact text it was made in, so there is one URL for one grant and nothing to reinterpret.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal
from urllib.parse import parse_qsl, quote

from tams_gql.media.keys import check_key
from tams_gql.media.port import check_content_type
from tams_gql.model.errors import BadInput, Forbidden

Method = Literal["GET", "HEAD", "PUT"]

# A browser's player asks for the head of what it may read; that gives away less than reading it.
_GRANTS: Final[dict[str, frozenset[str]]] = {
    "GET": frozenset({"GET", "HEAD"}),
    "HEAD": frozenset({"HEAD"}),
    "PUT": frozenset({"PUT"}),
}
_MAX_QUERY_BYTES: Final = 1_024


@dataclass(frozen=True, slots=True)
class Grant:
    """What a valid signed URL allows. ``expires`` is in Unix seconds."""

    method: str
    key: str
    content_type: str
    expires: int


class UrlSigner:
    """Makes and checks the signed URLs of one storage backend. Its repr shows no secret."""

    def __init__(self, secret: bytes, *, storage_id: str, base_url: str) -> None:
        """``base_url`` is what a quoted key is put behind, with its trailing slash."""
        # Keyed once: a copy costs a fraction of deriving the two inner keys again.
        self._keyed = hmac.new(secret, digestmod="sha256")
        self._storage_id = storage_id
        self._base_url = base_url

    def urls(
        self, method: Method, keys: Sequence[str], *, expires: int, content_type: str = ""
    ) -> list[str]:
        """One URL for each key, valid until ``expires`` (Unix seconds)."""
        headed = self._headed(method, expires, content_type)
        query = f"?{_unsigned_query(method, expires, content_type)}&signature="
        base = self._base_url
        urls = []
        for key in keys:
            mac = headed.copy()
            mac.update(key.encode())
            urls.append(f"{base}{quote(key)}{query}{mac.hexdigest()}")
        return urls

    def verify(self, method: str, key: str, query: bytes, *, now: float) -> Grant:
        """The grant of a requested URL, if it allows ``method`` at ``now``, else Forbidden.

        ``key`` is the path behind the base, percent-decoded once; ``query`` is the raw query.
        """
        grant = _claimed(key, query)
        if grant is None or not hmac.compare_digest(query, self._query(grant)):
            raise Forbidden(
                "the URL's signature does not match: the URL was changed, "
                "or it was not made by this service"
            )
        # Said only to those who hold a genuine URL, and only what that URL says itself.
        if method not in _GRANTS[grant.method]:
            raise Forbidden(f"this URL is signed for {grant.method}, not for {method}")
        if now >= grant.expires:
            ended = datetime.fromtimestamp(grant.expires, UTC).isoformat()
            raise Forbidden(f"the URL expired at {ended}: ask for a new one")
        return grant

    def _headed(self, method: str, expires: int, content_type: str) -> hmac.HMAC:
        """The keyed hash with everything but the key in it.

        No part can hold a line feed (content types are tokens, and the key comes last), so two
        different grants never give the same text.
        """
        mac = self._keyed.copy()
        head = f"tams-gql-media-1\n{method}\n{self._storage_id}\n{expires}\n{content_type}\n"
        mac.update(head.encode())
        return mac

    def _query(self, grant: Grant) -> bytes:
        """The only query text that is valid for this grant."""
        mac = self._headed(grant.method, grant.expires, grant.content_type)
        mac.update(grant.key.encode())
        text = _unsigned_query(grant.method, grant.expires, grant.content_type)
        return f"{text}&signature={mac.hexdigest()}".encode()


def _unsigned_query(method: str, expires: int, content_type: str) -> str:
    bound = f"&type={quote(content_type)}" if content_type else ""
    return f"method={method}&expires={expires}{bound}"


def _claimed(key: str, query: bytes) -> Grant | None:
    """What a URL says of itself, not yet believed; None if it cannot be one of ours."""
    if len(query) > _MAX_QUERY_BYTES:
        return None
    try:
        check_key(key)
        fields = dict(parse_qsl(query.decode("ascii"), strict_parsing=True, max_num_fields=4))
        method, expires = fields["method"], int(fields["expires"][:12])
        content_type = check_content_type(fields["type"]) if "type" in fields else ""
    except (BadInput, ValueError, KeyError):
        return None
    return Grant(method, key, content_type, expires) if method in _GRANTS else None
