"""A change log in a real embedded catalog."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tams_gql.store.embedded import EmbeddedStore


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[EmbeddedStore]:
    """An empty catalog."""
    opened = await EmbeddedStore.open(tmp_path / "catalog.sqlite3", synchronous="normal")
    yield opened
    await opened.close()


@pytest.fixture
async def another(tmp_path: Path, store: EmbeddedStore) -> AsyncIterator[EmbeddedStore]:
    """The same catalog as another process has it open."""
    opened = await EmbeddedStore.open(tmp_path / "catalog.sqlite3", synchronous="normal")
    yield opened
    await opened.close()
