"""URLs as aiobotocore presigns them, at a time of the test's choice."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple
from unittest import mock

from aiobotocore.config import AioConfig
from aiobotocore.credentials import AioCredentials
from aiobotocore.session import AioSession
from botocore.loaders import Loader

from tams_gql.media.s3.signing import Credentials, Presigner, Terms

_OPERATIONS = {"GET": "get_object", "HEAD": "head_object", "PUT": "put_object"}


class Variant(NamedTuple):
    """A way to reach a bucket."""

    endpoint: str | None
    region: str
    addressing: str
    bucket: str = "media-bucket"


class Reference:
    """Clients of aiobotocore, one for each variant, that sign with given credentials."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self._runner = runner
        self._stack = AsyncExitStack()
        self._loader = Loader()
        self._credentials = AioCredentials("-", "-")
        self.client = lru_cache(maxsize=None)(self._client)
        self.presigner = lru_cache(maxsize=None)(self._presigner)

    async def load_credentials(self) -> Any:
        return self._credentials

    def url(self, variant: Variant, key: str, terms: Terms, credentials: Credentials) -> str:
        self._credentials.access_key = credentials.access_key_id
        self._credentials.secret_key = credentials.secret_access_key
        self._credentials.token = credentials.session_token
        parameters = {"Bucket": variant.bucket, "Key": key}
        if terms.content_type is not None:
            parameters["ContentType"] = terms.content_type
        now = datetime.fromtimestamp(terms.now, UTC)
        with mock.patch("botocore.auth.get_current_datetime", return_value=now):
            made = self.client(variant).generate_presigned_url(
                _OPERATIONS[terms.method], parameters, ExpiresIn=terms.expires_in
            )
            return str(self._runner.run(made))

    def _presigner(self, variant: Variant) -> Presigner:
        """One of ours for the place that aiobotocore finds the bucket at."""
        url = self.url(variant, "k", Terms("GET", 0, 60), Credentials("a", "b"))
        base, _, query = url.partition("k?X-Amz-")
        return Presigner(base, query.split("%2F")[2])

    def _client(self, variant: Variant) -> Any:
        session = AioSession()
        session.register_component("data_loader", self._loader)
        session.register_component("credential_provider", self)
        context = session.create_client(
            "s3",
            region_name=variant.region,
            endpoint_url=variant.endpoint,
            config=AioConfig(
                signature_version="s3v4",
                s3={"addressing_style": variant.addressing},
                request_checksum_calculation="when_required",
            ),
        )
        return self._runner.run(self._stack.enter_async_context(context))

    def close(self) -> None:
        self._runner.run(self._stack.aclose())


@contextmanager
def reference() -> Iterator[Reference]:
    with asyncio.Runner() as runner:
        made = Reference(runner)
        try:
            yield made
        finally:
            made.close()
