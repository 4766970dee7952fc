"""Upgrading a catalog whose objects do not say where their users are."""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import Any

import pyarrow as pa
import pytest

from tams_gql.model.errors import Unavailable
from tams_gql.store.changes import AddSegments, Refer, RemoveSegments
from tams_gql.store.scan import Scan, eq
from tams_gql.store.tables import FLOWS, OBJECTS, SEGMENTS, SERVICE
from tams_gql.store.vast import upgrade_uses
from tams_gql.store.vast.config import VastConfig
from tams_gql.store.vast.layout import ROW_ID, USES, physical_of, rows_to_batch
from tams_gql.store.vast.schema import check, migrate, require_current
from tams_gql.store.vast.wire.client import VastClient
from tests.store import ask, build
from tests.store.vast.physical import check_uses, stored
from tests.store.vast.rivals import open_store
from tests.vast_emulator import Emulator
from tests.waiting import until

_SERVICE, _OBJECTS, _SEGMENTS, _FLOWS = (
    physical_of(table) for table in (SERVICE, OBJECTS, SEGMENTS, FLOWS)
)
_EXPECTED = {
    "everywhere": '{"f":[0,29],"g":[1,27],"h":0}',
    "twice": '{"f":[4,28]}',
    "once": '{"h":1}',
    "removed": None,
    "allocated": None,
    "init": None,
    "unknown role": '+{"h":2}',
}


def _without_uses(client: VastClient) -> None:
    """Make the catalog one of the first schema version."""
    config = client.config
    column = pa.schema([pa.field(USES, pa.string())])
    place = config.bucket, config.schema, OBJECTS.name
    tx = client.begin()
    tx.change(lambda api: api.drop_columns(*place, column, txid=tx.txid))
    tx.commit()
    _set_version(client, 1)


def _set_version(client: VastClient, version: int) -> None:
    tx = client.begin()
    row = tx.select(_SERVICE, (), [eq("name", "schema_version")], row_ids=True)
    ids = row.column(ROW_ID).combine_chunks()
    tx.update(_SERVICE, pa.record_batch([ids, [str(version)]], names=[ROW_ID, "value"]))
    tx.commit()


@pytest.fixture
async def old(
    config: VastConfig, client: VastClient, monkeypatch: pytest.MonkeyPatch
) -> VastClient:
    """A catalog of the first version, with objects that are used in every way."""
    monkeypatch.setattr(upgrade_uses, "_SEGMENTS_AT_ONCE", 7)
    monkeypatch.setattr(upgrade_uses, "_FLOWS_AT_ONCE", 2)
    store = await open_store(config)
    media = [
        build.media_object(name, role="media", init_object_id="init" if name == "once" else None)
        for name in ("everywhere", "twice", "once", "removed")
    ]
    inserts = [
        *build.flows("f", "g", "h", "without"),
        build.insert(OBJECTS, *media, build.media_object("init", role="init")),
        build.objects("allocated", "unknown role"),
    ]
    await store.commit(build.changes(*inserts, refer=[Refer("init", 1)]))
    added = {"f": range(30), "g": range(1, 30, 2), "h": range(4)}
    for flow_id, starts in added.items():
        rows = (_segment(flow_id, start) for start in starts)
        await store.commit(build.changes(add_segments=[AddSegments(flow_id, tuple(rows))]))
    gone = [RemoveSegments("h", 3, 4), RemoveSegments("g", 29, 30)]
    await store.commit(build.changes(remove_segments=gone))
    await store.close()
    _without_uses(client)
    return client


def _segment(flow_id: str, start: int) -> Any:
    special = {("f", 4): "twice", ("f", 28): "twice", ("h", 1): "once", ("h", 3): "removed"}
    special[("h", 2)] = "unknown role"
    object_id = special.get((flow_id, start), "everywhere")
    return build.segment(flow_id, start, start + 1, object_id=object_id)


def _told(config: VastConfig) -> dict[str, str | None]:
    return {row["id"]: row[USES] for row in stored(config)["objects"]}


async def test_an_upgrade_finds_all_users(
    old: VastClient, config: VastConfig, emulator: Emulator
) -> None:
    assert check(old) == (1, 3)
    with pytest.raises(Unavailable, match="schema version 1, this program needs 3"):
        require_current(old)
    with emulator.counting() as calls:
        assert migrate(old) == (1, 3)
    require_current(old)
    told = _told(config)
    assert {name: text if text is None else _ordered(text) for name, text in told.items()} == (
        _EXPECTED
    )
    rows = stored(config)
    for row in rows["objects"]:
        check_uses(row, rows)
    # Every segment is read once, and two flows at a time at most.
    reads = [call for call in calls.on("segments") if "object_id" in call.columns]
    assert sum(call.rows for call in reads) == 30 + 14 + 3
    assert max(call.rows for call in reads) <= 7 + 1
    # A second time there is nothing to do.
    assert migrate(old) == (3, 3)
    assert _told(config) == told
    store = await open_store(config)
    users = Scan(SEGMENTS, ("flow_id", "start_ns"), (eq("object_id", "twice"),))
    assert sorted(await ask.rows(store, users)) == [("f", 4), ("f", 28)]
    await store.close()


def _ordered(text: str) -> str:
    """The text with its flows in order."""
    mark = "+" if text.startswith("+") else ""
    inner = text.removeprefix("+")[1:-1]
    parts = inner.replace(',"', '\n"').split("\n")
    return f"{mark}{{{','.join(sorted(parts))}}}"


async def test_a_flow_whose_segments_lie_unevenly(
    old: VastClient, config: VastConfig, emulator: Emulator
) -> None:
    """One that began at 1970 by mistake must not bring all the others into one portion."""
    far = 1_700_000_000 * 10**9
    rows = [_segment("g", start) for start in (-far, *range(far, far + 30))]
    with closing(VastClient(config)) as other:
        tx = other.begin()
        tx.insert(_SEGMENTS, rows_to_batch(_SEGMENTS, SEGMENTS.columns, rows))
        found = tx.select(_FLOWS, (), [eq("id", "g")], row_ids=True).column(ROW_ID)
        counters = {"segment_count": 45, "min_start_ns": -far, "max_end_ns": far + 30}
        columns = [found.combine_chunks(), *(pa.array([each]) for each in counters.values())]
        tx.update(_FLOWS, pa.record_batch(columns, names=[ROW_ID, *counters]))
        tx.commit()
    with emulator.counting() as calls:
        assert migrate(old) == (1, 3)
    reads = [call for call in calls.on("segments") if "object_id" in call.columns]
    assert sum(call.rows for call in reads) == 30 + 14 + 3 + 31
    assert max(call.rows for call in reads) <= 7 + 1
    assert _ordered(str(_told(config)["everywhere"])) == (
        f'{{"f":[0,29],"g":[{-far},{far + 29}],"h":0}}'
    )


@pytest.mark.parametrize("nth", [1, 2, 4, 6])
async def test_an_upgrade_goes_on_when_the_cluster_answers_again(
    old: VastClient, config: VastConfig, emulator: Emulator, nth: int
) -> None:
    fault = emulator.faults.fail(500, kinds=("update",), table="objects", nth=nth)
    emulator.faults.drop("write", table="objects", nth=nth)
    assert migrate(old) == (1, 3)
    assert fault.hits == 1
    assert {name: text and _ordered(text) for name, text in _told(config).items()} == _EXPECTED


@pytest.mark.parametrize("nth", [1, 2, 4, 6])
async def test_an_upgrade_that_breaks_off_is_taken_up(
    old: VastClient,
    config: VastConfig,
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
    nth: int,
) -> None:
    fault = emulator.faults.fail(500, kinds=("update",), table="objects", nth=nth, times=None)
    with monkeypatch.context() as patch:
        patch.setattr(upgrade_uses, "_PATIENCE_SECONDS", 0.0)
        with pytest.raises(Unavailable, match="the VAST cluster answered 500"):
            migrate(old)
    assert fault.hits == 1
    emulator.faults.clear()
    # Neither an old server nor a new one takes a catalog that is half upgraded.
    assert check(old) == (2, 3)
    with pytest.raises(Unavailable, match=r"schema version 2, this program needs 3: run `tams-gql"):
        require_current(old)
    emulator.faults.conflict(kinds=("write",), nth=2)
    emulator.faults.drop_commit(applied=True, table="objects")
    emulator.faults.drop_commit(applied=False, table="objects", nth=2)
    assert migrate(old) == (2, 3)
    assert {
        name: _ordered(text or "") if text else None for name, text in _told(config).items()
    } == (_EXPECTED)


async def test_an_old_server_that_goes_on_writing_is_noticed(
    old: VastClient, config: VastConfig, emulator: Emulator
) -> None:
    held = emulator.faults.hold("update", table="objects")
    upgrade = asyncio.create_task(asyncio.to_thread(migrate, old))
    await asyncio.to_thread(held.wait_reached)
    row = dict(zip(SEGMENTS.columns, _segment("f", 100), strict=True))
    with closing(VastClient(config)) as other:
        tx = other.begin()
        tx.insert(_SEGMENTS, rows_to_batch(_SEGMENTS, tuple(row), [tuple(row.values())]))
        tx.commit()
    held.release()
    with pytest.raises(Unavailable, match="servers of an older release write to the catalog"):
        await upgrade
    assert check(old) == (2, 3)
    assert await asyncio.to_thread(migrate, old) == (2, 3)
    assert _ordered(str(_told(config)["everywhere"])) == '{"f":[0,100],"g":[1,27],"h":0}'


async def _serve(config: VastConfig) -> None:
    """Use the catalog that has been upgraded."""
    store = await open_store(config)
    rows = (_segment("f", 1_000), _segment("without", 7))
    for row in rows:
        await store.commit(build.changes(add_segments=[AddSegments(row[0], (row,))]))
    await store.close()


async def _assert_nothing_lost(config: VastConfig) -> None:
    rows = stored(config)
    assert rows["segments"]
    for row in rows["objects"]:
        if row["id"] != "init":  # whether one is needed is not told by segments
            check_uses(row, rows)
    text = {row["id"]: row[USES] for row in rows["objects"]}["everywhere"]
    assert _ordered(text) == '{"f":[0,1000],"g":[1,27],"h":0,"without":7}'


async def test_who_upgrades_more_slowly_than_others_finds_it_done(
    old: VastClient, config: VastConfig, emulator: Emulator
) -> None:
    """As when many servers start at once, each behind an upgrade of its own."""
    held = emulator.faults.hold("query", table="flows")
    slow = asyncio.create_task(asyncio.to_thread(migrate, old))
    await asyncio.to_thread(held.wait_reached)
    with closing(VastClient(config)) as other:
        assert await asyncio.to_thread(migrate, other) == (2, 3)
    await _serve(config)
    held.release()
    assert await slow == (1, 3)
    await _assert_nothing_lost(config)


@pytest.mark.parametrize("isolation", ["snapshot", "read_committed"])
@pytest.mark.parametrize("granularity", ["row", "cell"])
async def test_nobody_uses_a_catalog_while_a_portion_is_written(
    old: VastClient, config: VastConfig, emulator: Emulator, isolation: str, granularity: str
) -> None:
    emulator.switches.change(isolation=isolation, granularity=granularity)
    held = emulator.faults.hold("update", table="objects", nth=2)
    slow = asyncio.create_task(asyncio.to_thread(migrate, old))
    await asyncio.to_thread(held.wait_reached)
    with closing(VastClient(config)) as other, emulator.counting() as calls:
        quick = asyncio.create_task(asyncio.to_thread(migrate, other))
        # It waits for the first; if it did not it would soon be done, and servers would start.
        await until(lambda: quick.done() or any(call.status == 409 for call in calls.rpcs))
        used = quick.done()
        if used:
            await _serve(config)
        held.release()
        assert await slow == (1, 3)
        assert await quick == (2, 3)
    if not used:
        await _serve(config)
    await _assert_nothing_lost(config)


async def test_a_catalog_can_be_repaired_by_filling_it_again(
    old: VastClient, config: VastConfig
) -> None:
    migrate(old)
    tx = old.begin()
    ids = tx.select(_OBJECTS, (), row_ids=True).column(ROW_ID).combine_chunks()
    wrong = pa.array(['{"f":3}'] * len(ids), pa.string())
    tx.update(_OBJECTS, pa.record_batch([ids, wrong], names=[ROW_ID, USES]))
    tx.commit()
    _set_version(old, 2)
    assert migrate(old) == (2, 3)
    rows = stored(config)
    for row in rows["objects"]:
        if row["id"] != "init":  # whether one is needed is not told by segments
            check_uses(row, rows)
