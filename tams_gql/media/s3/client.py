"""The calls to one S3 endpoint: the only module that sends requests through aiobotocore."""

from __future__ import annotations

import asyncio
import logging
import ssl
from contextlib import AsyncExitStack
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple, cast
from urllib.parse import parse_qs, urlsplit

from aiobotocore.config import AioConfig
from aiobotocore.credentials import AioCredentials
from aiobotocore.session import AioSession
from aiohttp import ClientError as AiohttpError
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.handlers import add_expect_header
from botocore.loaders import Loader

from tams_gql.media.s3.config import S3BackendConfig
from tams_gql.media.s3.credentials import CredentialKeeper
from tams_gql.media.s3.failures import REFUSED_CREDENTIALS, answered, unanswered
from tams_gql.model.errors import BadInput, TamsError
from tams_gql.model.jitter import CHANCE

_NO_KEYS: Final = "-"  # never used: botocore asks for the kept ones whenever it signs
_READ_ATTEMPTS: Final = 4
_MAX_BACKOFF_SECONDS: Final = 20  # the most that botocore waits between two attempts


class Place(NamedTuple):
    """Where clients find a bucket: what stands before the keys, and the region to sign for."""

    base_url: str
    region: str


class S3Client:
    """Sends requests for one backend: bounded in time, repeated where that is safe."""

    def __init__(self, client: Any, config: S3BackendConfig, keeper: CredentialKeeper) -> None:
        self._client = client
        self._keeper = keeper
        self._label = config.label
        pauses = sum(min(2**n, _MAX_BACKOFF_SECONDS) for n in range(config.max_attempts - 1))
        attempt = config.connect_timeout + config.read_timeout
        self._timeout = config.max_attempts * attempt + pauses
        # aiohttp waits for the answer to "Expect: 100-continue" without any bound.
        client.meta.events.unregister("before-call.s3", add_expect_header)

    async def call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """Call the client's method ``operation``.

        Credentials that the store refuses are loaded again, because they may have been rotated
        since. Raises NotFound (no such object), Conflict (a condition was not met), S3Failure
        (any other refusal) or Unavailable (no answer).
        """
        used = await self._keeper.fresh()
        try:
            return await self._send(operation, parameters)
        except ClientError as error:
            if not (_may_be_credentials(error) and await self._keeper.reload(used)):
                raise self._translated(error, operation) from None
        try:
            return await self._send(operation, parameters)
        except ClientError as error:
            raise self._translated(error, operation) from None

    async def read(self, **parameters: Any) -> dict[str, Any]:
        """Call ``get_object`` and read its bytes, which become ``Body``.

        An answer that breaks off is asked for again. Raises as ``call`` does.
        """
        for attempt in range(_READ_ATTEMPTS):
            if attempt:
                await asyncio.sleep(CHANCE.uniform(0.0, 2.0**attempt / 4))
            answer = await self.call("get_object", **parameters)
            try:
                async with asyncio.timeout(self._timeout), answer["Body"] as body:
                    return {**answer, "Body": await body.read()}
            except (BotoCoreError, HTTPClientError, AiohttpError, OSError) as error:
                failure = unanswered(error, "get_object", self._label)
        raise failure

    async def _send(self, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        try:
            async with asyncio.timeout(self._timeout):
                return cast("dict[str, Any]", await getattr(self._client, operation)(**parameters))
        except (BotoCoreError, HTTPClientError, OSError) as error:
            raise unanswered(error, operation, self._label) from None

    def _translated(self, error: ClientError, operation: str) -> TamsError:
        return answered(error.response, operation, self._label)


def _may_be_credentials(error: ClientError) -> bool:
    code = str(error.response.get("Error", {}).get("Code", ""))
    return code in REFUSED_CREDENTIALS or code in ("400", "401", "403")


class _Kept(AioCredentials):  # type: ignore[misc]  # the library is untyped
    """Lets botocore sign each request with what the keeper holds at that moment."""

    def __init__(self, keeper: CredentialKeeper) -> None:
        super().__init__(_NO_KEYS, _NO_KEYS)
        self._keeper = keeper
        self.opening = True
        """While the client is made, when nothing is sent and the credentials may still come."""

    async def get_frozen_credentials(self) -> ReadOnlyCredentials:
        if self.opening:
            return ReadOnlyCredentials(_NO_KEYS, _NO_KEYS, None)
        now = await self._keeper.fresh()
        return ReadOnlyCredentials(now.access_key_id, now.secret_access_key, now.session_token)


class _Provider:
    def __init__(self, keeper: CredentialKeeper) -> None:
        self.kept = _Kept(keeper)

    async def load_credentials(self) -> _Kept:
        return self.kept


async def open_client(
    stack: AsyncExitStack, config: S3BackendConfig, keeper: CredentialKeeper
) -> tuple[S3Client, Place]:
    """A client that ``stack`` closes, and where others find the bucket. Sends no request.

    Raises BadInput if botocore cannot make sense of the configuration.
    """
    _keep_secrets_out_of_logs()
    try:
        session = await asyncio.to_thread(_session, config.ca_file)
        provider = _Provider(keeper)
        session.register_component("credential_provider", provider)
        client = await stack.enter_async_context(_client(session, config, config.endpoint))
        if config.public_endpoint is None:
            place = await _place(client, config.bucket)
        else:
            async with _client(session, config, config.public_endpoint) as public:
                place = await _place(public, config.bucket)
    except (BotoCoreError, ValueError, OSError) as error:
        raise BadInput(f"storage backend {config.label}: {error}") from None
    provider.kept.opening = False
    return S3Client(client, config, keeper), place


@lru_cache(maxsize=1)
def _data_loader() -> Loader:
    """One for all backends: the data models of botocore are large files."""
    return Loader()


def _session(ca_file: Path | None) -> AioSession:
    """A session that has read all its files already. Blocks. Raises OSError, BotoCoreError."""
    if ca_file is not None:
        # aiohttp would only find out with the first request.
        ssl.create_default_context(cafile=ca_file)
    session = AioSession()
    session.register_component("data_loader", _data_loader())
    session.warm_up_loader_caches("s3")
    # Those of other AWS tools, which may hold region and endpoints.
    _ = session.full_config
    return session


def _client(session: AioSession, config: S3BackendConfig, endpoint: str | None) -> Any:
    return session.create_client(
        "s3",
        region_name=config.region or session.get_config_variable("region") or "us-east-1",
        endpoint_url=endpoint,
        verify=None if config.ca_file is None else str(config.ca_file),
        config=AioConfig(
            signature_version="s3v4",
            s3={"addressing_style": config.addressing_style},
            connect_timeout=config.connect_timeout,
            read_timeout=config.read_timeout,
            max_pool_connections=config.max_connections,
            retries={"mode": "standard", "total_max_attempts": config.max_attempts},
            # Stores other than AWS refuse checksums that they do not know.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


async def _place(client: Any, bucket: str) -> Place:
    """Let botocore apply its rules for endpoints once, instead of repeating them here."""
    url = await client.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "k"})
    parts = urlsplit(url)
    region = parse_qs(parts.query)["X-Amz-Credential"][0].split("/")[2]
    return Place(f"{parts.scheme}://{parts.netloc}{parts.path.removesuffix('k')}", region)


def _keep_secrets_out_of_logs() -> None:
    """At DEBUG these write the strings they sign and the headers they send, tokens included."""
    for name in ("botocore", "aiobotocore"):
        logger = logging.getLogger(name)
        if logger.level < logging.INFO:
            logger.setLevel(logging.INFO)
