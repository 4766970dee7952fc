"""Credentials found as all AWS tools find them: environment, profiles, roles, metadata service."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from aiobotocore.session import AioSession
from botocore.exceptions import BotoCoreError, ClientError

from tams_gql.media.s3.signing import Credentials
from tams_gql.model.errors import Unavailable


class ChainSource:
    """aiobotocore's chain of providers, gone through anew each time.

    A session reads its files only once, so a new one is made for each load: that is how rotated
    files and a changed profile are noticed.
    """

    def __init__(self, *, profile: str | None = None, credentials_file: Path | None = None) -> None:
        self._profile = profile
        self._credentials_file = credentials_file

    async def load(self) -> Credentials:
        # In a thread with a loop of its own: providers read files and data models while they run.
        return await asyncio.to_thread(self._load)

    def _load(self) -> Credentials:
        return asyncio.run(self._resolve())

    async def _resolve(self) -> Credentials:
        try:
            session = AioSession(profile=self._profile)
            if self._credentials_file is not None:
                session.set_config_variable("credentials_file", str(self._credentials_file))
            found = await session.get_credentials()
            frozen = None if found is None else await found.get_frozen_credentials()
        except (BotoCoreError, ClientError, OSError, ValueError, RuntimeError) as error:
            # Not the error's own text: a credential process may print secrets into it.
            raise Unavailable(
                f"the S3 credentials {self._place()} cannot be loaded ({type(error).__name__})"
            ) from None
        if frozen is None or not frozen.access_key or not frozen.secret_key:
            raise Unavailable(f"there are no S3 credentials {self._place()}")
        return Credentials(
            frozen.access_key, frozen.secret_key, frozen.token or None, _expiry(found)
        )

    def _place(self) -> str:
        if self._profile is None:
            return "in the environment, the default profile or the metadata service"
        return f"for the profile {self._profile!r}"


def _expiry(found: Any) -> float | None:
    # botocore keeps the time to itself; credentials without one do not expire.
    expiry = getattr(found, "_expiry_time", None)
    return None if expiry is None else float(expiry.timestamp())
