"""What reads cost, counted by the emulated cluster: calls, rows and columns."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tams_gql.store.changes import Row
from tams_gql.store.scan import (
    CoverageWindow,
    Op,
    OrderBy,
    Partitioned,
    Scan,
    SegmentWindow,
    Tagged,
    TagOp,
    compare,
    eq,
    is_in,
)
from tams_gql.store.tables import FLOW_COUNTERS, FLOWS, OBJECTS, SEGMENTS, SOURCES, Table
from tams_gql.store.vast.reading.scanning import COUNTERS
from tams_gql.store.vast.reading.session import Reads, VastSession
from tams_gql.store.vast.wire.client import VastClient
from tests.store import build
from tests.store.given import MAX_NS, MIN_NS
from tests.store.vast.views import even, fill, fill_long, flow_rows
from tests.vast_emulator import Emulator

_SECOND = 1_000_000_000
_NEWEST = (OrderBy("created", descending=True), OrderBy("id"))


@pytest.fixture
async def reads(client: VastClient) -> AsyncIterator[Reads]:
    opened = Reads(client, lambda: lambda reader: "head")
    yield opened
    await opened.close()


@contextmanager
def _costs(emulator: Emulator, data: int) -> Iterator[Any]:
    """A session's calls: so many queries, and begin and end if there are any."""
    with emulator.counting() as rpcs:
        yield rpcs
    whole = {"query": data, "begin": 1, "rollback": 1} if data else {}
    assert dict(rpcs.counts) == whole


def _catalog(sources: int, flows: int = 2) -> dict[Table, list[Row]]:
    """Each source with some flows of ten segments, each with an object of its own."""
    names = [f"f{i:03}" for i in range(flows * sources)]
    rows = flow_rows({flow: _own_objects(flow) for flow in names})
    rows[FLOWS] = [build.flow(flow, source_id=f"s{i // flows:03}") for i, flow in enumerate(names)]
    rows[SOURCES] = [build.source(f"s{i:03}") for i in range(sources)]
    rows[OBJECTS] = [build.media_object(f"{flow}/{i}") for flow in names for i in range(10)]
    return rows


def _own_objects(flow: str) -> list[Row]:
    at = SEGMENTS.columns.index("object_id")
    segments = even(flow, _SECOND, 10)
    return [(*row[:at], f"{flow}/{i}", *row[at + 1 :]) for i, row in enumerate(segments)]


async def _warm(reads: Reads) -> None:
    """Know how large the tables are, as a server does after its first requests."""
    async with reads.session() as session:
        for table in (SOURCES, FLOWS, OBJECTS):
            await session.scan([Scan(table, table.columns, order=(OrderBy("id"),), limit=1)])


async def _nested(session: VastSession, parents: int, seconds: int) -> int:
    """Sources, their flows, these flows' counters, windows and objects; how many objects."""
    (sources,) = await session.scan([Scan(SOURCES, SOURCES.columns, order=_NEWEST, limit=parents)])
    ids = tuple(sources.column("id").to_pylist())
    pages = Scan(FLOWS, FLOWS.columns, order=_NEWEST, limit=51)
    flows = (await session.partitions(Partitioned(pages, "source_id", ids))).batch
    flow_ids = flows.column("id").to_pylist()
    await session.scan([Scan(FLOW_COUNTERS, FLOW_COUNTERS.columns, (is_in("flow_id", flow_ids),))])
    windows = [
        SegmentWindow(flow, 2 * _SECOND, (2 + seconds) * _SECOND, limit=51) for flow in flow_ids
    ]
    segments = await session.windows(SEGMENTS.columns, windows)
    used = segments.batch.column("object_id").to_pylist()
    (objects,) = await session.scan([Scan(OBJECTS, OBJECTS.columns, (is_in("id", used),))])
    return int(objects.num_rows)


@pytest.mark.parametrize("parents", [1, 200])
async def test_nested_reads_cost_one_query_a_level(
    emulator: Emulator, client: VastClient, reads: Reads, parents: int
) -> None:
    fill(client, _catalog(parents, flows=1))
    await _warm(reads)

    with _costs(emulator, 4) as rpcs:
        async with reads.session() as session:
            assert await _nested(session, parents, 1) == parents

    levels = [(rpc.table, rpc.rows) for rpc in rpcs.of("query")]
    assert levels == [(table, parents) for table in ("sources", "flows", "segments", "objects")]


async def test_hundreds_of_keys_are_one_list(
    emulator: Emulator, client: VastClient, reads: Reads
) -> None:
    fill(client, _catalog(200, flows=2))
    await _warm(reads)

    async with reads.session() as session:
        with emulator.counting() as rpcs:
            assert await _nested(session, 200, 2) == 800

    levels = [len(rpcs.on(table)) for table in ("sources", "flows", "segments", "objects")]
    assert levels == [1, 1, 1, 1]
    assert sum(rpc.rows for rpc in rpcs.of("query")) == 200 + 400 + 800 + 800


async def test_a_point_lookup_is_three_calls_and_nothing_is_none(
    emulator: Emulator, client: VastClient, reads: Reads
) -> None:
    fill(client, _catalog(5))
    flow = Scan(FLOWS, FLOWS.columns, (eq("id", "f003"),))

    with _costs(emulator, 1) as rpcs:
        async with reads.session() as session:
            assert (await session.scan([flow]))[0].num_rows == 1
            counters = Scan(FLOW_COUNTERS, FLOW_COUNTERS.columns, (eq("flow_id", "f003"),))
            assert (await session.scan([counters, flow]))[0].num_rows == 1
    assert rpcs.of("query")[0].rows == 1
    with _costs(emulator, 0):
        async with reads.session() as session:
            assert await session.scan([]) == []
    nobody = Scan(FLOWS, ("id",), (is_in("id", []),))
    with emulator.counting() as rpcs:
        async with reads.session() as session:
            assert (await session.scan([nobody]))[0].num_rows == 0
    assert rpcs["query"] == 0


async def test_windows_of_200_flows_at_one_time(
    emulator: Emulator, client: VastClient, reads: Reads
) -> None:
    flows = {f"f{i:03}": even(f"f{i:03}", _SECOND, 100) for i in range(200)}
    fill(client, flow_rows(flows))

    with _costs(emulator, 2) as rpcs:
        async with reads.session() as session:
            await session.scan([Scan(FLOWS, ("id",), (is_in("id", flows),))])
            windows = [SegmentWindow(f, 20 * _SECOND, 40 * _SECOND, limit=51) for f in flows]
            found = await session.windows(("object_id", "timerange"), windows)

    assert found.offsets == list(range(0, 4_001, 20))
    _, query = rpcs.of("query")
    assert query.rows == 4_000
    assert set(query.pushed_columns) == {"flow_id", "start_ns", "end_ns"}
    assert set(query.columns) == {"flow_id", "start_ns", "end_ns", "object_id", "timerange"}
    assert len(query.ranges("flow_id")) == 200
    assert len(query.ranges("start_ns")) == 1
    # What the sorting key leaves to look at is what lies in the windows.
    assert query.rows_in_key_range == 4_000


async def test_pages_of_flows_of_every_length_and_rate(
    emulator: Emulator, client: VastClient, reads: Reads
) -> None:
    lengths = [_SECOND // 25, _SECOND, 60 * _SECOND, 3_600 * _SECOND]
    counts = [500, 400, 200, 60]
    flows = {
        f"f{i:03}": even(f"f{i:03}", lengths[i % 4], counts[i % 4], i * 7 * _SECOND)
        for i in range(200)
    }
    fill(client, flow_rows(flows))

    async with reads.session() as session:
        await session.scan([Scan(FLOWS, ("id",), (is_in("id", flows),))])
        with emulator.counting() as rpcs:
            windows = [SegmentWindow(flow, MIN_NS, MAX_NS, limit=50) for flow in flows]
            found = await session.windows(("start_ns",), windows)

    assert found.offsets == list(range(0, 10_001, 50))
    assert rpcs["query"] <= 10
    assert sum(rpc.rows for rpc in rpcs.of("query")) < 3 * 10_000


async def test_a_flow_of_a_million_segments(
    emulator: Emulator, client: VastClient, reads: Reads
) -> None:
    million = 1_000_000
    fill_long(client, "f", _SECOND, million)
    pages = [
        SegmentWindow("f", MIN_NS, MAX_NS, limit=51),
        SegmentWindow("f", MIN_NS, MAX_NS, limit=51, reverse=True),
        SegmentWindow("f", 12_345 * _SECOND + 1, MAX_NS, limit=51, after_ns=700_000 * _SECOND),
    ]

    async with reads.session() as session:
        await session.scan([Scan(FLOWS, ("id",), (eq("id", "f"),))])
        for page in pages:
            with emulator.counting() as rpcs:
                assert (await session.windows(("id",), [page])).batch.num_rows == 51
            (query,) = rpcs.of("query")
            assert query.rows < 75
            assert query.rows_in_key_range < 75
        most = SegmentWindow("f", _SECOND, MAX_NS)
        with emulator.counting() as rpcs:
            assert await session.count_windows([most]) == [million - 1]
            (covered,) = await session.coverage([CoverageWindow("f", _SECOND, MAX_NS)])
        assert covered.stretches == ((_SECOND, million * _SECOND),)
        counts = [rpc for rpc in rpcs.of("query") if not rpc.columns]
        portions = [rpc for rpc in rpcs.of("query") if rpc.columns]
        assert sum(rpc.rows for rpc in counts) == sum(rpc.rows for rpc in portions) == million - 1
        assert max(rpc.rows for rpc in portions) <= 131_072


async def test_counts_bring_no_rows(emulator: Emulator, client: VastClient, reads: Reads) -> None:
    tagged = [build.source(f"t{i}", tags='{"a":"b"}') for i in range(3)]
    fill(client, {**_catalog(5), SOURCES: tagged})

    with _costs(emulator, 3) as rpcs:
        async with reads.session() as session:
            assert await session.count([Scan(FLOWS, FLOWS.columns, order=_NEWEST, limit=2)]) == [10]
            by_source = Partitioned(Scan(FLOWS, FLOWS.columns), "source_id", ("s000", "s001"))
            assert await session.count_partitions(by_source) == [2, 2]
            tags = (Tagged("a", TagOp.IN, ("b",)),)
            assert await session.count([Scan(SOURCES, ("id",), tags=tags)]) == [3]

    flows, partitions, sources = rpcs.of("query")
    assert [tuple(rpc.columns) for rpc in (flows, partitions, sources)] == [
        (),
        ("source_id",),
        ("tags",),
    ]
    assert [str(r.operator) for r in sources.ranges("tags")] == ["contains"] * 2


async def test_counting_and_covering_windows(
    emulator: Emulator, client: VastClient, reads: Reads
) -> None:
    fill(client, flow_rows({f: even(f, _SECOND, 100) for f in "fg"}))

    with _costs(emulator, 3) as rpcs:
        async with reads.session() as session:
            await session.scan([Scan(FLOWS, FLOWS.columns, (is_in("id", "fg"),))])
            whole = [SegmentWindow(f, MIN_NS, MAX_NS) for f in "fg"]
            assert await session.count_windows(whole) == [100, 100]
            part = [SegmentWindow(f, 10 * _SECOND, 30 * _SECOND) for f in "fg"]
            assert await session.count_windows(part) == [20, 20]
            covered = await session.coverage([CoverageWindow(f, MIN_NS, MAX_NS) for f in "fg"])
            assert [c.stretches for c in covered] == [((0, 100 * _SECOND),)] * 2

    _, count, coverage = rpcs.of("query")
    assert set(count.columns) == {"flow_id", "start_ns", "end_ns"}
    assert set(coverage.columns) == {"flow_id", "start_ns", "end_ns", "size"}


async def test_lists_bring_the_columns_they_show(
    emulator: Emulator, client: VastClient, reads: Reads
) -> None:
    fill(client, _catalog(5))
    await _warm(reads)

    with _costs(emulator, 2) as rpcs:
        async with reads.session() as session:
            where = (compare("created", Op.GE, build.NOW),)
            shown = Scan(SOURCES, ("id", "label"), where, order=_NEWEST, limit=2)
            assert (await session.scan([shown]))[0].num_rows == 2
            assert (await session.scan([Scan(FLOWS, ("id",), order=_NEWEST)]))[0].num_rows == 10

    sources, flows = rpcs.of("query")
    assert set(sources.columns) == {"id", "label", "created"}
    assert sources.pushed_columns == {"created"}
    assert set(flows.columns) == {"id", "created", *COUNTERS}
