"""Objects that nothing uses: nothing leaks, and nothing that is used goes."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tams_gql.media.port import ObjectLocation
from tams_gql.metrics import GC_BYTES, GC_OBJECTS
from tams_gql.model.errors import Unavailable
from tams_gql.resolvers import jobs
from tams_gql.resolvers.deletions import DeleteBytes
from tams_gql.resolvers.reclaim import Reclaimed, reclaim_objects
from tams_gql.store.changes import Stale
from tests.lifecycle.world import REMOVE, SECOND, World, living, write
from tests.seed import ALLOCATE

DELETE = DeleteBytes()
TIMEOUT, URL = 600, 3600  # the defaults of the settings


async def test_a_claim_begins_the_deletion_in_the_same_commit(world: World) -> None:
    # given an orphan and an allocation that was not registered
    (orphan,) = await world.orphan(b"orphan")
    (allocated,) = await world.seed.objects(await world.seed.flow(), b"allocated!")
    places = [await world.place(i) for i in (orphan, allocated)]
    rows = await world.objects()
    before = GC_OBJECTS.get("reclaimed"), GC_BYTES.get()
    # when both have lapsed; sizes are known of what was registered
    world.ahead = TIMEOUT + 61
    assert await reclaim_objects(world.services) == Reclaimed(2, 6)
    # then the rows are gone, the bytes are not, and jobs stand for them
    assert await world.objects() == {}
    assert [await world.stored(place) for place in places] == [True, True]
    found = await world.found_jobs()
    ends = {i: rows[i].created + (TIMEOUT + URL) * SECOND for i in (orphan, allocated)}
    assert {job.object_id: (jobs.body_of(job), job.state, job.total_bytes) for job in found} == {
        object_id: (
            {"storage_id": place.storage_id, "keys": [place.key], "late": ends[object_id]},
            jobs.WAITING,
            size,
        )
        for object_id, place, size in zip((orphan, allocated), places, (6, 0), strict=True)
    }
    assert (GC_OBJECTS.get("reclaimed"), GC_BYTES.get()) == (before[0] + 2, before[1] + 6)
    # when the jobs have run, the bytes are gone, and later they are deleted once more
    assert len(await world.work(DELETE)) == 2
    assert [await world.stored(place) for place in places] == [False, False]
    assert {j.due for j in await world.found_jobs()} == set(ends.values())
    assert await world.work(DELETE) == []
    world.ahead += URL
    assert len(await world.work(DELETE)) == 2
    assert await world.found_jobs() == []
    keys = [place.key for place in places]
    assert sorted(world.first.deleted) == sorted(keys + keys)


async def test_many_go_with_one_claim_and_one_job(world: World) -> None:
    ids = await world.orphan(*[b"x"] * 150)
    places = [await world.place(i) for i in ids]
    world.ahead = 2 * (TIMEOUT + URL)
    assert await reclaim_objects(world.services) == Reclaimed(150, 150)
    assert [len(jobs.body_of(job)["keys"]) for job in await world.found_jobs()].count(100) == 1
    assert sum(len(jobs.body_of(job)["keys"]) for job in await world.found_jobs()) == 150
    # No upload can come any more, so once is enough.
    assert len(await world.work(DELETE)) == 2
    assert await world.found_jobs() == []
    assert sorted(world.first.deleted) == sorted(place.key for place in places)


async def test_a_registration_that_comes_first_wins(world: World) -> None:
    # given three orphans of one batch
    flow_id = await world.seed.flow()
    ids = await world.orphan(b"1", b"2", b"3")
    world.ahead = TIMEOUT + 61
    used = ids[1]
    before = GC_OBJECTS.get("reused")

    async def reuse() -> None:
        await world.seed.register(
            flow_id, [{"objectId": used, "timerange": "[0:0_1:0)", "tsOffset": "-1:0"}]
        )

    # when one is used again between the look and the claim
    world.store.before_commit = reuse
    assert await reclaim_objects(world.services) == Reclaimed(2, 2)
    # then only the others go
    assert list(await world.objects()) == [used]
    row = (await world.objects())[used]
    assert (row.ref_count, row.orphaned) == (1, None)
    assert GC_OBJECTS.get("reused") == before + 1
    await world.work(DELETE)
    assert await world.stored(await world.place(used))
    assert len(world.first.deleted) == 2


async def test_a_registration_that_comes_later_finds_the_object_gone(world: World) -> None:
    (orphan,) = await world.orphan(b"1")
    world.ahead = TIMEOUT + 61
    await reclaim_objects(world.services)
    done = await world.seed.try_register(
        await world.seed.flow(), [{"objectId": orphan, "timerange": "[0:0_1:0)"}]
    )
    assert done["results"][0]["error"]["code"] == "BAD_USER_INPUT"


async def test_a_wrong_count_never_deletes_bytes(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    # given objects in use whose rows say that they are not, and one that really is not
    flow_id = await world.seed.flow("video", **INIT)
    init, media = await world.seed.objects(flow_id, b"init", b"media")
    await world.seed.register(
        flow_id, [{"objectId": media, "timerange": "[0:0_1:0)", "initObjectId": init}]
    )
    (orphan,) = await world.orphan(b"orphan")
    for object_id in (init, media):
        await world.set_object(object_id, ref_count=0, orphaned=1)
    before = GC_OBJECTS.get("corrected")
    # when
    world.ahead = TIMEOUT + 61
    with caplog.at_level(logging.ERROR):
        assert await reclaim_objects(world.services) == Reclaimed(1, 6)
    # then the counts are right again, and nothing but the orphan goes
    rows = await world.objects()
    assert {i: (r.role, r.ref_count, r.orphaned) for i, r in rows.items()} == {
        init: ("init", 1, None),
        media: ("media", 1, None),
    }
    assert sorted(record.getMessage() for record in caplog.records) == sorted(
        f"object {i} had no user by its count but has 1; corrected" for i in (init, media)
    )
    assert GC_OBJECTS.get("corrected") == before + 2
    assert [job.object_id for job in await world.found_jobs()] == [orphan]
    assert await reclaim_objects(world.services) == Reclaimed(0, 0)


INIT = {
    "essenceParameters": {
        "frameWidth": 1920,
        "frameHeight": 1080,
        "frameRate": {"numerator": 25},
        "initSegments": True,
    }
}


async def test_an_initialisation_object_lapses_after_its_last_media_object(world: World) -> None:
    flow_id = await world.seed.flow("video", **INIT)
    init, media = await world.seed.objects(flow_id, b"init", b"media")
    await world.seed.register(
        flow_id, [{"objectId": media, "timerange": "[0:0_1:0)", "initObjectId": init}]
    )
    await world.seed.delete_segments(flow_id)
    world.ahead = TIMEOUT + 61
    assert await reclaim_objects(world.services) == Reclaimed(1, 5)
    assert (await world.objects())[init].ref_count == 0
    assert await reclaim_objects(world.services) == Reclaimed(0, 0)
    world.ahead += TIMEOUT + 61
    assert await reclaim_objects(world.services) == Reclaimed(1, 4)


async def test_an_upload_that_ends_after_its_allocation_is_deleted_too(world: World) -> None:
    # given an upload request that still works for the client
    flow_id = await world.seed.flow()
    (allocated,) = await world.seed.allocate(flow_id, limit=1)
    place = await world.place(allocated["objectId"])
    world.ahead = TIMEOUT + 61
    await reclaim_objects(world.services)
    await world.work(DELETE)
    # when the upload ends after the bytes, of which there were none, have been deleted
    await world.seed.upload(allocated["putUrl"], b"late")
    assert await world.stored(place)
    # then it is deleted when no upload can come any more
    world.ahead += URL - 100
    assert await world.work(DELETE) == []
    world.ahead += 100
    assert len(await world.work(DELETE)) == 1
    assert not await world.stored(place)
    assert await world.found_jobs() == []


async def test_an_id_that_comes_back_has_another_key(world: World) -> None:
    # given an object whose id the client chose, reclaimed
    flow_id = await world.seed.flow()
    given = {"flowId": flow_id, "objectIds": ["mine"]}
    await world.gql.execute(ALLOCATE, {"input": given})
    old = await world.place("mine")
    world.ahead = TIMEOUT + 61
    await reclaim_objects(world.services)
    # when it is allocated again before the old bytes are deleted for the last time
    (again,) = (await world.gql.execute(ALLOCATE, {"input": given}))["allocateStorage"][
        "mediaObjects"
    ]
    new = await world.place("mine")
    assert new.storage_id == old.storage_id
    assert new.key != old.key
    await world.seed.upload(again["putUrl"], b"new")
    await world.seed.register(flow_id, [{"objectId": "mine", "timerange": "[0:0_1:0)"}])
    world.ahead += URL
    await world.work(DELETE)
    # then only the old ones go
    assert world.first.deleted == [old.key]
    assert await world.stored(new)


async def test_a_deletion_is_tried_until_it_works(world: World) -> None:
    # given
    (orphan,) = await world.orphan(b"1")
    place = await world.place(orphan)
    world.ahead = 2 * (TIMEOUT + URL)
    await reclaim_objects(world.services)
    world.first.on_delete = Unavailable("the store is down")
    # when it fails, it waits longer each time
    pauses = []
    for attempt in range(1, DELETE.max_attempts):
        assert len(await world.work(DELETE)) == 1
        (job,) = await world.found_jobs()
        assert (job.state, job.attempts, job.owner) == (jobs.WAITING, attempt, None)
        assert job.error == "the store is down"
        assert job.due is not None
        pauses.append((job.due - job.updated) / SECOND)
        assert await world.work(DELETE) == []
        world.ahead += pauses[-1]
    assert 3.75 <= pauses[0] <= 5
    assert all(0.75 * min(5 * 2**n, 3600) <= p <= min(5 * 2**n, 3600) for n, p in enumerate(pauses))
    # then it has failed for all to see, but is still tried once a day
    await world.work(DELETE)
    (job,) = await world.found_jobs()
    assert job.state == jobs.FAILED
    assert job.due is not None
    assert (job.due - job.updated) == 24 * 3600 * SECOND
    world.ahead += 24 * 3600
    await world.work(DELETE)
    (job,) = await world.found_jobs()
    assert job.state == jobs.FAILED
    await jobs.forget_jobs(world.services)
    world.ahead += 40 * 24 * 3600
    await jobs.forget_jobs(world.services)
    assert len(await world.found_jobs()) == 1
    world.first.on_delete = None
    await world.work(DELETE)
    assert await world.found_jobs() == []
    assert not await world.stored(place)


async def test_a_backend_that_is_out_of_order_holds_back_no_other(world: World) -> None:
    # given one object in each backend, that lapse together
    ids = []
    flow_id = await world.seed.flow()
    for backend in (world.first, world.second):
        (place,) = await world.seed.allocate(flow_id, limit=1, storageId=backend.backend.id)
        ids.append(place["objectId"])
    places = {i: await world.place(i) for i in ids}
    await write(world.second, places[ids[1]].key, b"2")
    world.second.on_delete = Unavailable("the second store is down")
    world.ahead = 2 * (TIMEOUT + URL)
    # when
    assert (await reclaim_objects(world.services)).objects == 2
    await world.work(DELETE)
    # then
    assert world.first.deleted == [places[ids[0]].key]
    (left,) = await world.found_jobs()
    assert jobs.body_of(left)["keys"] == [places[ids[1]].key]
    assert await world.stored(places[ids[1]])


async def test_a_removed_copy_goes_through_a_job(world: World) -> None:
    # given an object with a second copy elsewhere
    (orphan,) = await world.seed.segments(await world.seed.flow(), "[0:0_1:0)")
    add = "mutation($i: AddObjectInstanceInput!) { addObjectInstance(input: $i) { object { id } } }"
    url = {"objectId": orphan, "url": "https://x.example.com/1", "label": "x"}
    await world.gql.execute(add, {"i": url})
    place = await world.place(orphan)
    world.first.on_delete = Unavailable("the store is down")
    # when the copy in storage is removed while the storage is down
    given = {"objectId": orphan, "storageId": place.storage_id}
    done = await world.gql.execute(REMOVE, {"input": given})
    # then the client need not care
    assert done["removeObjectInstance"]["object"]["instances"] == [{"storageId": None}]
    await world.work(DELETE)
    assert await world.stored(place)
    world.first.on_delete = None
    world.ahead = 6
    await world.work(DELETE)
    assert not await world.stored(place)


async def test_the_grace_is_a_setting(tmp_path: Path) -> None:
    async with living(tmp_path, allocation_grace=1000) as world:
        await world.seed.allocate(await world.seed.flow(), limit=1)
        world.ahead = TIMEOUT + 990
        assert await reclaim_objects(world.services) == Reclaimed(0, 0)
        world.ahead = TIMEOUT + 1010
        assert await reclaim_objects(world.services) == Reclaimed(1, 0)


async def test_what_has_not_been_committed_is_not_reclaimed(world: World) -> None:
    (orphan,) = await world.orphan(b"1")
    place = await world.place(orphan)
    world.ahead = TIMEOUT + 61
    world.store.on_commit = Unavailable("the disk is full")
    with pytest.raises(Unavailable, match="the disk is full"):
        await reclaim_objects(world.services)
    world.store.on_commit = Stale("always")
    assert await reclaim_objects(world.services) == Reclaimed(0, 0)
    world.store.on_commit = None
    assert list(await world.objects()) == [orphan]
    assert await world.found_jobs() == []
    assert await world.stored(ObjectLocation(*place))
