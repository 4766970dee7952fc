"""Bytes that come through this program: for copies between stores, and to verify checksums.

At no time is more than a few parts of an object in memory.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import aclosing
from typing import Any, Final

from tams_gql.media.port import CopyProgress, ObjectStat
from tams_gql.media.s3.client import S3Client
from tams_gql.media.s3.copying import parts_of
from tams_gql.media.s3.multipart import Target, in_parts
from tams_gql.model.errors import Unavailable

_BLOCK_BYTES: Final = 8 * 2**20  # one request reads so much
_PARTS_ON_THE_WAY: Final = 2


async def read_object(
    client: S3Client, bucket: str, key: str, found: ObjectStat
) -> AsyncGenerator[bytes, None]:
    """The bytes of one version of an object, each block read while the one before is used.

    Raises NotFound or Conflict if it is gone or has changed, and Unavailable.
    """
    version = {"Bucket": bucket, "Key": key, "IfMatch": f'"{found.etag}"'}

    async def read(first: int) -> bytes:
        last = min(first + _BLOCK_BYTES, found.size) - 1
        answer = await client.read(**version, Range=f"bytes={first}-{last}")
        block: bytes = answer["Body"]
        if len(block) != last - first + 1:
            raise Unavailable("the object store answered with another range than was asked for")
        return block

    ahead: asyncio.Task[bytes] | None = None
    try:
        for first in range(0, found.size, _BLOCK_BYTES):
            block = await (ahead or read(first))
            following = first + _BLOCK_BYTES
            ahead = asyncio.create_task(read(following)) if following < found.size else None
            yield block
    finally:
        if ahead is not None:
            ahead.cancel()
            await asyncio.gather(ahead, return_exceptions=True)


class Uploader:
    """Writes objects into one bucket, each part with its MD5, which the store compares."""

    def __init__(self, client: S3Client, bucket: str, *, part_bytes: int) -> None:
        self._client = client
        self._bucket = bucket
        self._part_bytes = part_bytes

    async def upload(
        self,
        key: str,
        blocks: AsyncIterable[bytes],
        *,
        size: int,
        content_type: str | None,
        progress: CopyProgress | None,
    ) -> None:
        """Store ``size`` bytes under ``key``, whole or not at all.

        Raises Unavailable, also if there are more or fewer bytes, and what ``blocks`` raises.
        """
        length = parts_of(size, self._part_bytes)[0].last + 1 if size else 0
        parts = _of_length(blocks, length, size)

        async def send(target: Target) -> list[dict[str, Any]]:
            return await self._send(parts, target, size, progress)

        async with aclosing(parts):
            if size > length:
                await in_parts(self._client, self._bucket, key, content_type, send)
                return
            # To its end: what is wrong with the bytes shows there.
            body = b"".join([part async for part in parts])
            headers = {"ContentType": content_type} if content_type else {}
            await self._put("put_object", body, Bucket=self._bucket, Key=key, **headers)
            if progress is not None:
                progress(size, size)

    async def _send(
        self,
        parts: AsyncIterator[bytes],
        target: Target,
        size: int,
        progress: CopyProgress | None,
    ) -> list[dict[str, Any]]:
        sent: list[asyncio.Task[dict[str, Any]]] = []
        free = asyncio.Semaphore(_PARTS_ON_THE_WAY)
        done = 0

        async def send(number: int, part: bytes) -> dict[str, Any]:
            nonlocal done
            try:
                answer = await self._put("upload_part", part, **target, PartNumber=number)
            finally:
                free.release()
            done += len(part)
            if progress is not None:
                progress(done, size)
            return {"PartNumber": number, "ETag": answer["ETag"]}

        try:
            await free.acquire()
            async for part in parts:
                sent.append(asyncio.create_task(send(len(sent) + 1, part)))
                await free.acquire()
                _raise_failure(sent)
            return await asyncio.gather(*sent)
        finally:
            for task in sent:
                task.cancel()
            await asyncio.gather(*sent, return_exceptions=True)

    async def _put(self, operation: str, body: bytes, **parameters: Any) -> dict[str, Any]:
        digest = await asyncio.to_thread(hashlib.md5, body, usedforsecurity=False)
        checksum = base64.b64encode(digest.digest()).decode()
        return await self._client.call(operation, **parameters, Body=body, ContentMD5=checksum)


def _raise_failure(tasks: list[asyncio.Task[dict[str, Any]]]) -> None:
    for task in tasks:
        if task.done():
            task.result()


async def _of_length(
    blocks: AsyncIterable[bytes], length: int, size: int
) -> AsyncGenerator[bytes, None]:
    """The same bytes in parts of ``length``; only the last one is shorter."""
    gathered, seen = bytearray(), 0
    async for block in blocks:
        seen += len(block)
        if seen > size:
            break
        gathered += block
        while 0 < length <= len(gathered):
            yield bytes(gathered[:length])
            del gathered[:length]
    if seen != size:
        raise Unavailable("the source gave more or fewer bytes than it said")
    if gathered:
        yield bytes(gathered)
