"""A change log in a real catalog of each backend."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tams_gql.store.port import CatalogStore
from tests.store.backends import NEW, Backend


@pytest.fixture(params=sorted(NEW))
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    """An empty catalog."""
    directory = tmp_path / "catalog-0"
    directory.mkdir()
    return NEW[request.param](directory)


@pytest.fixture
async def store(backend: Backend) -> AsyncIterator[CatalogStore]:
    """A store on the empty catalog."""
    opened = await backend.open()
    yield opened
    await opened.close()


@pytest.fixture
async def another(backend: Backend, store: CatalogStore) -> AsyncIterator[CatalogStore]:
    """The same catalog as another process has it open."""
    opened = await backend.open()
    yield opened
    await opened.close()
