"""A media folder as tests see it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from tams_gql.media.local import LocalMedia
from tams_gql.media.port import StorageBackend

BACKEND = StorageBackend(id="2ad06302-a05f-4e74-8b59-a1c4a3bcb7b1", label="local")
MPEG_TS = "video/mp2t"


def opened(folder: Path, *, max_object_bytes: int = 1_000_000, durable: bool = False) -> LocalMedia:
    return LocalMedia(
        folder,
        backend=BACKEND,
        public_url="http://media.test",
        max_object_bytes=max_object_bytes,
        durable=durable,
    )


def files_below(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()
    )


async def blocks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def content(media: LocalMedia, key: str) -> bytes:
    stored = await media.open_object(key)
    try:
        return stored.read(0, 10**9)
    finally:
        stored.close()
