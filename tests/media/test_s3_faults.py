"""What the backend does when the store is slow, broken or away."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import httpx
import pytest

from tams_gql.media.port import PutRequest
from tams_gql.media.s3.backend import S3Media
from tams_gql.media.s3.config import open_s3
from tams_gql.model.errors import Unavailable
from tests.media.fault_proxy import Fault, FaultProxy, fault_proxy
from tests.media.s3_server import S3Server
from tests.waiting import until

MPEG_TS = "video/mp2t"


@pytest.fixture
async def proxy(s3: S3Server) -> AsyncIterator[FaultProxy]:
    place = urlsplit(s3.endpoint)
    if place.scheme != "http" or place.hostname is None:
        pytest.skip("the fault proxy does not speak TLS")
    async with fault_proxy(place.hostname, place.port or 80) as proxy:
        yield proxy


def patience(fault: Fault) -> float:
    """How long to wait for an answer: only where none comes does the test wait so long."""
    return 1.0 if fault is Fault.SILENCE else 10.0


@asynccontextmanager
async def behind(proxy: FaultProxy, s3: S3Server, **changes: object) -> AsyncIterator[S3Media]:
    """A backend that reaches the server through the proxy."""
    quick = {"connect_timeout": 10.0, "read_timeout": 10.0, "max_attempts": 3}
    media = await open_s3(s3.config(endpoint=proxy.url, **quick | changes))
    try:
        yield media
    finally:
        await media.aclose()


async def stored(media: S3Media, client: httpx.AsyncClient, count: int = 1) -> list[str]:
    keys = [f"faults/{uuid.uuid4()}" for _ in range(count)]
    for request in media.sign_put([PutRequest(key, MPEG_TS) for key in keys], expires_in=60):
        answer = await client.put(request.url, headers=dict(request.headers), content=b"bytes")
        assert answer.status_code == 200
    return keys


@pytest.mark.parametrize(
    "fault", [Fault.SLOW_DOWN, Fault.RESET, Fault.LOST_ANSWER, Fault.CUT, Fault.SILENCE]
)
async def test_a_moment_of_failure_is_not_noticed(
    s3: S3Server, proxy: FaultProxy, client: httpx.AsyncClient, fault: Fault
) -> None:
    async with behind(proxy, s3, read_timeout=patience(fault)) as media:
        [key] = await stored(media, client)
        # when
        proxy.queued.extend([fault, fault])
        [stat] = await media.stat([key])
        # then
        assert stat is not None
        assert (stat.size, stat.content_type) == (5, MPEG_TS)
        # when
        proxy.queued.extend([fault, fault])
        await media.delete([key])
        # then
        assert await media.stat([key]) == [None]


@pytest.mark.parametrize("fault", [Fault.SLOW_DOWN, Fault.RESET, Fault.SILENCE])
async def test_a_lasting_failure_ends_in_bounded_time(
    s3: S3Server, proxy: FaultProxy, fault: Fault
) -> None:
    async with behind(proxy, s3, max_attempts=2, read_timeout=patience(fault)) as media:
        proxy.always(fault)
        started = time.monotonic()
        with pytest.raises(Unavailable, match=r"^storage backend s3-test "):
            await media.stat(["a"])
        with pytest.raises(Unavailable):
            await media.delete(["a", "b"])
        with pytest.raises(Unavailable):
            await media.check()
        assert time.monotonic() - started < 30
        # then: two attempts each, where aiohttp repeats what was reset (HEAD and PUT) by itself
        assert len(proxy.requests) == (10 if fault is Fault.RESET else 6)


async def test_a_store_that_is_down_is_not_asked_for_every_object(
    s3: S3Server, proxy: FaultProxy
) -> None:
    async with behind(proxy, s3, max_attempts=1, max_connections=4) as media:
        proxy.always(Fault.SLOW_DOWN)
        with pytest.raises(Unavailable):
            await media.stat([f"a/{n}" for n in range(500)])
        assert len(proxy.requests) <= 4


async def test_a_store_that_was_away_is_found_again(
    s3: S3Server, proxy: FaultProxy, client: httpx.AsyncClient
) -> None:
    async with behind(proxy, s3, max_attempts=1) as media:
        [key] = await stored(media, client)
        await proxy.stop()
        with pytest.raises(Unavailable, match="did not answer head_object"):
            await media.stat([key])
        await proxy.start()
        [stat] = await media.stat([key])
        assert stat is not None
        await media.check()


@pytest.mark.parametrize(
    ("method", "operation"), [("HEAD", "head_object"), ("DELETE", "delete_object")]
)
async def test_a_check_that_fails_leaves_no_object(
    s3: S3Server, proxy: FaultProxy, method: str, operation: str
) -> None:
    async with behind(proxy, s3, max_attempts=1) as media:
        fails = [Fault.SLOW_DOWN]
        proxy.choose = lambda request: (
            fails.pop() if request.startswith(method) and fails else Fault.NONE
        )
        # when
        with pytest.raises(Unavailable, match=operation):
            await media.check()
        # then
        assert fails == []
        assert probes_of(s3, media) == []


@pytest.mark.parametrize("method", ["HEAD", "DELETE"])
async def test_a_check_that_is_ended_leaves_no_object(
    s3: S3Server, proxy: FaultProxy, method: str
) -> None:
    async with behind(proxy, s3) as media:
        silent = [Fault.SILENCE]
        proxy.choose = lambda request: (
            silent.pop() if request.startswith(method) and silent else Fault.NONE
        )
        # when
        checking = asyncio.create_task(media.check())
        await until(lambda: not silent)
        checking.cancel()
        # then
        with pytest.raises(asyncio.CancelledError):
            await checking
        assert probes_of(s3, media) == []


async def test_a_check_that_is_ended_waits_shortly_for_a_store_that_is_silent(
    s3: S3Server, proxy: FaultProxy
) -> None:
    async with behind(proxy, s3, read_timeout=600.0) as media:
        proxy.always(Fault.SILENCE)
        checking = asyncio.create_task(media.check())
        await until(lambda: len(proxy.requests) == 1)
        checking.cancel()
        async with asyncio.timeout(60):
            with pytest.raises(asyncio.CancelledError):
                await checking


async def test_deletions_come_through_a_store_that_fails_at_random(
    s3: S3Server, proxy: FaultProxy, client: httpx.AsyncClient
) -> None:
    async with behind(proxy, s3) as media:
        # given
        keys = await stored(media, client, 30)
        proxy.fail_at_random(0.4, 7, Fault.SLOW_DOWN, Fault.RESET, Fault.LOST_ANSWER)
        # when
        async with asyncio.timeout(60):
            while True:
                try:
                    await media.delete(keys)
                    break
                except Unavailable:
                    continue
        # then
        proxy.always(Fault.NONE)
        assert await media.stat(keys) == [None] * 30


async def test_requests_side_by_side_are_bounded(
    s3: S3Server, proxy: FaultProxy, client: httpx.AsyncClient
) -> None:
    async with behind(proxy, s3, max_connections=5) as media:
        proxy.let_through.clear()
        asked = asyncio.create_task(media.stat([f"missing/{n}" for n in range(40)]))
        await until(lambda: proxy.waiting == 5)
        await asyncio.sleep(0.1)
        # then: the rest wait for one of the five
        assert len(proxy.requests) == 5
        proxy.let_through.set()
        assert await asked == [None] * 40
        # and the bucket is looked at when nothing was found
        assert len(set(proxy.requests)) == 41


async def test_a_batch_of_deletions_is_one_request(
    s3: S3Server, proxy: FaultProxy, client: httpx.AsyncClient
) -> None:
    async with behind(proxy, s3) as media:
        keys = await stored(media, client, 5)
        proxy.requests.clear()
        await media.delete([*keys, *keys])
        assert [request.split("?")[0] for request in proxy.requests] == [f"POST /{s3.bucket}"]
        assert await media.stat(keys) == [None] * 5


async def test_a_store_without_batches_is_asked_for_each_object(
    s3: S3Server, proxy: FaultProxy, client: httpx.AsyncClient
) -> None:
    async with behind(proxy, s3) as media:
        # given
        keys = await stored(media, client, 6)
        proxy.requests.clear()
        proxy.choose = lambda request: (
            Fault.NOT_IMPLEMENTED if request.startswith("POST ") else Fault.NONE
        )
        # when
        await media.delete(keys[:3])
        await media.delete(keys[3:])
        # then: the second time it is known
        methods = [request.split()[0] for request in proxy.requests]
        assert methods == ["POST", *["DELETE"] * 6]
        assert await media.stat(keys) == [None] * 6


async def test_a_copy_that_fails_leaves_no_parts_and_no_object(
    s3: S3Server, proxy: FaultProxy, client: httpx.AsyncClient
) -> None:
    five_mib = 5 * 2**20
    async with behind(proxy, s3, multipart_copy_above=five_mib, copy_part_bytes=five_mib) as media:
        # given
        source, key = f"faults/{uuid.uuid4()}", f"faults/{uuid.uuid4()}"
        [request] = media.sign_put([PutRequest(source, MPEG_TS)], expires_in=60)
        body = b"x" * (2 * five_mib + 1)
        answer = await client.put(request.url, headers=dict(request.headers), content=body)
        assert answer.status_code == 200
        # when: the last part cannot be copied
        proxy.choose = lambda request: (
            Fault.NOT_IMPLEMENTED if "partNumber=3" in request else Fault.NONE
        )
        with pytest.raises(Unavailable, match="NotImplemented"):
            await media.copy_from(media, source, key)
        # then
        assert await media.stat([key]) == [None]
        assert uploads_of(s3, key) == []
        # when
        proxy.always(Fault.NONE)
        copied = await media.copy_from(media, source, key)
        # then
        assert (copied.size, copied.content_type) == (len(body), MPEG_TS)


def uploads_of(s3: S3Server, key: str) -> list[str]:
    client = s3.client()
    found = client.list_multipart_uploads(Bucket=s3.bucket).get("Uploads", [])
    client.close()
    return [upload["UploadId"] for upload in found if upload["Key"] == key]


def probes_of(s3: S3Server, media: S3Media) -> list[str]:
    """The keys of the objects that checks of a backend have left."""
    client = s3.client()
    prefix = f"{media._config.key_prefix}.tams-gql-probe/"
    found = client.list_objects_v2(Bucket=s3.bucket, Prefix=prefix).get("Contents", [])
    client.close()
    return [item["Key"] for item in found]
