"""``tams-gql gc``: one pass with a report, and as a trial without any change."""

from __future__ import annotations

from tams_gql.model.errors import Unavailable
from tams_gql.resolvers.deletions import DeleteBytes
from tams_gql.resolvers.gc import Deletions, GcReport, collect
from tams_gql.resolvers.reclaim import Reclaimed, reclaim_objects
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
