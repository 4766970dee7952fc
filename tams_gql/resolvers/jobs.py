"""Background work as rows, so that it outlives requests and processes.

A job is inserted by the change set that makes it necessary. Workers of any process take it by an
optimistic commit and hold it by a lease; when a worker vanishes, its lease ends and another one
takes the job over. Whatever a job changes is committed together with its own row, and only if
the worker still holds it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

import orjson

from tams_gql.context import Services
from tams_gql.model.errors import BadInput, LimitExceeded
from tams_gql.model.ids import new_id
from tams_gql.model.jitter import CHANCE
from tams_gql.resolvers.documents import to_json_text
from tams_gql.store.changes import ChangeSet, Delete, Expect, Insert, Stale, Update
from tams_gql.store.records import JobRecord, records
from tams_gql.store.scan import Op, OrderBy, Scan, Where, compare, eq
from tams_gql.store.tables import JOBS

DELETE_BYTES: Final = "delete_bytes"
COPY: Final = "copy"

WAITING: Final = "waiting"
RUNNING: Final = "running"
DONE: Final = "done"
FAILED: Final = "failed"

HOPELESS: Final = (BadInput, LimitExceeded)
"""What a job is not tried again after: it would fail with it again."""

_FIRST_PAUSE_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 3600.0
_KEPT_SECONDS = {DONE: 24 * 3600, FAILED: 30 * 24 * 3600}
_BY_DUE = (OrderBy("due"), OrderBy("id"))


class Lost(Exception):
    """Another worker has the job by now, or somebody has begun it anew."""


class Progress:
    """How far a running job is, in bytes."""

    def __init__(self) -> None:
        self.done: int | None = None
        self.total: int | None = None

    def __call__(self, done: int, total: int | None) -> None:
        """Note what is done by now, and of how much, if that is known."""
        self.done, self.total = done, total


class Work(Protocol):
    """A kind of job."""

    @property
    def kind(self) -> str:
        """Its name in the rows."""
        ...

    @property
    def at_once(self) -> int:
        """How many of them a worker runs side by side."""
        ...

    @property
    def max_attempts(self) -> int:
        """Failures in a row after which a job counts as failed."""
        ...

    async def run(self, services: Services, job: JobRecord, progress: Progress) -> None:
        """Do it, and end the job in the commit that shows the outcome.

        Raises ``Stale`` or ``Lost`` if the job is no longer held, ``TamsError`` to be run again.
        """
        ...

    def give_up(self, services: Services, changes: ChangeSet, job: JobRecord) -> int | None:
        """Add what a failure for good needs; when to try all the same (µs UTC), or None."""
        ...


def new_job(
    kind: str,
    body: object,
    now_us: int,
    *,
    job_id: str | None = None,
    object_id: str | None = None,
    total_bytes: int | None = None,
) -> JobRecord:
    """A job that is due at once."""
    return JobRecord(
        id=job_id or new_id(),
        kind=kind,
        state=WAITING,
        object_id=object_id,
        body=to_json_text(body),
        due=now_us,
        owner=None,
        attempts=0,
        done_bytes=None,
        total_bytes=total_bytes,
        error=None,
        created=now_us,
        updated=now_us,
    )


def body_of(job: JobRecord) -> Any:
    """What is to be done."""
    return orjson.loads(job.body)


def add_jobs(changes: ChangeSet, jobs: Iterable[JobRecord], *, minted: bool = True) -> None:
    """Let the change set begin jobs; ``minted`` as in ``Insert``."""
    rows = tuple(jobs)
    if rows:
        changes.insert.append(Insert(JOBS, JOBS.columns, rows, minted))


async def commit(services: Services, changes: ChangeSet) -> None:
    """Commit what may begin jobs, and wake the workers of this process."""
    await services.store.commit(changes)
    if any(insert.table is JOBS for insert in changes.insert):
        services.jobs_bell.ring()


async def take(services: Services, owner: str, kind: str, most: int) -> list[JobRecord]:
    """Take up to ``most`` jobs that are due, the oldest first; others may be faster."""
    due = compare("due", Op.LE, services.now_us())
    return await _take(services, owner, (eq("kind", kind), due), most)


async def take_failed(
    services: Services, owner: str, kind: str, most: int, before_us: int
) -> list[JobRecord]:
    """Take jobs that failed before a time, due or not: an operator may have mended the cause."""
    earlier = compare("updated", Op.LT, before_us)
    where = (eq("kind", kind), compare("due", Op.NOT_NULL), eq("state", FAILED), earlier)
    return await _take(services, owner, where, most)


async def _take(
    services: Services, owner: str, where: tuple[Where, ...], most: int
) -> list[JobRecord]:
    scan = Scan(JOBS, JOBS.columns, where=where, order=_BY_DUE, limit=most)
    async with services.store.session() as session:
        (batch,) = await session.scan([scan])
    rows = records(batch, JobRecord)
    if not rows:
        return []
    try:
        return await _take_rows(services, owner, rows)
    except Stale:
        return await _take_each(services, owner, rows)


async def _take_each(services: Services, owner: str, rows: Sequence[JobRecord]) -> list[JobRecord]:
    """Take each job alone. Raises only if none was taken: those that were must be run."""
    takes = (_take_one(services, owner, row) for row in rows)
    found = await asyncio.gather(*takes, return_exceptions=True)
    taken = [job for each in found if not isinstance(each, BaseException) for job in each]
    failures = [each for each in found if isinstance(each, BaseException)]
    if failures and not taken:
        raise failures[0]
    return taken


async def _take_one(services: Services, owner: str, row: JobRecord) -> list[JobRecord]:
    try:
        return await _take_rows(services, owner, [row])
    except Stale:
        return []


async def _take_rows(services: Services, owner: str, rows: Sequence[JobRecord]) -> list[JobRecord]:
    now = services.now_us()
    taken = [
        row._replace(
            state=RUNNING,
            owner=owner,
            due=lease_end(services),
            attempts=row.attempts + 1,
            updated=now,
        )
        for row in rows
    ]
    changes = ChangeSet(now)
    for row in rows:
        relied_on = {"owner": row.owner, "attempts": row.attempts, "due": row.due}
        changes.expect.append(Expect(JOBS, (row.id,), relied_on))
    columns = ("state", "owner", "due", "attempts", "updated")
    values = tuple((j.id, j.state, j.owner, j.due, j.attempts, j.updated) for j in taken)
    changes.update.append(Update(JOBS, columns, values))
    await services.store.commit(changes)
    return taken


def lease_end(services: Services) -> int:
    """When a lease ends that begins now."""
    return services.now_us() + services.limits.job_lease * 1_000_000


def pause_us(attempts: int) -> int:
    """How long to wait after this many attempts have failed: longer each time, up to an hour."""
    seconds = min(_FIRST_PAUSE_SECONDS * 2.0 ** min(attempts - 1, 30), _LONGEST_PAUSE_SECONDS)
    return int(seconds * CHANCE.uniform(0.75, 1.0) * 1_000_000)


def expect_held(changes: ChangeSet, job: JobRecord) -> None:
    """Let the change set fail with ``Stale`` unless the job is still held as it was taken."""
    relied_on = {"owner": job.owner, "attempts": job.attempts}
    changes.expect.append(Expect(JOBS, (job.id,), relied_on))


def is_held(job: JobRecord, now: JobRecord | None) -> bool:
    """Whether the row as it is now says that ``job`` is still held."""
    return now is not None and (now.owner, now.attempts) == (job.owner, job.attempts)


def change_job(changes: ChangeSet, job: JobRecord, **values: str | int | None) -> None:
    """Let the change set give a job that is held other values."""
    expect_held(changes, job)
    columns = (*values, "updated")
    changes.update.append(Update(JOBS, columns, ((job.id, *values.values(), changes.now_us),)))


def remove_job(changes: ChangeSet, job: JobRecord) -> None:
    """Let the change set end a job that is held, without a trace."""
    expect_held(changes, job)
    changes.delete.append(Delete(JOBS, (eq("id", job.id),)))


async def forget_jobs(services: Services) -> None:
    """Remove jobs that ended so long ago that nobody asks for them any more."""
    now = services.now_us()
    changes = ChangeSet(now)
    for state, seconds in _KEPT_SECONDS.items():
        old = compare("updated", Op.LT, now - seconds * 1_000_000)
        changes.delete.append(Delete(JOBS, (eq("state", state), eq("due", None), old)))
    await services.store.commit(changes)
