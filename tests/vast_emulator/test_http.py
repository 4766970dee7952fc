"""The wire, below the SDK."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from xml.etree import ElementTree

import pytest

from tests.vast_emulator import Emulator

AUTH = {"Authorization": "AWS4-HMAC-SHA256 Credential=AK/20260101//s3/aws4_request, Signature=0"}


@pytest.fixture
def connection(emulator: Emulator) -> Iterator[http.client.HTTPConnection]:
    """A connection of a plain HTTP client."""
    client = http.client.HTTPConnection(emulator.url.removeprefix("http://"), timeout=10)
    yield client
    client.close()


def ask(
    client: http.client.HTTPConnection, method: str, path: str, **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    sent = AUTH | {name.replace("_", "-"): value for name, value in headers.items()}
    client.request(method, path, headers=sent)
    response = client.getresponse()
    return response, response.read()


def test_every_reply_has_version_and_date(
    emulator: Emulator, connection: http.client.HTTPConnection
) -> None:
    for path, status in (("/?transaction", 200), ("/b/s/t?nonsense", 501)):
        response, _ = ask(connection, "POST", path)
        assert response.status == status
        assert response.headers["Server"] == "vast 5.5.0.0"
        date = parsedate_to_datetime(response.headers["Date"])
        assert abs(datetime.now(UTC) - date) < timedelta(seconds=3)
    with emulator.switched(version="5.3.1.7", clock_offset_seconds=3600.0):
        response, _ = ask(connection, "GET", "/?transaction", tabular_get_vast_version="true")
    assert response.headers["Server"] == "vast 5.3.1.7"
    date = parsedate_to_datetime(response.headers["Date"])
    assert timedelta(minutes=59) < date - datetime.now(UTC) < timedelta(minutes=61)


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "code"),
    [
        ("GET", "/none/s?table", {}, 404, "NoSuchBucket"),
        ("GET", "/start/s?table", {}, 404, "NoSuchEntity"),
        ("GET", "/start/s/t?stats", {"tabular_txid": "7"}, 404, "NoSuchTransaction"),
        ("GET", "/start/s/t?stats", {"tabular_txid": "None"}, 400, "InvalidArgument"),
        ("GET", "/start?schema", {"tabular_max_keys": "0"}, 400, "InvalidArgument"),
        ("GET", "/start?schema", {"tabular_max_keys": "x"}, 400, "InvalidArgument"),
        ("PATCH", "/start/s?table", {}, 405, "MethodNotAllowed"),
        ("GET", "/start/s/t?query-engine-capabilities", {}, 501, "NotImplemented"),
        ("GET", "/start?schema", {"Authorization": "none"}, 403, "InvalidAccessKeyId"),
    ],
)
def test_errors_are_xml(
    connection: http.client.HTTPConnection,
    emulator: Emulator,
    method: str,
    path: str,
    headers: dict[str, str],
    status: int,
    code: str,
) -> None:
    response, body = ask(connection, method, path, **headers)
    assert response.status == status
    error = ElementTree.fromstring(body)
    assert error.tag == "Error"
    assert [child.tag for child in error] == ["Code", "Message", "RequestId"]
    assert error.findtext("Code") == code


def test_a_bucket_without_snapshots(connection: http.client.HTTPConnection) -> None:
    path = "/start?delimiter=/&list_type=2&max_keys=10&prefix=.snapshot/"
    response, body = ask(connection, "GET", path)
    assert response.status == 200
    assert b"<IsTruncated>false</IsTruncated><Marker></Marker>" in body
    assert b"<Prefix>.snapshot/</Prefix>" in body


def test_head_has_no_body(connection: http.client.HTTPConnection) -> None:
    for bucket, status in (("start", 200), ("none", 404), ("start", 200)):
        response, body = ask(connection, "HEAD", f"/{bucket}")
        assert (response.status, body) == (status, b"")


def test_requests_in_pieces_with_chunked_bodies(emulator: Emulator) -> None:
    host, port = emulator.url.removeprefix("http://").split(":")
    head = f"POST /?transaction HTTP/1.1\r\nHost: x\r\nAuthorization: {AUTH['Authorization']}\r\n"
    first = head + "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=10) as client:
        for piece in (first[:30], first[30:]):
            client.sendall(piece.encode())
        assert client.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n" + head.encode() + b"\r\n")
        received = b""
        while received.count(b"\r\n\r\n") < 2:
            received += client.recv(65536)
    assert received.count(b"HTTP/1.1 200 OK") == 2
    assert received.count(b"tabular-txid: ") == 2


def test_unknown_switches_are_refused(emulator: Emulator) -> None:
    with pytest.raises(ValueError, match="unknown switch 'isolaton'"):
        emulator.switches.change(isolaton="snapshot")
    with pytest.raises(ValueError, match="isolation must be one of"):
        emulator.switches.change(isolation="serializable")
    assert emulator.switches.isolation == "snapshot"
