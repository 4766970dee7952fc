"""Copies between storage backends: asked for, watched, finished, and cleaned up after."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from typing import Any

import pytest

from tams_gql.media.port import CopyProgress, ObjectLocation
from tams_gql.model.errors import Conflict, Unavailable
from tams_gql.model.ids import new_id
from tams_gql.resolvers import jobs
from tams_gql.resolvers.copies import CopyObject
from tams_gql.resolvers.deletions import DeleteBytes
from tams_gql.resolvers.reclaim import reclaim_objects
from tams_gql.resolvers.worker import keep_running, run_job
from tests.gql import Data
from tests.lifecycle.world import ADD, SECOND, World
from tests.recording import watched
from tests.seed import ALLOCATE, external
from tests.waiting import eventually

COPY, DELETE = CopyObject(), DeleteBytes()
BODY = b"the bytes of a segment"
SHA256 = base64.b64encode(hashlib.sha256(BODY).digest()).decode()

OBJECT = """
query Object($id: ID!) { object(id: $id) {
  instances { label storageId controlled checksums { algorithm value } }
  copyRequests { storageId label status doneBytes totalBytes error created updated }
  getUrls { label }
} }
"""


async def ask(world: World, object_id: str) -> None:
    given = {"objectId": object_id, "storageId": world.second.backend.id}
    await world.gql.execute(ADD, {"input": given})


async def seen(world: World, object_id: str) -> Data:
    found: Data = (await world.gql.execute(OBJECT, {"id": object_id}))["object"]
    return found


async def request(world: World, object_id: str) -> Data:
    """The only copy request, without its times."""
    (found,) = (await seen(world, object_id))["copyRequests"]
    return {name: value for name, value in found.items() if name not in ("created", "updated")}


def asked(world: World, **values: Any) -> Data:
    """A copy request as a client sees it."""
    return {
        "storageId": world.second.backend.id,
        "label": "second",
        "status": "CREATED",
        "doneBytes": None,
        "totalBytes": len(BODY),
        "error": None,
        **values,
    }


@pytest.fixture
async def object_id(world: World) -> str:
    """An object with one copy, in the first backend."""
    (found,) = await world.seed.segments(await world.seed.flow(), "[0:0_1:0)", body=BODY)
    return found


async def test_a_copy_is_made_once_and_then_offered(world: World, object_id: str) -> None:
    # given
    first = {
        "label": "local",
        "storageId": world.first.backend.id,
        "controlled": True,
        "checksums": [{"algorithm": "sha256", "value": SHA256}],
    }
    assert (await seen(world, object_id))["instances"] == [first]
    # when it is asked for twice
    for _ in range(2):
        await ask(world, object_id)
        assert await request(world, object_id) == asked(world)
    assert len(await world.found_jobs(jobs.COPY)) == 1
    # then it is not offered before it is there
    assert (await seen(world, object_id))["instances"] == [first]
    assert len(await world.work(COPY)) == 1
    done = asked(world, status="DONE", doneBytes=len(BODY))
    assert await request(world, object_id) == done
    second = {**first, "label": "second", "storageId": world.second.backend.id}
    found = await seen(world, object_id)
    assert found["instances"] == [first, second]
    assert found["getUrls"] == [{"label": "local"}, {"label": "second"}]
    # and the bytes are the same, under a key of its own
    one, two = await world.catalog_instances(object_id)
    assert one["key"] != two["key"]
    stats = await world.services.media.stat(
        [ObjectLocation(i["storage_id"], i["key"]) for i in (one, two)]
    )
    assert {(s.size, s.content_type, s.checksums["sha256"]) for s in stats if s} == {
        (len(BODY), "video/mp2t", SHA256)
    }
    # when it is asked for once more, nothing happens
    await ask(world, object_id)
    assert await world.work(COPY) == []
    # and after a day the request is forgotten
    world.ahead = 25 * 3600
    await jobs.forget_jobs(world.services)
    assert (await seen(world, object_id))["copyRequests"] == []


async def test_clients_that_ask_at_once_begin_one_copy(world: World, object_id: str) -> None:
    await asyncio.gather(*(ask(world, object_id) for _ in range(8)))
    assert len(await world.found_jobs(jobs.COPY)) == 1


async def test_refusals_leave_no_trace(world: World, object_id: str) -> None:
    flow_id = await world.seed.flow()
    (elsewhere,) = await world.seed.external(flow_id, "[0:0_1:0)")
    (allocated,) = await world.seed.allocate(flow_id, limit=1)
    second, unknown = world.second.backend.id, new_id()
    before = await world.catalog.dump()
    for given, code, field in (
        ({"objectId": object_id, "storageId": unknown}, "BAD_USER_INPUT", "storageId"),
        (
            {"objectId": object_id, "storageId": second, "label": "x"},
            "BAD_USER_INPUT",
            "storageId",
        ),
        ({"objectId": object_id}, "BAD_USER_INPUT", "url"),
        ({"objectId": object_id, "label": "x"}, "BAD_USER_INPUT", "url"),
        (
            {"objectId": object_id, "url": "https://x.example.com/"},
            "BAD_USER_INPUT",
            "label",
        ),
        ({"objectId": "unknown", "storageId": second}, "NOT_FOUND", "objectId"),
        ({"objectId": allocated["objectId"], "storageId": second}, "NOT_FOUND", "objectId"),
        ({"objectId": elsewhere, "storageId": second}, "CONFLICT", "storageId"),
    ):
        (error,) = await world.gql.errors(ADD, {"input": given})
        found = (error["extensions"]["code"], error["extensions"]["field"])
        assert found == (code, f"input.{field}"), given
    assert await world.catalog.dump() == before


async def test_progress_is_seen_while_it_copies(
    world: World, object_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tams_gql.resolvers.worker._BEAT_SECONDS", 0.01)
    go_on = asyncio.Event()

    async def slowly(progress: CopyProgress) -> None:
        progress(7, len(BODY))
        await go_on.wait()

    world.second.copying = slowly
    await ask(world, object_id)
    worker = asyncio.create_task(keep_running(world.services, COPY, "worker"))
    halfway = asked(world, status="STARTED", doneBytes=7)

    async def is_halfway() -> bool:
        return await request(world, object_id) == halfway

    async def is_done() -> bool:
        return bool((await request(world, object_id))["status"] == "DONE")

    await eventually(is_halfway)
    go_on.set()
    await eventually(is_done)
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)


async def test_a_worker_that_stops_gives_its_copy_back(world: World, object_id: str) -> None:
    begun = asyncio.Event()

    async def hanging(progress: CopyProgress) -> None:
        begun.set()
        await asyncio.sleep(3600)

    world.second.copying = hanging
    await ask(world, object_id)
    worker = asyncio.create_task(keep_running(world.services, COPY, "worker"))
    await begun.wait()
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)
    assert await request(world, object_id) == asked(world)
    world.second.copying = None
    assert len(await world.work(COPY)) == 1
    assert (await request(world, object_id))["status"] == "DONE"


async def test_a_worker_that_vanished_is_replaced_when_its_lease_ends(
    world: World, object_id: str
) -> None:
    # given a worker that took the job and was never seen again
    await ask(world, object_id)
    (lost,) = await jobs.take(world.services, "vanished", jobs.COPY, 1)
    world.ahead = 55
    assert await world.work(COPY) == []
    # when its lease has ended
    world.ahead = 61
    assert len(await world.work(COPY, "second")) == 1
    assert (await request(world, object_id))["status"] == "DONE"
    before = await world.catalog_instances(object_id)
    # then it does no harm if it comes back
    await run_job(world.services, COPY, lost)
    assert await world.catalog_instances(object_id) == before
    assert (await request(world, object_id))["status"] == "DONE"
    assert await world.found_jobs() == []


async def test_the_object_goes_while_it_is_copied(world: World) -> None:
    # given
    (object_id,) = await world.orphan(BODY)

    async def meanwhile(_: CopyProgress) -> None:
        world.ahead = 661
        assert (await reclaim_objects(world.services)).objects == 1

    world.second.copying = meanwhile
    await ask(world, object_id)
    (job,) = await world.found_jobs(jobs.COPY)
    # when
    await world.work(COPY)
    # then the new bytes go as well, and nobody hears of the copy again
    assert await world.found_jobs(jobs.COPY) == []
    copied = ObjectLocation(world.second.backend.id, jobs.body_of(job)["key"])
    assert await world.stored(copied)
    await world.work(DELETE)
    assert not await world.stored(copied)
    assert await world.objects() == {}


async def test_an_object_of_the_same_id_gets_no_foreign_bytes(world: World) -> None:
    # given a copy of an object whose id comes back while it is made
    flow_id = await world.seed.flow()
    chosen = {"flowId": flow_id, "objectIds": ["mine"]}

    async def make(body: bytes, at: int) -> None:
        (place,) = (await world.gql.execute(ALLOCATE, {"input": chosen}))["allocateStorage"][
            "mediaObjects"
        ]
        await world.seed.upload(place["putUrl"], body)
        timerange = f"[{at}:0_{at + 1}:0)"
        await world.seed.register(flow_id, [{"objectId": "mine", "timerange": timerange}])

    await make(BODY, 0)
    await ask(world, "mine")
    (old,) = await world.found_jobs(jobs.COPY)

    async def meanwhile(_: CopyProgress) -> None:
        await world.seed.delete_segments(flow_id)
        world.ahead = 661
        await reclaim_objects(world.services)
        await make(b"another object", 1)

    world.second.copying = meanwhile
    (taken,) = await jobs.take(world.services, "worker", jobs.COPY, 1)
    await run_job(world.services, COPY, taken)
    # then the new object has only its own
    (instance,) = await world.catalog_instances("mine")
    assert instance["storage_id"] == world.first.backend.id
    assert (await seen(world, "mine"))["copyRequests"] == []
    await world.work(DELETE)
    assert not await world.stored(ObjectLocation(world.second.backend.id, jobs.body_of(old)["key"]))
    assert await world.stored(await world.place("mine"))


@pytest.mark.parametrize("failure", [Unavailable("the store is down"), Conflict("it changed")])
async def test_a_copy_that_fails_is_tried_again_and_then_given_up(
    world: World, object_id: str, failure: Exception
) -> None:
    # given
    world.second.on_copy = failure
    await ask(world, object_id)
    (before,) = await world.found_jobs(jobs.COPY)
    for _ in range(COPY.max_attempts - 1):
        await world.work(COPY)
        assert await request(world, object_id) == asked(world, error=str(failure))
        world.ahead += 3600
    # when it fails once more
    await world.work(COPY)
    # then that is the end, and what it may have written goes
    assert await request(world, object_id) == asked(world, status="ERROR", error=str(failure))
    world.ahead += 48 * 3600
    assert await world.work(COPY) == []
    key = jobs.body_of(before)["key"]
    (deletion,) = await world.found_jobs()
    assert jobs.body_of(deletion)["keys"] == [key]
    # when the client asks again, it begins anew under another key
    world.second.on_copy = None
    await ask(world, object_id)
    assert await request(world, object_id) == asked(world)
    await world.work(COPY)
    assert (await request(world, object_id))["status"] == "DONE"
    _, copied = await world.catalog_instances(object_id)
    assert copied["key"] != key
    await world.work(DELETE)
    assert world.second.deleted == [key]


async def test_an_unexpected_failure_is_not_told_to_clients(world: World, object_id: str) -> None:
    world.second.on_copy = RuntimeError("a secret")
    await ask(world, object_id)
    await world.work(COPY)
    told = "unexpected failure; the log has more"
    assert await request(world, object_id) == asked(world, error=told)


async def test_a_copy_that_ends_its_workers_is_given_up(world: World, object_id: str) -> None:
    await ask(world, object_id)
    for _ in range(COPY.max_attempts):
        assert len(await jobs.take(world.services, "vanished", jobs.COPY, 1)) == 1
        world.ahead += 61
    await world.work(COPY)
    told = "its workers ended before it did"
    assert await request(world, object_id) == asked(world, status="ERROR", error=told)


async def test_a_lease_is_renewed_while_the_copy_goes_on(
    world: World, object_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tams_gql.resolvers.worker._BEAT_SECONDS", 0.01)
    go_on = asyncio.Event()

    async def hanging(_: CopyProgress) -> None:
        await go_on.wait()

    world.second.copying = hanging
    await ask(world, object_id)
    (taken,) = await jobs.take(world.services, "worker", jobs.COPY, 1)
    run = asyncio.create_task(run_job(world.services, COPY, taken))
    for _ in range(5):
        (before,) = await world.found_jobs(jobs.COPY)
        world.ahead += 30

        async def renewed(old: int = before.due or 0) -> bool:
            return ((await world.found_jobs(jobs.COPY))[0].due or 0) > old + 25 * SECOND

        await eventually(renewed)
        assert await jobs.take(world.services, "other", jobs.COPY, 1) == []
    go_on.set()
    await run
    assert (await request(world, object_id))["status"] == "DONE"


@pytest.mark.parametrize("count", [1, 40])
async def test_copy_requests_cost_one_round_trip(world: World, count: int) -> None:
    flow_id = await world.seed.flow()
    ranges = [f"[{n}:0_{n + 1}:0)" for n in range(count)]
    ids = await world.seed.segments(flow_id, *ranges)
    for object_id in ids[:3]:
        await ask(world, object_id)
    await world.seed.register(flow_id, [external("[100:0_101:0)")])
    with watched() as calls:
        data = await world.gql.execute(
            "{ objects(first: 50) { nodes { copyRequests { status } } } }"
        )
    found = [len(node["copyRequests"]) for node in data["objects"]["nodes"]]
    assert sum(found) == min(count, 3)
    assert calls == ["scan objects", "partitions jobs by object_id"]
