"""Copies made by the object store itself: no byte comes through this program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from tams_gql.media.port import CopyProgress, ObjectStat
from tams_gql.media.s3.client import S3Client
from tams_gql.media.s3.concurrency import each
from tams_gql.media.s3.multipart import Target, in_parts

MAX_PARTS: Final = 10_000  # of a multipart upload
_PARTS_AT_A_TIME: Final = 8


@dataclass(frozen=True, slots=True)
class CopySource:
    """One version of an object that this backend's credentials can read."""

    bucket: str
    key: str
    stat: ObjectStat

    def parameters(self) -> dict[str, Any]:
        # The condition: a part must not come from an object that was replaced meanwhile.
        return {
            "CopySource": {"Bucket": self.bucket, "Key": self.key},
            "CopySourceIfMatch": f'"{self.stat.etag}"',
        }


class _Part(NamedTuple):
    number: int
    first: int
    last: int  # the byte itself belongs to the part


def parts_of(size: int, part_bytes: int) -> list[_Part]:
    """The parts of an object of ``size`` bytes, larger than asked if there were too many."""
    length = max(part_bytes, -(-size // MAX_PARTS))
    starts = range(0, size, length)
    return [_Part(n, at, min(at + length, size) - 1) for n, at in enumerate(starts, start=1)]


class Copier:
    """Copies objects into one bucket."""

    def __init__(self, client: S3Client, bucket: str, *, threshold: int, part_bytes: int) -> None:
        """Objects of more than ``threshold`` bytes are copied in parts of ``part_bytes``."""
        self._client = client
        self._bucket = bucket
        self._threshold = threshold
        self._part_bytes = part_bytes

    async def copy(self, source: CopySource, key: str, progress: CopyProgress | None) -> None:
        """Copy ``source`` to ``key``; an object there is replaced, at once and whole.

        Raises NotFound or Conflict if the source went or changed, and Unavailable.
        """
        if source.stat.size > self._threshold:
            await self._copy_in_parts(source, key, progress)
            return
        await self._client.call("copy_object", Bucket=self._bucket, Key=key, **source.parameters())
        if progress is not None:
            progress(source.stat.size, source.stat.size)

    async def _copy_in_parts(
        self, source: CopySource, key: str, progress: CopyProgress | None
    ) -> None:
        async def send(target: Target) -> list[dict[str, Any]]:
            return await self._copy_parts(source, target, progress)

        # Parts do not carry the source's headers.
        await in_parts(self._client, self._bucket, key, source.stat.content_type, send)

    async def _copy_parts(
        self, source: CopySource, target: Target, progress: CopyProgress | None
    ) -> list[dict[str, Any]]:
        done = 0

        async def copy_part(part: _Part) -> dict[str, Any]:
            nonlocal done
            answer = await self._client.call(
                "upload_part_copy",
                **target,
                **source.parameters(),
                PartNumber=part.number,
                CopySourceRange=f"bytes={part.first}-{part.last}",
            )
            done += part.last - part.first + 1
            if progress is not None:
                progress(done, source.stat.size)
            return {"PartNumber": part.number, "ETag": answer["CopyPartResult"]["ETag"]}

        parts = parts_of(source.stat.size, self._part_bytes)
        return await each(parts, copy_part, limit=_PARTS_AT_A_TIME)
