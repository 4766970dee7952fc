"""Removing objects: a thousand with one request where the store can, else one by one."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from tams_gql.media.s3.client import S3Client
from tams_gql.media.s3.concurrency import each
from tams_gql.media.s3.failures import S3Failure
from tams_gql.model.errors import NotFound

logger = logging.getLogger(__name__)

_MAX_BATCH: Final = 1_000  # of DeleteObjects
# Stores that do not have DeleteObjects, or want a checksum of another kind for it.
_NO_BATCHES: Final = frozenset(
    {"InvalidDigest", "MethodNotAllowed", "MissingContentMD5", "NotImplemented", "405", "501"}
)
# The batch itself was not understood: a key may hold a character that XML cannot carry.
_NOT_THIS_BATCH: Final = frozenset({"InvalidRequest", "MalformedXML"})


class Deleter:
    """Removes objects from one bucket."""

    def __init__(self, client: S3Client, bucket: str, *, limit: int) -> None:
        """``limit``: requests at a time."""
        self._client = client
        self._bucket = bucket
        self._limit = limit
        self._in_batches = True

    async def delete(self, keys: Sequence[str]) -> None:
        """Remove the objects; none under a key is no error. Raises Unavailable."""
        unique = list(dict.fromkeys(keys))
        batches = [unique[at : at + _MAX_BATCH] for at in range(0, len(unique), _MAX_BATCH)]
        for batch in batches:
            await self._delete(batch)

    async def _delete(self, keys: list[str]) -> None:
        if len(keys) == 1 or not self._in_batches:
            await self._delete_singly(keys)
            return
        try:
            left = await self._delete_together(keys)
        except S3Failure as error:
            if error.s3_code not in _NO_BATCHES | _NOT_THIS_BATCH:
                raise
            if error.s3_code in _NO_BATCHES:
                self._in_batches = False
                logger.info("the object store takes no batches of deletions (%s)", error.s3_code)
            left = keys
        # A key that failed in the batch may have failed for a moment only.
        await self._delete_singly(left)

    async def _delete_together(self, keys: list[str]) -> list[str]:
        """Remove them with one request; return those that were not removed."""
        answer = await self._client.call(
            "delete_objects",
            Bucket=self._bucket,
            Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True},
        )
        failed = {
            error.get("Key") for error in answer.get("Errors", []) if error["Code"] != "NoSuchKey"
        }
        return [key for key in keys if key in failed]

    async def _delete_singly(self, keys: list[str]) -> None:
        await each(keys, self._delete_one, limit=self._limit, tolerated=self._limit)

    async def _delete_one(self, key: str) -> None:
        with suppress(NotFound):
            await self._client.call("delete_object", Bucket=self._bucket, Key=key)
