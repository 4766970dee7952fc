"""Where the bytes of a copy can come from: copies in our storage, then those that lie elsewhere."""

from __future__ import annotations

import logging
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol

from tams_gql.context import Services
from tams_gql.loaders.urls import instances_of
from tams_gql.media.port import CopyProgress, MediaBackend, ObjectStat
from tams_gql.media.reading import verified
from tams_gql.model.errors import Conflict, Forbidden, TamsError
from tams_gql.resolvers import jobs
from tams_gql.store.records import ObjectRecord

_log = logging.getLogger(__name__)


class Source(Protocol):
    """One copy of an object that another one can be made of."""

    async def copy_to(
        self, target: MediaBackend, key: str, progress: CopyProgress | None
    ) -> ObjectStat:
        """Make a copy under ``key`` in ``target``, whole or not at all. Raises TamsError."""
        ...


@dataclass(frozen=True, slots=True)
class _Stored:
    """In a storage backend."""

    row: ObjectRecord
    media: MediaBackend
    key: str

    async def copy_to(
        self, target: MediaBackend, key: str, progress: CopyProgress | None
    ) -> ObjectStat:
        stat = await target.copy_from(self.media, self.key, key, progress=progress)
        _check_size(self.row, stat.size, self.media.backend.label)
        return stat


@dataclass(frozen=True, slots=True)
class _External:
    """At a URL that a client has registered. What is known of the object, its bytes must fit."""

    row: ObjectRecord
    services: Services
    url: str
    label: str

    async def copy_to(
        self, target: MediaBackend, key: str, progress: CopyProgress | None
    ) -> ObjectStat:
        from tams_gql.media.external.download import opened  # aiohttp: only where it is needed

        async with opened(self.url, self.services.external) as found, aclosing(found.blocks):
            if found.size is not None:
                _check_size(self.row, found.size, self.label)
            checked = verified(found.blocks, {**found.checksums, **_checksums(self.row)})
            stat = await target.store(
                key,
                checked,
                size=found.size,
                # As it is catalogued: servers often know no better than that it is bytes.
                content_type=self.row.content_type or found.content_type,
                progress=progress,
            )
        _check_size(self.row, stat.size, self.label)
        return stat


def sources_of(services: Services, row: ObjectRecord) -> list[Source]:
    """The copies that can be read, in the order in which they should be tried.

    Raises Conflict if there are none, with the reason.
    """
    stored: list[Source] = []
    external: list[Source] = []
    refused: Forbidden | None = None
    for instance in instances_of(row):
        media = services.media.get(instance.storage_id or "")
        if media is not None and instance.key is not None:
            stored.append(_Stored(row, media, instance.key))
        elif instance.url is not None:
            try:
                services.external.check(instance.url)
            except Forbidden as error:
                refused = error
                continue
            external.append(_External(row, services, instance.url, instance.label or ""))
    if not stored and not external:
        reason = "there is none in a storage backend" if refused is None else refused.message
        raise Conflict(f"no copy of the object can be read: {reason}", field="storageId")
    return stored + external


async def copy_from_any(
    sources: list[Source], target: MediaBackend, key: str, progress: CopyProgress | None
) -> ObjectStat:
    """Copy from the first source that works.

    Raises what the first one failed with; what trying again is of no use after (``jobs.HOPELESS``)
    only if all have failed so.
    """
    failures: list[TamsError] = []
    for source in sources:
        try:
            return await source.copy_to(target, key, progress)
        except TamsError as error:
            _log.warning("a copy could not be made from one source: %s", error.message)
            failures.append(error)
    raise next((each for each in failures if not isinstance(each, jobs.HOPELESS)), failures[0])


def _check_size(row: ObjectRecord, size: int, label: str) -> None:
    # All instances of an object must be identical (TAMS 8.2, POST instances).
    if row.size not in (None, size):
        raise Conflict(f"the copy in {label} has {size} bytes, the object {row.size}")


def _checksums(row: ObjectRecord) -> dict[str, str]:
    """All that is known of the object's bytes, whichever copy it was told of."""
    return {
        name: digest
        for instance in reversed(instances_of(row))
        for name, digest in instance.checksums.items()
    }
