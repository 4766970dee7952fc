"""One pass over what has lapsed, with a report: what the worker does, on demand."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from tams_gql.context import Services
from tams_gql.model.ids import new_id
from tams_gql.resolvers import jobs
from tams_gql.resolvers.deletions import DeleteBytes
from tams_gql.resolvers.reclaim import Reclaimed, lapsed, reclaim_objects, users_of
from tams_gql.resolvers.worker import run_job
from tams_gql.store.records import JobRecord, records
from tams_gql.store.scan import OrderBy, Scan, eq
from tams_gql.store.tables import JOBS

_BATCH = 500
_WORK = DeleteBytes()


@dataclass(frozen=True, slots=True)
class Deletions:
    """Jobs that delete bytes, and how many keys and bytes (as far as known) they stand for."""

    jobs: int = 0
    keys: int = 0
    bytes: int = 0

    def __add__(self, other: Deletions) -> Deletions:
        return Deletions(self.jobs + other.jobs, self.keys + other.keys, self.bytes + other.bytes)


@dataclass(frozen=True, slots=True)
class GcReport:
    """What a pass did or, as a trial, would do.

    ``due`` is what was to be deleted when the pass began or became so by it. ``later`` and
    ``failed`` are what is left: bytes that an upload may still bring again or whose deletion did
    not work this time, and those whose deletion has been given up for the day.
    """

    reclaimed: Reclaimed
    due: Deletions
    later: Deletions
    failed: Deletions


async def collect(services: Services, *, dry_run: bool = False) -> GcReport:
    """Reclaim what has lapsed and delete what is due. As a trial, change nothing."""
    if dry_run:
        due, later, failed = await _pending(services)
        return GcReport(await _would_reclaim(services), due, later, failed)
    reclaimed = await reclaim_objects(services)
    done = await _delete_due(services)
    _, later, failed = await _pending(services)
    return GcReport(reclaimed, done, later, failed)


async def _would_reclaim(services: Services) -> Reclaimed:
    total = Reclaimed()
    async for rows in lapsed(services):
        for row in rows:
            if not any(await users_of(services, row)):
                total += Reclaimed(1, row.size or 0)
    return total


async def _delete_due(services: Services) -> Deletions:
    """Run each deletion that is due or has failed once; what was taken."""
    owner, begun, total = new_id(), services.now_us(), Deletions()
    while True:
        taken = await jobs.take(services, owner, _WORK.kind, _WORK.at_once)
        if not taken:
            taken = await jobs.take_failed(services, owner, _WORK.kind, _WORK.at_once, begun)
        if not taken:
            return total
        await asyncio.gather(*(run_job(services, _WORK, job) for job in taken))
        total = sum(map(_size, taken), total)


async def _pending(services: Services) -> tuple[Deletions, Deletions, Deletions]:
    """What is due (or runs), what is to be deleted later, and what has failed."""
    due, later, failed = Deletions(), Deletions(), Deletions()
    now = services.now_us()
    after: tuple[str] | None = None
    while True:
        scan = Scan(
            JOBS,
            JOBS.columns,
            where=(eq("kind", jobs.DELETE_BYTES),),
            order=(OrderBy("id"),),
            limit=_BATCH,
            after=after,
        )
        async with services.store.session() as session:
            (batch,) = await session.scan([scan])
        rows = records(batch, JobRecord)
        for job in rows:
            if job.state == jobs.FAILED:
                failed += _size(job)
            elif job.state == jobs.RUNNING or (job.due or 0) <= now:
                due += _size(job)
            else:
                later += _size(job)
        if len(rows) < _BATCH:
            return due, later, failed
        after = (rows[-1].id,)


def _size(job: JobRecord) -> Deletions:
    return Deletions(1, len(jobs.body_of(job)["keys"]), job.total_bytes or 0)
