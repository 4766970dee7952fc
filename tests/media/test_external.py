"""Reading what clients point at, and nothing that only this machine can reach."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import logging
import socket
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from tams_gql.media.external.addresses import connected, may_be_read
from tams_gql.media.external.download import Download, opened
from tams_gql.media.external.rules import ExternalRules, HostRule, host_rule
from tams_gql.model.errors import Conflict, Forbidden, LimitExceeded, NotFound, Unavailable
from tests.media.elsewhere import Elsewhere, serving_elsewhere
from tests.waiting import PATIENCE_SECONDS

BODY = bytes(range(256)) * 4_000
LOOPBACK = ip_network("127.0.0.0/8")
CHUNKED = ("Transfer-Encoding", "chunked")


class Names(AbstractResolver):
    """Resolves names as a test says; the answers of one name take turns."""

    def __init__(self, **addresses: list[str]) -> None:
        self.addresses = {name.replace("_", "."): list(each) for name, each in addresses.items()}
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        self.asked.append(host)
        answers = self.addresses[host]
        address = answers.pop(0) if len(answers) > 1 else answers[0]
        kind = socket.AF_INET6 if ":" in address else socket.AF_INET
        return [
            ResolveResult(hostname=host, host=one, port=port, family=kind, proto=0, flags=0)
            for one in address.split("+")
        ]

    async def close(self) -> None:
        return None


@pytest.fixture
async def elsewhere() -> AsyncIterator[Elsewhere]:
    async with serving_elsewhere() as server:
        yield server


def names(address: str = "127.0.0.2") -> Names:
    return Names(media_test=[address], a_media_test=[address])


@asynccontextmanager
async def reading(
    server: Elsewhere, path: str = "/o", rules: ExternalRules | None = None
) -> AsyncIterator[Download]:
    found = rules or server.rules()
    async with opened(server.url(path), found, resolver=names()) as download:
        yield download


@asynccontextmanager
async def saying(headers: list[tuple[str, str]], body: bytes) -> AsyncIterator[Elsewhere]:
    """A server that says just that, and a body in chunks."""
    fields = headers if "Transfer-Encoding" in dict(headers) else [*headers, CHUNKED]
    head = "".join(f"{name}: {value}\r\n" for name, value in fields)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 200 OK\r\n{head}\r\n".encode() + body)
        await writer.drain()
        writer.close()

    server = Elsewhere()
    async with await asyncio.start_server(answer, "127.0.0.2", 0) as listening:
        server.port = listening.sockets[0].getsockname()[1]
        yield server


async def content(download: Download) -> bytes:
    return b"".join([block async for block in download.blocks])


def _to(location: str, status: int = 302) -> web.Response:
    return web.Response(status=status, headers={"Location": location})


# What may be asked for


@pytest.mark.parametrize(
    ("rule", "allowed", "refused"),
    [
        ("*", [("a.example", 80), ("1.2.3.4", 443)], [("a.example", 8080), ("a.example", 22)]),
        ("Example.com", [("example.com", 80)], [("www.example.com", 80), ("example.com.au", 80)]),
        ("*.example.com", [("a.b.example.com", 443)], [("example.com", 443), ("xexample.com", 80)]),
        ("example.com:8443", [("example.com", 8443)], [("example.com", 443)]),
        # An address whose zone ends like the domain.
        ("*.example.com", [], [("::ffff:10.0.0.5%25.example.com", 80)]),
        ("10.1.2.3", [("10.1.2.3", 80)], [("10.1.2.30", 80)]),
        ("[2001:DB8:0::1]:81", [("2001:db8::1", 81)], [("2001:db8::1", 80)]),
    ],
)
def test_hosts_are_those_of_the_list(
    rule: str, allowed: list[tuple[str, int]], refused: list[tuple[str, int]]
) -> None:
    found = host_rule(rule)
    assert [place for place in allowed + refused if found.allows(*place)] == allowed


@pytest.mark.parametrize(
    "text", ["", "a b", "http://x", "x/y", "x:0", "x:99999", "x:", "a*.com", "*.", "[x]", "::1"]
)
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no port between|is not a host name|not appear to be"):
        host_rule(text)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://media.example/o",
        "file:///etc/passwd",
        "gopher://media.example/",
        "http://other.example/o",
        "http://media.example:22/o",
        "http://media.example@other.example/o",
        "http://media.example.other.example/",
        "http://[::1",
        "http://media.example:x/",
        "http://media.example:0/o",
        "https:///o",
    ],
)
async def test_what_is_not_allowed_is_never_asked_for(url: str) -> None:
    rules = ExternalRules(hosts=(HostRule("media.example"),), networks=(LOOPBACK,))
    resolver = Names()
    with pytest.raises(Forbidden):
        rules.check(url)
    with pytest.raises((Forbidden, Unavailable)):
        async with opened(url, rules, resolver=resolver):
            pass
    assert resolver.asked == []


def test_nothing_is_allowed_by_default() -> None:
    with pytest.raises(Forbidden, match="external_copy_hosts"):
        ExternalRules().check("https://media.example/o")


# What may be connected to


@pytest.mark.parametrize(
    "text",
    [
        *("127.0.0.1", "127.1.2.3", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "192.168.1.1"),
        *("169.254.169.254", "169.254.170.2", "100.64.0.1", "100.100.100.200", "168.63.129.16"),
        *("192.0.0.192", "192.0.2.1", "198.18.0.1", "224.0.0.1", "239.1.1.1", "240.0.0.1"),
        *("255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254"),
        *("ff02::1", "fec0::1", "2001:db8::1", "2001::1", "2002:7f00:1::", "64:ff9b:1::1"),
        *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe"),
    ],
)
def test_addresses_near_this_machine_may_not_be_read(text: str) -> None:
    assert not may_be_read(connected(text), ())


@pytest.mark.parametrize(
    "text", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
)
def test_public_addresses_may_be_read(text: str) -> None:
    assert may_be_read(connected(text), ())


def test_networks_of_the_settings_may_be_read() -> None:
    networks = (ip_network("10.1.0.0/16"), ip_network("fd00::/8"))
    found = ("10.1.2.3", "10.2.0.1", "fd01::1", "::1", "::ffff:10.1.0.1")
    assert [a for a in found if may_be_read(connected(a), networks)] == [
        "10.1.2.3",
        "fd01::1",
        "::ffff:10.1.0.1",
    ]
    assert ip_address("10.1.0.1") == connected("::ffff:10.1.0.1")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "2130706433", "0x7f000001", "127.1", "[::ffff:127.0.0.1]", "localhost"]
)
async def test_an_address_in_the_url_is_checked_like_one_of_a_name(
    elsewhere: Elsewhere, host: str
) -> None:
    # However it is written; here with the resolver of the system.
    rule = HostRule(host.strip("[]"), elsewhere.port)
    mapped = HostRule("::ffff:7f00:1", elsewhere.port)
    with pytest.raises(Unavailable, match="cannot be read from here now"):
        async with opened(elsewhere.url("/o", host), ExternalRules((rule, mapped))):
            pass
    assert elsewhere.asked == []


async def test_a_name_that_leads_to_this_machine_is_refused(
    elsewhere: Elsewhere, caplog: pytest.LogCaptureFixture
) -> None:
    rules = elsewhere.rules("192.0.2.0/24")
    for address in ("127.0.0.1", "127.0.0.1+127.0.0.2"):
        with pytest.raises(Unavailable) as refused:
            async with opened(elsewhere.url("/o?token=s3cret"), rules, resolver=names(address)):
                pass
        assert refused.value.message == "the external copy cannot be read from here now"
    assert elsewhere.asked == []
    told = [record.getMessage() for record in caplog.records]
    assert "an external copy lies at 127.0.0.1, which may not be read" in told
    assert "s3cret" not in caplog.text


async def test_the_address_that_was_checked_is_connected_to(elsewhere: Elsewhere) -> None:
    # given a name that leads elsewhere when it is asked for the second time
    elsewhere.answers["/o"] = lambda _: web.Response(body=BODY)
    elsewhere.answers["/to"] = lambda _: _to("/o")
    rules = elsewhere.rules("127.0.0.2/32")
    resolver = Names(media_test=["127.0.0.2", "127.0.0.1"])
    # then one connection asks once
    async with opened(elsewhere.url("/o"), rules, resolver=resolver) as download:
        assert await content(download) == BODY
    assert resolver.asked == ["media.test"]
    # and the next one is checked anew
    resolver = Names(media_test=["127.0.0.2", "127.0.0.1"])
    with pytest.raises(Unavailable):
        async with opened(elsewhere.url("/to"), rules, resolver=resolver):
            pass
    assert resolver.asked == ["media.test"] * 2
    assert elsewhere.asked == ["media.test/o", "media.test/to"]


async def test_proxies_and_passwords_of_the_environment_are_not_used(
    elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / ".netrc").write_text("machine media.test login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    elsewhere.answers["/o"] = lambda _: web.Response(body=BODY)
    async with reading(elsewhere) as download:
        assert await content(download) == BODY
    [headers] = elsewhere.headers
    assert sorted(headers) == ["Accept", "Accept-Encoding", "Connection", "Host", "User-Agent"]


# Redirects


async def test_redirects_are_followed_and_held_to_the_rules(elsewhere: Elsewhere) -> None:
    elsewhere.answers |= {
        "/a/1": lambda _: _to("2?x=%2F", 307),
        "/a/2": lambda _: _to(elsewhere.url("/o", "a.media.test"), 301),
        "/o": lambda _: web.Response(body=BODY, content_type="video/mp2t"),
    }
    async with reading(elsewhere, "/a/1") as download:
        assert await content(download) == BODY
    assert elsewhere.asked == ["media.test/a/1", "media.test/a/2?x=%2F", "a.media.test/o"]


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:{port}/o",
        "http://other.test:{port}/o",
        "http://media.test:22/o",
        "//other.test/o",
        "file:///etc/passwd",
        "gopher://media.test:{port}/o",
    ],
)
async def test_a_redirect_elsewhere_is_refused(elsewhere: Elsewhere, location: str) -> None:
    target = location.format(port=elsewhere.port)
    elsewhere.answers["/o"] = lambda _: _to(target)
    with pytest.raises(Forbidden):
        async with reading(elsewhere):
            pass
    assert elsewhere.asked == ["media.test/o"]


async def test_redirects_come_to_an_end(elsewhere: Elsewhere) -> None:
    elsewhere.answers["/o"] = lambda _: _to("/o")
    with pytest.raises(Unavailable, match="redirected too often"):
        async with reading(elsewhere):
            pass
    assert len(elsewhere.asked) == 6


async def test_redirects_take_no_longer_together_than_one_answer_may(elsewhere: Elsewhere) -> None:
    async def slowly(_: web.Request) -> web.Response:
        await asyncio.sleep(0.4)
        return _to("/o")

    elsewhere.answers["/o"] = slowly
    with pytest.raises(Unavailable, match="cannot be read from here now"):
        async with reading(elsewhere, rules=elsewhere.rules(timeout=1)):
            pass
    assert len(elsewhere.asked) <= 3


# What comes back


@pytest.mark.parametrize(
    ("status", "error", "text"),
    [
        (404, NotFound, "there is nothing at the URL"),
        (410, NotFound, "there is nothing at the URL"),
        (403, Unavailable, "answers 403"),
        (500, Unavailable, "answers 500"),
        (206, Unavailable, "answers 206"),
        (304, Unavailable, "answers 304"),
    ],
)
async def test_only_the_whole_object_will_do(
    elsewhere: Elsewhere, status: int, error: type[Exception], text: str
) -> None:
    elsewhere.answers["/o"] = lambda _: web.Response(status=status)
    with pytest.raises(error, match=text):
        async with reading(elsewhere):
            pass


async def test_what_is_said_of_the_bytes_is_passed_on(elsewhere: Elsewhere) -> None:
    digest = base64.b64encode(hashlib.sha256(BODY).digest()).decode()
    headers = {
        "x-amz-checksum-sha256": digest,
        "x-amz-checksum-crc32": "AAAAAA==-3",
        "Content-MD5": "not base64!",
        "x-goog-hash": "crc32c=AAAAAA==,md5=" + "A" * 22 + "==",
    }
    elsewhere.answers["/o"] = lambda _: web.Response(body=BODY, headers=headers)
    async with reading(elsewhere) as download:
        assert (download.size, download.content_type) == (len(BODY), "application/octet-stream")
        assert download.checksums == {
            "sha256": digest,
            "crc32c": "AAAAAA==",
            "md5": "A" * 22 + "==",
        }
        assert await content(download) == BODY
    headers["x-amz-checksum-type"] = "COMPOSITE"
    async with reading(elsewhere) as download:
        assert set(download.checksums) == {"crc32c", "md5"}


async def test_a_web_page_is_no_object(elsewhere: Elsewhere) -> None:
    elsewhere.answers["/o"] = lambda _: web.Response(text="<p>Log in", content_type="text/html")
    with pytest.raises(Conflict, match="a web page"):
        async with reading(elsewhere):
            pass


@pytest.mark.parametrize(
    "headers",
    [
        [("Content-Encoding", "gzip")],
        [("Content-Encoding", "identity"), ("Content-Encoding", "gzip")],
        [("Content-Encoding", "identity, GZIP")],
        [("Transfer-Encoding", "gzip, chunked")],
    ],
)
async def test_other_encodings_are_refused(headers: list[tuple[str, str]]) -> None:
    packed = gzip.compress(bytes(10**6))
    async with saying(headers, b"%x\r\n%s\r\n0\r\n\r\n" % (len(packed), packed)) as server:
        with pytest.raises(Unavailable, match="another encoding"):
            async with reading(server):
                pass


@pytest.mark.parametrize(
    ("told", "known"),
    [
        ("Video/MP2T; x=y", "video/mp2t"),
        ('x y/z"<>', None),
        (f"video/{'x' * 1000}", None),
        ("video/é", None),
    ],
)
async def test_a_type_that_no_object_can_have_is_not_one(told: str, known: str | None) -> None:
    headers = [("Content-Type", told), ("Content-Encoding", "identity")]
    async with saying(headers, b"2\r\nhi\r\n0\r\n\r\n") as server, reading(server) as download:
        assert download.content_type == known
        assert await content(download) == b"hi"


async def test_what_is_too_large_is_refused_by_its_length(elsewhere: Elsewhere) -> None:
    elsewhere.answers["/o"] = lambda _: web.Response(body=BODY)
    with pytest.raises(LimitExceeded, match="external_copy_max_bytes, 1023999 bytes"):
        async with reading(elsewhere, rules=elsewhere.rules(max_bytes=len(BODY) - 1)):
            pass
    async with reading(elsewhere, rules=elsewhere.rules(max_bytes=len(BODY))) as download:
        assert await content(download) == BODY


async def _endless(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse()
    await answer.prepare(request)
    try:
        while True:
            await answer.write(bytes(2**16))
    except ConnectionError:
        return answer


async def test_what_never_ends_is_cut_off(elsewhere: Elsewhere) -> None:
    elsewhere.answers["/o"] = _endless
    seen = 0
    async with reading(elsewhere, rules=elsewhere.rules(max_bytes=10**6)) as download:
        assert download.size is None
        with pytest.raises(LimitExceeded):
            seen = len(await content(download))
    assert seen == 0


async def test_what_is_not_read_is_not_gathered(elsewhere: Elsewhere) -> None:
    elsewhere.answers["/o"] = _endless
    tracemalloc.start()
    try:
        async with reading(elsewhere) as download:
            await anext(download.blocks)
            await asyncio.sleep(0.5)
            _, peak = tracemalloc.get_traced_memory()
            await download.blocks.aclose()
    finally:
        tracemalloc.stop()
    assert peak < 8 * 2**20


async def test_what_breaks_off_is_no_object(elsewhere: Elsewhere) -> None:
    async def half(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Length": str(len(BODY))})
        await answer.prepare(request)
        await answer.write(BODY[:1000])
        assert request.transport is not None
        request.transport.abort()
        return answer

    elsewhere.answers["/o"] = half
    async with reading(elsewhere) as download:
        with pytest.raises(Unavailable, match="broke off"):
            await content(download)


async def test_a_server_that_trickles_is_given_up(elsewhere: Elsewhere) -> None:
    stop = asyncio.Event()

    async def trickle(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        while not stop.is_set():
            await answer.write(b"x")
            await asyncio.sleep(0.05)
        return answer

    elsewhere.answers["/o"] = trickle
    async with reading(elsewhere, rules=elsewhere.rules(timeout=1)) as download:
        async with asyncio.timeout(PATIENCE_SECONDS):
            with pytest.raises(Unavailable, match="broke off"):
                await content(download)
    stop.set()


async def test_a_failure_of_the_reader_is_its_own(
    elsewhere: Elsewhere, caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere.answers["/o"] = lambda _: web.Response(body=BODY)
    with caplog.at_level(logging.WARNING), pytest.raises(OSError, match="the disk"):
        async with reading(elsewhere):
            raise OSError("the disk")
    assert caplog.records == []
