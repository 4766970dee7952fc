"""Stores to test, one per backend."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from itertools import count
from pathlib import Path

import pytest

from tams_gql.store.port import CatalogStore
from tests.store.backends import NEW, Backend


@pytest.fixture(params=sorted(NEW))
def backend_name(request: pytest.FixtureRequest) -> str:
    """The backend under test."""
    return str(request.param)


@pytest.fixture
def new_backend(backend_name: str, tmp_path: Path) -> Callable[[], Backend]:
    """Makes empty catalogs."""
    numbers = count()

    def new() -> Backend:
        directory = tmp_path / f"catalog-{next(numbers)}"
        directory.mkdir()
        return NEW[backend_name](directory)

    return new


@pytest.fixture
def backend(new_backend: Callable[[], Backend]) -> Backend:
    """An empty catalog."""
    return new_backend()


@pytest.fixture
async def store(backend: Backend) -> AsyncIterator[CatalogStore]:
    """A store on the empty catalog."""
    opened = await backend.open()
    yield opened
    await opened.close()


@pytest.fixture
async def another(backend: Backend, store: CatalogStore) -> AsyncIterator[CatalogStore]:
    """A second store on the same catalog, as another process has it."""
    opened = await backend.open()
    yield opened
    await opened.close()
