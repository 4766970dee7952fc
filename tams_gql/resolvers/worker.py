"""The background work of a process: it runs jobs, and looks for what has lapsed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from tams_gql.context import Services
from tams_gql.events.retention import keep_log_short
from tams_gql.metrics import JOBS
from tams_gql.model.errors import TamsError
from tams_gql.model.ids import new_id
from tams_gql.resolvers import jobs
from tams_gql.resolvers.copies import CopyObject
from tams_gql.resolvers.deletions import DeleteBytes
from tams_gql.resolvers.integrity import keep_checking
from tams_gql.resolvers.reclaim import forget_receipts, keep_reclaiming
from tams_gql.store.changes import ChangeSet, Stale
from tams_gql.store.records import JobRecord

KINDS: Sequence[jobs.Work] = (DeleteBytes(), CopyObject())

_POLL_SECONDS = 5.0
_BEAT_SECONDS = 1.0
_ANSWER_SECONDS = 1.0  # in which a job that has just ended hears of its last commit
_FORGET_PAUSE_SECONDS = 3600.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Duties:
    """What a worker does beside running jobs and reclaiming objects."""

    event_retention: int = 0
    """Seconds; 0 keeps events for ever."""
    integrity_checks_per_hour: int = 0


async def keep_working(services: Services, duties: Duties) -> None:
    """Do all background work until cancelled. Jobs that still run then are given back."""
    owner = new_id()
    async with asyncio.TaskGroup() as group:
        for work in KINDS:
            group.create_task(keep_running(services, work, owner))
        group.create_task(keep_reclaiming(services))
        group.create_task(_keep_forgetting(services))
        if duties.event_retention:
            group.create_task(
                keep_log_short(services.store.log, duties.event_retention, services.now_us)
            )
        if duties.integrity_checks_per_hour:
            group.create_task(keep_checking(services, duties.integrity_checks_per_hour))


async def keep_running(services: Services, work: jobs.Work, owner: str) -> None:
    """Run jobs of one kind as they become due, a few of them side by side."""
    running: set[asyncio.Task[None]] = set()
    try:
        while True:
            bell = services.jobs_bell.next_ring()  # before looking, so that none is missed
            taken = await _take(services, work, owner, work.at_once - len(running))
            running |= {asyncio.create_task(run_job(services, work, job)) for job in taken}
            await _until_needed(bell, running, full=len(running) >= work.at_once)
            running = {task for task in running if not task.done()}
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _take(services: Services, work: jobs.Work, owner: str, free: int) -> list[JobRecord]:
    if not free:
        return []
    taking = asyncio.create_task(jobs.take(services, owner, work.kind, free))
    try:
        return await asyncio.shield(taking)
    except asyncio.CancelledError:
        await _give_back_taken(services, taking)
        raise
    except TamsError as error:
        _log.warning("background jobs could not be taken, trying again later: %s", error)
    except Exception:
        _log.exception("taking background jobs failed, trying again later")
    return []


async def _give_back_taken(services: Services, taking: asyncio.Task[list[JobRecord]]) -> None:
    """Give back what was being taken: its commit goes on, and then nobody would run the jobs."""
    (found,) = await asyncio.gather(taking, return_exceptions=True)
    if not isinstance(found, BaseException):
        for job in found:
            await _give_back(services, job)


async def _until_needed(
    bell: asyncio.Event, running: set[asyncio.Task[None]], *, full: bool
) -> None:
    """Return when there may be something to take: a job has ended, is new, or time has passed."""
    ring = asyncio.create_task(bell.wait())
    try:
        waited = running if full else {*running, ring}
        await asyncio.wait(waited, timeout=_POLL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ring.cancel()


async def run_job(services: Services, work: jobs.Work, job: JobRecord) -> None:
    """Run one job that was taken, and put down how it went."""
    progress = jobs.Progress()
    task = asyncio.ensure_future(_run(services, work, job, progress))
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=_BEAT_SECONDS)
            if not task.done():
                job = await _hold(services, job, progress, task)
        await task
    except (Stale, jobs.Lost):
        JOBS.add(work.kind, "lost")
        _log.info("job %s went to another worker", job.id)
    except asyncio.CancelledError:
        await _stop(task)
        await asyncio.shield(_give_back(services, job))
        raise
    except Exception:
        # Nobody waits for this task. The lease will end, and then some worker takes the job up.
        _log.exception("job %s (%s) broke off", job.id, work.kind)
    finally:
        await _stop(task)


async def _stop(task: asyncio.Future[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _run(
    services: Services, work: jobs.Work, job: JobRecord, progress: jobs.Progress
) -> None:
    if job.attempts > work.max_attempts:
        # Its workers have vanished so often that it may be the reason.
        await _put_back(services, work, job, "its workers ended before it did")
        return
    try:
        await work.run(services, job, progress)
        JOBS.add(work.kind, "done")
    except TamsError as error:
        hopeless = isinstance(error, jobs.HOPELESS)
        await _put_back(services, work, job, error.message, hopeless=hopeless)
    except (Stale, jobs.Lost):
        raise
    except Exception:
        _log.exception("job %s (%s) failed unexpectedly", job.id, work.kind)
        await _put_back(services, work, job, "unexpected failure; the log has more")


async def _hold(
    services: Services, job: JobRecord, progress: jobs.Progress, task: asyncio.Future[None]
) -> JobRecord:
    """Renew the lease. ``Stale`` if the job is another's by now."""
    try:
        return await _renew(services, job, progress)
    except Stale:
        # Or it has just ended itself: then the answer to its last commit is on the way.
        await asyncio.wait({task}, timeout=_ANSWER_SECONDS)
        if not task.done():
            raise
        return job


async def _renew(services: Services, job: JobRecord, progress: jobs.Progress) -> JobRecord:
    """Hold the job for longer and show how far it is; ``Stale`` if it is another's by now."""
    due = jobs.lease_end(services)
    done = job.done_bytes if progress.done is None else progress.done
    total = job.total_bytes if progress.total is None else progress.total
    old = job.due is None or due - job.due > services.limits.job_lease * 1_000_000 // 3
    if not old and (done, total) == (job.done_bytes, job.total_bytes):
        return job
    renewed = job._replace(due=due, done_bytes=done, total_bytes=total)
    changes = ChangeSet(services.now_us())
    jobs.change_job(changes, job, due=due, done_bytes=done, total_bytes=total)
    try:
        await services.store.commit(changes)
    except TamsError as error:
        _log.warning("the lease of job %s could not be renewed: %s", job.id, error)
        return job
    return renewed


async def _put_back(
    services: Services, work: jobs.Work, job: JobRecord, error: str, *, hopeless: bool = False
) -> None:
    """Have the job run again later, or fail for good."""
    changes = ChangeSet(services.now_us())
    failed = hopeless or job.attempts >= work.max_attempts
    due = work.give_up(services, changes, job) if failed else _later(changes, job)
    state = jobs.FAILED if failed else jobs.WAITING
    attempts = work.max_attempts - 1 if failed else job.attempts  # one more, should it be tried
    jobs.change_job(changes, job, state=state, due=due, owner=None, attempts=attempts, error=error)
    await _try_to(lambda: jobs.commit(services, changes), job)
    JOBS.add(work.kind, "failed" if failed else "retried")
    level = logging.ERROR if failed else logging.WARNING
    _log.log(level, "job %s (%s) %s: %s", job.id, work.kind, state, error)


def _later(changes: ChangeSet, job: JobRecord) -> int:
    return changes.now_us + jobs.pause_us(job.attempts)


async def _give_back(services: Services, job: JobRecord) -> None:
    """Let another worker begin at once instead of waiting for the lease to end."""
    changes = ChangeSet(services.now_us())
    jobs.change_job(changes, job, state=jobs.WAITING, due=changes.now_us, owner=None)
    with suppress(Stale):
        await _try_to(lambda: services.store.commit(changes), job)


async def _try_to(commit: Callable[[], Awaitable[object]], job: JobRecord) -> None:
    try:
        await commit()
    except TamsError as error:
        # The lease will end, and then some worker takes it up.
        _log.warning("the state of job %s could not be written: %s", job.id, error)


async def _keep_forgetting(services: Services) -> None:
    """Remove what is no longer asked for, again and again. Runs until it is cancelled."""
    while True:
        try:
            await forget_receipts(services)
            await jobs.forget_jobs(services)
        except TamsError as error:
            _log.warning("old receipts and jobs could not be removed: %s", error)
        except Exception:
            _log.exception("removing old receipts and jobs failed, trying again later")
        await asyncio.sleep(_FORGET_PAUSE_SECONDS)
