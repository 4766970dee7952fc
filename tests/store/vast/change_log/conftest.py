"""Processes that have the change log of one catalog open."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tams_gql.store.vast.change_log import unread
from tams_gql.store.vast.config import VastConfig
from tests.store.vast.change_log.processes import Process, process


@pytest.fixture
async def one(config: VastConfig) -> AsyncIterator[Process]:
    """A process."""
    async with process(config) as opened:
        yield opened


@pytest.fixture
async def other(config: VastConfig, one: Process) -> AsyncIterator[Process]:
    """Another one."""
    async with process(config) as opened:
        yield opened


@pytest.fixture
def small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets few events be a long rest of the log."""
    monkeypatch.setattr(unread, "KEYS_AT_ONCE", 50)
