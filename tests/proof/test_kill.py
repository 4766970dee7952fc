"""A server that is killed in the middle of writes loses nothing it acknowledged."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.catalog import quick_settings
from tests.proof.audit import audit
from tests.proof.servers import Server, Start, client, opened
from tests.proof.writers import Writer, write_together

WRITERS = 6
# A cluster refuses the rows a killed server was writing until it lets go of that transaction some
# seconds later, so that each kill takes much longer there.
SOAK_KILLS = {"embedded": 40, "vast": 12}


async def settle(server: Server, writers: list[Writer]) -> None:
    """Compare what is stored with what the writers know."""
    async with client(server.url) as reader:
        for writer in writers:
            await writer.settle(reader)


async def write_until_killed(start: Start, writers: list[Writer], chance: random.Random) -> None:
    """Start a server, look at what the one before it left, and kill it under writes."""
    server = start()
    await settle(server, writers)
    enough = chance.randint(1, 150)

    async def end() -> None:
        while sum(w.acknowledged for w in writers) < before + enough:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        await asyncio.sleep(chance.uniform(0, 0.03))
        server.kill()

    before = sum(writer.acknowledged for writer in writers)
    await write_together(writers, server.url, end)


async def kill_while_starting(start: Start, seconds: float) -> None:
    """Kill a server that may just be repairing what the kill before has left."""
    server = start()
    await asyncio.sleep(seconds)
    server.kill()


async def check_what_is_left(server: Server, data_dir: Path, writers: list[Writer]) -> None:
    """Compare with what the writers know, and the catalog with itself."""
    await settle(server, writers)
    async with opened(data_dir) as store:
        await audit(store)
    settings = quick_settings(data_dir)
    if settings.store == "embedded":
        with closing(sqlite3.connect(settings.catalog_file)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


async def test_nothing_acknowledged_is_lost_and_nothing_is_half_written(
    start: Start, tmp_path: Path
) -> None:
    chance = random.Random()
    writers = [Writer(number, chance) for number in range(WRITERS)]
    for _ in range(4):
        await write_until_killed(start, writers, chance)
    await check_what_is_left(start(), tmp_path / "data", writers)
    assert sum(writer.repeated for writer in writers) > 0


@pytest.mark.soak
async def test_the_same_many_times_and_with_kills_while_it_starts(
    start: Start, tmp_path: Path, catalog_store: str
) -> None:
    kills = SOAK_KILLS[catalog_store]
    chance = random.Random()
    writers = [Writer(number, chance) for number in range(WRITERS)]
    for number in range(kills):
        if number % 4 == 3:
            await kill_while_starting(start, chance.uniform(0.5, 4))
        await write_until_killed(start, writers, chance)
    await check_what_is_left(start(), tmp_path / "data", writers)
    assert sum(writer.repeated for writer in writers) > kills
