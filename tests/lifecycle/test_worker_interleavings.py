"""What a worker does when two things about a job happen in the same moment."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

import pytest

from tams_gql.context import Services
from tams_gql.metrics import JOBS as JOB_COUNTS
from tams_gql.model.errors import Unavailable
from tams_gql.resolvers import jobs
from tams_gql.resolvers.copies import CopyObject
from tams_gql.resolvers.deletions import DeleteBytes, delete_bytes, doomed_key
from tams_gql.resolvers.documents import to_json_text
from tams_gql.resolvers.worker import keep_running, run_job
from tams_gql.store.changes import ChangeSet, Committed, Stale
from tams_gql.store.port import CatalogStore, ReadSession
from tams_gql.store.records import JobRecord
from tests.failing import FailingStore
from tests.lifecycle.world import ADD, World

COPY, DELETE = CopyObject(), DeleteBytes()


async def begin_deletions(world: World, *keys: str) -> None:
    """Add one job for each key."""
    changes = ChangeSet(world.services.now_us())
    for key in keys:
        doomed = doomed_key(world.services, world.first.backend.id, key, 1)
        delete_bytes(changes, [doomed._replace(late_us=0)])
    await jobs.commit(world.services, changes)


class LateAnswers(FailingStore):
    """A store whose commits are done for a while before their writers hear of it."""

    def __init__(self, store: CatalogStore) -> None:
        super().__init__(store)
        self.is_done = asyncio.Event()
        self.is_told = asyncio.Event()

    async def commit(self, changes: ChangeSet, seen: ReadSession | None = None) -> Committed:
        done = await super().commit(changes, seen)
        self.is_done.set()
        await self.is_told.wait()
        return done


async def test_a_worker_that_stops_while_it_takes_jobs_gives_them_back(world: World) -> None:
    await begin_deletions(world, "a", "b")
    late = LateAnswers(world.store)
    services = replace(world.services, store=late)
    worker = asyncio.create_task(keep_running(services, DELETE, "worker"))
    await late.is_done.wait()
    assert {job.owner for job in await world.found_jobs()} == {"worker"}
    # when it stops before it knows that they are its own
    worker.cancel()
    await asyncio.sleep(0)
    late.is_told.set()
    await asyncio.gather(worker, return_exceptions=True)
    # then another one need not wait for the end of the lease
    found = [(job.state, job.owner) for job in await world.found_jobs()]
    assert found == [(jobs.WAITING, None)] * 2
    assert world.first.deleted == []
    assert len(await world.work(DELETE, "another")) == 2
    assert sorted(world.first.deleted) == ["a", "b"]


class Scripted(FailingStore):
    """A store of which each commit fails with the next failure, None being none."""

    def __init__(self, store: CatalogStore, *failures: Exception | None) -> None:
        super().__init__(store)
        self._failures = [*failures]

    async def commit(self, changes: ChangeSet, seen: ReadSession | None = None) -> Committed:
        failure = self._failures.pop(0) if self._failures else None
        if failure is not None:
            raise failure
        return await super().commit(changes, seen)


async def test_jobs_that_were_taken_are_run_though_others_could_not_be(world: World) -> None:
    # given two jobs that cannot be taken together, and then only one of them alone
    await begin_deletions(world, "a", "b")
    store = Scripted(world.store, Stale("another was faster"), None, Unavailable("it is down"))
    services = replace(world.services, store=store)
    taken = await jobs.take(services, "worker", DELETE.kind, 2)
    found = {job.id: job.owner for job in await world.found_jobs()}
    assert sorted(found.values(), key=str) == [None, "worker"]
    assert [job.id for job in taken] == [id for id, owner in found.items() if owner == "worker"]


async def test_a_store_that_lets_no_job_be_taken_is_told_of(world: World) -> None:
    await begin_deletions(world, "a", "b")
    down = Unavailable("it is down")
    store = Scripted(world.store, Stale("another was faster"), down, down)
    with pytest.raises(Unavailable, match="it is down"):
        await jobs.take(replace(world.services, store=store), "worker", DELETE.kind, 2)


class Ending:
    """A job that has ended, but hears of that only when its lease could not be renewed."""

    kind = DELETE.kind
    at_once = 1
    max_attempts = 2

    def __init__(self) -> None:
        self.refused = asyncio.Event()

    async def run(self, services: Services, job: JobRecord, progress: jobs.Progress) -> None:
        changes = ChangeSet(services.now_us())
        jobs.remove_job(changes, job)
        await services.store.commit(changes)
        progress(1, 2)  # so that the next beat writes something
        await self.refused.wait()

    def give_up(self, services: Services, changes: ChangeSet, job: JobRecord) -> int | None:
        raise AssertionError("it did not fail")


class Refusals(FailingStore):
    """A store that tells when it has refused a commit."""

    def __init__(self, store: CatalogStore, refused: asyncio.Event) -> None:
        super().__init__(store)
        self._refused = refused

    async def commit(self, changes: ChangeSet, seen: ReadSession | None = None) -> Committed:
        try:
            return await super().commit(changes, seen)
        except Stale:
            self._refused.set()
            raise


def counted() -> dict[str, int]:
    return {name: JOB_COUNTS.get(DELETE.kind, name) for name in ("done", "lost")}


async def test_a_job_that_ends_while_its_lease_is_renewed_is_done_and_not_lost(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tams_gql.resolvers.worker._BEAT_SECONDS", 0.01)
    caplog.set_level(logging.INFO, "tams_gql.resolvers.worker")
    await begin_deletions(world, "a")
    (job,) = await jobs.take(world.services, "worker", DELETE.kind, 1)
    before, work = counted(), Ending()
    services = replace(world.services, store=Refusals(world.store, work.refused))
    await run_job(services, work, job)
    assert await world.found_jobs() == []
    assert counted() == {"done": before["done"] + 1, "lost": before["lost"]}
    assert caplog.messages == []


async def test_a_job_that_another_worker_has_by_now_is_stopped(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tams_gql.resolvers.worker._BEAT_SECONDS", 0.01)
    monkeypatch.setattr("tams_gql.resolvers.worker._ANSWER_SECONDS", 0.01)
    caplog.set_level(logging.INFO, "tams_gql.resolvers.worker")
    ended = list[bool]()

    class Hanging(Ending):
        async def run(self, services: Services, job: JobRecord, progress: jobs.Progress) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(True)

    await begin_deletions(world, "a")
    (job,) = await jobs.take(world.services, "worker", DELETE.kind, 1)
    world.ahead = 61
    (other,) = await jobs.take(world.services, "another", DELETE.kind, 1)
    before = counted()
    await run_job(world.services, Hanging(), job)
    assert ended == [True]
    assert counted() == {"done": before["done"], "lost": before["lost"] + 1}
    assert caplog.messages == [f"job {job.id} went to another worker"]
    assert await world.found_jobs() == [other]


async def test_a_copy_that_is_not_needed_ends_though_its_object_changes_just_then(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "tams_gql.resolvers.worker")
    # given a copy to make, which the object has got in another way
    (object_id,) = await world.seed.segments(await world.seed.flow(), "[0:0_1:0)")
    storage_id = world.second.backend.id
    await world.gql.execute(ADD, {"input": {"objectId": object_id, "storageId": storage_id}})
    made = [*await world.catalog_instances(object_id), {"storage_id": storage_id, "key": "k"}]
    await world.set_object(object_id, instances=to_json_text(made))
    (job,) = await jobs.take(world.services, "worker", COPY.kind, 1)
    # when a client adds one more copy while the job ends itself
    more = [*made, {"label": "x", "url": "https://x.example/a"}]
    world.store.before_commit = lambda: world.set_object(object_id, instances=to_json_text(more))
    await run_job(world.services, COPY, job)
    # then it has ended, instead of waiting for the end of a lease that nobody else has
    assert await world.found_jobs(jobs.COPY) == []
    assert caplog.messages == []
    assert await world.catalog_instances(object_id) == more
