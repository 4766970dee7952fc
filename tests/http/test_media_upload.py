"""Uploads on signed URLs over real HTTP, by clients that behave and by those that do not."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tams_gql.media.local import LocalMedia
from tams_gql.media.port import PutRequest
from tests.http.media_site import (
    BACKEND,
    LIMIT,
    MPEG_TS,
    Site,
    assert_error,
    client_of_a_site,
    connect,
    eventually,
    head_of,
    media_site,
)
from tests.waiting import PATIENCE_SECONDS

CHUNKED = "Transfer-Encoding: chunked\r\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with media_site(tmp_path_factory.mktemp("data")) as site:
        yield site


def test_the_answer_names_the_version(site: Site) -> None:
    key = site.new_key()
    answer = site.put(key, b"bytes")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["etag"] == site.get(key).headers["etag"]
    assert answer.headers["access-control-allow-origin"] == "*"


def test_a_body_without_length_is_taken(site: Site) -> None:
    key = site.new_key()
    assert site.put(key, iter([b"one ", b"two"])).status_code == 200
    assert site.get(key).content == b"one two"


def test_the_content_type_may_differ_in_case_only(site: Site) -> None:
    key = site.new_key()
    assert site.put(key, b"x", "video/MP2T", Content_Type="VIDEO/mp2t").status_code == 200
    assert site.get(key).headers["content-type"] == "video/MP2T"


@pytest.mark.parametrize("sent", ["text/html", "", "video/mp2t, text/html"])
def test_another_content_type_is_refused(site: Site, sent: str) -> None:
    key = site.new_key()
    answer = site.put(key, b"x", Content_Type=sent)
    summary = f"Content-Type: {sent!r} is not allowed; this URL is signed for video/mp2t"
    assert_error(answer, 400, "BAD_USER_INPUT", summary)
    assert_error(site.get(key), 404, "NOT_FOUND", "there is no such media object")


@pytest.mark.parametrize(
    "header", ["Content-Encoding", "Content-Range", "If-Match", "If-None-Match"]
)
def test_what_is_not_the_plain_whole_object_is_refused(site: Site, header: str) -> None:
    answer = site.put(site.new_key(), b"x", **{header: "gzip"})
    assert_error(answer, 400, "BAD_USER_INPUT", f"{header}: 'gzip' is not allowed")


@pytest.mark.parametrize(
    ("header", "digest"),
    [
        ("Content-MD5", hashlib.md5(b"bytes").digest()),
        ("x-amz-checksum-sha1", hashlib.sha1(b"bytes").digest()),
        ("x-amz-checksum-sha256", hashlib.sha256(b"bytes").digest()),
        ("x-amz-checksum-crc32", zlib.crc32(b"bytes").to_bytes(4, "big")),
        ("x-amz-checksum-crc32c", bytes.fromhex("d06e9c92")),
        ("x-amz-checksum-crc64nvme", bytes.fromhex("26985b6e514a4c24")),
    ],
)
def test_a_checksum_decides(site: Site, header: str, digest: bytes) -> None:
    # given
    key = site.new_key()
    declared = {header: base64.b64encode(digest).decode(), "x-amz-checksum-algorithm": "X"}
    # then
    assert site.put(key, b"bytes", **declared).status_code == 200
    refused = site.put(key, b"bytez", **declared)
    assert_error(refused, 400, "BAD_USER_INPUT", "checksum of the received bytes is")
    assert site.get(key).content == b"bytes"
    assert site.drafts() == []


@pytest.mark.parametrize(
    ("header", "value", "summary"),
    [
        ("Content-MD5", "not base64!", "must be a digest in Base64"),
        ("x-amz-checksum-xxhash64", "AAAAAA==", "checksums by xxhash64 cannot be verified"),
    ],
)
def test_a_checksum_that_cannot_be_verified_is_refused(
    site: Site, header: str, value: str, summary: str
) -> None:
    answer = site.put(site.new_key(), b"x", **{header: value})
    assert_error(answer, 400, "BAD_USER_INPUT", summary)


def test_the_largest_object_fits(site: Site) -> None:
    assert site.put(site.new_key(), b"x" * LIMIT).status_code == 200


@pytest.mark.parametrize("size", [LIMIT + 1, 10 * LIMIT])
def test_a_larger_one_is_refused_by_its_length(site: Site, size: int) -> None:
    key = site.new_key()
    answer = site.put(key, b"x" * size)
    assert_error(answer, 413, "LIMIT_EXCEEDED", f"{size} or more were sent")
    assert site.get(key).status_code == 404
    assert site.drafts() == []


def to_the_end(connection: socket.socket) -> bytes:
    """What comes until the server closes the connection."""
    return b"".join(iter(lambda: connection.recv(65_536), b""))


def test_who_sends_it_all_before_reading_still_gets_the_answer(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tams_gql.http._upload._LINGER_SECONDS", PATIENCE_SECONDS)
    size = 4 * LIMIT
    with connect(site) as connection:
        head = head_of(site.upload_request(site.new_key()), content_length=size)
        connection.sendall(head + b"x" * size)
        answer = to_the_end(connection)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"\r\nconnection: close\r\n" in answer
    assert b'"LIMIT_EXCEEDED"' in answer


def test_a_larger_one_is_refused_while_it_comes(site: Site) -> None:
    key = site.stored(b"old")
    answer = site.put(key, (b"x" * 100_000 for _ in range(50)))
    assert_error(answer, 413, "LIMIT_EXCEEDED", f"max_object_bytes, {LIMIT} bytes")
    assert site.get(key).content == b"old"
    assert site.drafts() == []


def test_who_asks_before_sending_is_told_at_once(site: Site) -> None:
    request = site.upload_request(site.new_key())
    with connect(site) as connection:
        connection.sendall(
            head_of(request, content_length=10 * LIMIT, extra="Expect: 100-continue\r\n")
        )
        answer = connection.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"100 Continue" not in answer


def test_who_asks_before_sending_is_let_through(site: Site) -> None:
    key = site.new_key()
    with connect(site) as connection:
        head = head_of(site.upload_request(key), content_length=3, extra="Expect: 100-continue\r\n")
        connection.sendall(head)
        assert connection.recv(65_536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"abc")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200 OK")
    assert site.get(key).content == b"abc"


def test_a_client_that_leaves_in_the_middle_leaves_nothing(site: Site) -> None:
    # given
    key = site.stored(b"old")
    with connect(site) as connection:
        connection.sendall(head_of(site.upload_request(key), content_length=LIMIT))
        connection.sendall(b"x" * 600_000)
        eventually(lambda: len(site.drafts()) == 1)
        # when: the connection closes
    # then
    eventually(lambda: site.drafts() == [])
    assert site.get(key).content == b"old"


def test_a_body_without_length_that_breaks_off_leaves_nothing(site: Site) -> None:
    # given
    key = site.stored(b"old")
    head = head_of(site.upload_request(key), content_length=None, extra=CHUNKED)
    with connect(site) as connection:
        connection.sendall(head + b"927c0\r\n" + b"x" * 0x927C0 + b"\r\n")
        eventually(lambda: len(site.drafts()) == 1)
        # when: the connection closes before the last, empty chunk
    # then
    eventually(lambda: site.drafts() == [])
    assert site.get(key).content == b"old"


def test_a_client_that_stalls_is_given_up(tmp_path: Path) -> None:
    with media_site(tmp_path, idle_seconds=0.5) as site:
        key = site.new_key()
        with connect(site) as connection:
            connection.sendall(head_of(site.upload_request(key), content_length=LIMIT))
            started = time.monotonic()
            connection.sendall(b"x" * 600_000)
            answer = connection.recv(65_536)
            waited = time.monotonic() - started
            while b"}" not in answer:  # the body may come after the head
                answer += connection.recv(65_536)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"nothing arrived for 0.5 seconds" in answer
        assert waited >= 0.45  # clocks of event loops count milliseconds
        assert site.drafts() == []
        assert site.get(key).status_code == 404


def test_the_connection_serves_again_after_an_upload(site: Site) -> None:
    key = site.new_key()
    request = site.upload_request(key)
    with connect(site) as connection:
        for body in (b"one", b"two"):
            connection.sendall(head_of(request, content_length=3) + body)
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200 OK")
    assert site.get(key).content == b"two"


def test_uploads_of_one_key_at_once_never_mix(site: Site) -> None:
    # given
    versions = {f"video/v{n}": bytes([n]) * 1_500_000 for n in range(4)}
    key = site.stored(versions["video/v0"], "video/v0")
    url = site.read_url(key)
    finished = threading.Event()
    seen: set[str] = set()

    def upload(kind: str) -> int:
        body = versions[kind]
        request = site.upload_request(key, kind)
        pieces = (body[at : at + 150_000] for at in range(0, len(body), 150_000))
        with client_of_a_site() as client:
            sent = client.put(request.url, headers=dict(request.headers), content=pieces)
        return sent.status_code

    def read() -> None:
        with client_of_a_site() as client:
            while not finished.is_set():
                answer = client.get(url)
                kind = answer.headers["content-type"]
                assert answer.content == versions[kind]
                assert answer.headers["etag"] == (f'"{hashlib.sha256(versions[kind]).hexdigest()}"')
                seen.add(kind)

    # when
    with ThreadPoolExecutor(6) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        statuses = list(pool.map(upload, [*versions, *versions]))
        finished.set()
        for reader in readers:
            reader.result()
    # then
    assert statuses == [200] * 8
    assert seen <= versions.keys()
    assert site.get(key).headers["content-type"] in versions
    assert site.drafts() == []


def test_a_killed_server_leaves_no_object(tmp_path: Path) -> None:
    # given
    program = (
        "import sys, uvicorn; from pathlib import Path\n"
        "from starlette.applications import Starlette\n"
        "from tams_gql.http.media import media_routes\n"
        "from tams_gql.media.local import LocalMedia\n"
        "from tams_gql.media.port import StorageBackend\n"
        "media = LocalMedia(Path(sys.argv[1]), public_url='http://x',\n"
        f"    backend=StorageBackend(id='{BACKEND.id}', label='local'))\n"
        "uvicorn.run(Starlette(routes=media_routes(media)), fd=int(sys.argv[2]),\n"
        "    ws='none', lifespan='off', log_config=None)\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path), str(listener.fileno())],
            pass_fds=[listener.fileno()],
        )
        objects = tmp_path / "media" / "objects"
        secret = tmp_path / "media" / "url-signing.secret"
        eventually(secret.exists)
        media = LocalMedia(tmp_path, backend=BACKEND, public_url="http://x", durable=False)
        [request] = media.sign_put([PutRequest("2026/a", MPEG_TS)], expires_in=60)
        with socket.create_connection(listener.getsockname()) as connection:
            connection.sendall(head_of(request, content_length=LIMIT) + b"x" * 900_000)
            eventually(
                lambda: sum(f.stat().st_size for f in (objects / ".drafts").iterdir()) > 200_000
            )
            # when
            server.send_signal(signal.SIGKILL)
            assert server.wait(PATIENCE_SECONDS) == -signal.SIGKILL
    # then
    [draft] = [path for path in objects.rglob("*") if path.is_file()]
    assert draft.parent.name == ".drafts"
    os.utime(draft, (0, 0))
    LocalMedia(tmp_path, backend=BACKEND, public_url="http://x", durable=False)
    assert not draft.exists()


def test_a_folder_that_fails_is_unavailable(site: Site) -> None:
    drafts = site.objects / ".drafts"
    eventually(lambda: site.drafts() == [])
    shutil.rmtree(drafts)
    try:
        answer = site.put(site.new_key(), b"x")
    finally:
        drafts.mkdir()
    assert_error(answer, 503, "UNAVAILABLE", "the media folder cannot be read or written")
    assert str(site.objects) not in answer.text
