"""Akamai's Edge Authorization tokens 2.0: HMAC-SHA256 in the query, with a key in hexadecimal."""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence
from urllib.parse import quote_plus, urlsplit

from tams_gql.media.cdn.signer import Scope
from tams_gql.model.errors import BadInput

_ESCAPE = re.compile("%..")
# In a list of paths the rest has a meaning of its own.
_PLAIN = re.compile(r"[A-Za-z0-9/._-]*")


def load_key(content: bytes) -> bytes:
    """The key as bytes. Raises BadInput, without a word of the key."""
    try:
        return bytes.fromhex(content.decode("ascii").strip())
    except ValueError:
        raise BadInput("the key is not an even number of hexadecimal digits") from None


class EdgeAuth:
    """Signs with one key. Keeps the contract of ``signer.CdnSigner``."""

    slow = False

    def __init__(
        self, base_url: str, key: bytes, *, parameter: str, scope: Scope, escape: bool
    ) -> None:
        """``parameter`` is the name in the query; ``escape`` signs paths escaped once more.

        Raises BadInput if the base URL cannot stand in a token.
        """
        parts = urlsplit(base_url)
        self._origin_length = len(f"{parts.scheme}://{parts.netloc}")
        self._key = key
        self._parameter = parameter
        self._all = f"{parts.path}/*" if scope == "base" else None
        self._escape = escape
        if self._all is not None and not _PLAIN.fullmatch(parts.path):
            raise BadInput("with scope base, the path of public_base_url may hold no ~ * ! or %")

    def __repr__(self) -> str:
        return f"EdgeAuth({self._parameter})"

    def sign(self, urls: Sequence[str], expires_at: int) -> list[str]:
        if self._all is not None:
            told = f"exp={expires_at}~acl={self._all}"
            token = f"{self._parameter}={told}~hmac={self._hmac(told)}"
            return [f"{url}?{token}" for url in urls]
        told = f"exp={expires_at}"
        head = f"{self._parameter}={told}~hmac="
        return [f"{url}?{head}{self._hmac(f'{told}~url={self._path(url)}')}" for url in urls]

    def _path(self, url: str) -> str:
        path = url[self._origin_length :]
        if not self._escape:
            return path
        return _ESCAPE.sub(lambda found: found[0].lower(), quote_plus(path))

    def _hmac(self, text: str) -> str:
        return hmac.digest(self._key, text.encode(), "sha256").hex()
