"""Finding stored objects that the catalog does not know of.

Everything known is read before anything is listed: its keys, as digests of 8 bytes, a bounded
number at a time. What was stored after that began is left out, because its key may be younger than
what was read. The rest is neither part of an object nor about to be deleted.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

import orjson

from tams_gql.context import Services
from tams_gql.media.port import MediaBackend
from tams_gql.resolvers import jobs
from tams_gql.store.records import values
from tams_gql.store.scan import OrderBy, Scan, is_in
from tams_gql.store.tables import JOBS, OBJECTS

KEYS_AT_ONCE: Final = 1_000_000
"""About 70 MB of digests. With more keys than that, everything is gone through more than once."""

_PAGE = 2_000
_SHOWN = 100
_SKEW_SECONDS = 300  # between the clocks of this program and of the object store


@dataclass(slots=True)
class UnknownBytes:
    """What one backend holds beyond the catalog; ``keys`` are some of the objects' keys."""

    storage_id: str
    label: str
    listed: int = 0
    objects: int = 0
    bytes: int = 0
    keys: list[str] = field(default_factory=list)


async def unknown_bytes(
    services: Services, *, keys_at_once: int = KEYS_AT_ONCE
) -> list[UnknownBytes]:
    """Go through all storage backends. Raises ``Unavailable`` if one does not answer."""
    async with services.store.session() as session:
        (count,) = await session.count([Scan(OBJECTS, ())])
    parts = count // keys_at_once + 1
    reports = {
        media.backend.id: UnknownBytes(media.backend.id, media.backend.label)
        for media in services.media
    }
    for part in range(parts):
        begun_us = services.now_us()
        known = {d async for d in _known(services) if d % parts == part}
        for media in services.media:
            report = reports[media.backend.id]
            await _list(media, known, parts, part, begun_us, report)
    return list(reports.values())


async def _list(
    media: MediaBackend,
    known: set[int],
    parts: int,
    part: int,
    begun_us: int,
    report: UnknownBytes,
) -> None:
    newest = begun_us / 1_000_000 - _SKEW_SECONDS
    async for found in media.list_objects():
        digest = _digest(media.backend.id, found.key)
        if digest % parts != part:
            continue
        report.listed += 1
        if digest in known or found.modified.timestamp() > newest:
            continue
        report.objects += 1
        report.bytes += found.size
        if len(report.keys) < _SHOWN:
            report.keys.append(found.key)


async def _known(services: Services) -> AsyncIterator[int]:
    """The digests of all keys of objects, and of what jobs write or delete."""
    async for text in _texts(services, Scan(OBJECTS, ("id", "instances"))):
        for instance in orjson.loads(text):
            if "key" in instance:
                yield _digest(instance["storage_id"], instance["key"])
    kinds = (is_in("kind", (jobs.COPY, jobs.DELETE_BYTES)),)
    async for text in _texts(services, Scan(JOBS, ("id", "body"), where=kinds)):
        body = orjson.loads(text)
        for key in body.get("keys", [body.get("key")]):
            yield _digest(body["storage_id"], key)


async def _texts(services: Services, scan: Scan) -> AsyncIterator[str]:
    """The second column of all rows, in pages by id."""
    after: tuple[str] | None = None
    while True:
        page = Scan(
            scan.table, scan.columns, scan.where, order=(OrderBy("id"),), limit=_PAGE, after=after
        )
        async with services.store.session() as session:
            (batch,) = await session.scan([page])
        for text in values(batch.column(1)):
            yield text
        if batch.num_rows < _PAGE:
            return
        after = (values(batch.column(0))[-1],)


def _digest(storage_id: str, key: str) -> int:
    name = f"{storage_id}/{key}".encode(errors="surrogatepass")
    return int.from_bytes(blake2b(name, digest_size=8).digest(), "big")
