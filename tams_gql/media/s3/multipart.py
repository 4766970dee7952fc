"""Uploads in parts, which become an object together or not at all."""

from __future__ import annotations

import asyncio
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
    """Put an object together from what ``send`` sends; lets through what that raises."""
    headers = {"ContentType": content_type} if content_type else {}
    upload = await client.call("create_multipart_upload", Bucket=bucket, Key=key, **headers)
    target = {"Bucket": bucket, "Key": key, "UploadId": upload["UploadId"]}
    try:
        parts = await send(target)
        await client.call("complete_multipart_upload", **target, MultipartUpload={"Parts": parts})
    except BaseException:
        await asyncio.shield(asyncio.create_task(_abort(client, target)))
        raise


async def _abort(client: S3Client, target: Target) -> None:
    """Let the store forget the parts; a bucket rule has to remove what stays even so."""
    try:
        await client.call("abort_multipart_upload", **target)
    except TamsError as error:
        logger.warning("an unfinished multipart upload stays behind: %s", error.message)
