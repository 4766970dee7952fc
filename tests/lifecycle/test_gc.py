"""``tams-gql gc``: one pass with a report, and as a trial without any change."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner

from tams_gql.cli import main
from tams_gql.model.errors import Unavailable
from tams_gql.opening import open_services
from tams_gql.resolvers.deletions import DeleteBytes
from tams_gql.resolvers.gc import Deletions, GcReport, collect
from tams_gql.resolvers.reclaim import Reclaimed, reclaim_objects
from tams_gql.settings import Settings
from tests.lifecycle.test_workers import fill, state
from tests.lifecycle.world import World

DELETE = DeleteBytes()
NONE = Deletions()


async def test_a_trial_tells_what_a_pass_then_does(world: World) -> None:
    # given orphans, one of them really in use, an object in use, and a deletion that is due
    ids = await world.orphan(b"1", b"22", b"333")
    (used,) = await world.seed.segments(await world.seed.flow(), "[0:0_1:0)", body=b"4444")
    await world.set_object(used, ref_count=0, orphaned=1)
    (gone,) = await world.orphan(b"55555")
    world.ahead = 661
    await world.set_object(gone, orphaned=1, created=1)
    for object_id in ids:
        await world.set_object(object_id, orphaned=None)
    assert (await reclaim_objects(world.services)).objects == 1
    await world.set_object(used, ref_count=0, orphaned=1)
    for object_id in ids:
        await world.set_object(object_id, orphaned=1, created=1)
    before = await world.catalog.dump()
    # when
    trial = await collect(world.services, dry_run=True)
    # then
    assert trial == GcReport(Reclaimed(3, 6), Deletions(1, 1, 5), NONE, NONE)
    assert await world.catalog.dump() == before
    assert world.first.deleted == []
    # when it is done, all of it is gone
    done = await collect(world.services)
    assert done == GcReport(Reclaimed(3, 6), Deletions(4, 4, 11), NONE, NONE)
    assert len(world.first.deleted) == 4
    assert list(await world.objects()) == [used]
    assert (await world.objects())[used].ref_count == 1
    assert await collect(world.services) == GcReport(Reclaimed(), NONE, NONE, NONE)


async def test_a_pass_tries_what_has_failed_once_more(world: World) -> None:
    # given a deletion that was given up for the day
    (orphan,) = await world.orphan(b"1")
    await world.set_object(orphan, created=1)
    place = await world.place(orphan)
    world.ahead = 661
    await reclaim_objects(world.services)
    world.first.on_delete = Unavailable("the store is down")
    for _ in range(DELETE.max_attempts):
        await world.work(DELETE)
        world.ahead += 3600
    one = Deletions(1, 1, 1)
    trial = await collect(world.services, dry_run=True)
    assert trial == GcReport(Reclaimed(), NONE, NONE, one)
    # when it still fails, it is tried once and not again and again
    assert await collect(world.services) == GcReport(Reclaimed(), one, NONE, one)
    # when it works
    world.first.on_delete = None
    world.ahead += 1
    assert await collect(world.services) == GcReport(Reclaimed(), one, NONE, NONE)
    assert not await world.stored(place)


async def test_a_failed_deletion_is_left_for_later(world: World) -> None:
    (orphan,) = await world.orphan(b"1")
    await world.set_object(orphan, created=1)
    world.ahead = 661
    world.first.on_delete = Unavailable("the store is down")
    one = Deletions(1, 1, 1)
    assert await collect(world.services) == GcReport(Reclaimed(1, 1), one, one, NONE)


@pytest.fixture
def _logs_as_before() -> Iterator[None]:
    """A command sets up the logs of the whole process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def invoke(data_dir: Path, *options: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["gc", "--data-dir", str(data_dir), *options])
    return done.exit_code, done.stdout


@pytest.mark.embedded
@pytest.mark.usefixtures("_logs_as_before")
def test_the_command(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, sqlite_synchronous="normal")

    async def given() -> None:
        async with open_services(settings) as services:
            await fill(services, 3)

    async def left() -> tuple[set[str], set[str], set[str]]:
        async with open_services(settings) as services:
            return await state(services)

    asyncio.run(given())
    assert invoke(tmp_path, "--dry-run") == (
        0,
        "3 lapsed objects of 15 bytes would go\n0 stored objects of 0 bytes would be deleted\n",
    )
    keys = {f"objects/000{number}" for number in range(3)}
    assert asyncio.run(left()) == (keys, set(), keys)
    code, text = invoke(tmp_path, "--json")
    nothing = {"jobs": 0, "keys": 0, "bytes": 0}
    report: dict[str, Any] = orjson.loads(text)
    assert (code, report) == (
        0,
        {
            "dry_run": False,
            "reclaimed": {"objects": 3, "bytes": 15},
            "due": {"jobs": 1, "keys": 3, "bytes": 15},
            "later": nothing,
            "failed": nothing,
        },
    )
    assert asyncio.run(left()) == (set(), set(), set())
    assert invoke(tmp_path) == (
        0,
        "0 lapsed objects of 0 bytes went\n0 stored objects of 0 bytes were to be deleted\n",
    )


@pytest.mark.embedded
@pytest.mark.usefixtures("_logs_as_before")
def test_the_command_says_why_it_cannot(tmp_path: Path) -> None:
    (tmp_path / "catalog.sqlite3").write_bytes(b"not a database, not at all" * 100)
    done = CliRunner().invoke(main, ["gc", "--data-dir", str(tmp_path)])
    assert done.exit_code == 1
    assert done.stderr.startswith("tams-gql: the catalog store is damaged or not a catalog")
