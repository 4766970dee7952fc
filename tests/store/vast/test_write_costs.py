"""What writes cost: calls to the cluster for a whole request, its reads included, counted exactly.

Four ways of keeping writers apart, see ``modes``:

* *seen*: snapshots and conflicts of rows. The commit goes on in the transaction of the reads.
* *own*: the same, but the reads have become old, so the commit begins a transaction of its own;
  only the commit is counted.
* *guarded*: what was committed last is read, and there are conflicts of rows.
* *claimed*: there are no conflicts.

============================================== ==== === ======= =======
request                                        seen own guarded claimed
============================================== ==== === ======= =======
register 100 segments of allocated objects        8   8      13      17
register 100 segments of new, external objects    9   9      13      17
allocate storage for 100 objects                  5   5       8      12
create a flow with its source                    10  10      14      18
create a flow of a source that exists             9   9      13      17
change the label of a flow                        8   6      12      16
delete 80 segments in the middle of a flow        9   9      14      29
delete a flow of 100 segments                    14  13      20      37
============================================== ==== === ======= =======
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tams_gql.context import Context, Limits, ServiceInfo, Services
from tams_gql.events.feed import EventFeed
from tams_gql.media.local import LocalMedia
from tams_gql.media.port import StorageBackend
from tams_gql.media.registry import MediaRegistry
from tams_gql.model.ids import new_id
from tams_gql.model.time import TimeRange
from tams_gql.resolvers.deletion import delete_segments
from tams_gql.resolvers.flow_writes import delete_flow, edit_flow, put_flow
from tams_gql.resolvers.registration import register_segments
from tams_gql.resolvers.storage import allocate_storage
from tams_gql.store.changes import ChangeSet, Committed
from tams_gql.store.port import ReadSession
from tams_gql.store.vast.config import VastConfig
from tams_gql.store.vast.store import VastStore
from tests.vast_emulator import Emulator

T = TypeVar("T")

CLUSTERS = {
    "seen": {"isolation": "snapshot", "conflict": "eager"},
    "own": {"isolation": "snapshot", "conflict": "eager"},
    "guarded": {"isolation": "read_committed", "conflict": "eager"},
    "claimed": {"isolation": "read_committed", "conflict": "none"},
}

COSTS: dict[str, dict[str, int]] = {
    "register allocated": {"seen": 8, "own": 8, "guarded": 13, "claimed": 17},
    "register external": {"seen": 9, "own": 9, "guarded": 13, "claimed": 17},
    "allocate": {"seen": 5, "own": 5, "guarded": 8, "claimed": 12},
    "create with source": {"seen": 10, "own": 10, "guarded": 14, "claimed": 18},
    "create of source": {"seen": 9, "own": 9, "guarded": 13, "claimed": 17},
    "relabel": {"seen": 8, "own": 6, "guarded": 12, "claimed": 16},
    "delete segments": {"seen": 9, "own": 9, "guarded": 14, "claimed": 29},
    "delete flow": {"seen": 14, "own": 13, "guarded": 20, "claimed": 37},
}
"""The table above."""

_BACKEND = StorageBackend(id="8f4a5d1e-5d0c-4a52-9a5e-1f2e8f6c0d11", label="local", default=True)


class CommitsAlone:
    """A store whose commits know nothing of the reads before them; only they are counted."""

    def __init__(self, store: VastStore, emulator: Emulator) -> None:
        self._store = store
        self._emulator = emulator
        self.cost = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def commit(self, changes: ChangeSet, seen: ReadSession | None = None) -> Committed:
        assert seen is not None
        with self._emulator.counting() as calls:
            done = await self._store.commit(changes)
        self.cost = len(calls)
        return done


class Requests:
    """The requests of the table, and what must be there before them."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.flow_id, self.source_id = new_id(), new_id()

    async def make_flow(self, **changed: str) -> None:
        document = {
            "id": self.flow_id,
            "source_id": self.source_id,
            "format": "urn:x-nmos:format:data",
            "codec": "application/json",
            "container": "application/json",
            "essence_parameters": {},
            **changed,
        }
        await self._in_context(lambda ctx: put_flow(ctx, document))

    async def create_of_source(self) -> None:
        await self.make_flow(id=new_id())

    async def allocate(self) -> list[str]:
        made = await self._in_context(lambda ctx: allocate_storage(ctx, self.flow_id, limit=100))
        return [allocation.object_id for allocation in made]

    async def register(self, object_ids: list[str]) -> None:
        items = [
            {"object_id": name, "timerange": f"[{second}:0_{second + 1}:0)"}
            for second, name in enumerate(object_ids)
        ]
        for item in items:
            if not self._services.verify_uploads and item["object_id"].startswith("external"):
                url = f"https://media.example/{item['object_id']}"
                item["get_urls"] = [{"url": url, "label": "elsewhere"}]  # type: ignore[assignment]
        found = await self._in_context(lambda ctx: register_segments(ctx, self.flow_id, items))
        assert [result.error for result in found.results] == [None] * 100

    async def relabel(self) -> None:
        await self._in_context(lambda ctx: edit_flow(ctx, self.flow_id, {"label": "new"}))

    async def delete_segments(self) -> None:
        window = TimeRange.parse("[10:0_90:0)")
        gone = await self._in_context(lambda ctx: delete_segments(ctx, self.flow_id, window, None))
        assert gone.count == 80

    async def delete_flow(self) -> None:
        gone = await self._in_context(lambda ctx: delete_flow(ctx, self.flow_id))
        assert (gone.segment_count, gone.source_deleted) == (100, True)

    async def _in_context(self, request: Callable[[Context], Awaitable[T]]) -> T:
        ctx = Context(self._services)
        try:
            return await request(ctx)
        finally:
            await ctx.close()


@pytest.fixture(params=list(CLUSTERS))
def way(request: pytest.FixtureRequest, emulator: Emulator) -> str:
    """A way to keep writers apart; the cluster is made to need it."""
    chosen = str(request.param)
    emulator.switches.change(**CLUSTERS[chosen])
    return chosen


@pytest.fixture
async def store(way: str, config: VastConfig) -> AsyncIterator[VastStore]:
    """A store on that cluster."""
    opened = await VastStore.open(config)
    assert opened.modes.reads_can_be_trusted == (way in ("seen", "own"))
    yield opened
    await opened.close()


@pytest.mark.parametrize("name", list(COSTS))
async def test_what_a_request_costs(
    name: str, way: str, store: VastStore, emulator: Emulator, tmp_path: Path
) -> None:
    alone = CommitsAlone(store, emulator)
    services = Services(
        store=alone if way == "own" else store,
        media=MediaRegistry([LocalMedia(tmp_path, backend=_BACKEND, public_url="http://a")]),
        feed=EventFeed(store.log),
        limits=Limits(),
        info=ServiceInfo(None, None, "0"),
        verify_uploads=False,
    )
    requests = Requests(services)
    if name != "create with source":
        await requests.make_flow()
    external = [f"external-{i}" for i in range(100)]
    object_ids = await requests.allocate() if name == "register allocated" else external
    if name.startswith("delete"):
        await requests.register(external)
    request: dict[str, Callable[[], Awaitable[Any]]] = {
        "register allocated": lambda: requests.register(object_ids),
        "register external": lambda: requests.register(object_ids),
        "allocate": requests.allocate,
        "create with source": requests.make_flow,
        "create of source": requests.create_of_source,
        "relabel": requests.relabel,
        "delete segments": requests.delete_segments,
        "delete flow": requests.delete_flow,
    }

    with emulator.counting() as calls:
        await request[name]()

    told = [f"{call.kind} {call.table or ''}".strip() for call in calls.rpcs]
    assert (alone.cost if way == "own" else len(calls)) == COSTS[name][way], told
    assert not emulator.open_transactions()
