"""The log is kept as long as configured, and failures to shorten it do not end the work."""

from __future__ import annotations

import asyncio
import logging
from typing import cast

import pytest

from tams_gql.events.retention import keep_log_short
from tams_gql.model.errors import Unavailable
from tams_gql.store.port import CatalogStore, ChangeLog
from tests.store.build import NOW, changes, event
from tests.waiting import until


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_what_is_older_than_the_retention_goes(
    store: CatalogStore, caplog: pytest.LogCaptureFixture
) -> None:
    # given events of 11, 10 and 9 seconds ago
    caplog.set_level(logging.INFO)
    positions = []
    for seconds in (11, 10, 9):
        made = changes(events=[event()], now_us=NOW - seconds * 1_000_000)
        positions.append((await store.commit(made)).position)
    # when
    task = asyncio.create_task(keep_log_short(store.log, 10, lambda: NOW))
    await until(lambda: bool(caplog.records))
    await ended(task)
    # then the one of exactly 10 seconds ago is kept
    assert await store.log.floor() == positions[0]
    left = (await store.log.events(positions[0], 10)).column("position").to_pylist()
    assert left == positions[1:]
    told = [record.getMessage() for record in caplog.records]
    assert told == ["removed 1 events that are past the retention"]


async def test_a_failure_is_told_and_the_next_try_comes(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tams_gql.events.retention._MIN_PAUSE_SECONDS", 0.01)

    class Failing:
        tries = 0

        async def trim(self, before_us: int) -> int:
            self.tries += 1
            if self.tries == 1:
                raise Unavailable("the disk is full")
            if self.tries == 2:
                raise RuntimeError("a defect")
            return 0

    log = Failing()
    task = asyncio.create_task(keep_log_short(cast("ChangeLog", log), 0, lambda: NOW))
    await until(lambda: log.tries >= 4)
    await ended(task)
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        "the change log could not be trimmed, trying again later: the disk is full",
        "trimming the change log failed, trying again later",
    ]
