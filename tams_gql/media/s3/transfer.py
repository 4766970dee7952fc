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
from tams_gql.media.s3.copying import MAX_PARTS, parts_of
from tams_gql.media.s3.multipart import Target, in_parts
from tams_gql.model.errors import LimitExceeded, Unavailable

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
        size: int | None,
        content_type: str | None,
        progress: CopyProgress | None,
    ) -> int:
        """Store ``size`` bytes under ``key``, whole or not at all; return how many they were.

        With a ``size`` of None all that come are stored. Raises Unavailable, also if there are
        more or fewer bytes, LimitExceeded, and what ``blocks`` raises.
        """
        length = parts_of(size, self._part_bytes)[0].last + 1 if size else self._part_bytes
        parts = _of_length(blocks, length, size)
        sent = _Sent(size, progress)

        async with aclosing(parts):
            # What is wrong with the bytes shows at their end, so a single part waits for it.
            begun = [part async for part in _first(parts, 2)]
            if len(begun) > 1:

                async def send(target: Target) -> list[dict[str, Any]]:
                    return await self._send(_resumed(begun, parts), target, sent)

                await in_parts(self._client, self._bucket, key, content_type, send)
                return sent.bytes
            headers = {"ContentType": content_type} if content_type else {}
            body = begun[0] if begun else b""
            await self._put("put_object", body, Bucket=self._bucket, Key=key, **headers)
            sent.add(len(body))
            return sent.bytes

    async def _send(
        self, parts: AsyncIterator[bytes], target: Target, sent: _Sent
    ) -> list[dict[str, Any]]:
        tasks: list[asyncio.Task[dict[str, Any]]] = []
        free = asyncio.Semaphore(_PARTS_ON_THE_WAY)

        async def send(number: int, part: bytes) -> dict[str, Any]:
            try:
                answer = await self._put("upload_part", part, **target, PartNumber=number)
            finally:
                free.release()
            sent.add(len(part))
            return {"PartNumber": number, "ETag": answer["ETag"]}

        try:
            await free.acquire()
            async for part in parts:
                if len(tasks) == MAX_PARTS:
                    raise LimitExceeded(f"the object has more than {MAX_PARTS} parts")
                tasks.append(asyncio.create_task(send(len(tasks) + 1, part)))
                await free.acquire()
                _raise_failure(tasks)
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _put(self, operation: str, body: bytes, **parameters: Any) -> dict[str, Any]:
        digest = await asyncio.to_thread(hashlib.md5, body, usedforsecurity=False)
        checksum = base64.b64encode(digest.digest()).decode()
        return await self._client.call(operation, **parameters, Body=body, ContentMD5=checksum)


class _Sent:
    """How many bytes the store has taken."""

    def __init__(self, total: int | None, progress: CopyProgress | None) -> None:
        self.bytes = 0
        self._total = total
        self._progress = progress

    def add(self, count: int) -> None:
        self.bytes += count
        if self._progress is not None:
            self._progress(self.bytes, self._total)


async def _first(parts: AsyncIterator[bytes], count: int) -> AsyncGenerator[bytes, None]:
    for _ in range(count):
        try:
            yield await anext(parts)
        except StopAsyncIteration:
            return


async def _resumed(begun: list[bytes], rest: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """``begun``, which is emptied so that its bytes are not kept, and then the rest."""
    while begun:
        yield begun.pop(0)
    async for part in rest:
        yield part


def _raise_failure(tasks: list[asyncio.Task[dict[str, Any]]]) -> None:
    for task in tasks:
        if task.done():
            task.result()


async def _of_length(
    blocks: AsyncIterable[bytes], length: int, size: int | None
) -> AsyncGenerator[bytes, None]:
    """The same bytes in parts of ``length``; only the last one is shorter."""
    gathered, seen = bytearray(), 0
    async for block in blocks:
        seen += len(block)
        if size is not None and seen > size:
            break
        gathered += block
        while length <= len(gathered):
            yield bytes(gathered[:length])
            del gathered[:length]
    if size not in (None, seen):
        raise Unavailable("the source gave more or fewer bytes than it said")
    if gathered:
        yield bytes(gathered)
