"""Clients that ingest and delete while the object store fails in every way, and what must hold."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx

from tams_gql.context import Services
from tams_gql.loaders.urls import instances_of
from tams_gql.media.port import ObjectLocation
from tams_gql.media.s3.config import S3BackendSettings
from tams_gql.resolvers import jobs
from tams_gql.resolvers.copies import CopyObject
from tams_gql.resolvers.gc import collect
from tams_gql.resolvers.worker import run_job
from tams_gql.store.records import JobRecord, ObjectRecord, records
from tams_gql.store.scan import Scan
from tams_gql.store.tables import JOBS, OBJECTS
from tests.catalog import Catalog, quick_settings, running
from tests.gql import Data
from tests.media.fault_proxy import Fault, FaultProxy, fault_proxy
from tests.media.s3_server import S3Server, started_versitygw
from tests.ports import free_port
from tests.seed import ALLOCATE, DELETE_FLOW, DELETE_SEGMENTS, PUT_FLOW, REGISTER, flow_input

ADD_INSTANCE = """
mutation Add($input: AddObjectInstanceInput!) { addObjectInstance(input: $input) { object { id } } }
"""
FAULTS = (Fault.SLOW_DOWN, Fault.RESET, Fault.LOST_ANSWER, Fault.CUT)
EXPECTED = {"UNAVAILABLE", "CONFLICT", "NOT_FOUND"}
OF_ITEMS = {*EXPECTED, "BAD_USER_INPUT"}  # nothing was uploaded
HOUR = 3600
_UPLOAD_ATTEMPTS = 4


def content_of(object_id: str) -> bytes:
    """The bytes of an object, which its id tells."""
    digest = hashlib.sha256(object_id.encode()).digest()
    return digest * (1 + digest[0])


def faults(seed: int) -> Callable[[str], Fault]:
    """A fault for a fifth of the requests, and for most that delete: those are few."""
    chance = random.Random(seed)

    def choose(request: str) -> Fault:
        deletes = request.startswith("DELETE ") or "?delete" in request
        if chance.random() >= (0.8 if deletes else 0.2):
            return Fault.NONE
        # A deletion whose answer alone is lost has been made.
        return chance.choice(FAULTS[:2] if deletes else FAULTS)

    return choose


class Store:
    """The object store behind the faulty network; it can be stopped and started again."""

    def __init__(self, folder: Path, given: S3Server) -> None:
        self._folder = folder
        self._stack = AsyncExitStack()
        self._port = free_port()
        self.server = given
        self.proxy: FaultProxy | None = None

    @property
    def can_stop(self) -> bool:
        """Whether its own process is ours and keeps what it has."""
        return self.server.kind == "versitygw"

    async def start(self) -> None:
        if self.can_stop:
            options = {"port": self._port}
            started = started_versitygw(self._folder, **options)  # type: ignore[arg-type]
            self.server = await asyncio.to_thread(self._stack_enter, started)

    def _stack_enter(self, started: Any) -> S3Server:
        server: S3Server = started.__enter__()
        self._stack.push_async_callback(asyncio.to_thread, started.__exit__, None, None, None)
        return server

    async def stop(self) -> None:
        await self._stack.aclose()


@dataclass
class Clients:
    """What clients were told; only that is relied on."""

    catalog: Catalog
    upload: httpx.AsyncClient
    chance: random.Random
    local_id: str
    alive: dict[str, list[str]] = field(default_factory=dict)
    """The registered objects of each flow that nobody has tried to delete."""
    told: Counter[str] = field(default_factory=Counter)

    async def ask(self, mutation: str, given: Data) -> Data | None:
        """The payload; None if it failed as it may."""
        answer = await self.catalog.gql.answer(mutation, {"input": given})
        if "errors" not in answer:
            (payload,) = answer["data"].values()
            return dict(payload)
        for error in answer["errors"]:
            assert error["extensions"]["code"] in EXPECTED, error
            self.told[error["extensions"]["code"]] += 1
        return None

    async def ingest(self) -> None:
        """One flow with some segments, as far as the store lets it come."""
        given = flow_input()
        flow_id = given["video"]["id"]
        if await self.ask(PUT_FLOW, given) is None:
            return
        allocated = await self.ask(ALLOCATE, {"flowId": flow_id, "limit": 6})
        if allocated is None:
            return
        objects = allocated["mediaObjects"]
        sent = await asyncio.gather(*(self._put(found) for found in objects))
        # Some are registered although their upload failed: the server has to find out.
        segments = [
            {"objectId": found["objectId"], "timerange": f"[{at}:0_{at + 1}:0)"}
            for at, (found, there) in enumerate(zip(objects, sent, strict=True))
            if there or self.chance.random() < 0.3
        ]
        registered = await self._register(flow_id, segments)
        self.alive[flow_id] = registered
        self.told["registered"] += len(registered)
        await self._use(flow_id, registered)

    async def _register(self, flow_id: str, segments: list[Data]) -> list[str]:
        given = {"flowId": flow_id, "segments": segments}
        payload = await self.ask(REGISTER, given) if segments else None
        results = payload["results"] if payload else []
        for result in results:
            if result["error"] is not None:
                assert result["error"]["code"] in OF_ITEMS, result
                self.told[result["error"]["code"]] += 1
        return [r["segment"]["objectId"] for r in results if r["segment"] is not None]

    async def _use(self, flow_id: str, registered: list[str]) -> None:
        """Copy, delete or reuse, or leave it."""
        match self.chance.randrange(5):
            case 0:
                del self.alive[flow_id]
                await self.ask(DELETE_FLOW, {"id": flow_id})
            case 1 if registered:
                self.alive[flow_id] = []
                await self.ask(DELETE_SEGMENTS, {"flowId": flow_id})
                # An object that is reused in time lives on.
                item = {"objectId": registered[0], "timerange": "[100:0_101:0)"}
                self.alive[flow_id] = await self._register(flow_id, [item])
            case 2 if registered:
                given = {"objectId": registered[0], "storageId": self.local_id}
                await self.ask(ADD_INSTANCE, given)

    async def _put(self, place: Data) -> bool:
        request, body = place["putUrl"], content_of(place["objectId"])
        headers = {header["name"]: header["value"] for header in request["headers"]}
        for _ in range(self.chance.randrange(_UPLOAD_ATTEMPTS)):  # some never try
            try:
                answer = await self.upload.put(request["url"], headers=headers, content=body)
            except httpx.HTTPError:
                self.told["upload failed"] += 1
                continue
            if answer.status_code == httpx.codes.OK:
                return True
            self.told["upload failed"] += 1
        return False


@dataclass
class Chaos:
    """The store, the clients, and the worker that cleans up after them."""

    store: Store
    proxy: FaultProxy
    clients: Clients
    services: Services
    clock: list[int]
    copied: int = 0

    async def run(self, *, seconds: float, seed: int) -> None:
        """Everything at once, with another fault every moment; then time passes."""
        self.proxy.choose = faults(seed)
        end = asyncio.get_running_loop().time() + seconds
        async with asyncio.TaskGroup() as group:
            for work in (*[self.clients.ingest] * 6, self.clean_up):
                group.create_task(_until(end, work))
            moments = itertools.cycle([self._slow, self._unreachable, self._busy, self._restart])
            group.create_task(_until(end, lambda: next(moments)()))

    def pass_time(self, hours: float) -> None:
        """Let everything lapse that clients have left behind."""
        self.clock[0] += int(hours * HOUR) * 1_000_000

    async def clean_up(self) -> None:
        """What a worker does."""
        await collect(self.services)
        for job in await jobs.take(self.services, "chaos", jobs.COPY, 10):
            await run_job(self.services, CopyObject(), job)
            self.copied += 1
        await asyncio.sleep(0.05)

    async def settle(self) -> None:
        """The store works again; a worker goes on until nothing is left to do."""
        self.proxy.choose = lambda request: Fault.NONE
        for _ in range(30):
            self.pass_time(25)
            await self.clean_up()
            if not await self._open_jobs():
                return
        raise AssertionError(f"work is left: {await self._open_jobs()}")

    async def empty(self) -> None:
        """Remove what an earlier storm left in use on a server that outlives it."""
        for media in self.services.media:
            keys = [found.key async for found in media.list_objects()]
            if keys:
                await media.delete(keys)

    async def check(self) -> None:
        """Catalog and stores agree, and nothing that a client relies on is missing."""
        rows = {row.id: row for row in await self._rows(OBJECTS, ObjectRecord)}
        places: dict[ObjectLocation, str] = {}
        for row in rows.values():
            for instance in instances_of(row):
                assert instance.storage_id is not None
                assert instance.key is not None
                places[ObjectLocation(instance.storage_id, instance.key)] = row.id
        stored = {
            ObjectLocation(media.backend.id, found.key)
            for media in self.services.media
            for found in [each async for each in media.list_objects()]
        }
        assert stored == set(places)
        for location, object_id in places.items():
            media = self.services.media.get(location.storage_id)
            assert media is not None
            blocks = [block async for block in media.read(location.key)]
            assert b"".join(blocks) == content_of(object_id)
        relied_on = {id for ids in self.clients.alive.values() for id in ids}
        assert relied_on <= set(rows)
        assert all(rows[id].role is not None for id in rows)

    async def _open_jobs(self) -> list[JobRecord]:
        found = await self._rows(JOBS, JobRecord)
        return [job for job in found if job.state in (jobs.WAITING, jobs.RUNNING)]

    async def _rows(self, table: Any, kind: Any) -> list[Any]:
        async with self.services.store.session() as session:
            (batch,) = await session.scan([Scan(table, table.columns)])
        return list(records(batch, kind))

    async def _slow(self) -> None:
        self.proxy.delay_seconds = 0.1
        await asyncio.sleep(0.4)
        self.proxy.delay_seconds = 0.0

    async def _unreachable(self) -> None:
        await self.proxy.stop()
        await asyncio.sleep(0.3)
        await self.proxy.start()

    async def _busy(self) -> None:
        choose = self.proxy.choose
        self.proxy.always(Fault.SLOW_DOWN)
        await asyncio.sleep(0.3)
        self.proxy.choose = choose

    async def _restart(self) -> None:
        if self.store.can_stop:
            await self.store.stop()
            await self.store.start()
        await asyncio.sleep(0.2)


async def _until(end: float, work: Callable[[], Awaitable[object]]) -> None:
    while asyncio.get_running_loop().time() < end:
        await work()


@asynccontextmanager
async def chaotic(folder: Path, given: S3Server, seed: int) -> AsyncIterator[Chaos]:
    """A catalog whose default storage is a bucket behind a network that can fail."""
    store = Store(folder / "s3", given)
    await store.start()
    host, port = store.server.endpoint.removeprefix("http://").split(":")
    clock = [0]

    def refit(services: Services) -> Services:
        now_us = services.now_us
        return replace(services, now_us=lambda: now_us() + clock[0])

    try:
        async with fault_proxy(host, int(port)) as proxy:
            values = store.server.values(
                endpoint=proxy.url,
                default=True,
                max_attempts=2,
                connect_timeout=1,
                read_timeout=3,
            )
            chosen = quick_settings(
                folder / "data",
                background_work=False,
                storage_backends=(S3BackendSettings.model_validate(values),),
                log_level="error",
            )
            upload = httpx.AsyncClient(timeout=5, trust_env=False)
            async with upload, running(chosen, refit) as catalog:
                services = catalog.services
                local, _ = services.media
                clients = Clients(catalog, upload, random.Random(seed), local.backend.id)
                yield Chaos(store, proxy, clients, services, clock)
    finally:
        await store.stop()
