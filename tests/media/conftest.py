"""The backends that pass the contract: each one working, with its signed URLs served."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from starlette.applications import Starlette

from tams_gql.http.media import media_routes
from tams_gql.media.local import LocalMedia
from tams_gql.media.port import MediaBackend, StorageBackend
from tests.media.serving import serving

LOCAL = StorageBackend(
    id="2ad06302-a05f-4e74-8b59-a1c4a3bcb7b1",
    label="local",
    provider="tams-gql",
    store_product="local-folder",
    default=True,
)


@pytest.fixture(scope="session")
def local_media(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMedia]:
    backends: list[LocalMedia] = []

    def app(url: str) -> Starlette:
        folder = tmp_path_factory.mktemp("data")
        backends.append(LocalMedia(folder, backend=LOCAL, public_url=url, durable=False))
        return Starlette(routes=media_routes(backends[0]))

    with serving(app):
        yield backends[0]


@pytest.fixture(params=["local"])
def media(request: pytest.FixtureRequest) -> MediaBackend:
    """One working backend after the other: ``{name}_media`` is the fixture that makes it."""
    backend: MediaBackend = request.getfixturevalue(f"{request.param}_media")
    return backend


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """Somebody who holds nothing but signed URLs."""
    async with httpx.AsyncClient(timeout=30) as client:
        yield client
