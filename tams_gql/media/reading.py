"""Bytes on their way from one storage backend to another."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, AsyncIterator, Mapping

from anyio.to_thread import run_sync

from tams_gql.media._checksums import ALGORITHMS
from tams_gql.model.errors import Unavailable


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
