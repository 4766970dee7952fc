"""Uploads in parts, which become an object together or not at all."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from tams_gql.media.s3.client import S3Client
from tams_gql.model.errors import TamsError

logger = logging.getLogger(__name__)

Target = dict[str, Any]
SendParts = Callable[[Target], Awaitable[list[dict[str, Any]]]]
"""Sends all parts of the upload that the parameters name; returns their numbers and ETags."""


async def in_parts(
    client: S3Client, bucket: str, key: str, content_type: str | None, send: SendParts
) -> None:
    """Put an object together from what ``send`` sends; lets through what that raises.

    Only one upload of a key may be under way: what another one has left is forgotten first.
    """
    await _forget_earlier(client, bucket, key)
    headers = {"ContentType": content_type} if content_type else {}
    upload = await client.call("create_multipart_upload", Bucket=bucket, Key=key, **headers)
    target = {"Bucket": bucket, "Key": key, "UploadId": upload["UploadId"]}
    try:
        await _complete(client, target, await send(target))
    except BaseException:
        await asyncio.shield(asyncio.create_task(_abort(client, target)))
        raise


async def _complete(client: S3Client, target: Target, parts: list[dict[str, Any]]) -> None:
    try:
        await client.call("complete_multipart_upload", **target, MultipartUpload={"Parts": parts})
    except TamsError:
        # The answer may have been lost, and the upload is gone when it is asked for again.
        if not await _is_made_of(client, target, parts):
            raise


async def _is_made_of(client: S3Client, target: Target, parts: list[dict[str, Any]]) -> bool:
    """Whether the object is one of just these parts, by the ETag that stores give such objects."""
    try:
        digests = b"".join(bytes.fromhex(part["ETag"].strip('"')) for part in parts)
        found = await client.call("head_object", Bucket=target["Bucket"], Key=target["Key"])
    except (TamsError, ValueError):
        return False
    made = hashlib.md5(digests, usedforsecurity=False).hexdigest()
    return bool(found["ETag"].strip('"') == f"{made}-{len(parts)}")


async def _forget_earlier(client: S3Client, bucket: str, key: str) -> None:
    """Abort what a program that was killed has left of the same upload.

    Nobody sees the parts, but they are paid for. A store that does not list them to these
    credentials has to have a rule for them.
    """
    try:
        found = await client.call("list_multipart_uploads", Bucket=bucket, Prefix=key)
    except TamsError as error:
        logger.debug("unfinished multipart uploads are not looked for: %s", error.message)
        return
    for upload in found.get("Uploads", []):
        if upload["Key"] == key:
            await _abort(client, {"Bucket": bucket, "Key": key, "UploadId": upload["UploadId"]})


async def _abort(client: S3Client, target: Target) -> None:
    """Let the store forget the parts; a bucket rule has to remove what stays even so."""
    try:
        await client.call("abort_multipart_upload", **target)
    except TamsError as error:
        logger.warning("an unfinished multipart upload stays behind: %s", error.message)
