"""What every storage backend must do. Nothing here knows which one it talks to."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from tams_gql.media.port import MAX_EXPIRES_IN, MediaBackend, ObjectStat, PutRequest, SignedRequest
from tams_gql.model.errors import BadInput, NotFound, Unavailable
from tests.waiting import PATIENCE_SECONDS

FLOW = "bd5b7a9f-5c5f-4d3a-8a56-9d5fd4c2ff30"
MPEG_TS = "video/mp2t"

OBJECT_IDS = [
    "846023d3-612d-5014-bc47-88f6eb2d04bb",
    "clip with spaces",
    "a+b=c&d",
    "100%",
    "%2e%2e%2fescaped",
    "programme/part/1",
    "Übertragung/日本語/🎬",
    "e\u0301 and \u00e9 differ",
    "UPPER and upper differ",
    "semi;colon?question#hash",
    "quote\"'`<>|",
    "...",
    "x" * 600,
    "long segment " + "ü" * 200,
]


def unique(name: str = "object") -> str:
    return f"{name}-{uuid.uuid4()}"


def allocate(media: MediaBackend, object_id: str) -> str:
    return media.new_key(object_id, flow_id=FLOW, now=datetime.now(UTC))


async def send(client: httpx.AsyncClient, request: SignedRequest, body: bytes) -> httpx.Response:
    return await client.put(request.url, headers=dict(request.headers), content=body)


async def upload(
    media: MediaBackend,
    client: httpx.AsyncClient,
    key: str,
    body: bytes,
    content_type: str = MPEG_TS,
) -> None:
    [request] = media.sign_put([PutRequest(key, content_type)], expires_in=60)
    assert (await send(client, request, body)).status_code == 200


def get_url(media: MediaBackend, key: str) -> str:
    [url] = media.sign_get([key], expires_in=60)
    return url


@pytest.mark.parametrize("object_id", OBJECT_IDS, ids=range(len(OBJECT_IDS)))
async def test_what_is_put_is_got_whatever_the_object_id(
    media: MediaBackend, client: httpx.AsyncClient, object_id: str
) -> None:
    # given
    key = allocate(media, unique(object_id))
    body = f"bytes of {object_id}".encode()
    # when
    await upload(media, client, key, body)
    # then
    answer = await client.get(get_url(media, key))
    assert (answer.status_code, answer.content) == (200, body)
    assert answer.headers["content-type"] == MPEG_TS
    [stat] = await media.stat([key])
    assert stat is not None
    assert (stat.size, stat.content_type) == (len(body), MPEG_TS)
    assert answer.headers["etag"] == f'"{stat.etag}"'
    assert abs(stat.modified - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_key_is_made_of_the_time_of_allocation_and_the_object_id(media: MediaBackend) -> None:
    now = datetime(2026, 3, 4, 23, 30, tzinfo=UTC)
    key = media.new_key("object-1", flow_id=FLOW, now=now)
    assert key.endswith("2026/03/04/23/object-1")


@pytest.mark.parametrize("object_id", ["", "..", "a/../b", "a//b", "/a", "a/", "a\\b", "a\nb"])
def test_an_object_id_that_no_url_can_carry_is_refused(media: MediaBackend, object_id: str) -> None:
    with pytest.raises(BadInput, match=r"storage key .* is not allowed"):
        allocate(media, object_id)


async def test_a_page_of_urls_comes_in_the_order_of_its_keys(
    media: MediaBackend, client: httpx.AsyncClient
) -> None:
    # given
    keys = [allocate(media, unique()) for _ in range(5)]
    requests = media.sign_put([PutRequest(key, MPEG_TS) for key in keys], expires_in=60)
    for number, request in enumerate(requests):
        assert (await send(client, request, bytes([number]))).status_code == 200
    # when
    asked = [keys[3], keys[0], keys[3], keys[4]]
    urls = media.sign_get(asked, expires_in=60)
    # then
    assert [(await client.get(url)).content for url in urls] == [b"\x03", b"\x00", b"\x03", b"\x04"]
    assert media.sign_get([], expires_in=60) == []
    assert media.sign_put([], expires_in=60) == []


async def test_stat_answers_in_order_and_with_none_for_a_miss(
    media: MediaBackend, client: httpx.AsyncClient
) -> None:
    first, missing, second = (allocate(media, unique()) for _ in range(3))
    await upload(media, client, first, b"one")
    await upload(media, client, second, b"three", "audio/mp4")
    stats = await media.stat([second, missing, first, second])
    assert [(stat.size, stat.content_type) if stat else None for stat in stats] == [
        (5, "audio/mp4"),
        None,
        (3, MPEG_TS),
        (5, "audio/mp4"),
    ]
    assert await media.stat([]) == []


async def test_the_etag_follows_the_bytes(media: MediaBackend, client: httpx.AsyncClient) -> None:
    key = allocate(media, unique())
    etags = []
    for body in (b"first", b"second", b"first"):
        await upload(media, client, key, body)
        [stat] = await media.stat([key])
        assert isinstance(stat, ObjectStat)
        etags.append(stat.etag)
    assert etags[0] == etags[2] != etags[1]


async def test_deleting_twice_is_the_same_as_once(
    media: MediaBackend, client: httpx.AsyncClient
) -> None:
    # given
    gone, kept, missing = (allocate(media, unique()) for _ in range(3))
    await upload(media, client, gone, b"gone")
    await upload(media, client, kept, b"kept")
    # when
    await media.delete([gone, missing])
    await media.delete([gone])
    await media.delete([])
    # then
    assert (await client.get(get_url(media, gone))).status_code == 404
    assert (await client.get(get_url(media, kept))).content == b"kept"
    assert [stat is None for stat in await media.stat([gone, kept, missing])] == [True, False, True]


async def test_nothing_is_under_a_key_before_the_upload(
    media: MediaBackend, client: httpx.AsyncClient
) -> None:
    assert (await client.get(get_url(media, allocate(media, unique())))).status_code == 404


async def test_an_empty_object_is_an_object(media: MediaBackend, client: httpx.AsyncClient) -> None:
    key = allocate(media, unique())
    await upload(media, client, key, b"")
    answer = await client.get(get_url(media, key))
    assert (answer.status_code, answer.content) == (200, b"")


async def test_a_range_is_answered_with_its_bytes(
    media: MediaBackend, client: httpx.AsyncClient
) -> None:
    key = allocate(media, unique())
    await upload(media, client, key, b"0123456789")
    answer = await client.get(get_url(media, key), headers={"Range": "bytes=2-5"})
    assert (answer.status_code, answer.content) == (206, b"2345")
    assert answer.headers["content-range"] == "bytes 2-5/10"


async def test_a_head_url_tells_the_size_and_never_gives_the_bytes(
    media: MediaBackend, client: httpx.AsyncClient
) -> None:
    # given
    key = allocate(media, unique())
    await upload(media, client, key, b"0123456789")
    # when
    [url] = media.sign_get([key], expires_in=60, method="HEAD")
    # then
    answer = await client.head(url)
    assert (answer.status_code, answer.headers["content-length"]) == (200, "10")
    assert (await client.get(url)).status_code == 403


@pytest.mark.parametrize("content_type", ["text/html", "video/mp2t; charset=utf-8", None])
async def test_an_upload_must_have_the_signed_content_type(
    media: MediaBackend, client: httpx.AsyncClient, content_type: str | None
) -> None:
    # given
    key = allocate(media, unique())
    [request] = media.sign_put([PutRequest(key, MPEG_TS)], expires_in=60)
    assert ("content-type", MPEG_TS) in [(name.lower(), value) for name, value in request.headers]
    # when
    headers = {"Content-Type": content_type} if content_type else {}
    answer = await client.put(request.url, headers=headers, content=b"bytes")
    # then
    assert answer.status_code in (400, 403)
    assert await media.stat([key]) == [None]


async def test_a_read_url_does_not_write_and_a_write_url_does_not_read(
    media: MediaBackend, client: httpx.AsyncClient
) -> None:
    # given
    key = allocate(media, unique())
    [request] = media.sign_put([PutRequest(key, MPEG_TS)], expires_in=60)
    assert (await send(client, request, b"first")).status_code == 200
    # then
    assert (await client.get(request.url)).status_code == 403
    assert (await client.delete(request.url)).status_code in (403, 405)
    overwrite = await client.put(
        get_url(media, key), headers=dict(request.headers), content=b"second"
    )
    assert overwrite.status_code == 403
    assert (await client.get(get_url(media, key))).content == b"first"


async def test_a_url_for_one_object_does_not_open_another(
    media: MediaBackend, client: httpx.AsyncClient
) -> None:
    mine, other = allocate(media, unique("mine")), allocate(media, unique("other"))
    await upload(media, client, mine, b"mine")
    await upload(media, client, other, b"other")
    forged = get_url(media, mine).replace(mine, other)
    assert (await client.get(forged)).status_code == 403


async def test_urls_expire(media: MediaBackend, client: httpx.AsyncClient) -> None:
    # given
    key = allocate(media, unique())
    await upload(media, client, key, b"bytes")
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            signing = datetime.now(UTC)
            [url] = media.sign_get([key], expires_in=1)
            [request] = media.sign_put([PutRequest(key, MPEG_TS)], expires_in=1)
            signed = datetime.now(UTC)
            answer = await client.get(url)
            if datetime.now(UTC) < signing + timedelta(seconds=1):
                break  # a busy machine may take longer, and the answer says nothing then
    # then
    assert answer.status_code == 200
    assert signing + timedelta(seconds=1) <= request.expires_at < signed + timedelta(seconds=3)
    # when
    await asyncio.sleep((request.expires_at - datetime.now(UTC)).total_seconds() + 0.1)
    # then
    assert (await client.get(url)).status_code == 403
    assert (await send(client, request, b"late")).status_code == 403


@pytest.mark.parametrize("expires_in", [0, -1, MAX_EXPIRES_IN + 1])
def test_a_life_span_out_of_bounds_is_refused(media: MediaBackend, expires_in: int) -> None:
    with pytest.raises(BadInput, match="1 to 604800 seconds"):
        media.sign_get(["key"], expires_in=expires_in)
    with pytest.raises(BadInput, match="1 to 604800 seconds"):
        media.sign_put([PutRequest("key", MPEG_TS)], expires_in=expires_in)


@pytest.mark.parametrize("content_type", ["", "video", "video/mp2t\r\nX: y", "a/b; c=d", "ä/b"])
def test_a_malformed_content_type_is_refused(media: MediaBackend, content_type: str) -> None:
    with pytest.raises(BadInput, match="must be a MIME type without parameters"):
        media.sign_put([PutRequest("key", content_type)], expires_in=60)


async def test_a_copy_is_an_object_of_its_own(
    media: MediaBackend, client: httpx.AsyncClient
) -> None:
    # given
    source, key = allocate(media, unique("ü & source")), allocate(media, unique("ü & copy"))
    await upload(media, client, source, b"0123456789", "audio/mp4")
    told: list[tuple[int, int | None]] = []
    # when
    copied = await media.copy_from(media, source, key, progress=lambda *now: told.append(now))
    await media.delete([source])
    # then
    answer = await client.get(get_url(media, key))
    assert (answer.content, answer.headers["content-type"]) == (b"0123456789", "audio/mp4")
    assert [copied] == await media.stat([key])
    assert (copied.size, copied.content_type) == (10, "audio/mp4")
    assert told[-1] == (10, 10)


async def test_a_copy_replaces_what_was_there(
    media: MediaBackend, client: httpx.AsyncClient
) -> None:
    source, key = allocate(media, unique()), allocate(media, unique())
    await upload(media, client, source, b"new")
    await upload(media, client, key, b"older", "audio/mp4")
    for _ in range(2):
        await media.copy_from(media, source, key)
        answer = await client.get(get_url(media, key))
        assert (answer.content, answer.headers["content-type"]) == (b"new", MPEG_TS)


async def test_an_object_copied_onto_itself_stays(
    media: MediaBackend, client: httpx.AsyncClient
) -> None:
    key = allocate(media, unique())
    await upload(media, client, key, b"bytes")
    copied = await media.copy_from(media, key, key)
    assert (copied.size, copied.content_type) == (5, MPEG_TS)
    assert (await client.get(get_url(media, key))).content == b"bytes"


async def test_what_is_not_there_cannot_be_copied(
    media: MediaBackend, client: httpx.AsyncClient
) -> None:
    key = allocate(media, unique())
    await upload(media, client, key, b"kept")
    with pytest.raises(NotFound):
        await media.copy_from(media, allocate(media, unique()), key)
    assert (await client.get(get_url(media, key))).content == b"kept"


async def test_all_objects_below_a_prefix_are_listed(
    media: MediaBackend, client: httpx.AsyncClient
) -> None:
    # given
    mark = unique("ü+ %&<list>")
    keys = [allocate(media, f"{mark}/{name}") for name in ("a", "b b", "日本/&amp;", "~")]
    for size, key in enumerate(keys):
        await upload(media, client, key, b"x" * size)
    await upload(media, client, allocate(media, unique()), b"another")
    await media.delete([keys[3]])
    # when
    prefix = keys[0].removesuffix("a")
    listed = [found async for found in media.list_objects(prefix)]
    # then
    assert sorted((found.key, found.size) for found in listed) == sorted(
        (key, size) for size, key in enumerate(keys[:3])
    )
    assert all(abs(f.modified - datetime.now(UTC)) < timedelta(minutes=1) for f in listed)
    assert {found.key async for found in media.list_objects()} >= set(keys[:3])
    assert [found async for found in media.list_objects(f"{prefix}none")] == []


async def test_a_working_backend_says_so(media: MediaBackend) -> None:
    await media.check()


def test_nothing_secret_shows_when_printed(media: MediaBackend) -> None:
    [request] = media.sign_put([PutRequest("key", MPEG_TS)], expires_in=60)
    signature = request.url.rpartition("=")[2]
    assert len(signature) >= 32
    assert signature not in repr(request)
    assert "key" not in repr(media).lower()


async def _in_blocks(*blocks: bytes) -> AsyncGenerator[bytes, None]:
    for block in blocks:
        yield block


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("body", [b"", b"0123456789"])
async def test_bytes_are_stored_whether_their_number_is_known_or_not(
    media: MediaBackend, client: httpx.AsyncClient, body: bytes, known: bool
) -> None:
    key = allocate(media, unique("ü & stored"))
    size = len(body) if known else None
    blocks = _in_blocks(body[:3], body[3:])
    stored = await media.store(key, blocks, size=size, content_type="audio/mp4")
    answer = await client.get(get_url(media, key))
    assert (answer.content, answer.headers["content-type"]) == (body, "audio/mp4")
    assert [stored] == await media.stat([key])
    assert stored.size == len(body)


@pytest.mark.parametrize("size", [9, 11])
async def test_bytes_that_are_not_as_many_as_said_are_not_stored(
    media: MediaBackend, size: int
) -> None:
    key = allocate(media, unique())
    with pytest.raises((BadInput, Unavailable)):
        await media.store(key, _in_blocks(b"0123456789"), size=size, content_type=MPEG_TS)
    assert await media.stat([key]) == [None]


async def test_what_fails_on_the_way_is_not_stored(media: MediaBackend) -> None:
    key, closed = allocate(media, unique()), []

    async def breaking() -> AsyncGenerator[bytes, None]:
        try:
            yield b"01234"
            raise Unavailable("it broke off")
        finally:
            closed.append(True)

    with pytest.raises(Unavailable, match="it broke off"):
        await media.store(key, breaking(), size=None, content_type=MPEG_TS)
    assert await media.stat([key]) == [None]
    assert closed == [True]
