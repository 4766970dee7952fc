"""Presigned URLs of S3, computed here (AWS Signature Version 4, query parameters).

botocore takes about 150 µs for a URL, most of it to look up what is the same for all of them. A
page of 1,000 segments wants 1,000 URLs, so here the constant parts are made once for a batch and
only a SHA-256 and an HMAC are left for each key. The result is the same, byte for byte.
"""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, Literal, NamedTuple
from urllib.parse import quote, urlsplit

Method = Literal["GET", "HEAD", "PUT"]

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
# What stands for itself in a path; nearly all keys are made of nothing else.
_PLAIN_PATH = re.compile(r"[A-Za-z0-9_.~/-]*")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Keys of an S3 user. ``expires_at`` is in Unix seconds; None for keys that do not expire."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    expires_at: float | None = None


class Terms(NamedTuple):
    """What all URLs of a batch have in common.

    ``now`` is in whole Unix seconds, ``expires_in`` in seconds. An upload with a
    ``content_type`` must send exactly that header.
    """

    method: Method
    now: int
    expires_in: int
    content_type: str | None = None


def quoted_path(key: str) -> str:
    """``key`` as it stands in the path of a URL."""
    return key if _PLAIN_PATH.fullmatch(key) else quote(key, safe="/~")


def signing_key(secret: str, day: str, region: str) -> bytes:
    """The key that signs all requests of one day (``YYYYMMDD``) to one region."""
    key = f"AWS4{secret}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


class Presigner:
    """Signs URLs for the objects of one bucket."""

    def __init__(self, base_url: str, region: str) -> None:
        """``base_url`` is what stands before the keys, with its final slash, already quoted.

        It has the bucket in its host name or as its path: both addressing styles look alike here.
        """
        parts = urlsplit(base_url)
        self._region = region
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._path = parts.path
        self._host = _host_header(base_url)
        self._last_form: tuple[tuple[Terms, Credentials], _Form] | None = None
        self._last_key: tuple[tuple[str, Credentials], bytes] | None = None

    def __repr__(self) -> str:
        return f"Presigner({self._origin}{self._path}, {self._region})"

    def urls(self, keys: Sequence[str], terms: Terms, credentials: Credentials) -> list[str]:
        """One URL for each key, in order."""
        form = self._form_of(terms, credentials)
        key = self._signing_key(form.day, credentials)
        head, tail, to_sign, query = f"{terms.method}\n", form.tail, form.to_sign, form.query
        origin, base, plain, digest = self._origin, self._path, _PLAIN_PATH.fullmatch, hmac.digest
        made = []
        for name in keys:
            path = base + (name if plain(name) else quote(name, safe="/~"))
            request = sha256(f"{head}{path}{tail}".encode()).hexdigest()
            signature = digest(key, f"{to_sign}{request}".encode(), "sha256").hex()
            made.append(f"{origin}{path}?{query}&X-Amz-Signature={signature}")
        return made

    def _form_of(self, terms: Terms, credentials: Credentials) -> _Form:
        # Small pages come many in a second.
        wanted, last = (terms, credentials), self._last_form
        if last is None or last[0] != wanted:
            last = (wanted, _form(terms, credentials, self._region, self._host))
            self._last_form = last
        return last[1]

    def _signing_key(self, day: str, credentials: Credentials) -> bytes:
        # One is enough: a presigner has one region, and days and credentials change rarely.
        wanted, last = (day, credentials), self._last_key
        if last is None or last[0] != wanted:
            last = (wanted, signing_key(credentials.secret_access_key, day, self._region))
            self._last_key = last
        return last[1]


class _Form(NamedTuple):
    """The constant parts of a batch: of the canonical request, the string to sign and the URL."""

    day: str
    tail: str
    to_sign: str
    query: str


def _form(terms: Terms, credentials: Credentials, region: str, host: str) -> _Form:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(terms.now))
    day = stamp[:8]
    scope = f"{day}/{region}/s3/aws4_request"
    headers, signed_headers = f"host:{host}\n", "host"
    if terms.content_type is not None:
        # Runs of white space count as one space in what is signed.
        headers = f"content-type:{' '.join(terms.content_type.split())}\n{headers}"
        signed_headers = "content-type;host"
    query = (
        f"X-Amz-Algorithm={_ALGORITHM}"
        f"&X-Amz-Credential={_quoted(f'{credentials.access_key_id}/{scope}')}"
        f"&X-Amz-Date={stamp}&X-Amz-Expires={terms.expires_in}"
    )
    signed = f"&X-Amz-SignedHeaders={_quoted(signed_headers)}"
    token = ""
    if credentials.session_token is not None:
        token = f"&X-Amz-Security-Token={_quoted(credentials.session_token)}"
    # The canonical query is sorted by name, the URL is in the order that botocore writes.
    return _Form(
        day=day,
        tail=f"\n{query}{token}{signed}\n{headers}\n{signed_headers}\nUNSIGNED-PAYLOAD",
        to_sign=f"{_ALGORITHM}\n{stamp}\n{scope}\n",
        query=f"{query}{signed}{token}",
    )


def _quoted(value: str) -> str:
    return quote(value, safe="-._~")


def _host_header(url: str) -> str:
    """The Host header that HTTP clients send for a URL: no default port, in lower case."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    if parts.port is None or parts.port == _DEFAULT_PORTS.get(parts.scheme):
        return host
    return f"{host}:{parts.port}"
