"""What S3 adds to the contract: signatures, clocks, addresses, large copies, public URLs."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import shutil
import socket
import subprocess
import time
import uuid
import zlib
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import httpx
import pytest

from tams_gql.media.port import PutRequest, ReadMethod
from tams_gql.media.s3.backend import S3Media
from tams_gql.media.s3.config import open_s3
from tams_gql.media.s3.copying import CopySource
from tams_gql.media.verification import mismatches
from tams_gql.model.errors import BadInput, Conflict, NotFound, Unavailable
from tests.media.s3_server import S3Server, started_versitygw, versitygw

MPEG_TS = "video/mp2t"
FIVE_MIB = 5 * 2**20


@asynccontextmanager
async def opened(s3: S3Server, **changes: object) -> AsyncIterator[S3Media]:
    media = await open_s3(s3.config(**changes))
    try:
        yield media
    finally:
        await media.aclose()


@asynccontextmanager
async def at_clock(s3: S3Server, skew_seconds: float) -> AsyncIterator[S3Media]:
    """A backend of a server whose clock is wrong by so much."""
    media = await open_s3(s3.config(), clock=lambda: time.time() + skew_seconds)
    try:
        yield media
    finally:
        await media.aclose()


async def put(
    media: S3Media, client: httpx.AsyncClient, key: str, body: bytes, **headers: str
) -> httpx.Response:
    [request] = media.sign_put([PutRequest(key, MPEG_TS)], expires_in=60)
    return await client.put(request.url, headers=dict(request.headers) | headers, content=body)


async def stored(media: S3Media, client: httpx.AsyncClient, body: bytes = b"bytes") -> str:
    key = f"test/{uuid.uuid4()}"
    assert (await put(media, client, key, body)).status_code == 200
    return key


def tampered(url: str) -> list[str]:
    """The URL with one thing changed in it each time."""
    signature = url.rpartition("=")[2]
    other = ("0" if signature[0] != "0" else "1") + signature[1:]
    return [
        url.replace(signature, other),
        url.replace("X-Amz-Expires=61", "X-Amz-Expires=600"),
        url.replace(f"X-Amz-Signature={signature}", "X-Amz-Signature="),
        url.replace(f"&X-Amz-Signature={signature}", ""),
        f"{url}&response-content-type=text%2Fhtml",
        url.replace("%2Feu-test-1%2F", "%2Fus-east-1%2F"),
    ]


async def test_a_url_that_was_tampered_with_is_refused(
    signed_s3: S3Server, s3_media: S3Media, client: httpx.AsyncClient
) -> None:
    key = await stored(s3_media, client)
    [url] = s3_media.sign_get([key], expires_in=60)
    assert (await client.get(url)).status_code == 200
    for forged in tampered(url):
        if forged != url:  # the region of a given endpoint may be another
            answer = await client.get(forged)
            assert answer.status_code in (400, 403), forged


async def test_parts_of_a_large_object_are_its_bytes(
    s3_media: S3Media, client: httpx.AsyncClient
) -> None:
    body = random.Random(5).randbytes(3_000_000)
    key = await stored(s3_media, client, body)
    [url] = s3_media.sign_get([key], expires_in=60)
    for asked, expected in [
        ("bytes=0-0", body[:1]),
        ("bytes=1000000-2000000", body[1_000_000:2_000_001]),
        ("bytes=2999990-", body[-10:]),
        ("bytes=-7", body[-7:]),
    ]:
        answer = await client.get(url, headers={"Range": asked})
        assert (answer.status_code, answer.content) == (206, expected)
    assert (await client.get(url, headers={"Range": "bytes=3000000-"})).status_code == 416
    assert hashlib.sha256((await client.get(url)).content).digest() == hashlib.sha256(body).digest()


async def test_bytes_that_arrive_damaged_are_refused(
    signed_s3: S3Server, s3_media: S3Media, client: httpx.AsyncClient
) -> None:
    key = f"test/{uuid.uuid4()}"
    other = b64encode(hashlib.md5(b"other", usedforsecurity=False).digest()).decode()
    answer = await put(s3_media, client, key, b"bytes", **{"Content-MD5": other})
    assert answer.status_code == 400
    assert await s3_media.stat([key]) == [None]
    right = b64encode(hashlib.md5(b"bytes", usedforsecurity=False).digest()).decode()
    answer = await put(s3_media, client, key, b"bytes", **{"Content-MD5": right})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("algorithm", "digest"),
    [
        ("SHA256", hashlib.sha256(b"bytes").digest()),
        ("SHA1", hashlib.sha1(b"bytes", usedforsecurity=False).digest()),
        ("CRC32", zlib.crc32(b"bytes").to_bytes(4, "big")),
        ("CRC32C", bytes.fromhex("d06e9c92")),
        ("CRC64NVME", bytes.fromhex("26985b6e514a4c24")),
    ],
)
async def test_a_checksum_that_the_store_keeps_is_told_and_verified(
    signed_s3: S3Server, s3_media: S3Media, algorithm: str, digest: bytes
) -> None:
    # given an upload whose checksum the store has compared itself
    text, key, name = b64encode(digest).decode(), f"test/{uuid.uuid4()}", algorithm.lower()
    given = {"Bucket": signed_s3.bucket, "Key": key, "Body": b"bytes"}
    s3_client = signed_s3.client()
    s3_client.put_object(**given, **{f"Checksum{algorithm}": text})
    # then
    [stat] = await s3_media.stat([key])
    assert stat is not None
    assert stat.checksums[name] == text
    assert await mismatches(s3_media, key, {name: text}) == []
    # and other bytes of the same length are noticed
    s3_client.put_object(**{**given, "Body": b"bytez"})
    s3_client.close()
    assert await mismatches(s3_media, key, {name: text}) == [name]


@pytest.mark.parametrize("skew", [-120, -900])
async def test_a_clock_that_is_slow_makes_urls_that_have_expired(
    signed_s3: S3Server, client: httpx.AsyncClient, skew: int
) -> None:
    async with at_clock(signed_s3, skew) as media:
        [url] = media.sign_get(["a"], expires_in=60)
        assert (await client.get(url)).status_code == 403
        [longer] = media.sign_get(["a"], expires_in=60 - skew)
        assert (await client.get(longer)).status_code == 404


async def test_a_clock_that_is_a_little_fast_still_makes_good_urls(
    s3: S3Server, client: httpx.AsyncClient
) -> None:
    async with at_clock(s3, 120) as media:
        key = await stored(media, client)
        [url] = media.sign_get([key], expires_in=60)
        assert (await client.get(url)).content == b"bytes"


async def test_a_clock_that_is_wrong_is_said(
    s3: S3Server, caplog: pytest.LogCaptureFixture
) -> None:
    async with at_clock(s3, 600) as media:
        with caplog.at_level(logging.WARNING, "tams_gql"):
            await media.check()
    assert "the clock of storage backend s3-test differs by -" in caplog.text
    caplog.clear()
    async with at_clock(s3, 0) as media:
        await media.check()
    assert "clock" not in caplog.text


async def test_a_store_that_refuses_the_time_of_a_request_is_unavailable(
    signed_s3: S3Server, s3_media: S3Media
) -> None:
    wrong = datetime.now(UTC) - timedelta(days=1)
    with (
        mock.patch("botocore.auth.get_current_datetime", return_value=wrong),
        pytest.raises(Unavailable, match="the clock of this machine is wrong"),
    ):
        await s3_media.delete(["a", "b"])


async def test_a_large_object_is_copied_in_parts(s3: S3Server, client: httpx.AsyncClient) -> None:
    limits = {"multipart_copy_above": FIVE_MIB, "copy_part_bytes": FIVE_MIB}
    async with opened(s3, **limits) as media, opened(s3, label="other", **limits) as other:
        # given
        body = random.Random(1).randbytes(2 * FIVE_MIB + 12_345)
        source = await stored(media, client, body)
        key = f"copies/ü &+ {uuid.uuid4()}"
        told: list[tuple[int, int | None]] = []
        # when
        copied = await other.copy_from(
            media, source, key, progress=lambda done, size: told.append((done, size))
        )
        # then
        [url] = other.sign_get([key], expires_in=60)
        answer = await client.get(url)
        assert (answer.content == body, answer.headers["content-type"]) == (True, MPEG_TS)
        assert (copied.size, copied.content_type) == (len(body), MPEG_TS)
        assert [size for _, size in told] == [len(body)] * 3
        assert [done for done, _ in told] == sorted(done for done, _ in told)
        assert told[-1][0] == len(body)
        if s3.kind != "moto":
            assert copied.etag.endswith("-3")  # the mark of an object in three parts


@pytest.mark.parametrize("size", [10, FIVE_MIB + 1])
async def test_a_copy_never_mixes_two_versions(
    signed_s3: S3Server, client: httpx.AsyncClient, size: int
) -> None:
    limits = {"multipart_copy_above": FIVE_MIB, "copy_part_bytes": FIVE_MIB}
    async with opened(signed_s3, **limits) as media:
        # given: the source is replaced after it was looked at
        source, key = await stored(media, client, b"1" * size), f"copies/{uuid.uuid4()}"
        [seen] = await media.stat([source])
        assert seen is not None
        assert (await put(media, client, source, b"2" * size)).status_code == 200
        # then
        stale = CopySource(signed_s3.bucket, source, seen)
        with pytest.raises(Conflict, match="changed in storage backend s3-test"):
            await media._copier.copy(stale, key, None)
        assert await media.stat([key]) == [None]


async def test_objects_of_a_store_that_is_down_are_not_copied(
    s3: S3Server, s3_media: S3Media
) -> None:
    down = {"endpoint": "http://127.0.0.1:9", "max_attempts": 1, "connect_timeout": 0.5}
    async with opened(s3, **down) as elsewhere:
        with pytest.raises(Unavailable, match="did not answer"):
            await s3_media.copy_from(elsewhere, "a", "b")
    with pytest.raises(NotFound):
        await s3_media.copy_from(s3_media, "missing", "b")


async def test_more_objects_than_one_request_takes_are_listed_and_deleted(
    s3: S3Server, s3_media: S3Media, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    monkeypatch.setattr("tams_gql.media.s3.backend._LISTED_AT_ONCE", 10)
    monkeypatch.setattr("tams_gql.media.s3.deletion._MAX_BATCH", 10)
    prefix = f"many-{uuid.uuid4()}/"
    keys = [f"{prefix}{n:02} ü" for n in range(31)]
    for key in keys:
        assert (await put(s3_media, client, key, b"")).status_code == 200
    # then
    assert [found.key async for found in s3_media.list_objects(prefix)] == keys
    # when
    await s3_media.delete(keys)
    # then
    assert [found async for found in s3_media.list_objects(prefix)] == []


async def test_a_bucket_is_found_by_its_own_host_name(
    s3: S3Server, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    if s3.virtual_domain is None:
        pytest.skip("the host names of a given endpoint are not known")
    # given: names below the domain lead to this machine
    host = s3.virtual_domain.partition(":")[0]
    ask = socket.getaddrinfo

    def answer(name: Any, *arguments: Any, **named: Any) -> Any:
        local = (name.decode() if isinstance(name, bytes) else str(name)).endswith(host)
        return ask("127.0.0.1" if local else name, *arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    # when
    endpoint = f"http://{s3.virtual_domain}"
    async with opened(s3, endpoint=endpoint, addressing="virtual") as media:
        key = await stored(media, client, b"virtual")
        [url] = media.sign_get([key], expires_in=60)
        # then
        assert urlsplit(url).hostname == f"{s3.bucket}.{host}"
        assert (await client.get(url)).content == b"virtual"
        [stat] = await media.stat([key])
        assert stat is not None
        await media.check()


async def test_urls_are_signed_for_the_address_that_clients_use(
    s3: S3Server, client: httpx.AsyncClient
) -> None:
    outside = s3.endpoint.replace("127.0.0.1", "localhost")
    async with opened(s3, public_endpoint=outside) as media:
        key = await stored(media, client, b"through another name")
        [url] = media.sign_get([key], expires_in=60)
        assert url.startswith(f"{outside}/{s3.bucket}/test/")
        assert (await client.get(url)).content == b"through another name"
        [stat] = await media.stat([key])
        assert stat is not None


async def test_a_certificate_of_ones_own_is_trusted_if_it_is_named(tmp_path: Path) -> None:
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    await asyncio.to_thread(make_certificate, certificate, key)
    options = ("--cert", str(certificate), "--key", str(key))
    with started_versitygw(tmp_path / "tls", options=options, scheme="https") as server:
        async with opened(server, max_attempts=1) as media:
            with pytest.raises(Unavailable, match="did not answer"):
                await media.stat(["a"])
        async with opened(server, ca_file=str(certificate)) as media:
            with pytest.raises(Unavailable, match="has no such bucket"):
                await media.check()


def make_certificate(certificate: Path, key: Path) -> None:
    """One for this machine, signed by itself."""
    openssl = shutil.which("openssl")
    if openssl is None or versitygw() is None:
        pytest.skip("openssl makes the certificate and versitygw shows it; one is missing")
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )


async def test_public_urls_are_plain_and_uploads_still_signed(s3: S3Server) -> None:
    base = "https://cdn.example.com/media"
    async with opened(s3, presigned=False, public_base_url=f"{base}/") as media:
        assert media.backend.presigned is False
        assert media.sign_get(["a/ü +.ts"], expires_in=60) == [f"{base}/a/%C3%BC%20%2B.ts"]
        [request] = media.sign_put([PutRequest("a", MPEG_TS)], expires_in=60)
        assert request.url.startswith(f"{s3.endpoint}/{s3.bucket}/a?X-Amz-Algorithm=")
        with pytest.raises(BadInput, match="1 to 604800"):
            media.sign_get(["a"], expires_in=0)


async def test_a_cdn_signs_a_page_with_one_call(s3: S3Server) -> None:
    calls = []

    def authorise(urls: Sequence[str], *, method: ReadMethod, expires_at: int) -> list[str]:
        calls.append((len(urls), method, expires_at))
        return [f"{url}?token=t" for url in urls]

    media = await open_s3(
        s3.config(public_base_url="https://cdn.example.com"),
        authorise=authorise,
        clock=lambda: 1_000_000.5,
    )
    try:
        urls = media.sign_get(["a", "b"], expires_in=60, method="HEAD")
    finally:
        await media.aclose()
    assert urls == ["https://cdn.example.com/a?token=t", "https://cdn.example.com/b?token=t"]
    assert calls == [(2, "HEAD", 1_000_061)]


async def test_a_backend_may_bound_the_life_of_its_urls(s3: S3Server) -> None:
    async with opened(s3, url_lifetime=100) as media:
        [shorter] = media.sign_get(["a"], expires_in=50)
        [bounded] = media.sign_get(["a"], expires_in=604_800)
        assert "X-Amz-Expires=51&" in shorter
        assert "X-Amz-Expires=101&" in bounded
    async with opened(s3) as media:
        [longest] = media.sign_get(["a"], expires_in=604_800)
        assert "X-Amz-Expires=604800&" in longest


async def test_a_bucket_that_is_not_there_is_said(s3: S3Server) -> None:
    async with opened(s3, bucket="no-such-bucket") as media:
        with pytest.raises(Unavailable, match="storage backend s3-test has no such bucket"):
            await media.check()
        with pytest.raises(Unavailable, match="storage backend s3-test has no such bucket"):
            await media.stat(["a", "b"])
        with pytest.raises(Unavailable, match="storage backend s3-test has no such bucket"):
            await media.delete(["a"])


async def test_the_loop_is_free_while_a_backend_opens_and_works(
    s3: S3Server, client: httpx.AsyncClient
) -> None:
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            before = time.thread_time()
            await asyncio.sleep(0)
            longest = max(longest, time.thread_time() - before)

    async with opened(s3):
        pass  # imports and data models have been read
    watching = asyncio.create_task(watch())
    async with opened(s3) as media:
        await media.stat([f"missing/{n}" for n in range(50)])
    watching.cancel()
    # CPU time, because a machine that does other things takes its part of the time that passes.
    assert longest < 0.1
