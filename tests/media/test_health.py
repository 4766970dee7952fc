"""One backend that works is enough, and good results are not bought too often."""

from __future__ import annotations

import asyncio
import logging
from typing import cast

import pytest

from tams_gql.media import health
from tams_gql.media.health import GOOD_SECONDS, MediaHealth
from tams_gql.media.port import MediaBackend, StorageBackend
from tams_gql.media.registry import MediaRegistry
from tams_gql.model.errors import Unavailable
from tams_gql.model.ids import new_id
from tests.waiting import until


class Checked:
    """A backend whose check is counted, fails or hangs as the test says."""

    def __init__(self, label: str) -> None:
        self.backend = StorageBackend(id=new_id(), label=label)
        self.failure: Exception | None = None
        self.hangs = False
        self.checks = 0

    async def check(self) -> None:
        self.checks += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.failure is not None:
            raise self.failure


class World:
    def __init__(self) -> None:
        self.now = 0.0
        self.first, self.second = Checked("first"), Checked("second")
        media = MediaRegistry(cast(list[MediaBackend], [self.first, self.second]))
        self.health = MediaHealth(media, clock=lambda: self.now)


@pytest.fixture
def world() -> World:
    return World()


async def test_a_good_result_is_kept_and_a_bad_one_is_not(world: World) -> None:
    world.second.failure = Unavailable("down")
    for _ in range(3):
        await world.health.check()
    assert (world.first.checks, world.second.checks) == (1, 3)
    world.now += GOOD_SECONDS
    world.second.failure = None
    for _ in range(2):
        await world.health.check()
    assert (world.first.checks, world.second.checks) == (2, 4)


async def test_without_any_backend_that_works_the_media_is_down(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    world.first.failure, world.second.failure = Unavailable("down"), RuntimeError("defect")
    for _ in range(2):
        with pytest.raises(Unavailable, match="no storage backend works"):
            await world.health.check()
    world.first.failure = None
    await world.health.check()
    told = [r.getMessage() for r in caplog.records if r.name == health.__name__]
    assert told.count("storage backend first does not work: down") == 1
    assert told.count("storage backend second does not work: RuntimeError") == 1
    assert told[-1] == "storage backend first works again"


async def test_a_backend_that_hangs_is_waited_for_shortly_and_not_asked_twice(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "_PATIENCE_SECONDS", 0.05)
    world.first.hangs = True
    await world.health.check()
    await world.health.check()
    assert world.first.checks == 1
    await world.health.aclose()


async def test_all_who_ask_at_once_are_told_of_one_check(world: World) -> None:
    await asyncio.gather(*(world.health.check() for _ in range(3)))
    assert (world.first.checks, world.second.checks) == (1, 1)
    world.now += GOOD_SECONDS
    world.first.failure = world.second.failure = Unavailable("down")
    told = await asyncio.gather(*(world.health.check() for _ in range(3)), return_exceptions=True)
    assert [str(error) for error in told] == ["no storage backend works"] * 3
    assert (world.first.checks, world.second.checks) == (2, 2)


async def test_who_waits_for_a_check_that_is_ended_is_told_that_nothing_works(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.first.hangs = world.second.hangs = True
    waiting = asyncio.create_task(world.health.check())
    await until(lambda: world.second.checks == 1)
    await world.health.aclose()
    with pytest.raises(Unavailable, match="no storage backend works"):
        await waiting
    # then: that the server stops is no failure of a backend
    assert [r.getMessage() for r in caplog.records if r.name == health.__name__] == []
