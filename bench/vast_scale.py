"""``python -m bench.vast_scale``: what queries cost a VAST database as the catalog grows.

The server runs with ``TAMS_STORE=vast`` on the emulator of the tests, which counts calls, bytes and
the rows that a query has to read. No times: the emulator's are not a cluster's.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import httpx
import orjson

from bench.catalog import SEGMENT_NS, SEGMENTS_PER_FLOW, Place, Shape, is_repeat
from bench.client.writers import external
from bench.queries import queries
from bench.rows import object_row, segment_row
from bench.vast_catalog import fill
from tams_gql.app import create_app
from tams_gql.context import Services
from tams_gql.resolvers.reclaim import lapsed
from tams_gql.settings import Settings
from tams_gql.store.changes import (
    AddSegments,
    ChangeSet,
    Delete,
    Expect,
    Insert,
    RemoveSegments,
)
from tams_gql.store.scan import is_in
from tams_gql.store.tables import OBJECTS, SEGMENTS
from tests.vast_emulator import Emulator, RpcLog

_NS = 1_000_000_000
_REGISTERED = 100
_CLAIMED = 100
_REPEATS = 3  # the least is kept: the server's own background reads may come in between
_QUIET_SECONDS = 2.0
_NEWEST_EVENT = object()
"""Stands for the cursor of the registration that was made before."""
_BEYOND = 1_000_000  # places on a flow's timeline after everything generated

_WINDOW = """query Window($id: ID!, $window: TimeRange!) {
  flow(id: $id) { segments(window: $window, first: 100) { nodes { id timerange objectId } } } }"""
_COVERAGE = """query Coverage($id: ID!, $window: TimeRange!) {
  flow(id: $id) { coverage(window: $window) { ranges duration segmentCount } } }"""
_FLOWS_PAGE = """{ flows(first: 50) { nodes { id label format } } }"""
_OBJECT = """query Object($id: ID!) { object(id: $id) { id size contentType } }"""
_REFERENCES = """query References($id: ID!) {
  object(id: $id) { references(first: 10) { nodes { flow { id } } } } }"""
_EVENTS = """query Events($after: String) {
  events(first: 20, after: $after) { nodes { cursor type } } }"""
_REGISTER = """mutation Register($input: RegisterSegmentsInput!) {
  registerSegments(input: $input) { registeredCount event } }"""


@dataclass(frozen=True, slots=True)
class Ask:
    """One operation whose cost is counted."""

    name: str
    text: str
    variables: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Cost:
    """What one operation cost the database."""

    segments: int
    name: str
    calls: int
    data_calls: int
    bytes_sent: int
    bytes_received: int
    rows_returned: int
    rows_in_key_range: int
    """Rows within the bounds of the sorting keys; whole tables where there is no key."""
    rows_read: int
    """The same, rounded up to row groups of 65,536."""


def asks(shape: Shape) -> Iterator[Ask]:
    """The operations, in the order of the report."""
    flow = shape.id("flow", 0)
    # In the middle, so that as much lies before the window as after it.
    first = SEGMENTS_PER_FLOW // 2 * SEGMENT_NS // _NS
    window = f"[{first}:0_{first + 100}:0)"
    known = {query.name: query for query in queries(shape)}
    yield Ask("source by id", known["Q3"].text, known["Q3"].requests[0].variables)
    object_id = shape.object_id(next(shape.objects()))
    yield Ask("object by id", _OBJECT, {"id": object_id})
    yield Ask("the flows that use an object", _REFERENCES, {"id": object_id})
    yield Ask("window of 100 s of a flow", _WINDOW, {"id": flow, "window": window})
    yield Ask("1,000 segments of a flow", known["Q2"].text, known["Q2"].requests[0].variables)
    yield Ask("coverage of 100 s", _COVERAGE, {"id": flow, "window": window})
    yield Ask(
        "20 sources, flows, segments, objects",
        known["Q1"].text,
        known["Q1"].requests[0].variables,
    )
    yield Ask("page of 50 flows", _FLOWS_PAGE, {})
    yield Ask("100 flows by format and tag", known["Q4"].text, known["Q4"].requests[0].variables)
    yield Ask("register 100 segments", _REGISTER, {"input": {"flowId": flow}})
    yield Ask("look for new events", _EVENTS, {"after": _NEWEST_EVENT})


async def measure(segments: int) -> list[Cost]:
    """Fill a catalog of some segments and count every operation on it."""
    shape = Shape(segments)
    with Emulator() as emulator, tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            store="vast",
            vast_endpoints=(emulator.url,),
            vast_access_key=emulator.access_key,
            vast_secret_key=emulator.secret_key,
            vast_bucket=emulator.bucket,
            data_dir=Path(folder),
            event_poll_ms=60_000,
            request_timeout=600,
        )
        await asyncio.to_thread(fill, settings, shape)
        running: list[Services] = []
        app = create_app(settings, lambda found: _noted(found, running))
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url=settings.public_url, timeout=600
        )
        async with app.router.lifespan_context(app), client:
            await _quiet(emulator)
            asker = _Asker(segments, client, emulator)
            costs = [await asker.cost(ask) for ask in asks(shape)]
            least = partial(_least, segments, emulator)
            costs.append(await least("look for lapsed objects", partial(_look, running[0])))
            claims = [await _unused(running[0], shape, number) for number in range(_REPEATS)]
            claim = partial(_claim, running[0], claims)
            return [*costs, await least("take 100 objects away", claim)]


async def _least(
    segments: int, emulator: Emulator, name: str, work: Callable[[], Awaitable[None]]
) -> Cost:
    """The least that some work cost: the server's own background reads may come in between."""
    costs = []
    for _ in range(_REPEATS):
        with emulator.counting() as log:
            await work()
        costs.append(await asyncio.to_thread(_summed, segments, name, log))
    return min(costs, key=lambda cost: (cost.calls, cost.rows_read))


async def _look(services: Services) -> None:
    async for _ in lapsed(services):
        raise SystemExit("bench: no object should have lapsed")


async def _unused(services: Services, shape: Shape, number: int) -> tuple[str, ...]:
    """Objects of segments that have been deleted."""
    flow_id, first = shape.id("flow", 0), _BEYOND * (2 + number)
    places = [Place(0, nth) for nth in range(first, first + 2 * _CLAIMED) if not is_repeat(nth)]
    places = places[:_CLAIMED]
    storage_id = shape.id("storage")
    objects = [object_row(shape, place, storage_id)._replace(ref_count=0) for place in places]
    rows = tuple(segment_row(shape, flow_id, place) for place in places)
    made = ChangeSet(services.now_us())
    made.insert.append(Insert(OBJECTS, OBJECTS.columns, tuple(objects)))
    made.add_segments.append(AddSegments(flow_id, rows))
    await services.store.commit(made)
    gone = ChangeSet(services.now_us())
    gone.remove_segments.append(RemoveSegments(flow_id, rows[0].start_ns, rows[-1].end_ns))
    await services.store.commit(gone)
    return tuple(row.id for row in objects)


async def _claim(services: Services, waiting: list[tuple[str, ...]]) -> None:
    """Take some of the objects out of the catalog, with the proofs that nothing uses them."""
    ids = waiting.pop()
    changes = ChangeSet(services.now_us())
    changes.expect += [Expect(OBJECTS, (object_id,), {"ref_count": 0}) for object_id in ids]
    changes.delete += [
        Delete(SEGMENTS, (is_in("object_id", ids),), count=0),
        Delete(OBJECTS, (is_in("init_object_id", ids),), count=0),
        Delete(OBJECTS, (is_in("id", ids),), count=len(ids)),
    ]
    await services.store.commit(changes)


async def _quiet(emulator: Emulator) -> None:
    """Wait until what a server does at its start has been done."""
    seen = -1
    while (now := emulator.counts.total()) != seen:
        seen = now
        await asyncio.sleep(_QUIET_SECONDS)


def _noted(services: Services, running: list[Services]) -> Services:
    running.append(services)
    return services


class _Asker:
    """Asks a server and counts what its database is asked."""

    def __init__(self, segments: int, client: httpx.AsyncClient, emulator: Emulator) -> None:
        self._segments = segments
        self._client = client
        self._emulator = emulator
        self._newest_event = ""
        self._next_place = _BEYOND

    async def cost(self, ask: Ask) -> Cost:
        """What an operation cost."""
        costs = []
        for _ in range(_REPEATS):
            with self._emulator.counting() as log:
                await self._post(ask)
            costs.append(await asyncio.to_thread(_summed, self._segments, ask.name, log))
        return min(costs, key=lambda cost: (cost.calls, cost.rows_read))

    async def _post(self, ask: Ask) -> None:
        variables: dict[str, Any] = {
            name: self._newest_event if value is _NEWEST_EVENT else value
            for name, value in ask.variables.items()
        }
        if ask.text is _REGISTER:
            segments = external(self._next_place, _REGISTERED)
            self._next_place += _REGISTERED
            variables["input"] = {**variables["input"], "segments": segments}
        body = {"query": ask.text, "variables": variables}
        answer = await self._client.post("/graphql", json=body)
        answer.raise_for_status()
        if "errors" in answer.json():
            raise SystemExit(f"bench: {ask.name}: {answer.text[:500]}")
        registered = answer.json()["data"].get("registerSegments")
        if registered:
            self._newest_event = registered["event"]


def _summed(segments: int, name: str, log: RpcLog) -> Cost:
    queries_made = log.of("query")
    return Cost(
        segments=segments,
        name=name,
        calls=len(log),
        data_calls=len(log.of("query", "insert", "update", "delete")),
        bytes_sent=sum(rpc.bytes_in for rpc in log),
        bytes_received=sum(rpc.bytes_out for rpc in log),
        rows_returned=sum(rpc.rows for rpc in queries_made),
        rows_in_key_range=sum(rpc.rows_in_key_range for rpc in queries_made),
        rows_read=sum(rpc.rows_scanned for rpc in queries_made),
    )


def table(costs: list[Cost]) -> str:
    """The costs as a table in Markdown, one operation after the other."""
    titles = [
        *("Operation", "Segments", "Calls", "of data", "KiB sent", "KiB received"),
        *("Rows returned", "in key range", "in row groups"),
    ]
    lines = [f"| {' | '.join(titles)} |", "|---|" + "---:|" * (len(titles) - 1)]
    for name in dict.fromkeys(cost.name for cost in costs):
        for cost in (cost for cost in costs if cost.name == name):
            cells = (
                *(name, f"{cost.segments:,}", f"{cost.calls}", f"{cost.data_calls}"),
                *(f"{cost.bytes_sent / 1024:,.1f}", f"{cost.bytes_received / 1024:,.1f}"),
                *(f"{cost.rows_returned:,}", f"{cost.rows_in_key_range:,}"),
                f"{cost.rows_read:,}",
            )
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


@click.command()
@click.option(
    "--segments",
    "sizes",
    multiple=True,
    type=click.IntRange(min=1000),
    default=(10_000, 100_000, 1_000_000),
    show_default=True,
    help="Sizes of the catalog; a million takes some minutes and 3 GB of memory.",
)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Also as JSON.")
def main(sizes: tuple[int, ...], output: Path | None) -> None:
    """Count what queries cost as the catalog grows, and print a table."""
    costs: list[Cost] = []
    for size in sizes:
        click.echo(f"{size:,} segments ...", err=True)
        costs += asyncio.run(measure(size))
    click.echo(table(costs))
    if output is not None:
        output.write_bytes(orjson.dumps([asdict(cost) for cost in costs]))


if __name__ == "__main__":
    sys.exit(main())
