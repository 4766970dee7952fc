"""A catalog with two storage backends, a clock that can be moved, and no work of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import orjson

from tams_gql.context import Services
from tams_gql.media.local import LocalMedia
from tams_gql.media.port import MediaBackend, ObjectLocation, StorageBackend
from tams_gql.media.registry import MediaRegistry
from tams_gql.model.ids import new_id
from tams_gql.resolvers import jobs
from tams_gql.resolvers.worker import run_job
from tams_gql.store.changes import ChangeSet, Committed, Update
from tams_gql.store.port import ReadSession
from tams_gql.store.records import JobRecord, ObjectRecord, R, records
from tams_gql.store.scan import OrderBy, Scan
from tams_gql.store.tables import JOBS, OBJECTS, Table
from tests.catalog import Catalog, quick_settings, running
from tests.failing import FailingMedia, FailingStore
from tests.gql import Data, GraphQL
from tests.seed import Seed

SECOND = 1_000_000

ADD = """
mutation Add($input: AddObjectInstanceInput!) {
  addObjectInstance(input: $input) { object { id } }
}
"""
REMOVE = """
mutation Remove($input: RemoveObjectInstanceInput!) {
  removeObjectInstance(input: $input) { object { instances { storageId } } }
}
"""


class Interfering(FailingStore):
    """A store in which something happens just before the next commit."""

    before_commit: Callable[[], Awaitable[object]] | None = None

    async def commit(self, changes: ChangeSet, seen: ReadSession | None = None) -> Committed:
        meanwhile, self.before_commit = self.before_commit, None
        if meanwhile is not None:
            await meanwhile()
        return await super().commit(changes, seen)


@dataclass
class World:
    """What a test works with. Times of the services are ``ahead`` seconds ahead."""

    services: Services
    store: Interfering
    first: FailingMedia
    second: FailingMedia
    ahead: float = 0
    _catalog: Catalog | None = None

    @property
    def catalog(self) -> Catalog:
        assert self._catalog is not None
        return self._catalog

    @property
    def gql(self) -> GraphQL:
        return self.catalog.gql

    @property
    def seed(self) -> Seed:
        return Seed(self.catalog.gql, self.catalog.http)

    async def rows(self, kind: type[R], table: Table) -> list[R]:
        """All rows of a table, by id."""
        scan = Scan(table, table.columns, order=(OrderBy("id"),))
        async with self.services.store.session() as session:
            (batch,) = await session.scan([scan])
        return records(batch, kind)

    async def found_jobs(self, kind: str = jobs.DELETE_BYTES) -> list[JobRecord]:
        """All jobs of a kind."""
        return [job for job in await self.rows(JobRecord, JOBS) if job.kind == kind]

    async def objects(self) -> dict[str, ObjectRecord]:
        """All objects by id."""
        return {row.id: row for row in await self.rows(ObjectRecord, OBJECTS)}

    async def work(self, work: jobs.Work, owner: str = "worker") -> list[str]:
        """Run what is due, one round; the ids of the jobs."""
        taken = await jobs.take(self.services, owner, work.kind, 100)
        for job in taken:
            await run_job(self.services, work, job)
        return [job.id for job in taken]

    async def place(self, object_id: str) -> ObjectLocation:
        """Where the first copy of an object is."""
        (instance, *_) = await self.catalog_instances(object_id)
        return ObjectLocation(instance["storage_id"], instance["key"])

    async def catalog_instances(self, object_id: str) -> list[Data]:
        """The stored instances of an object."""
        return cast(list[Data], orjson.loads((await self.objects())[object_id].instances))

    async def stored(self, location: ObjectLocation) -> bool:
        """Whether there are bytes."""
        return (await self.services.media.stat([location]))[0] is not None

    async def set_object(self, object_id: str, **values: Any) -> None:
        """Change a row as no operation would."""
        changes = ChangeSet(self.services.now_us())
        changes.update.append(Update(OBJECTS, tuple(values), ((object_id, *values.values()),)))
        await self.services.store.commit(changes)

    async def orphan(self, *bodies: bytes, **flow: Any) -> list[str]:
        """Registered objects whose only segments are gone; their flow stays."""
        flow_id = await self.seed.flow(**flow)
        ids = await self.seed.objects(flow_id, *bodies)
        segments = [
            {"objectId": object_id, "timerange": f"[{at}:0_{at + 1}:0)"}
            for at, object_id in enumerate(ids)
        ]
        await self.seed.register(flow_id, segments)
        await self.seed.delete_segments(flow_id)
        return ids


def second_backend(data_dir: Path, backend_id: str, region: str | None = None) -> LocalMedia:
    """Another local folder."""
    return LocalMedia(
        data_dir,
        backend=StorageBackend(id=backend_id, label="second", region=region),
        public_url="http://second.example.com",
        durable=False,
    )


async def write(media: FailingMedia, key: str, body: bytes) -> None:
    """Put bytes into a local backend without an upload."""

    async def blocks() -> AsyncIterator[bytes]:
        yield body

    assert isinstance(media.inner, LocalMedia)
    await media.inner.write(key, blocks(), content_type="video/mp2t")


@asynccontextmanager
async def living(tmp_path: Path, **settings: Any) -> AsyncIterator[World]:
    """A running catalog; background work happens only when a test does it."""
    found: list[World] = []

    def refit(services: Services) -> Services:
        (local,) = services.media
        first = FailingMedia(local)
        second = FailingMedia(second_backend(tmp_path / "second", new_id()))
        store = Interfering(services.store)
        now_us = services.now_us
        world = World(services, store, first, second)
        media = MediaRegistry(cast(list[MediaBackend], [first, second]))
        world.services = replace(
            services,
            store=store,
            media=media,
            now_us=lambda: now_us() + int(world.ahead * SECOND),
        )
        found.append(world)
        return world.services

    chosen = quick_settings(tmp_path / "data", background_work=False, **settings)
    async with running(chosen, refit) as catalog:
        (world,) = found
        world._catalog = catalog
        yield world
