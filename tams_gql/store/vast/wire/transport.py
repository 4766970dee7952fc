"""One endpoint of the cluster over pooled connections, under the calls of the SDK.

The SDK sends through ``requests``, which costs about half a millisecond of processor time per
call, keeps connections per host whatever the port, and waits for ever by default. This sends the
same requests through urllib3. It is imported at the first call to a cluster, because importing
the SDK takes more than a second.
"""

from __future__ import annotations

import logging
import os
import ssl
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import urllib3
from vastdb._internal import AWSRequestsAuth, VastdbApi

from tams_gql.model.errors import Unavailable
from tams_gql.store.vast.config import VastConfig
from tams_gql.store.vast.wire.clock import StoreClock
from tams_gql.store.vast.wire.outcomes import Lost, NotSent, Refused, Silent, TooLarge

MAX_ANSWER_BYTES = 1 << 30
MAX_ERROR_BYTES = 1 << 16
_PIECE = 1 << 20
_HELPERS = 12  # threads besides those for reads and writes that may call at once
_CONNECT_SECONDS = 5.0
_WHOLE_ANSWER = 10  # an answer may take this many times the limit of one wait
_NEVER_SENT = (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError)
_BROKEN = (urllib3.exceptions.HTTPError, OSError)
_SILENT = (urllib3.exceptions.ReadTimeoutError, TimeoutError)


@dataclass(frozen=True, slots=True)
class Reply:
    """A successful answer, in the form that the SDK's calls expect."""

    status_code: int
    headers: Mapping[str, str]
    content: bytes


@dataclass(frozen=True, slots=True)
class _Signed:
    """What the signature covers, in the form that the signing library expects."""

    method: str
    url: str
    body: bytes | None


class Api(VastdbApi):  # type: ignore[misc]
    """The SDK's calls to one endpoint. Thread-safe.

    Nothing is retried here. Calls raise ``NotSent``, ``Lost``, ``Refused`` or ``TooLarge``.
    """

    def __init__(self, config: VastConfig, endpoint: str, clock: StoreClock) -> None:
        super().__init__(
            config.access_key,
            config.secret_key,
            endpoints=[endpoint],
            max_entities_per_page=1000,
            version_check=False,
        )
        _quiet()
        self._request = self._single_request
        self._clock = clock
        self._wait = config.timeout_seconds
        self._pool = urllib3.PoolManager(
            maxsize=config.read_threads + config.write_threads + _HELPERS,
            timeout=urllib3.Timeout(min(_CONNECT_SECONDS, self._wait), self._wait),
            retries=False,
            headers={"user-agent": self.client_sdk_version},
            **_tls(endpoint, config.verify_tls),
        )
        url = self.endpoints[0]
        host = url.host if url.port in {80, 443, None} else f"{url.host}:{url.port}"
        self._auth = AWSRequestsAuth(config.access_key, config.secret_key, host, "", "s3")

    def close(self) -> None:
        """Close the pooled connections."""
        self._pool.clear()

    def _single_request(
        self,
        *,
        method: str,
        url: object,
        data: object = None,
        headers: Mapping[str, str] | None = None,
        stream: bool = False,  # noqa: ARG002
    ) -> Reply:
        """What all calls of the SDK end in. Every answer is read to its end."""
        body = None if data is None else bytes(data)  # type: ignore[call-overload]
        answer = self._sent(method, str(url), body, headers or {})
        try:
            if answer.status == 200:
                return Reply(answer.status, answer.headers, self._read(answer, MAX_ANSWER_BYTES))
            content = self._read(answer, MAX_ERROR_BYTES)
        except TooLarge:
            if answer.status == 200:
                raise
            content = b""  # what takes so long to say is no error of the cluster's
        except _BROKEN as error:
            raise _lost(error) from error
        raise self._refused(answer.status, content)

    def _sent(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]
    ) -> urllib3.BaseHTTPResponse:
        """Send a request; the answer up to its body."""
        signature = self._auth.get_aws_request_headers_handler(_Signed(method, url, body))
        sent = time.time()
        try:
            answer = self._pool.urlopen(
                method,
                url,
                body=body,
                headers={**self._pool.headers, **headers, **signature},
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
        except _BROKEN as error:
            never = _never_sent(error)
            raise (NotSent(type(error).__name__) if never else _lost(error)) from error
        self._clock.observe(answer.headers.get("Date"), sent, time.time())
        return answer

    def _refused(self, status: int, content: bytes) -> Refused:
        try:
            root = ElementTree.fromstring(content)
            code, message = root.findtext("Code"), root.findtext("Message")
        except (ElementTree.ParseError, ValueError, LookupError):  # the latter: odd encodings
            code = message = None
        return Refused(status, code, message, (self.secret_key, self.access_key))

    def _read(self, answer: urllib3.BaseHTTPResponse, most: int) -> bytes:
        deadline = time.monotonic() + self._wait * _WHOLE_ANSWER
        pieces, size = [], 0
        try:
            # Not ``read``, which returns when a piece is full, however long that takes.
            while piece := answer.read1(_PIECE):
                pieces.append(piece)
                size += len(piece)
                if size > most:
                    raise TooLarge
                if time.monotonic() > deadline:
                    raise TimeoutError("the whole answer took too long")
        except BaseException:
            answer.close()  # what is left of it must not be taken for the next answer
            raise
        answer.release_conn()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _lost(error: Exception) -> Lost:
    """Only the kind of failure: the messages of urllib3 repeat host and path."""
    return (Silent if isinstance(error, _SILENT) else Lost)(type(error).__name__)


def _never_sent(error: Exception) -> bool:
    """Whether it is certain that the server has seen nothing of the request."""
    refused = isinstance(error.__cause__ or error.__context__, ssl.SSLCertVerificationError)
    return refused or isinstance(error, _NEVER_SENT)


def _tls(endpoint: str, verify: bool | str) -> dict[str, Any]:
    if not endpoint.startswith("https:"):
        return {}
    context = ssl.create_default_context()
    if verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        # Asked for in the settings: no warning at each connection.
        warnings.filterwarnings("ignore", category=urllib3.exceptions.InsecureRequestWarning)
    elif isinstance(verify, str):
        folder = os.path.isdir(verify)  # noqa: PTH112
        try:
            context = ssl.create_default_context(
                cafile=None if folder else verify, capath=verify if folder else None
            )
        except OSError as error:  # an SSLError is one
            message = f"no certificate authorities can be read from {verify}"
            raise Unavailable(message) from error
    return {"ssl_context": context}


def _quiet() -> None:
    """Silence the SDK's loggers, unless somebody has set them: failures become exceptions."""
    logger = logging.getLogger("vastdb")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.CRITICAL)
