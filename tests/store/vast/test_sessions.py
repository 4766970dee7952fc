"""Read sessions on an emulated cluster that fails, forgets and is slow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tams_gql.model.errors import Unavailable
from tams_gql.store.scan import OrderBy, Scan, SegmentWindow, eq
from tams_gql.store.tables import FLOWS, SEGMENTS, SOURCES
from tams_gql.store.vast.config import VastConfig
from tams_gql.store.vast.layout import physical_of
from tams_gql.store.vast.reading.session import Reads
from tams_gql.store.vast.wire.client import VastClient
from tests.store import ask, build
from tests.store.given import MAX_NS
from tests.store.vast.views import even, fill, flow_rows
from tests.vast_emulator import Emulator
from tests.waiting import until

_ALL = Scan(SOURCES, ("id",), order=(OrderBy("id"),))
_HELD_SECONDS = 60.0
"""How long the emulator holds a call back by itself."""


@pytest.fixture
async def reads(client: VastClient) -> AsyncIterator[Reads]:
    """The reads of a catalog with two sources."""
    fill(client, {SOURCES: [build.source("a"), build.source("b")]})
    opened = Reads(client, lambda: lambda reader: f"{reader.count(physical_of(SOURCES))} events")
    yield opened
    await opened.close()


async def _ids(reads: Reads) -> list[str]:
    async with reads.session() as session:
        (found,) = await session.scan([_ALL])
    return [source_id for (source_id,) in ask.plain(found)]


async def _none_open(emulator: Emulator) -> None:
    """Wait until every transaction has ended."""
    await until(lambda: not emulator.open_transactions())


async def test_a_view_that_has_expired_is_unavailable(emulator: Emulator, reads: Reads) -> None:
    async with reads.session() as session:
        assert await session.count([_ALL]) == [2]
        emulator.expire_transactions()
        for _ in range(2):
            with pytest.raises(Unavailable, match="has expired; read again"):
                await session.count([_ALL])
    assert await _ids(reads) == ["a", "b"]


async def test_a_view_that_expires_before_its_first_answer_is_begun_again(
    emulator: Emulator, reads: Reads
) -> None:
    emulator.faults.expire("query")

    with emulator.counting() as rpcs:
        assert await _ids(reads) == ["a", "b"]

    assert rpcs["begin"] == 2
    assert not emulator.open_transactions()


async def test_a_first_read_that_fails_ends_its_transaction(
    emulator: Emulator, reads: Reads
) -> None:
    fault = emulator.faults.fail(500, kinds=("query",), times=None)

    async with reads.session() as session:
        with pytest.raises(Unavailable):
            await session.scan([_ALL])
        assert not emulator.open_transactions()
        emulator.faults.remove(fault)
        (found,) = await session.scan([_ALL])
        assert found.num_rows == 2
    assert not emulator.open_transactions()


async def test_a_cancelled_read_leaves_no_transaction(emulator: Emulator, reads: Reads) -> None:
    hold = emulator.faults.hold("query")

    task = asyncio.create_task(_ids(reads))
    await asyncio.to_thread(hold.wait_reached)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, _HELD_SECONDS / 2)
    assert emulator.open_transactions()
    hold.release()

    await _none_open(emulator)
    assert await _ids(reads) == ["a", "b"]


async def test_reads_of_one_view_see_one_state(
    emulator: Emulator, client: VastClient, reads: Reads
) -> None:
    async with reads.session() as session:
        assert await session.head() == "2 events"
        fill(client, {SOURCES: [build.source("c")]})
        assert await session.count([_ALL]) == [2]
        assert await session.head() == "2 events"
    assert await _ids(reads) == ["a", "b", "c"]


async def test_reads_without_transactions_are_one_call_each(
    emulator: Emulator, config: VastConfig, reads: Reads
) -> None:
    direct = VastClient(replace(config, reads="direct"))
    opened = Reads(direct, lambda: lambda reader: "head")

    with emulator.counting() as rpcs:
        assert await _ids(opened) == ["a", "b"]
        async with opened.session() as session:
            assert await session.count([_ALL, _ALL]) == [2, 2]
            assert await session.snapshot.take() is None

    assert dict(rpcs.counts) == {"query": 3}
    await opened.close()
    direct.close()


async def test_overlapping_segments_of_a_cluster_without_conflicts(
    emulator: Emulator, client: VastClient, reads: Reads
) -> None:
    late = build.segment("f", 15, 25, id="late", created=build.NOW + 1)
    fill(client, flow_rows({"f": [*even("f", 10, 5), late]}))

    async with reads.session() as session:
        window = SegmentWindow("f", 0, MAX_NS, limit=4)
        found = await session.windows(("start_ns",), [window])
        (flow,) = await session.scan([Scan(FLOWS, ("id",), (eq("id", "f"),))])

    assert ask.plain(found.batch) == [(0,), (10,), (20,), (30,)]
    assert flow.num_rows == 1
    assert reads.tally.duplicates_seen == 1


async def test_a_closed_store_reads_nothing(client: VastClient) -> None:
    reads = Reads(client, lambda: lambda reader: "head")
    session = reads.open()
    await session.windows(SEGMENTS.columns, [SegmentWindow("f", 0, 1)])
    await reads.close()

    with pytest.raises(Unavailable, match="the catalog store is closed"):
        await session.count([_ALL])
    await session.snapshot.close()
