"""Several server processes on one catalog: one log, one timeline, one of everything."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from tests.catalog import Catalog, quick_settings, serving
from tests.chosen_store import store_environment
from tests.gql import GraphQL
from tests.gql_ws import connected
from tests.processes import Process
from tests.seed import Seed, external, seconds
from tests.waiting import PATIENCE_SECONDS, until

CURSORS = """
subscription($after: String) { segmentsAdded(after: $after) { cursor segments { timerange } } }
"""


class Server:
    """A server process and its catalog."""

    def __init__(self, directory: Path) -> None:
        self.data_dir = directory / "catalog"
        chosen = store_environment(self.data_dir)
        env = {"TAMS_PORT": "0", "TAMS_DATA_DIR": str(self.data_dir), **chosen}
        self.process = Process([sys.executable, "-m", "tams_gql", "serve"], env, directory)
        self.url = self.process.wait_for(r"serves (http://\S+:\d+),")[1]

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """A client of it."""
        async with httpx.AsyncClient(
            base_url=self.url, timeout=PATIENCE_SECONDS, trust_env=False
        ) as http:
            gql = GraphQL(http)
            yield Client(self.url, gql, Seed(gql, http))


@dataclass(frozen=True)
class Client:
    """Speaks to a server process."""

    url: str
    gql: GraphQL
    seed: Seed


@pytest.fixture(scope="module")
def server(catalog_store: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server process for all tests; each makes flows of its own."""
    server = Server(tmp_path_factory.mktemp("process"))
    yield server
    server.process.close()


@pytest.fixture
async def other(server: Server) -> AsyncIterator[Client]:
    """A client of the server process."""
    async with server.client() as client:
        yield client


@pytest.fixture
async def here(server: Server) -> AsyncIterator[Catalog]:
    """A server in this process, on the same catalog."""
    async with serving(quick_settings(server.data_dir)) as catalog:
        yield catalog


async def test_a_commit_of_one_process_reaches_the_subscribers_of_the_others(
    here: Catalog, other: Client
) -> None:
    # given
    mine = Seed(here.gql, here.http)
    flow_id = await mine.flow()
    async with connected(here.settings.public_url) as near, connected(other.url) as far:
        live = await near.subscribe(CURSORS)
        await until(lambda: here.services.feed.subscribers == 1)
        after = here.services.feed.cursor(await here.services.feed.head())
        replayed = await far.subscribe(CURSORS, {"after": after})
        # when both write in turns
        written = [seconds(at, at + 1) for at in range(20)]
        for at, timerange in enumerate(written):
            await (mine, other.seed)[at % 2].register(flow_id, [external(timerange)])
        # then both have everything in one order
        cursors = []
        for stream in (live, replayed):
            added = [(await stream.next())["segmentsAdded"] for _ in written]
            assert [one["segments"][0]["timerange"] for one in added] == written
            cursors.append(added[9]["cursor"])
        # and either goes on from where the other one was
        for socket, cursor in zip((far, near), cursors, strict=True):
            resumed = await socket.subscribe(CURSORS, {"after": cursor})
            added = [(await resumed.next())["segmentsAdded"] for _ in written[10:]]
            assert [one["segments"][0]["timerange"] for one in added] == written[10:]


async def test_writers_in_several_processes_never_overlap(here: Catalog, other: Client) -> None:
    mine = Seed(here.gql, here.http)
    flow_id = await mine.flow()
    places = [seconds(at, at + 1) for at in range(60)]

    async def write(seed: Seed, batch: int) -> int:
        won = 0
        for at in range(0, len(places), batch):
            items = [external(timerange) for timerange in places[at : at + batch]]
            won += (await seed.try_register(flow_id, items))["registeredCount"]
        return won

    writers = [write(seed, batch) for batch in (5, 7, 10, 13) for seed in (mine, other.seed)]
    assert sum(await asyncio.gather(*writers)) == len(places)
    query = """
    query($id: ID!) {
      flow(id: $id) { timerange segments(first: 100) { totalCount nodes { timerange } } }
    }
    """
    for gql in (here.gql, other.gql):
        flow = (await gql.execute(query, {"id": flow_id}))["flow"]
        assert flow == {
            "timerange": "[0:0_60:0)",
            "segments": {
                "totalCount": 60,
                "nodes": [{"timerange": timerange} for timerange in places],
            },
        }


async def test_what_one_process_signs_the_other_serves(here: Catalog, other: Client) -> None:
    mine = Seed(here.gql, here.http)
    flow_id = await mine.flow()
    (object_id,) = await mine.segments(flow_id, "[0:0_1:0)", body=b"shared")
    found = await other.gql.execute(
        "query($id: ID!) { object(id: $id) { getUrls { url } } }", {"id": object_id}
    )
    (url,) = found["object"]["getUrls"]
    assert url["url"].startswith(other.url)
    async with httpx.AsyncClient(timeout=PATIENCE_SECONDS, trust_env=False) as client:
        assert (await client.get(url["url"])).content == b"shared"


async def test_a_stopping_process_ends_its_subscriptions(tmp_path: Path) -> None:
    server = await asyncio.to_thread(Server, tmp_path)
    try:
        async with server.client() as client, connected(server.url) as socket:
            made = await client.seed.put()
            stream = await socket.subscribe(CURSORS, {"after": made["event"]})
            await client.seed.external(made["flow"]["id"], "[0:0_1:0)")
            await stream.next()
            code, _ = await asyncio.to_thread(server.process.stop, signal.SIGTERM, PATIENCE_SECONDS)
            with pytest.raises(ConnectionClosed) as closed:
                await stream.next()
    finally:
        await asyncio.to_thread(server.process.close)
    assert closed.value.rcvd is not None
    assert (code, closed.value.rcvd.code) == (0, 1012)
    assert "Traceback" not in server.process.output
    assert "ERROR" not in server.process.output
