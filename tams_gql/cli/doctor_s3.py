"""Can the buckets of the settings be used? Writes one small object in each and removes it again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from tams_gql.model.errors import TamsError
from tams_gql.settings import Settings
from tams_gql.store.findings import Finding, Status


def examine_s3(settings: Settings) -> Iterator[Finding]:
    """Check each storage backend in S3, one finding at a time. Blocks."""
    for place, chosen in enumerate(settings.storage_backends):
        check = f"storage backend {chosen.label}"
        try:
            asyncio.run(_check(settings, place))
        except (TamsError, OSError) as refused:
            advice = "docs/media-s3.md has the permissions that are needed"
            yield Finding(check, Status.FAILED, str(refused), advice)
        else:
            text = f"objects in bucket {chosen.bucket} can be written, read and removed"
            yield Finding(check, Status.OK, text)


async def _check(settings: Settings, place: int) -> None:
    from tams_gql.media_choice import open_backend

    media = await open_backend(settings, place, None)
    try:
        await media.check()
    finally:
        await media.aclose()
