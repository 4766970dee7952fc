"""What the storage backends hold beyond the catalog."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tams_gql.resolvers.copies import CopyObject
from tams_gql.resolvers.reclaim import reclaim_objects
from tams_gql.resolvers.unknown_bytes import UnknownBytes, unknown_bytes
from tests.lifecycle.world import ADD, World, write


def age(folder: Path) -> None:
    """Make all files a day old: what is young may belong to something that begins just now."""
    day_ago = time.time() - 24 * 3600
    for directory, _, files in os.walk(folder):
        for name in files:
            os.utime(Path(directory) / name, (day_ago, day_ago))


def reports(world: World, **second: object) -> list[UnknownBytes]:
    """What is expected when the first backend has nothing unknown."""
    one, two = world.first.backend, world.second.backend
    return [
        UnknownBytes(one.id, one.label, listed=7),
        UnknownBytes(two.id, two.label, **second),  # type: ignore[arg-type]
    ]


@pytest.mark.parametrize("keys_at_once", [1, 3, 1_000])
async def test_only_what_nothing_knows_is_reported(
    world: World, tmp_path: Path, keys_at_once: int
) -> None:
    # given used, orphaned, allocated, reclaimed, removed and copied objects
    flow_id = await world.seed.flow()
    used, copied, removed = await world.seed.segments(
        flow_id, *(f"[{n}:0_{n + 1}:0)" for n in range(3))
    )
    second = world.second.backend.id
    for object_id in (copied, removed):
        await world.gql.execute(ADD, {"input": {"objectId": object_id, "storageId": second}})
        await world.work(CopyObject())
    await world.orphan(b"reclaimed")
    world.ahead = 661
    await reclaim_objects(world.services)
    await world.orphan(b"orphan")
    await world.seed.objects(flow_id, b"allocated", b"allocated too")
    # and two that nothing knows, one of them just being written
    await write(world.second, "elsewhere/1", b"12345")
    age(tmp_path)
    await write(world.second, "elsewhere/2", b"123")
    # when, then
    world.ahead = 0
    found = await unknown_bytes(world.services, keys_at_once=keys_at_once)
    assert found == reports(world, listed=4, objects=1, bytes=5, keys=["elsewhere/1"])
    # when the clock has gone on, the other one is no longer new
    world.ahead = 3600
    found = await unknown_bytes(world.services, keys_at_once=keys_at_once)
    found[1].keys.sort()
    keys = ["elsewhere/1", "elsewhere/2"]
    assert found == reports(world, listed=4, objects=2, bytes=8, keys=keys)
    assert len(await world.objects()) == 6
    assert used in await world.objects()


async def test_a_key_is_known_in_its_own_backend_only(world: World, tmp_path: Path) -> None:
    (used,) = await world.seed.segments(await world.seed.flow(), "[0:0_1:0)", body=b"1234")
    key = (await world.place(used)).key
    await write(world.second, key, b"the same key")
    age(tmp_path)
    first, second = await unknown_bytes(world.services)
    assert (first.objects, second.objects, second.bytes, second.keys) == (0, 1, 12, [key])


async def test_not_every_key_is_kept(world: World, tmp_path: Path) -> None:
    for number in range(130):
        await write(world.second, f"{number}", b"1")
    age(tmp_path)
    _, report = await unknown_bytes(world.services)
    assert (report.objects, report.bytes, len(report.keys)) == (130, 130, 100)
