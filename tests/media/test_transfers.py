"""Copies between stores that do not know each other: the bytes come through this program."""

from __future__ import annotations

import asyncio
import base64
import tracemalloc
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from tams_gql.media.local import LocalMedia
from tams_gql.media.port import MediaBackend, ObjectStat, StorageBackend
from tams_gql.media.s3.backend import S3Media
from tams_gql.media.s3.config import open_s3
from tams_gql.media.s3.failures import S3Failure
from tams_gql.model.errors import Conflict, LimitExceeded, NotFound, Unavailable
from tams_gql.model.ids import new_id
from tests.media.fault_proxy import Fault, FaultProxy, fault_proxy
from tests.media.s3_server import S3Server

PART = 5 * 2**20
DIRECTIONS = [("local", "s3"), ("s3", "local"), ("s3", "other"), ("local", "local")]


class Stores:
    """A folder, a bucket, the same bucket behind a faulty network, and large objects."""

    def __init__(self, folder: Path, s3: S3Media, other: S3Media, proxy: FaultProxy) -> None:
        backend = StorageBackend(id=new_id(), label="folder")
        self.local = LocalMedia(folder, backend=backend, public_url="http://x", durable=False)
        self.s3, self.other, self.proxy = s3, other, proxy

    def __getitem__(self, name: str) -> MediaBackend:
        return cast(MediaBackend, getattr(self, name))

    async def put(self, name: str, key: str, body: bytes) -> None:
        """Store an object, if need be by a copy from the folder."""

        async def blocks() -> AsyncIterator[bytes]:
            for at in range(0, len(body), 700_001):
                yield body[at : at + 700_001]

        source = key if name == "local" else f"{key}-source"
        await self.local.write(source, blocks(), content_type="audio/mp4")
        if name != "local":
            await self[name].copy_from(self.local, source, key)


@pytest.fixture
async def stores(tmp_path: Path, s3: S3Server) -> AsyncIterator[Stores]:
    host, port = s3.endpoint.removeprefix("http://").split(":")
    async with fault_proxy(host, int(port)) as proxy:
        first = await open_s3(s3.config(upload_part_bytes=PART))
        # Another endpoint: nobody knows that the same bucket is behind it.
        config = s3.config(
            id=new_id(),
            endpoint=proxy.url,
            upload_part_bytes=PART,
            max_attempts=2,
            connect_timeout=5,
            read_timeout=20,
        )
        other = await open_s3(config)
        try:
            yield Stores(tmp_path, first, other, proxy)
        finally:
            await first.aclose()
            await other.aclose()


def unique(name: str) -> str:
    return f"{name}-{new_id()}"


def unfinished(s3: S3Server, key: str) -> list[Any]:
    client = s3.client()
    try:
        answer = client.list_multipart_uploads(Bucket=s3.bucket)
    finally:
        client.close()
    return [upload for upload in answer.get("Uploads", []) if upload["Key"] == key]


async def content(media: MediaBackend, key: str) -> bytes:
    return b"".join([block async for block in media.read(key)])


@pytest.mark.parametrize("size", [0, 1, PART, PART + 1, 3 * PART + 123])
@pytest.mark.parametrize(("source", "target"), DIRECTIONS)
async def test_a_copy_has_the_same_bytes_and_type(
    stores: Stores, source: str, target: str, size: int
) -> None:
    # given
    key, copy = unique("ü &+"), unique("copy %")
    body = (b"%d" % size) * size
    body = body[:size]
    await stores.put(source, key, body)
    told: list[tuple[int, int | None]] = []
    # when
    copied = await stores[target].copy_from(
        stores[source], key, copy, progress=lambda *now: told.append(now)
    )
    # then
    assert (copied.size, copied.content_type) == (size, "audio/mp4")
    assert [copied] == await stores[target].stat([copy])
    assert await content(stores[target], copy) == body
    assert told == sorted(told)
    assert told[-1:] == [(size, size)] or (size == 0 and target == "local")


@pytest.mark.parametrize(("source", "target"), DIRECTIONS)
async def test_what_is_not_there_cannot_be_copied(stores: Stores, source: str, target: str) -> None:
    copy = unique("copy")
    with pytest.raises(NotFound):
        await stores[target].copy_from(stores[source], unique("none"), copy)
    assert await stores[target].stat([copy]) == [None]


@pytest.mark.parametrize("name", ["local", "s3"])
async def test_only_the_version_that_was_seen_is_read(stores: Stores, name: str) -> None:
    key = unique("object")
    await stores.put(name, key, b"old")
    [old] = await stores[name].stat([key])
    assert old is not None
    await stores.put(name, key, b"new")
    with pytest.raises(Conflict):
        await anext(aiter(stores[name].read(key, etag=old.etag)))
    with pytest.raises(NotFound):
        await anext(aiter(stores[name].read(unique("none"))))


@pytest.mark.parametrize("target", ["local", "s3"])
@pytest.mark.parametrize("size", [100, PART + 100])
async def test_damaged_bytes_are_not_copied(
    stores: Stores, s3: S3Server, target: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, copy = unique("object"), unique("copy")
    await stores.put("local", key, b"x" * size)
    stat = stores.local.stat

    async def claim(keys: Any) -> list[ObjectStat | None]:
        wrong = base64.b64encode(bytes(32)).decode()
        return [
            ObjectStat(s.size, s.content_type, s.etag, s.modified, {"sha256": wrong}) if s else s
            for s in await stat(keys)
        ]

    monkeypatch.setattr(stores.local, "stat", claim)
    with pytest.raises(Unavailable, match="do not have their sha256 checksum"):
        await stores[target].copy_from(stores.local, key, copy)
    monkeypatch.undo()
    assert await stores[target].stat([copy]) == [None]
    assert unfinished(s3, copy) == []


async def test_a_range_that_breaks_off_is_read_again(stores: Stores) -> None:
    key = unique("object")
    body = bytes(range(256)) * (9 * 2**12)  # two ranges
    await stores.put("s3", key, body)
    stores.proxy.queued.extend([Fault.NONE, Fault.NONE, Fault.CUT, Fault.CUT])
    await stores.local.copy_from(stores.other, key, "copy")
    assert await content(stores.local, "copy") == body


@pytest.mark.parametrize("fault", [Fault.SLOW_DOWN, Fault.RESET])
async def test_a_copy_that_fails_leaves_nothing_behind(
    stores: Stores, s3: S3Server, fault: Fault
) -> None:
    key, copy = unique("object"), unique("copy")
    await stores.put("local", key, b"x" * (2 * PART + 1))
    stores.proxy.choose = lambda request: fault if "partNumber=3" in request else Fault.NONE
    with pytest.raises(Unavailable):
        await stores.other.copy_from(stores.local, key, copy)
    assert unfinished(s3, copy) == []
    assert await stores.s3.stat([copy]) == [None]
    stores.proxy.choose = lambda request: Fault.NONE
    assert (await stores.other.copy_from(stores.local, key, copy)).size == 2 * PART + 1


async def test_a_copy_that_is_cancelled_leaves_nothing_behind(stores: Stores, s3: S3Server) -> None:
    key, copy = unique("object"), unique("copy")
    await stores.put("local", key, b"x" * (2 * PART + 1))
    reached = asyncio.Event()

    def choose(request: str) -> Fault:
        if "partNumber=2" in request:
            reached.set()
            return Fault.SILENCE
        return Fault.NONE

    stores.proxy.choose = choose
    copying = asyncio.create_task(stores.other.copy_from(stores.local, key, copy))
    async with asyncio.timeout(30):
        await reached.wait()
    copying.cancel()
    await asyncio.gather(copying, return_exceptions=True)
    assert copying.cancelled()
    assert unfinished(s3, copy) == []
    assert await stores.s3.stat([copy]) == [None]


async def test_a_copy_takes_little_memory_whatever_its_size(stores: Stores) -> None:
    key, size = unique("object"), 80 * 2**20

    async def blocks() -> AsyncIterator[bytes]:
        for _ in range(size // 2**20):
            yield bytes(2**20)

    await stores.local.write(key, blocks(), content_type="video/mp2t")
    tracemalloc.start()
    try:
        await stores.s3.copy_from(stores.local, key, key)
        await stores.other.copy_from(stores.local, key, f"{key}-2")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    await stores.s3.delete([key, f"{key}-2"])
    assert peak < 8 * PART


async def test_one_store_copies_itself_unless_it_may_not_read_the_source(
    stores: Stores, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given two backends of one store
    key, copies = unique("object"), [unique("copy") for _ in range(3)]
    body = b"y" * (PART + 1)
    await stores.put("s3", key, body)
    twin = await open_s3(s3.config(id=new_id(), endpoint=stores.proxy.url, upload_part_bytes=PART))
    try:
        # then the store does it
        await twin.copy_from(stores.other, key, copies[0])
        assert not any(request.startswith("GET ") for request in stores.proxy.requests)

        # when the target's credentials must not read there
        async def refused(*given: object) -> None:
            raise S3Failure("storage backend does not allow it", "AccessDenied", 403)

        monkeypatch.setattr(twin._copier, "copy", refused)
        await twin.copy_from(stores.other, key, copies[1])
        # then the bytes come through this program
        assert any(request.startswith("GET ") for request in stores.proxy.requests)
        with pytest.raises(S3Failure):  # in one bucket there is nobody else to read it
            await twin.copy_from(twin, key, copies[2])
        for copy in copies[:2]:
            assert await content(stores.s3, copy) == body
    finally:
        await twin.aclose()


@pytest.mark.parametrize("size", [PART - 1, PART, PART + 1, 2 * PART, 3 * PART + 123])
async def test_bytes_of_unknown_number_are_stored_in_parts(stores: Stores, size: int) -> None:
    key = unique("object")
    told: list[tuple[int, int | None]] = []

    async def blocks() -> AsyncGenerator[bytes, None]:
        for at in range(0, size, 700_001):
            yield bytes(min(700_001, size - at))

    stored = await stores.s3.store(
        key, blocks(), size=None, content_type=None, progress=lambda *now: told.append(now)
    )
    assert stored.size == size
    assert await content(stores.s3, key) == bytes(size)
    assert told[-1] == (size, None)
    assert len(told) == -(-size // PART)


async def test_an_object_has_at_most_as_many_parts_as_the_store_takes(
    stores: Stores, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tams_gql.media.s3.transfer.MAX_PARTS", 2)
    key = unique("object")

    async def blocks() -> AsyncGenerator[bytes, None]:
        for _ in range(3):
            yield bytes(PART)

    with pytest.raises(LimitExceeded, match="more than 2 parts"):
        await stores.s3.store(key, blocks(), size=None, content_type=None)
    assert unfinished(s3, key) == []
    assert await stores.s3.stat([key]) == [None]


@pytest.mark.parametrize("source", ["local", "s3"])
async def test_what_a_killed_copy_has_left_goes_with_the_next(
    stores: Stores, s3: S3Server, source: str
) -> None:
    # given parts of an upload whose program was killed, and another upload with a similar key
    key, copy = unique("object"), unique("copy")
    await stores.put(source, key, b"x" * (2 * PART + 1))
    client = s3.client()
    for left in (copy, f"{copy}-2"):
        upload = client.create_multipart_upload(Bucket=s3.bucket, Key=left)
        target = {"Bucket": s3.bucket, "Key": left, "UploadId": upload["UploadId"]}
        client.upload_part(**target, PartNumber=1, Body=b"x")
    # when
    config = s3.config(
        multipart_copy_above=PART, copy_part_bytes=PART, upload_part_bytes=PART, id=new_id()
    )
    media = await open_s3(config)
    try:
        await media.copy_from(stores[source], key, copy)
    finally:
        await media.aclose()
    # then
    assert unfinished(s3, copy) == []
    assert len(unfinished(s3, f"{copy}-2")) == 1
    client.abort_multipart_upload(**target)
    client.close()


@pytest.mark.parametrize("times", [1, 2])
async def test_an_upload_whose_end_was_not_heard_of_is_not_made_again(
    stores: Stores, times: int
) -> None:
    # given answers that get lost when the store has put the parts together
    key, copy, body = unique("object"), unique("copy"), b"x" * (2 * PART + 1)
    await stores.put("local", key, body)
    left = [Fault.LOST_ANSWER] * times

    def choose(request: str) -> Fault:
        ends = request.startswith("POST ") and "uploadId=" in request
        return left.pop() if ends and left else Fault.NONE

    stores.proxy.choose = choose
    # when
    copied = await stores.other.copy_from(stores.local, key, copy)
    # then
    assert left == []
    assert copied.size == len(body)
    assert await content(stores.s3, copy) == body


async def test_the_end_of_another_upload_is_not_taken_for_this_one(stores: Stores) -> None:
    # given an object as large under the key, and an upload that is gone when it is to end
    key, copy = unique("object"), unique("copy")
    await stores.put("local", key, b"x" * (2 * PART + 1))
    await stores.put("s3", copy, b"y" * (2 * PART + 1))
    stores.proxy.choose = lambda request: (
        Fault.SLOW_DOWN if request.startswith("POST ") and "uploadId=" in request else Fault.NONE
    )
    with pytest.raises(Unavailable):
        await stores.other.copy_from(stores.local, key, copy)
    assert await content(stores.s3, copy) == b"y" * (2 * PART + 1)
