"""Automatic persisted queries: a document that was sent once is known by its SHA-256 from then on.

The protocol is Apollo's: ``extensions.persistedQuery`` has ``version`` 1 and ``sha256Hash``.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Mapping
from dataclasses import replace

from tams_gql.bounded_cache import BoundedCache
from tams_gql.http.graphql.params import Params
from tams_gql.http.graphql.refusal import Malformed, NotRun, Refusal, error_response

_MAX_DOCUMENTS = 16_384
_VERSION = 1
_SHA256 = re.compile("[0-9a-f]{64}")
_FIELD = "extensions.persistedQuery"


class PersistedQueries:
    """The documents that clients have announced, the latest used within ``max_bytes`` bytes.

    With 0 bytes nothing is kept, and clients are told that the protocol is not supported.
    """

    def __init__(self, max_bytes: int) -> None:
        self._enabled = max_bytes > 0
        self._documents: BoundedCache[str, str] = BoundedCache(
            max_bytes=max_bytes, max_entries=_MAX_DOCUMENTS
        )

    def __len__(self) -> int:
        return len(self._documents)

    def resolved(self, params: Params) -> Params:
        """The parameters with their document.

        Raises Malformed, and NotRun if the client has to send the document or to do without.
        """
        asked = (params.extensions or {}).get("persistedQuery")
        if asked is None:
            return params
        sha256 = _hash(asked)
        if sha256 is None or not self._enabled:
            raise _not_run("PersistedQueryNotSupported", "PERSISTED_QUERY_NOT_SUPPORTED")
        if params.query is None:
            query = self._documents.get(sha256)
            if query is None:
                raise _not_run("PersistedQueryNotFound", "PERSISTED_QUERY_NOT_FOUND")
            return replace(params, query=query)
        if hashlib.sha256(params.query.encode()).hexdigest() != sha256:
            raise Malformed(f"{_FIELD}.sha256Hash", "not the SHA-256 of the query")
        return params

    def remember(self, params: Params) -> None:
        """Keep a document that was announced with its hash and can be parsed."""
        asked = (params.extensions or {}).get("persistedQuery")
        sha256 = None if asked is None else _hash(asked)
        if sha256 is not None and params.query is not None and self._enabled:
            self._documents.put(sha256, params.query, sys.getsizeof(params.query))


def _hash(asked: object) -> str | None:
    """The hash, or None if the protocol's version is another one. Raises Malformed."""
    if not isinstance(asked, Mapping):
        raise Malformed(_FIELD, "an object is needed")
    if asked.get("version") != _VERSION:
        return None
    sha256 = asked.get("sha256Hash")
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise Malformed(f"{_FIELD}.sha256Hash", "64 hexadecimal digits in lower case are needed")
    return sha256


def _not_run(message: str, code: str) -> NotRun:
    # Clients look for these words, too.
    return NotRun(Refusal(error_response(message, code)))
