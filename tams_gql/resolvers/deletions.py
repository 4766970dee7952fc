"""Deleting bytes that no object has any more, again and again until they are gone.

The job is inserted by the change set that takes the bytes out of the catalog, so they are either
part of an object or the matter of a job: nothing leaks, and nothing that is used is deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from tams_gql.context import Services
from tams_gql.loaders.urls import instances_of
from tams_gql.media.port import ObjectLocation
from tams_gql.resolvers import jobs
from tams_gql.resolvers.documents import to_json_text
from tams_gql.store.changes import ChangeSet
from tams_gql.store.records import JobRecord, ObjectRecord

_KEYS_PER_JOB = 200
_KEY_BYTES_PER_JOB = 64 * 1024  # a job's body is one cell
_AGAIN_SECONDS = 24 * 3600

MAX_ATTEMPTS = 20
"""Failures in a row after which a deletion counts as failed; it is still tried once a day."""


class Doomed(NamedTuple):
    """Bytes to delete. ``late_us``: until then an upload may still bring new ones (µs UTC)."""

    location: ObjectLocation
    size: int | None
    late_us: int


def doomed_of(services: Services, row: ObjectRecord) -> Iterator[Doomed]:
    """All bytes of an object that goes."""
    limits = services.limits
    # The last upload URL has ended with the allocation. An upload that began before that is given
    # as long again as a URL lives at most.
    late_us = row.created + (limits.min_object_timeout + limits.url_lifetime) * 1_000_000
    for instance in instances_of(row):
        if instance.storage_id is not None and instance.key is not None:
            location = ObjectLocation(instance.storage_id, instance.key)
            yield Doomed(location, row.size, late_us if row.allocated_flow_id else 0)


def doomed_key(services: Services, storage_id: str, key: str, size: int | None) -> Doomed:
    """Bytes that only this service writes; a worker that lost its lease may still do so."""
    late_us = services.now_us() + services.limits.url_lifetime * 1_000_000
    return Doomed(ObjectLocation(storage_id, key), size, late_us)


def delete_bytes(
    changes: ChangeSet, doomed: Iterable[Doomed], object_id: str | None = None
) -> None:
    """Let the change set begin the deletion of bytes that it takes out of the catalog."""
    by_backend: dict[str, list[Doomed]] = {}
    for each in doomed:
        by_backend.setdefault(each.location.storage_id, []).append(each)
    # A job has one backend, so that one that is out of order holds back nothing else.
    jobs.add_jobs(
        changes,
        (
            _job(storage_id, part, changes.now_us, object_id)
            for storage_id, mine in by_backend.items()
            for part in _portions(mine)
        ),
    )


def _job(storage_id: str, doomed: list[Doomed], now_us: int, object_id: str | None) -> JobRecord:
    late_us = max(each.late_us for each in doomed)
    body = {
        "storage_id": storage_id,
        "keys": [each.location.key for each in doomed],
        "late": late_us if late_us > now_us else None,
    }
    size = sum(each.size or 0 for each in doomed)
    return jobs.new_job(jobs.DELETE_BYTES, body, now_us, object_id=object_id, total_bytes=size)


def _portions(doomed: list[Doomed]) -> Iterator[list[Doomed]]:
    part: list[Doomed] = []
    size = 0
    for each in doomed:
        cost = len(each.location.key.encode())
        if part and (len(part) == _KEYS_PER_JOB or size + cost > _KEY_BYTES_PER_JOB):
            yield part
            part, size = [], 0
        part.append(each)
        size += cost
    if part:
        yield part


class DeleteBytes:
    """The job ``delete_bytes``."""

    kind = jobs.DELETE_BYTES
    at_once = 8
    max_attempts = MAX_ATTEMPTS

    async def run(self, services: Services, job: JobRecord, progress: jobs.Progress) -> None:
        """Delete the bytes; a second time when no upload can come any more."""
        del progress
        body = jobs.body_of(job)
        await services.media.delete(locations_of(body))
        changes = ChangeSet(services.now_us())
        late = body.pop("late")
        if late is not None and late > changes.now_us:
            again = {**body, "late": None}
            jobs.change_job(
                changes,
                job,
                state=jobs.WAITING,
                body=to_json_text(again),
                due=late,
                owner=None,
                attempts=0,
                error=None,
            )
        else:
            jobs.remove_job(changes, job)
        await services.store.commit(changes)

    def give_up(self, services: Services, changes: ChangeSet, job: JobRecord) -> int:
        """When to try a failed deletion again: it must not be forgotten."""
        del services, job
        return changes.now_us + _AGAIN_SECONDS * 1_000_000


def locations_of(body: Mapping[str, list[str]]) -> list[ObjectLocation]:
    """The places that a job is to empty."""
    storage_id = str(body["storage_id"])
    return [ObjectLocation(storage_id, key) for key in body["keys"]]
