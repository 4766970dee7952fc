"""Signed URLs over real HTTP: a uvicorn socket, real files, and what must not get through."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.types import Message

from tams_gql.http.media import media_routes
from tams_gql.media.port import ReadMethod
from tests.http.media_site import (
    LIMIT,
    MPEG_TS,
    TTL,
    Site,
    assert_error,
    connect,
    eventually,
    media_site,
)

DATA = bytes(range(256)) * 4


# More than the kernel takes off the server's hands when the client does not read.
LARGE = 8_000_000


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with media_site(tmp_path_factory.mktemp("data"), limit=LARGE) as site:
        yield site


@pytest.fixture(scope="module")
def key(site: Site) -> str:
    """Where ``DATA`` is stored."""
    return site.stored(DATA)


@pytest.fixture(scope="module")
def empty(site: Site) -> str:
    """Where nothing is lost if a forged upload should get through."""
    return site.stored(b"")


class TestDownload:
    def test_all_headers_of_an_object(self, site: Site) -> None:
        body = b"0123456789" * 1_000
        key = site.stored(body, name="Übung 1")
        answer = site.get(key)
        assert (answer.status_code, answer.content) == (200, body)
        headers = dict(answer.headers)
        max_age = int(headers.pop("cache-control").removeprefix("private, max-age="))
        assert TTL - 10 <= max_age <= TTL
        modified = parsedate_to_datetime(headers.pop("last-modified"))
        assert abs(datetime.now(UTC) - modified) < timedelta(minutes=1)
        assert re.fullmatch(
            r"inline; filename\*=UTF-8''%C3%9Cbung%201-[0-9a-f-]{36}",
            headers.pop("content-disposition"),
        )
        headers.pop("date")
        assert headers == {
            "server": "uvicorn",
            "accept-ranges": "bytes",
            "content-length": "10000",
            "content-type": MPEG_TS,
            "etag": f'"{hashlib.sha256(body).hexdigest()}"',
            "access-control-allow-origin": "*",
            "access-control-expose-headers": "Accept-Ranges, Content-Disposition, Content-Length, "
            "Content-Range, ETag, Last-Modified",
            "cross-origin-resource-policy": "cross-origin",
            "x-content-type-options": "nosniff",
            "content-security-policy": "sandbox; default-src 'none'; img-src 'self'; "
            "media-src 'self'; style-src 'unsafe-inline'",
            "referrer-policy": "no-referrer",
        }

    @pytest.mark.parametrize(
        ("content_type", "disposition"),
        [
            ("video/mp4", "inline"),
            ("audio/aac", "inline"),
            ("image/jpeg", "inline"),
            ("image/svg+xml", "attachment"),
            ("IMAGE/SVG+XML", "attachment"),
            ("text/html", "attachment"),
            ("application/xhtml+xml", "attachment"),
            ("application/mxf", "attachment"),
            ("application/javascript", "attachment"),
        ],
    )
    def test_only_what_cannot_run_is_shown(
        self, site: Site, content_type: str, disposition: str
    ) -> None:
        answer = site.get(site.stored(b"<script>", content_type))
        assert answer.headers["content-type"] == content_type
        assert answer.headers["content-disposition"].partition(";")[0] == disposition
        assert answer.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
        assert answer.headers["x-content-type-options"] == "nosniff"

    def test_a_cache_may_keep_it_no_longer_than_the_url_lives(self, site: Site) -> None:
        key = site.stored(b"x")
        url = site.read_url(key)
        site.clock.ahead = TTL - 20
        try:
            lifetime = site.client.get(url).headers["cache-control"]
        finally:
            site.clock.ahead = 0
        assert 10 <= int(lifetime.removeprefix("private, max-age=")) <= 21

    @pytest.mark.parametrize("signed_for", ["GET", "HEAD"])
    def test_head_is_get_without_the_bytes(self, site: Site, signed_for: ReadMethod) -> None:
        key = site.stored(b"0123456789")
        head = site.client.head(site.read_url(key, signed_for), headers={"Range": "bytes=0-1"})
        full = site.get(key)
        assert (head.status_code, head.content) == (200, b"")
        unequal = {"date", "cache-control"}
        assert {k: v for k, v in head.headers.items() if k not in unequal} == {
            k: v for k, v in full.headers.items() if k not in unequal
        }

    def test_not_modified(self, site: Site) -> None:
        key = site.stored(b"0123456789")
        full = site.get(key)
        for condition in (
            {"If_None_Match": full.headers["etag"]},
            {"If_Modified_Since": full.headers["last-modified"]},
        ):
            answer = site.get(key, **condition)
            assert (answer.status_code, answer.content) == (304, b"")
            assert answer.headers["etag"] == full.headers["etag"]
            assert "max-age=" in answer.headers["cache-control"]
        assert site.get(key, If_None_Match='"other"').content == b"0123456789"
        assert_error(
            site.get(key, If_Match='"other"'), 412, "PRECONDITION_FAILED", "another version"
        )

    def test_a_large_object_comes_whole(self, site: Site) -> None:
        body = os.urandom(LIMIT)
        key = site.stored(body)
        assert site.get(key).content == body
        assert site.get(key, Range="bytes=1048575-1800000").content == body[1_048_575:1_800_001]

    @pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux's /proc")
    def test_a_client_that_leaves_frees_the_file(self, site: Site) -> None:
        # given
        key = site.stored(os.urandom(LARGE))
        name = key.rpartition("/")[2]

        def open_files() -> int:
            count = 0
            for link in Path("/proc/self/fd").iterdir():
                try:
                    count += name in link.readlink().name
                except FileNotFoundError:
                    continue
            return count

        parts = urlsplit(site.read_url(key))
        with socket.socket() as connection:
            # when: a window this small, from the first packet on, leaves most of the object unsent
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            connection.connect((parts.hostname, parts.port))
            request = f"GET {parts.path}?{parts.query} HTTP/1.1\r\nHost: x\r\n\r\n"
            connection.sendall(request.encode())
            assert connection.recv(15) == b"HTTP/1.1 200 OK"
            assert open_files() == 1
        # then
        eventually(lambda: open_files() == 0)

    async def test_nothing_is_read_for_a_client_that_left(self, site: Site) -> None:
        # given: a client that leaves after the first block
        url = urlsplit(site.read_url(site.stored(os.urandom(LIMIT))))
        app = Starlette(routes=media_routes(site.media))
        left = asyncio.Event()
        sent: list[int] = []

        async def receive() -> Message:
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.body":
                sent.append(len(message["body"]))
                left.set()
                await asyncio.sleep(0.01)

        scope = {
            "type": "http",
            "method": "GET",
            "path": url.path,
            "query_string": url.query.encode(),
            "headers": [],
        }
        # when
        await app(scope, receive, send)
        # then
        assert sent == [1_024**2]


class TestRanges:
    @settings(max_examples=60, deadline=None)
    @given(
        first=st.none() | st.integers(0, 1_100),
        last=st.none() | st.integers(0, 1_100),
    )
    def test_a_range_is_a_slice(
        self, site: Site, key: str, first: int | None, last: int | None
    ) -> None:
        # given
        size = len(DATA)
        text = f"{'' if first is None else first}-{'' if last is None else last}"
        expected: slice | None = None  # malformed
        if first is None and last is not None:
            expected = slice(max(0, size - last), size)
        elif first is not None and (last is None or first <= last):
            expected = slice(first, size if last is None else min(last + 1, size))
        # when
        answer = site.get(key, Range=f"bytes={text}")
        # then
        if expected is None:
            assert (answer.status_code, answer.content) == (200, DATA)
            assert "content-range" not in answer.headers
        elif expected.start >= size or expected.start == expected.stop:
            assert_error(answer, 416, "RANGE_NOT_SATISFIABLE", "has only 1024 bytes")
            assert answer.headers["content-range"] == "bytes */1024"
        else:
            assert (answer.status_code, answer.content) == (206, DATA[expected])
            assert answer.headers["content-length"] == str(len(DATA[expected]))
            where = f"bytes {expected.start}-{expected.stop - 1}/1024"
            assert answer.headers["content-range"] == where

    def test_several_ranges_get_the_whole(self, site: Site, key: str) -> None:
        answer = site.get(key, Range="bytes=0-1,5-6")
        assert (answer.status_code, answer.content) == (200, DATA)

    def test_if_range(self, site: Site, key: str) -> None:
        etag = site.get(key).headers["etag"]
        same = site.get(key, Range="bytes=0-1", If_Range=etag)
        assert (same.status_code, same.content) == (206, DATA[:2])
        other = site.get(key, Range="bytes=0-1", If_Range='"other"')
        assert (other.status_code, other.content) == (200, DATA)

    def test_the_empty_object(self, site: Site) -> None:
        key = site.stored(b"")
        assert site.get(key).status_code == 200
        assert site.get(key, Range="bytes=-5").status_code == 200
        assert site.get(key, Range="bytes=0-").headers["content-range"] == "bytes */0"


class TestAccess:
    def test_an_expired_url_says_so(self, site: Site) -> None:
        key = site.stored(b"x")
        read, write = site.read_url(key), site.upload_request(key)
        site.clock.ahead = TTL + 2
        try:
            assert_error(site.client.get(read), 403, "FORBIDDEN", "the URL expired at ")
            late = site.client.put(write.url, headers=dict(write.headers), content=b"y")
            assert_error(late, 403, "FORBIDDEN", "the URL expired at ")
            assert site.client.head(read).status_code == 403
        finally:
            site.clock.ahead = 0
        assert site.get(key).content == b"x"

    def test_urls_are_good_for_their_method_only(self, site: Site) -> None:
        key = site.stored(b"x")
        head, write = site.read_url(key, "HEAD"), site.upload_request(key)
        assert_error(site.client.get(head), 403, "FORBIDDEN", "signed for HEAD, not for GET")
        assert_error(site.client.get(write.url), 403, "FORBIDDEN", "signed for PUT, not for GET")
        assert site.client.head(write.url).status_code == 403
        sent = site.client.put(site.read_url(key), headers={"Content-Type": MPEG_TS}, content=b"y")
        assert_error(sent, 403, "FORBIDDEN", "signed for GET, not for PUT")
        assert site.get(key).content == b"x"

    @pytest.mark.parametrize("method", ["POST", "DELETE", "PATCH"])
    def test_other_methods_do_not_exist(self, site: Site, method: str) -> None:
        answer = site.client.request(method, site.read_url(site.stored(b"x")))
        assert_error(answer, 405, "METHOD_NOT_ALLOWED", f"{method} is not allowed here")
        assert answer.headers["allow"] == "GET, HEAD, PUT, OPTIONS"

    def test_without_a_signature_nothing_is_told(self, site: Site) -> None:
        known, unknown = site.stored(b"x"), site.new_key()
        for key in (known, unknown):
            answer = site.client.get(f"{site.url}/media/{key}")
            assert_error(answer, 403, "FORBIDDEN", "signature does not match")

    @settings(max_examples=80, deadline=None)
    @given(
        place=st.integers(0, 10_000),
        replacement=st.sampled_from("abcxyzABCXYZ0189-_.~/%&=?+"),
        method=st.sampled_from(["GET", "HEAD", "PUT"]),
    )
    def test_no_character_of_a_url_can_be_changed(
        self, site: Site, empty: str, place: int, replacement: str, method: str
    ) -> None:
        # given
        url = (
            site.read_url(empty)
            if method == "GET"
            else (
                site.read_url(empty, "HEAD") if method == "HEAD" else site.upload_request(empty).url
            )
        )
        parts = urlsplit(url)
        target = f"{parts.path}?{parts.query}"
        start = len("/media/")
        at = start + place % (len(target) - start)
        changed = target[:at] + replacement + target[at + 1 :]
        # when
        with connect(site) as connection:
            connection.sendall(
                f"{method} {changed} HTTP/1.1\r\nHost: x\r\nContent-Type: {MPEG_TS}\r\n"
                "Content-Length: 0\r\nConnection: close\r\n\r\n".encode()
            )
            status = int(connection.recv(12)[9:12])
        # then
        # 404 where the change makes a line feed (see below)
        assert status in ((200,) if changed == target else (403, 404))

    @pytest.mark.parametrize(
        "path",
        [
            "/media/../url-signing.secret",
            "/media/%2e%2e/url-signing.secret",
            "/media/%2e%2e%2furl-signing.secret",
            "/media/..%5curl-signing.secret",
            "/media//etc/passwd",
            "/media/%2fetc%2fpasswd",
            "/media/a%00b",
            "/media/a%0a",
            "/media/%ff",
            "/media/.drafts/x",
            "/media/",
        ],
    )
    @pytest.mark.parametrize("method", ["GET", "PUT"])
    def test_no_path_leads_out(self, site: Site, path: str, method: str) -> None:
        [signed] = site.media.sign_get(["a"], expires_in=TTL)
        query = urlsplit(signed).query
        with connect(site) as connection:
            connection.sendall(
                f"{method} {path}?{query} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n"
                "Connection: close\r\n\r\n".encode()
            )
            status = int(connection.recv(12)[9:12])
        assert status == 403

    def test_a_line_feed_is_not_lost(self, site: Site) -> None:
        key = site.stored(b"x")
        path, query = site.read_url(key).split("?")
        assert site.client.get(f"{path}%0A?{query}").status_code == 403
        # In the middle of a path it matches no route at all.
        inside = path.replace("object", "object%0A")
        assert site.client.get(f"{inside}?{query}").status_code == 404


class TestBrowsers:
    @pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
    def test_a_preflight_needs_no_signature(self, site: Site, method: str) -> None:
        answer = site.client.options(
            f"{site.url}/media/some/key",
            headers={
                "Origin": "https://ui.example",
                "Access-Control-Request-Method": method,
                "Access-Control-Request-Headers": "content-type,range",
            },
        )
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["access-control-allow-origin"] == "*"
        assert method in answer.headers["access-control-allow-methods"].split(", ")
        allowed = answer.headers["access-control-allow-headers"].lower().split(", ")
        assert {"content-type", "content-md5", "range", "x-amz-checksum-sha256"} <= set(allowed)
        assert answer.headers["access-control-max-age"] == "7200"

    def test_options_works_on_a_signed_url(self, site: Site) -> None:
        answer = site.client.options(site.read_url(site.new_key()))
        assert (answer.status_code, answer.headers["allow"]) == (204, "GET, HEAD, PUT, OPTIONS")
