"""Bytes on their way from one storage backend to another."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing

from anyio.to_thread import run_sync

from tams_gql.media._checksums import ALGORITHMS
from tams_gql.media.port import CopyProgress, MediaBackend, ObjectStat
from tams_gql.model.errors import NotFound, Unavailable


async def found_in(source: MediaBackend, key: str) -> ObjectStat:
    """What ``source`` holds under ``key``. Raises NotFound if that is nothing, Unavailable."""
    [found] = await source.stat([key])
    if found is None:
        raise NotFound(f"storage backend {source.backend.label} does not hold the object")
    return found


async def copy_through(
    source: MediaBackend,
    source_key: str,
    found: ObjectStat,
    target: MediaBackend,
    key: str,
    progress: CopyProgress | None,
) -> ObjectStat:
    """Copy the version ``found`` of an object by reading it here and storing it in ``target``."""
    blocks = verified(source.read(source_key, etag=found.etag), found.checksums)
    async with aclosing(blocks):
        return await target.store(
            key, blocks, size=found.size, content_type=found.content_type, progress=progress
        )


async def verified(
    blocks: AsyncIterator[bytes], expected: Mapping[str, str]
) -> AsyncGenerator[bytes, None]:
    """The same bytes, and Unavailable after the last of them if a checksum (base64) differs.

    Whoever takes them must not publish them before the end: a copy of damaged bytes must not come
    to be. Closing this closes ``blocks``.
    """
    hashes = {name: ALGORITHMS[name]() for name in expected if name in ALGORITHMS}

    def update(block: bytes) -> None:
        for each in hashes.values():
            each.update(block)

    try:
        async for block in blocks:
            if hashes:
                await run_sync(update, block)
            yield block
    finally:
        if isinstance(blocks, AsyncGenerator):
            await blocks.aclose()
    for name, each in hashes.items():
        if base64.b64encode(each.digest()).decode() != expected[name]:
            raise Unavailable(f"the stored bytes do not have their {name} checksum")
