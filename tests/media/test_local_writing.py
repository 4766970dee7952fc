"""Writing to the local folder: all of an object or nothing of it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import stat
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tams_gql.media.local import LocalMedia
from tams_gql.model.errors import BadInput, LimitExceeded
from tests.media.folder import MPEG_TS, blocks, content, files_below, opened
from tests.waiting import until


@pytest.fixture
def media(tmp_path: Path) -> LocalMedia:
    return opened(tmp_path)


@pytest.fixture
def objects(tmp_path: Path) -> Path:
    return tmp_path / "media" / "objects"


@pytest.mark.parametrize("size", [0, 1, 256 * 1024, 256 * 1024 + 1, 900_000])
async def test_all_bytes_arrive_however_they_are_cut(media: LocalMedia, size: int) -> None:
    data = os.urandom(size)
    cut = [data[at : at + 70_001] for at in range(0, size, 70_001)]
    written = await media.write("a", blocks(*cut), content_type=MPEG_TS, length=size)
    assert await content(media, "a") == data
    assert [written] == await media.stat(["a"])
    assert written.etag == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("declared", [2_001, None])
async def test_too_much_is_refused(tmp_path: Path, objects: Path, declared: int | None) -> None:
    media = opened(tmp_path, max_object_bytes=2_000)
    await media.write("a", blocks(b"x" * 2_000), content_type=MPEG_TS)
    with pytest.raises(LimitExceeded, match="max_object_bytes, 2000 bytes"):
        await media.write("a", blocks(b"y" * 2_001), content_type=MPEG_TS, length=declared)
    assert await content(media, "a") == b"x" * 2_000
    assert files_below(objects) == ["a.object"]


async def test_a_declared_excess_is_refused_before_a_byte_is_taken(tmp_path: Path) -> None:
    media = opened(tmp_path, max_object_bytes=2_000)
    taken = []

    async def source() -> AsyncIterator[bytes]:
        taken.append(1)
        yield b"x"

    with pytest.raises(LimitExceeded):
        await media.write("a", source(), content_type=MPEG_TS, length=2_001)
    assert taken == []


@pytest.mark.parametrize("length", [2, 4])
async def test_the_wrong_length_is_refused(media: LocalMedia, objects: Path, length: int) -> None:
    with pytest.raises(BadInput, match=f"3 bytes arrived where Content-Length says {length}"):
        await media.write("a", blocks(b"xyz"), content_type=MPEG_TS, length=length)
    assert files_below(objects) == []


async def test_a_source_that_fails_leaves_nothing(media: LocalMedia, objects: Path) -> None:
    async def source() -> AsyncIterator[bytes]:
        yield b"x" * 600_000
        assert len(files_below(objects)) == 1  # it is on its way
        raise EOFError

    with pytest.raises(EOFError):
        await media.write("a", source(), content_type=MPEG_TS)
    assert files_below(objects) == []


async def test_a_cancelled_upload_leaves_nothing(media: LocalMedia, objects: Path) -> None:
    # given
    started = asyncio.Event()

    async def source() -> AsyncIterator[bytes]:
        yield b"x" * 600_000
        started.set()
        await asyncio.Event().wait()

    upload = asyncio.create_task(media.write("a", source(), content_type=MPEG_TS))
    await started.wait()
    assert len(files_below(objects)) == 1
    # when
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload
    # then
    assert files_below(objects) == []


async def test_an_upload_cancelled_twice_leaves_nothing(media: LocalMedia, objects: Path) -> None:
    # given: many, so that some are caught at every step
    async def source() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 300_000

    uploads = [
        asyncio.create_task(media.write(f"{n}", source(), content_type=MPEG_TS)) for n in range(20)
    ]
    await asyncio.sleep(0.005)
    # when
    for upload in uploads:
        upload.cancel()
    await asyncio.sleep(0)
    for upload in uploads:
        upload.cancel()
    await asyncio.gather(*uploads, return_exceptions=True)
    # then
    await until(lambda: files_below(objects) == [])


@pytest.mark.parametrize("delay", [n / 4_000 for n in range(12)])
async def test_an_upload_cancelled_at_any_moment_is_whole_or_nothing(
    media: LocalMedia, objects: Path, delay: float
) -> None:
    data = os.urandom(900_000)
    cut = [data[at : at + 300_000] for at in range(0, len(data), 300_000)]
    upload = asyncio.create_task(media.write("a", blocks(*cut), content_type=MPEG_TS))
    await asyncio.sleep(delay)
    upload.cancel()
    await asyncio.gather(upload, return_exceptions=True)
    assert files_below(objects) in ([], ["a.object"])
    if files_below(objects):
        assert await content(media, "a") == data


@pytest.mark.parametrize(
    ("algorithm", "digest"),
    [
        ("md5", hashlib.md5(b"bytes").digest()),
        ("sha1", hashlib.sha1(b"bytes").digest()),
        ("sha256", hashlib.sha256(b"bytes").digest()),
        ("crc32", zlib.crc32(b"bytes").to_bytes(4, "big")),
        ("crc32c", bytes.fromhex("d06e9c92")),
        ("crc64nvme", bytes.fromhex("26985b6e514a4c24")),
    ],
)
async def test_checksums_are_verified(
    media: LocalMedia, objects: Path, algorithm: str, digest: bytes
) -> None:
    await media.write(
        "right",
        blocks(b"by", b"tes"),
        content_type=MPEG_TS,
        declared_checksums={algorithm: digest},
    )
    actual = base64.b64encode(digest).decode()
    for wrong in (digest[:-1], digest[:-1] + bytes([digest[-1] ^ 1]), b""):
        with pytest.raises(BadInput) as refused:
            await media.write(
                "wrong",
                blocks(b"bytes"),
                content_type=MPEG_TS,
                declared_checksums={algorithm: wrong},
            )
        assert f"the {algorithm} checksum of the received bytes is {actual}" in str(refused.value)
    assert files_below(objects) == ["right.object"]


async def test_a_checksum_that_cannot_be_verified_is_not_ignored(media: LocalMedia) -> None:
    with pytest.raises(BadInput, match="checksums by xxhash64 cannot be verified here"):
        await media.write(
            "a",
            blocks(b"x"),
            content_type=MPEG_TS,
            declared_checksums={"xxhash64": b"12345678"},
        )


async def test_uploads_of_one_key_never_mix(media: LocalMedia, objects: Path) -> None:
    # given
    versions = {f"video/v{n}": bytes([n]) * 700_000 for n in range(8)}

    async def slowly(data: bytes) -> AsyncIterator[bytes]:
        for at in range(0, len(data), 100_000):
            yield data[at : at + 100_000]
            await asyncio.sleep(0)

    async def read_until(done: asyncio.Event) -> set[str]:
        seen = set()
        while not done.is_set():
            stored = await media.open_object("a")
            kind = stored.stat.content_type
            assert kind is not None
            assert await asyncio.to_thread(stored.read, 0, 10**6) == versions[kind]
            stored.close()
            seen.add(kind)
        return seen

    await media.write("a", blocks(versions["video/v0"]), content_type="video/v0")
    done = asyncio.Event()
    reader = asyncio.create_task(read_until(done))
    # when
    await asyncio.gather(
        *(media.write("a", slowly(data), content_type=kind) for kind, data in versions.items())
    )
    done.set()
    # then
    assert await reader <= versions.keys()
    [last] = await media.stat(["a"])
    assert last is not None
    assert last.content_type in versions
    assert files_below(objects) == ["a.object"]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux's /proc")
async def test_a_durable_upload_is_on_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    media = opened(tmp_path, durable=True)
    steps: list[str] = []
    sync, rename = os.fsync, Path.replace

    def seen_sync(descriptor: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        steps.append(f"sync {kind} {name if kind == 'folder' else ''}".strip())
        sync(descriptor)

    def seen_rename(self: Path, target: Path) -> Path:
        steps.append("rename")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", seen_sync)
    monkeypatch.setattr(Path, "replace", seen_rename)
    # when
    await media.write("2026/03/a", blocks(b"x"), content_type=MPEG_TS)
    # then
    assert steps == [
        "sync file",
        "sync folder objects",
        "sync folder 2026",
        "rename",
        "sync folder 03",
    ]
