"""Copies between storage backends as GraphQL objects."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final

import strawberry

from tams_gql.resolvers import jobs
from tams_gql.schema.fields import Info, column, resolved
from tams_gql.schema.scalars import BigInt, DateTime
from tams_gql.store.records import JobRecord


@strawberry.enum(description="How far something is that the service does in the background.")
class RequestStatus(Enum):
    """The specification's ``status`` of a delete request."""

    CREATED = "created"
    STARTED = "started"
    DONE = "done"
    ERROR = "error"


_STATUS: Final[Mapping[str, RequestStatus]] = {
    jobs.WAITING: RequestStatus.CREATED,
    jobs.RUNNING: RequestStatus.STARTED,
    jobs.DONE: RequestStatus.DONE,
    jobs.FAILED: RequestStatus.ERROR,
}


@strawberry.type(description="A copy of an object to a storage backend that was asked for.")
class CopyRequest:
    """The job ``copy``."""

    done_bytes: BigInt | None = column("How many bytes are copied; null before the first.")
    total_bytes: BigInt | None = column("How many there are, as far as known.")
    error: str | None = column("Why the last attempt failed. The service tries several times.")
    created: DateTime = column("When it was asked for.")
    updated: DateTime = column("When anything of this has changed last.")

    @resolved("The storage backend that the copy is for.")
    def storage_id(parent: strawberry.Parent[JobRecord]) -> strawberry.ID:
        return strawberry.ID(jobs.body_of(parent)["storage_id"])

    @resolved("The storage backend's label; null where it is no longer configured.")
    def label(parent: strawberry.Parent[JobRecord], info: Info) -> str | None:
        media = info.context.services.media.get(jobs.body_of(parent)["storage_id"])
        return None if media is None else media.backend.label

    @resolved("CREATED while it waits, ERROR when the service has given up.")
    def status(parent: strawberry.Parent[JobRecord]) -> RequestStatus:
        return _STATUS[parent.state]
