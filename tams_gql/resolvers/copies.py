"""Copies of objects between storage backends, made in the background (TAMS 8.2, instances).

A copy is one job for each object and target. Its key is chosen before the first byte is copied and
kept with the job, so that whatever becomes of the copy, its bytes are known.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import orjson

from tams_gql.context import Context, Services
from tams_gql.loaders.urls import instances_of
from tams_gql.media.keys import unique_name
from tams_gql.media.port import MediaBackend, ObjectLocation, ObjectStat
from tams_gql.model.errors import BadInput, Conflict, NotFound
from tams_gql.resolvers import jobs
from tams_gql.resolvers.attempts import until_fresh
from tams_gql.resolvers.copy_sources import copy_from_any, sources_of
from tams_gql.resolvers.deletions import delete_bytes, doomed_key
from tams_gql.resolvers.documents import to_json_text
from tams_gql.resolvers.object_rules import (
    MAX_INSTANCES,
    MAX_INSTANCES_BYTES,
    stored_instance,
)
from tams_gql.resolvers.objects import media_object
from tams_gql.store.changes import ChangeSet, Expect, Update
from tams_gql.store.records import JobRecord, ObjectRecord, records
from tams_gql.store.scan import Scan, Value, eq
from tams_gql.store.tables import JOBS, OBJECTS

_RESTARTED: Final = JOBS.columns[JOBS.columns.index("state") :]


async def copy_object(ctx: Context, object_id: str, storage_id: str) -> ObjectRecord:
    """Have an object copied to another storage backend; the object as it is now.

    Nothing happens if there is a copy already, or if one is under way. One that failed begins anew.
    Raises ``NotFound`` for the object, ``BadInput`` for an unknown storage backend, and
    ``Conflict`` if no copy of the object can be read from there, or there are too many.
    """
    target = ctx.services.media.get(storage_id)
    if target is None:
        known = ", ".join(media.backend.id for media in ctx.services.media)
        raise BadInput(
            f"storageId: storage backend {storage_id} is unknown; there are: {known}",
            field="storageId",
        )

    async def attempt() -> ObjectRecord:
        row = await media_object(ctx, object_id)
        if row is None:
            raise NotFound(f"there is no object {object_id}", field="objectId")
        instances = orjson.loads(row.instances)
        if any(i.get("storage_id") == storage_id for i in instances):
            return row
        earlier = await _job_of(ctx, object_id, storage_id)
        if earlier is not None and _is_open(earlier) and is_for(earlier, row):
            return row
        _check_room(instances)
        sources_of(ctx.services, row)
        await _begin(ctx, row, target, earlier)
        return row

    return await until_fresh(attempt)


async def copy_jobs(ctx: Context, row: ObjectRecord) -> list[JobRecord]:
    """The copies of an object that were asked for, the first one first."""
    found = await ctx.loaders.copy_jobs_by_object.load(row.id)
    # An object that was reclaimed may have had the same id.
    return [job for job in found if is_for(job, row)]


def is_for(job: JobRecord, row: ObjectRecord) -> bool:
    """Whether the job is about this object and not about an earlier one of the same id."""
    return bool(jobs.body_of(job)["object_created"] == row.created)


def _is_open(job: JobRecord) -> bool:
    return job.state in (jobs.WAITING, jobs.RUNNING)


def _job_id(object_id: str, storage_id: str) -> str:
    # One id for each pair, so that two clients that ask at once begin one copy.
    return f"{jobs.COPY}:{storage_id}:{object_id}"


async def _job_of(ctx: Context, object_id: str, storage_id: str) -> JobRecord | None:
    where = (eq("id", _job_id(object_id, storage_id)),)
    (batch,) = await ctx.loaders.reads.scan([Scan(JOBS, JOBS.columns, where=where)])
    return next(iter(records(batch, JobRecord)), None)


def _check_room(instances: Sequence[object]) -> None:
    if len(instances) >= MAX_INSTANCES:
        raise Conflict(f"the object has {MAX_INSTANCES} copies, which is the most")


async def _begin(
    ctx: Context, row: ObjectRecord, target: MediaBackend, earlier: JobRecord | None
) -> None:
    services = ctx.services
    changes = ChangeSet(services.now_us())
    now = datetime.fromtimestamp(changes.now_us / 1_000_000, UTC)
    key = target.new_key(
        unique_name(row.id), flow_id=row.allocated_flow_id or row.first_flow_id or "", now=now
    )
    body = {"storage_id": target.backend.id, "key": key, "object_created": row.created}
    job = jobs.new_job(
        jobs.COPY,
        body,
        changes.now_us,
        job_id=_job_id(row.id, target.backend.id),
        object_id=row.id,
        total_bytes=row.size,
    )
    changes.expect.append(
        Expect(OBJECTS, (row.id,), {"instances": row.instances, "role": row.role})
    )
    if earlier is None:
        jobs.add_jobs(changes, [job], minted=False)
    else:
        as_read = {"state": earlier.state, "owner": earlier.owner, "attempts": earlier.attempts}
        changes.expect.append(Expect(JOBS, (job.id,), as_read))
        restarted = job[JOBS.columns.index("state") :]
        changes.update.append(Update(JOBS, _RESTARTED, ((job.id, *restarted),)))
        if _is_open(earlier):  # for an earlier object of the same id; its worker loses the job
            _delete_copy(services, changes, earlier)
    await ctx.commit(changes)
    services.jobs_bell.ring()


def _delete_copy(services: Services, changes: ChangeSet, job: JobRecord) -> None:
    """Let the change set begin the deletion of what a copy has written."""
    body = jobs.body_of(job)
    doomed = doomed_key(services, body["storage_id"], body["key"], job.total_bytes)
    delete_bytes(changes, [doomed], job.object_id)


class CopyObject:
    """The job ``copy``."""

    kind = jobs.COPY
    at_once = 2
    max_attempts = 8

    async def run(self, services: Services, job: JobRecord, progress: jobs.Progress) -> None:
        """Copy the bytes, then add the instance to the object if that still exists."""
        body = jobs.body_of(job)
        row = await until_fresh(lambda: _lacking(services, job))
        if row is None:
            return
        target = services.media.get(body["storage_id"])
        if target is None:
            raise NotFound(f"storage backend {body['storage_id']} is not configured here")
        sources = sources_of(services, row)
        stat = await copy_from_any(sources, target, body["key"], progress)
        await until_fresh(lambda: _finish(services, job, stat))

    def give_up(self, services: Services, changes: ChangeSet, job: JobRecord) -> int | None:
        """Remove what may have been written; nobody tries again unless a client asks for it."""
        _delete_copy(services, changes, job)
        return None


async def _lacking(services: Services, job: JobRecord) -> ObjectRecord | None:
    """The object that still lacks the copy. If there is none, the job is ended.

    Raises ``Lost`` if the job is not held, ``Stale`` if the object changes meanwhile.
    """
    row = await _look(services, job)
    if row is None or _has(row, jobs.body_of(job)["storage_id"]):
        await _drop(services, job, row)
        return None
    return row


async def _look(services: Services, job: JobRecord) -> ObjectRecord | None:
    """The object of the job; None if that is gone. ``Lost`` if the job is not held."""
    scans = [
        Scan(JOBS, JOBS.columns, where=(eq("id", job.id),)),
        Scan(OBJECTS, OBJECTS.columns, where=(eq("id", job.object_id),)),
    ]
    async with services.store.session() as session:
        jobs_found, objects_found = await session.scan(scans)
    now = next(iter(records(jobs_found, JobRecord)), None)
    if now is None or not jobs.is_held(job, now):
        raise jobs.Lost
    row = next(iter(records(objects_found, ObjectRecord)), None)
    mine = row is not None and row.role is not None and is_for(job, row)
    return row if mine else None


def _has(row: ObjectRecord, storage_id: str) -> bool:
    return any(i.get("storage_id") == storage_id for i in orjson.loads(row.instances))


def _keys(row: ObjectRecord) -> set[str | None]:
    return {instance.key for instance in instances_of(row)}


async def _finish(services: Services, job: JobRecord, stat: ObjectStat) -> None:
    """Show the copy, in the same commit that ends the job."""
    row = await _lacking(services, job)
    if row is None:
        return
    body = jobs.body_of(job)
    location = ObjectLocation(body["storage_id"], body["key"])
    instances = [*orjson.loads(row.instances), stored_instance(location, stat)]
    text = to_json_text(instances)
    if len(instances) > MAX_INSTANCES or len(text) > MAX_INSTANCES_BYTES:
        raise BadInput("the object has got too many copies meanwhile")
    changes = ChangeSet(services.now_us())
    as_read = {"instances": row.instances, "role": row.role, "created": row.created}
    changes.expect.append(Expect(OBJECTS, (row.id,), {**as_read, "size": row.size}))
    # Of an object that was elsewhere only, the size is known from now on.
    changes.update.append(Update(OBJECTS, ("instances", "size"), ((row.id, text, stat.size),)))
    jobs.change_job(
        changes,
        job,
        state=jobs.DONE,
        due=None,
        owner=None,
        error=None,
        done_bytes=stat.size,
        total_bytes=stat.size,
    )
    await services.store.commit(changes)


async def _drop(services: Services, job: JobRecord, row: ObjectRecord | None) -> None:
    """End a copy that nobody needs, and have its bytes deleted."""
    changes = ChangeSet(services.now_us())
    if row is not None:
        as_read: dict[str, Value] = {"instances": row.instances, "created": row.created}
        changes.expect.append(Expect(OBJECTS, (row.id,), as_read))
    jobs.remove_job(changes, job)
    if row is None or jobs.body_of(job)["key"] not in _keys(row):
        _delete_copy(services, changes, job)
    await jobs.commit(services, changes)
