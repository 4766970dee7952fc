"""Several workers on one catalog, some of which are killed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import orjson
import pytest

from tams_gql.context import Services
from tams_gql.media.local import LocalMedia
from tams_gql.media.port import MediaBackend
from tams_gql.media.registry import MediaRegistry
from tams_gql.metrics import JOBS as JOB_COUNTS
from tams_gql.model.errors import Unavailable
from tams_gql.model.ids import new_id
from tams_gql.opening import open_services
from tams_gql.resolvers import jobs
from tams_gql.resolvers.deletions import DeleteBytes, delete_bytes, doomed_key
from tams_gql.resolvers.worker import Duties, keep_running, keep_working, run_job
from tams_gql.settings import Settings
from tams_gql.store.changes import ChangeSet, Insert
from tams_gql.store.records import JobRecord, ObjectRecord, records
from tams_gql.store.scan import Scan
from tams_gql.store.tables import JOBS, OBJECTS
from tests.catalog import PATIENCE_SECONDS, quick_settings
from tests.failing import FailingMedia
from tests.lifecycle.world import World
from tests.processes import Process
from tests.waiting import eventually, until

DELETE = DeleteBytes()


def object_row(object_id: str, storage_id: str, key: str, **values: object) -> ObjectRecord:
    """An object that was orphaned long ago."""
    row = ObjectRecord(
        id=object_id,
        role="media",
        size=5,
        content_type="video/mp2t",
        timerange="[0:0_1:0)",
        start_ns=0,
        end_ns=1_000_000_000,
        init_object_id=None,
        key_frame_count=None,
        instances=orjson.dumps([{"storage_id": storage_id, "key": key}]).decode(),
        created=1,
        registered=1,
        expires=None,
        allocated_flow_id="f",
        first_flow_id="f",
        ref_count=0,
        orphaned=1,
    )
    return row._replace(**values)  # type: ignore[arg-type]


async def fill(services: Services, count: int) -> None:
    """Store orphans with their bytes."""
    (media,) = services.media
    assert isinstance(media, LocalMedia)
    rows = []
    for number in range(count):
        key = f"objects/{number:04}"

        async def blocks() -> AsyncIterator[bytes]:
            yield b"bytes"

        await media.write(key, blocks(), content_type="video/mp2t")
        rows.append(object_row(f"o{number:04}", media.backend.id, key))
    changes = ChangeSet(services.now_us())
    changes.insert.append(Insert(OBJECTS, OBJECTS.columns, tuple(rows)))
    await services.store.commit(changes)


async def state(services: Services) -> tuple[set[str], set[str], set[str]]:
    """The keys of objects, of jobs, and of what is stored."""
    scans = [Scan(OBJECTS, OBJECTS.columns), Scan(JOBS, JOBS.columns)]
    async with services.store.session() as session:
        objects, found = await session.scan(scans)
    in_objects = {
        i["key"] for row in records(objects, ObjectRecord) for i in orjson.loads(row.instances)
    }
    in_jobs = {key for job in records(found, JobRecord) for key in jobs.body_of(job)["keys"]}
    (media,) = services.media
    return in_objects, in_jobs, {found.key async for found in media.list_objects()}


def files_of(data_dir: Path) -> int:
    return sum(len(files) for _, _, files in os.walk(data_dir / "media" / "objects" / "objects"))


@pytest.mark.embedded
async def test_a_killed_worker_leaves_nothing_behind_that_another_does_not_find(
    tmp_path: Path,
) -> None:
    count = 500
    data_dir = tmp_path / "data"
    settings = Settings(data_dir=data_dir, sqlite_synchronous="normal")
    async with open_services(settings) as services:
        await fill(services, count)
    assert files_of(data_dir) == count
    command = [sys.executable, "-m", "tams_gql", "worker"]
    env = {
        "TAMS_DATA_DIR": str(data_dir),
        "TAMS_JOB_LEASE": "2",
        "TAMS_SQLITE_SYNCHRONOUS": "normal",
    }
    process = Process(command, env, tmp_path)
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while files_of(data_dir) == count:
            assert time.monotonic() < deadline, process.output
            await asyncio.sleep(0.001)
        process.child.send_signal(signal.SIGKILL)
        process.ended()
    finally:
        process.close()
    assert files_of(data_dir) > 0
    async with open_services(settings) as services:
        in_objects, in_jobs, stored = await state(services)
    # Each key is either part of an object, with its bytes, or the matter of a job, or gone.
    assert in_objects <= stored
    assert in_objects.isdisjoint(in_jobs)
    assert stored <= in_objects | in_jobs
    process = Process(command, env, tmp_path)
    try:
        async with open_services(settings) as services:

            async def is_clean() -> bool:
                return await state(services) == (set(), set(), set())

            await eventually(is_clean)
        assert process.stop(signal.SIGTERM, PATIENCE_SECONDS)[0] == 0
        assert "Traceback" not in process.output, process.output
    finally:
        process.close()


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
    for failure, text in told.items():
        caplog.clear()
        world.store.on_read = failure
        await until(lambda: len(caplog.records) > 1)
        world.store.on_read = None
        assert {record.getMessage() for record in caplog.records} == {text}
    changes = ChangeSet(world.services.now_us())
    place = world.first.backend.id, "k"
    delete_bytes(changes, [doomed_key(world.services, *place, 1)._replace(late_us=0)])
    before = JOB_COUNTS.get(DELETE.kind, "done")
    await jobs.commit(world.services, changes)

    async def is_done() -> bool:
        return await world.found_jobs() == []

    await eventually(is_done)
    assert world.first.deleted == ["k"]
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
