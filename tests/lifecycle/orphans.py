"""Objects that were orphaned long ago, made without the API."""

from __future__ import annotations

from collections.abc import AsyncIterator

import orjson

from tams_gql.context import Services
from tams_gql.media.local import LocalMedia
from tams_gql.resolvers import jobs
from tams_gql.store.changes import ChangeSet, Insert
from tams_gql.store.records import JobRecord, ObjectRecord, records
from tams_gql.store.scan import Scan
from tams_gql.store.tables import JOBS, OBJECTS


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
