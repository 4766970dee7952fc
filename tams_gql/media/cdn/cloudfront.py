"""Signed URLs of Amazon CloudFront: RSA with SHA-1, as it demands.

A signature takes more than half a millisecond. So the end of a URL's life is rounded up to a whole
step, and within that the signature of a URL is computed once.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from threading import Lock
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tams_gql.bounded_cache import BoundedCache
from tams_gql.media.cdn.signer import Scope
from tams_gql.model.errors import BadInput

_CACHE_BYTES: Final = 16 * 2**20
_CACHE_ENTRIES: Final = 20_000
# What base64 has that a query may not: CloudFront's own substitutes.
_QUERY_SAFE: Final = bytes.maketrans(b"+=/", b"-_~")


def load_key(pem: bytes) -> RSAPrivateKey:
    """The private key of a key pair. Raises BadInput, without a word of the key."""
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        name = type(error).__name__
        raise BadInput(f"the private key is not PEM without a password ({name})") from None
    if not isinstance(key, RSAPrivateKey):
        raise BadInput("the private key is not one of RSA")
    return key


class CloudFront:
    """Signs with one key pair. Keeps the contract of ``signer.CdnSigner``."""

    slow = True

    def __init__(
        self, base_url: str, key: RSAPrivateKey, *, key_pair_id: str, scope: Scope, step: int
    ) -> None:
        """``step``: URLs end at whole multiples of so many seconds."""
        self._key = key
        self._key_pair_id = key_pair_id
        self._all = f"{base_url}/*" if scope == "base" else None
        self._step = step
        self._made: BoundedCache[tuple[str, int], str] = BoundedCache(
            max_bytes=_CACHE_BYTES, max_entries=_CACHE_ENTRIES
        )
        self._lock = Lock()

    def __repr__(self) -> str:
        return f"CloudFront({self._key_pair_id})"

    def sign(self, urls: Sequence[str], expires_at: int) -> list[str]:
        ends = -(-expires_at // self._step) * self._step
        if self._all is not None:
            query = self._query(self._all, ends)
            return [f"{url}?{query}" for url in urls]
        return [f"{url}?{self._query(url, ends)}" for url in urls]

    def _query(self, resource: str, ends: int) -> str:
        with self._lock:
            made = self._made.get((resource, ends))
        if made is None:
            made = self._signed(resource, ends)
            with self._lock:
                self._made.put((resource, ends), made, len(made) + len(resource) + 200)
        return made

    def _signed(self, resource: str, ends: int) -> str:
        condition = {"DateLessThan": {"AWS:EpochTime": ends}}
        statement = {"Statement": [{"Resource": resource, "Condition": condition}]}
        policy = json.dumps(statement, separators=(",", ":")).encode()
        # CloudFront makes the policy of a single object itself, from the URL and its end.
        told = f"Expires={ends}" if self._all is None else f"Policy={_encoded(policy)}"
        signature = self._key.sign(policy, PKCS1v15(), SHA1())
        return f"{told}&Signature={_encoded(signature)}&Key-Pair-Id={self._key_pair_id}"


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).translate(_QUERY_SAFE).decode()
