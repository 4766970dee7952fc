"""What the tests of the SQLite store share."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tams_gql.store.embedded import EmbeddedStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a catalog may be made."""
    return tmp_path / "catalog.db"


@pytest.fixture
async def embedded(path: Path) -> AsyncIterator[EmbeddedStore]:
    """A store on a new file."""
    store = await EmbeddedStore.open(path)
    yield store
    await store.close()


@pytest.fixture
def shared_directory() -> Iterator[Path]:
    """A directory that other users can reach, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield directory
        directory.chmod(0o755)
