"""Reading a stored object and comparing it with its checksums (TAMS application note 0021)."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, Mapping

from anyio.to_thread import run_sync

from tams_gql.media._checksums import ALGORITHMS
from tams_gql.media.port import MediaBackend


async def mismatches(
    media: MediaBackend, key: str, expected: Mapping[str, str]
) -> list[str] | None:
    """The algorithms whose digest of the stored bytes is not the expected one (base64).

    None if none of the expected checksums can be computed here. Raises what ``read`` raises.
    """
    hashes = {name: ALGORITHMS[name]() for name in expected if name in ALGORITHMS}
    if not hashes:
        return None

    def update(block: bytes) -> None:
        for each in hashes.values():
            each.update(block)

    blocks = media.read(key)
    try:
        async for block in blocks:
            await run_sync(update, block)
    finally:
        if isinstance(blocks, AsyncGenerator):
            await blocks.aclose()  # else its file or its request stays open for a while
    found = {name: base64.b64encode(h.digest()).decode() for name, h in hashes.items()}
    return [name for name, digest in found.items() if digest != expected[name]]
