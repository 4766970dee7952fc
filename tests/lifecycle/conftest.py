"""What the tests of object life cycles share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.lifecycle.world import World, living


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A catalog with two storage backends."""
    async with living(tmp_path) as world:
        yield world
