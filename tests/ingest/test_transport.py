"""Talking HTTP: what is tried again, what is not, and what never shows."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from tams_gql.ingest import transport as transport_module
from tams_gql.ingest.api import Allocation, Catalog
from tams_gql.ingest.transport import Cancelled, Retry, Transport, shown_url
from tams_gql.model.errors import (
    BadInput,
    Forbidden,
    LimitExceeded,
    NotFound,
    Unauthenticated,
    Unavailable,
)
from tests.ingest.catalog_server import FakeCatalog
from tests.ingest.conftest import QUICK
from tests.ingest.web_server import serving

FLOW = "11111111-1111-4111-8111-111111111111"


@pytest.mark.parametrize(
    "url",
    [
        *("127.0.0.1:8000", "ftp://host", "http://", "", "http:///x"),
        *("http://host:99999", "http://[::1", "http://a..b", "http://h\0"),
    ],
)
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(BadInput, match="is not an http"):
        Transport(url)


@pytest.mark.parametrize("suffix", ["", "/", "/graphql", "/graphql/"])
def test_the_endpoint_may_be_named_as_well(suffix: str, fake: FakeCatalog) -> None:
    with Transport(fake.url + suffix) as transport:
        assert Catalog(transport).flow(FLOW) is None


def test_nothing_listens_there() -> None:
    with (
        Transport("http://user:secret@127.0.0.1:9", retry=QUICK) as transport,
        pytest.raises(Unavailable) as caught,
    ):
        Catalog(transport).flow(FLOW)
    assert caught.value.message.startswith("http://127.0.0.1:9/graphql cannot be reached: ")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "error", "calls"),
    [
        (500, Unavailable, 4),
        (503, Unavailable, 4),
        (429, Unavailable, 4),
        (408, Unavailable, 4),
        (401, Unauthenticated, 1),
        (403, Forbidden, 1),
        (404, NotFound, 1),
        (400, BadInput, 1),
        (302, BadInput, 1),
    ],
)
def test_answers_without_graphql(
    status: int, error: type[Exception], calls: int, fake: FakeCatalog, catalog: Catalog
) -> None:
    fake.fail = lambda _: status
    with pytest.raises(error):
        catalog.flow(FLOW)
    assert fake.calls["IngestFlow"] == calls


def test_a_page_that_is_no_graphql_endpoint(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<html></html>")
    with serving(tmp_path) as web, Transport(web.url, retry=QUICK) as transport:
        # The web server knows no POST.
        with pytest.raises((BadInput, Unavailable)):
            Catalog(transport).flow(FLOW)
        assert transport.get(f"{web.url}/index.html") == b"<html></html>"


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("byte_range", [None, (0, 10), (300_000, 5), (990_000, 10_000)])
def test_downloads(ranges: bool, byte_range: tuple[int, int] | None, tmp_path: Path) -> None:
    content = bytes(n % 251 for n in range(1_000_000))
    (tmp_path / "big").write_bytes(content)
    target = tmp_path / "target"
    with serving(tmp_path) as web, Transport(web.url) as transport, target.open("wb") as file:
        web.ranges = ranges
        file.write(b"before")
        transport.download(f"{web.url}/big", file, byte_range)
    offset, size = byte_range or (0, len(content))
    assert target.read_bytes() == b"before" + content[offset : offset + size]


def test_the_token_goes_to_the_server_only(fake: FakeCatalog, tmp_path: Path) -> None:
    seen: list[str | None] = []
    (tmp_path / "x").write_bytes(b"x")
    with serving(tmp_path) as web, Transport(fake.url, token="secret") as transport:
        fake.inspect = lambda headers: seen.append(headers.get("Authorization"))
        Catalog(transport).flow(FLOW)
        web.inspect = lambda headers: seen.append(headers.get("Authorization"))
        transport.get(f"{web.url}/x")
    assert seen == ["Bearer secret", None]


@pytest.mark.parametrize("token", ["secret\r", "sec\nret", "secré", "sec ret"])
def test_a_token_that_no_header_can_hold_is_refused_without_showing_it(token: str) -> None:
    with pytest.raises(BadInput) as caught:
        Transport("http://127.0.0.1:9", token=token)
    assert caught.value.message.startswith("token holds characters that no HTTP header can")
    assert "sec" not in str(caught.value)


def test_what_is_to_be_small_is_not_read_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport_module, "_LARGEST_GET", 1000)
    (tmp_path / "small").write_bytes(b"x" * 1000)
    (tmp_path / "large").write_bytes(b"x" * 1001)
    with serving(tmp_path) as web, Transport(web.url) as transport:
        assert len(transport.get(f"{web.url}/small")) == 1000
        with pytest.raises(LimitExceeded, match="large has more than 1000 bytes"):
            transport.get(f"{web.url}/large")


def test_a_stop_ends_the_pauses(fake: FakeCatalog) -> None:
    fake.fail = lambda _: 503
    stop = threading.Event()
    patient = Retry(attempts=10, first_seconds=60, longest_seconds=60)
    with Transport(fake.url, retry=patient, stop=stop) as transport:
        threading.Timer(0.1, stop.set).start()
        begun = time.monotonic()
        with pytest.raises(Cancelled):
            Catalog(transport).flow(FLOW)
        assert time.monotonic() - begun < 25  # a pause is half a minute at least
        with pytest.raises(Cancelled):
            Catalog(transport).flow(FLOW)


def test_pauses_grow_up_to_a_limit() -> None:
    retry = Retry(first_seconds=1, longest_seconds=5)
    for failures, longest in ((1, 1), (2, 2), (3, 4), (4, 5), (9, 5)):
        for _ in range(20):
            assert longest / 2 <= retry.pause(failures) <= longest


def test_secrets_do_not_show() -> None:
    assert shown_url("https://me:pw@host:99/path/x?signature=abc#part") == "https://host:99/path/x"
    place = Allocation("object", "https://host/x?signature=abc", {"Authorization": "secret"})
    assert repr(place) == "Allocation(object_id='object')"
