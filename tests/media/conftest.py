"""The backends that pass the contract: each one working, with its signed URLs served."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from starlette.applications import Starlette

from tams_gql.http.media import media_routes
from tams_gql.media.local import LocalMedia
from tams_gql.media.port import MediaBackend, StorageBackend
from tams_gql.media.s3.backend import S3Media
from tams_gql.media.s3.config import open_s3
from tests.media.s3_server import S3Server, chosen_kind, s3_server
from tests.media.serving import serving

LOCAL = StorageBackend(
    id="2ad06302-a05f-4e74-8b59-a1c4a3bcb7b1",
    label="local",
    provider="tams-gql",
    store_product="local-folder",
    default=True,
)


@pytest.fixture(scope="module")
def local_media(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMedia]:
    backends: list[LocalMedia] = []

    def app(url: str) -> Starlette:
        folder = tmp_path_factory.mktemp("data")
        backends.append(LocalMedia(folder, backend=LOCAL, public_url=url, durable=False))
        return Starlette(routes=media_routes(backends[0]))

    with serving(app):
        yield backends[0]


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server with a bucket."""
    if chosen_kind() is None:
        pytest.skip("no S3 server: neither TAMS_TEST_S3_ENDPOINT, nor versitygw, nor moto")
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def signed_s3(s3: S3Server) -> S3Server:
    """The same, if it checks signatures and digests."""
    if not s3.checks_signatures:
        pytest.skip("moto checks neither signatures nor digests; versitygw does")
    return s3


@pytest.fixture
async def s3_media(s3: S3Server, request: pytest.FixtureRequest) -> AsyncIterator[S3Media]:
    if request.node.originalname in _SIGNATURE_TESTS:
        request.getfixturevalue("signed_s3")
    parameters = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    longest = max(map(_name_bytes, str(parameters.get("object_id", "")).split("/")))
    if longest > s3.max_name_bytes:
        pytest.skip(f"this server has files, whose names end at {s3.max_name_bytes} bytes")
    media = await open_s3(s3.config())
    try:
        yield media
    finally:
        await media.aclose()


def _name_bytes(name: str) -> int:
    return len(f"{name}-{uuid.uuid4()}".encode())  # as ``unique`` in the contract tests makes it


# Tests of the contract that a server without signatures cannot pass.
_SIGNATURE_TESTS = frozenset(
    {
        "test_a_head_url_tells_the_size_and_never_gives_the_bytes",
        "test_a_read_url_does_not_write_and_a_write_url_does_not_read",
        "test_a_url_for_one_object_does_not_open_another",
        "test_an_upload_must_have_the_signed_content_type",
        "test_urls_expire",
    }
)


@pytest.fixture(params=["local", "s3"])
def media(request: pytest.FixtureRequest) -> MediaBackend:
    """One working backend after the other: ``{name}_media`` is the fixture that makes it."""
    backend: MediaBackend = request.getfixturevalue(f"{request.param}_media")
    return backend


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what the S3 tests of this run are worth."""
    kinds = {
        "endpoint": "the endpoint of TAMS_TEST_S3_ENDPOINT",
        "versitygw": "versitygw, a real server",
        "moto": "moto, a stand-in that does not check signatures",
        None: "none, they were skipped",
    }
    terminalreporter.write_line(f"S3 server of the media tests: {kinds[chosen_kind()]}")


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """Somebody who holds nothing but signed URLs."""
    async with httpx.AsyncClient(timeout=30) as client:
        yield client
