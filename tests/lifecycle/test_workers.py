"""Several workers on one catalog, some of which are killed."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import cast

import pytest

from tams_gql.media.port import MediaBackend
from tams_gql.media.registry import MediaRegistry
from tams_gql.metrics import JOBS as JOB_COUNTS
from tams_gql.model.errors import Unavailable
from tams_gql.model.ids import new_id
from tams_gql.opening import open_services
from tams_gql.resolvers import jobs
from tams_gql.resolvers.deletions import DeleteBytes, delete_bytes, doomed_key
from tams_gql.resolvers.worker import Duties, keep_running, keep_working, run_job
from tams_gql.store.changes import ChangeSet
from tams_gql.store.scan import Scan
from tams_gql.store.tables import JOBS
from tests.catalog import quick_settings
from tests.failing import FailingMedia
from tests.lifecycle.world import World
from tests.waiting import eventually, until

DELETE = DeleteBytes()


async def test_two_workers_side_by_side_run_each_job_once(tmp_path: Path) -> None:
    settings = quick_settings(tmp_path)
    async with open_services(settings) as one, open_services(settings) as other:
        # given 120 jobs, and two workers as two processes would be
        (local,) = one.media
        changes = ChangeSet(one.now_us())
        for number in range(120):
            doomed = doomed_key(one, local.backend.id, f"k/{number}", 1)
            delete_bytes(changes, [doomed._replace(late_us=0)])
        await jobs.commit(one, changes)
        workers, deleted = [], list[str]()
        for services in (one, other):
            media = FailingMedia(*services.media)
            media.deleted = deleted
            registry = MediaRegistry([cast(MediaBackend, media)])
            refit = replace(services, media=registry)
            workers.append(asyncio.create_task(keep_running(refit, DELETE, new_id())))

        # when both have worked
        async def is_done() -> bool:
            async with one.store.session() as session:
                return await session.count([Scan(JOBS, ())]) == [0]

        await eventually(is_done)
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    # then
    assert Counter(deleted) == {f"k/{number}": 1 for number in range(120)}


async def test_a_new_job_wakes_the_worker_of_its_process(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tams_gql.resolvers.worker._POLL_SECONDS", 3600.0)
    (orphan,) = await world.orphan(b"1")
    place = await world.place(orphan)
    work = asyncio.create_task(keep_working(world.services, Duties()))
    await asyncio.sleep(0.05)
    changes = ChangeSet(world.services.now_us())
    delete_bytes(changes, [doomed_key(world.services, *place, 1)])
    await jobs.commit(world.services, changes)

    async def is_gone() -> bool:
        return not await world.stored(place)

    await eventually(is_gone)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)


async def test_the_worker_outlives_failures_of_the_store(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tams_gql.resolvers.worker._POLL_SECONDS", 0.01)
    worker = asyncio.create_task(keep_running(world.services, DELETE, "worker"))
    told = {
        Unavailable("the disk is gone"): (
            "background jobs could not be taken, trying again later: the disk is gone"
        ),
        RuntimeError("a defect"): "taking background jobs failed, trying again later",
    }
    caplog.clear()
    for failure, text in told.items():
        world.store.on_read = failure
        await until(lambda t=text: [r.getMessage() for r in caplog.records].count(t) > 1)  # type: ignore[misc]
        world.store.on_read = None
    # What had failed with the first is told, perhaps, when the second is set already.
    assert [text for text, _ in groupby(r.getMessage() for r in caplog.records)] == [*told.values()]
    changes = ChangeSet(world.services.now_us())
    place = world.first.backend.id, "k"
    delete_bytes(changes, [doomed_key(world.services, *place, 1)._replace(late_us=0)])
    before = JOB_COUNTS.get(DELETE.kind, "done")
    await jobs.commit(world.services, changes)

    async def is_done() -> bool:
        return await world.found_jobs() == []

    await eventually(is_done)
    assert world.first.deleted == ["k"]
    await until(lambda: JOB_COUNTS.get(DELETE.kind, "done") > before)  # counted a moment later
    assert JOB_COUNTS.get(DELETE.kind, "done") == before + 1
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)


async def test_a_job_whose_end_could_not_be_written_is_done_again(world: World) -> None:
    changes = ChangeSet(world.services.now_us())
    place = world.first.backend.id, "k"
    delete_bytes(changes, [doomed_key(world.services, *place, 1)._replace(late_us=0)])
    await jobs.commit(world.services, changes)
    (job,) = await jobs.take(world.services, "worker", DELETE.kind, 1)
    world.store.on_commit = Unavailable("the disk is full")

    await run_job(world.services, DELETE, job)
    world.store.on_commit = None
    (left,) = await world.found_jobs()
    assert (left.state, left.attempts) == (jobs.RUNNING, 1)
    world.ahead = 61
    await world.work(DELETE)
    assert await world.found_jobs() == []
    assert world.first.deleted == ["k", "k"]
