"""What uses an object: found without reading all segments, and exact whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import closing, suppress
from dataclasses import replace
from itertools import combinations

import pyarrow as pa
import pytest
import vastdb
from ibis import _

from tams_gql.store.changes import (
    AddSegments,
    ChangeSet,
    Delete,
    Expect,
    Refer,
    RemoveSegments,
    Stale,
    Update,
)
from tams_gql.store.port import CatalogStore
from tams_gql.store.scan import Among, AnyOf, Not, OrderBy, Scan, eq, is_in
from tams_gql.store.tables import FLOWS, OBJECTS, SEGMENTS
from tams_gql.store.vast.config import VastConfig
from tams_gql.store.vast.layout import ROW_ID, USES, physical_of
from tams_gql.store.vast.reading import scanning
from tams_gql.store.vast.wire.client import VastClient
from tests.store import ask, build
from tests.store.vast.physical import Rows, audit, stored
from tests.store.vast.rivals import open_store
from tests.store.vast.test_write_costs import CLUSTERS
from tests.store.vast.views import fill_long
from tests.vast_emulator import Emulator

_OBJECTS, _SEGMENTS = physical_of(OBJECTS), physical_of(SEGMENTS)
_IDS = ("a", "b", "c", "d")
_FLOW_IDS = ("f", "g", "h")
_SECOND = 1_000_000_000


@pytest.fixture
async def store(config: VastConfig, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[CatalogStore]:
    """A store that takes every table of segments for a long one."""
    monkeypatch.setattr(scanning, "_ROWS_OF_GROUP", -1)
    opened = await open_store(config)
    yield opened
    await opened.close()


def _claim(*object_ids: str) -> ChangeSet:
    """What takes objects out of the catalog if nothing uses them, whatever they are counted."""
    return build.changes(
        expect=[Expect(OBJECTS, (object_id,), {}) for object_id in object_ids],
        delete=[
            Delete(SEGMENTS, (is_in("object_id", object_ids),), count=0),
            Delete(OBJECTS, (is_in("init_object_id", object_ids),), count=0),
            Delete(OBJECTS, (is_in("id", object_ids),)),
        ],
    )


def _add(flow_id: str, start: int, object_id: str) -> ChangeSet:
    """A segment of an object that is there."""
    row = build.segment(flow_id, start, start + 1, object_id=object_id)
    return build.changes(
        expect=[Expect(OBJECTS, (object_id,), {})], add_segments=[AddSegments(flow_id, (row,))]
    )


async def _assert_found(store: CatalogStore, rows: Rows) -> None:
    """Each way of asking finds just the users there are."""
    segments = [(r["flow_id"], r["start_ns"], r["object_id"]) for r in rows["segments"]]
    order = (OrderBy("flow_id"), OrderBy("start_ns"))
    columns = ("flow_id", "start_ns", "object_id")
    inits = {r["id"] for r in rows["objects"] if r["init_object_id"] == "init"}
    through = Among("object_id", OBJECTS, "id", (eq("init_object_id", "init"),))
    asked = [((eq("object_id", i),), None, {i}) for i in _IDS]
    asked += [((is_in("object_id", pair),), None, set(pair)) for pair in combinations(_IDS, 2)]
    for where, matching, ids in [*asked, ((), through, inits)]:
        scan = Scan(SEGMENTS, columns, where, order=order, matching=matching)
        expected = sorted(each for each in segments if each[2] in ids)
        assert await ask.rows(store, scan) == expected
        assert await ask.count(store, scan) == len(expected)
        users = Among("id", SEGMENTS, "flow_id", where, matching)
        flows = Scan(FLOWS, ("id",), order=(OrderBy("id"),), matching=users)
        assert await ask.rows(store, flows) == [(f,) for f in sorted({s[0] for s in expected})]
    rest = Not(AnyOf((eq("object_id", "a"), through)))
    left = sorted(each for each in segments if each[2] not in {"a", *inits})
    assert await ask.rows(store, Scan(SEGMENTS, columns, order=order, matching=rest)) == left


@pytest.mark.parametrize("seed", range(6))
async def test_any_history(store: CatalogStore, config: VastConfig, seed: int) -> None:
    chance = random.Random(seed)
    await store.commit(build.changes(*build.flows(*_FLOW_IDS), build.objects("init")))
    for _nth in range(40):
        object_id, flow_id = chance.choice(_IDS), chance.choice(_FLOW_IDS)
        start = chance.randrange(20)
        row = build.media_object(object_id, init_object_id=chance.choice([None, "init"]))
        needed = [Refer("init", 1)] if row[OBJECTS.columns.index("init_object_id")] else []
        flow = Delete(FLOWS, (eq("id", flow_id),))
        removal = RemoveSegments(flow_id, start, start + chance.randrange(8))
        whole = RemoveSegments(flow_id, 0, 100)
        made = build.changes(build.insert(OBJECTS, row), refer=needed)
        acts = (made, made, _claim(object_id), build.changes(remove_segments=[removal]))
        renewed = build.changes(*build.flows(flow_id), remove_segments=[whole], delete=[flow])
        added = _add(flow_id, start, object_id)
        with suppress(Stale):
            await store.commit(chance.choice((*acts, added, added, added, added, renewed)))
    rows = stored(config)
    assert rows["segments"]
    await _assert_found(store, rows)
    for object_id in _IDS:
        used = any(row["object_id"] == object_id for row in rows["segments"])
        there = any(row["id"] == object_id for row in rows["objects"])
        if used or not there:
            with pytest.raises(Stale):
                await store.commit(_claim(object_id))
        else:
            await store.commit(_claim(object_id))
    rows = stored(config)
    names = {row["id"] for row in rows["objects"]}
    assert {row["object_id"] for row in rows["segments"]} <= names


@pytest.mark.parametrize("way", ["seen", "guarded", "claimed"])
async def test_nothing_that_is_used_is_ever_claimed(
    way: str, config: VastConfig, emulator: Emulator
) -> None:
    # given writers that register and others that take objects away, in stores of their own
    emulator.switches.change(**CLUSTERS[way])
    stores = [await open_store(config) for _ in range(3)]
    await stores[0].commit(build.changes(*build.flows(*_FLOW_IDS), build.objects(*_IDS)))
    done = {"added": 0, "claimed": 0, "refused": 0}

    async def act(store: CatalogStore, number: int) -> None:
        chance = random.Random(number)
        for _nth in range(25):
            object_id, flow_id = chance.choice(_IDS), chance.choice(_FLOW_IDS)
            start = chance.randrange(1_000_000)
            kind = chance.choice(["add", "claim", "remove", "make"])
            change = {
                "add": _add(flow_id, start, object_id),
                "claim": _claim(object_id),
                "remove": build.changes(remove_segments=[RemoveSegments(flow_id, 0, 1_000_001)]),
                "make": build.changes(build.objects(object_id)),
            }[kind]
            try:
                await store.commit(change)
            except Stale:
                done["refused"] += 1
            else:
                done["added"] += kind == "add"
                done["claimed"] += kind == "claim"

    # when
    await asyncio.gather(*(act(store, 3 * n + i) for n, store in enumerate(stores) for i in (1, 2)))
    for store in stores:
        await store.close()
    # then
    assert min(done.values()) > 0, done
    rows = audit(config)
    there = {row["id"] for row in rows["objects"]}
    assert {row["object_id"] for row in rows["segments"]} <= there


def _fill_used(client: VastClient, count: int) -> None:
    """A flow of very many segments, each with an object of its own that says where it is."""
    fill_long(client, "f", _SECOND, count)
    names = [str(number) for number in range(count)]
    columns = {
        "id": names,
        "instances": ["[]"] * count,
        "created": [build.NOW] * count,
        "ref_count": [0] * count,  # wrong, which a claim has to find out
        USES: [f'{{"f":{number * _SECOND}}}' for number in range(count)],
    }
    arrays = [
        pa.array(columns[f.name], f.type) if f.name in columns else pa.nulls(count, f.type)
        for f in _OBJECTS.schema
    ]
    tx = client.begin()
    tx.insert(_OBJECTS, pa.record_batch(arrays, schema=_OBJECTS.schema))
    tx.commit()


async def test_the_cost_does_not_grow_with_the_segments(
    config: VastConfig, client: VastClient, emulator: Emulator
) -> None:
    _fill_used(client, 150_000)
    store = await open_store(config)
    async with store.session() as session:  # know how large the tables are
        await session.scan([Scan(SEGMENTS, ("id",), (eq("object_id", "7"),))])
    references = Scan(SEGMENTS, SEGMENTS.columns, (eq("object_id", "140000"),))
    flows = Among("id", SEGMENTS, "flow_id", (eq("object_id", "140000"),))
    with emulator.counting() as calls:
        async with store.session() as session:
            await session.scan([Scan(OBJECTS, OBJECTS.columns, (eq("id", "140000"),))])
            (found,) = await session.scan([references])
            (users,) = await session.scan([Scan(FLOWS, ("id",), matching=flows)])
    assert found.column("start_ns").to_pylist() == [140_000 * _SECOND]
    assert users.column("id").to_pylist() == ["f"]
    assert [f"{call.kind} {call.table}".strip() for call in calls.rpcs] == [
        "begin",
        "query objects",
        "query segments",
        "query segments",
        "query flows",
        "rollback",
    ]
    assert [call.rows_in_key_range for call in calls.of("query")] == [1, 1, 1, 1]
    # A hundred at once, in use or not, whatever their counts say.
    ids = [str(number) for number in range(0, 50_000, 500)]
    with emulator.counting() as calls, pytest.raises(Stale, match="100 rows of segments match"):
        await store.commit(_claim(*ids))
    assert [(call.table, call.rows_in_key_range) for call in calls.of("query")] == [
        ("objects", 100),
        ("segments", 100),
    ]
    await store.commit(build.changes(remove_segments=[RemoveSegments("f", 0, 50_000 * _SECOND)]))
    with emulator.counting() as calls:
        await store.commit(_claim(*ids))
    assert [(call.table, call.rows_in_key_range) for call in calls.of("query")] == [
        ("objects", 100),
        ("segments", 0),
    ]
    await store.close()


@pytest.mark.parametrize("text", [None, "*"])
async def test_where_nothing_is_told_everything_is_read(
    store: CatalogStore, config: VastConfig, client: VastClient, text: str | None
) -> None:
    await store.commit(
        build.changes(
            *build.flows(*_FLOW_IDS),
            build.objects("init", *_IDS),
            add_segments=[build.segments(flow, [(0, 5)], object_id="a") for flow in _FLOW_IDS],
        )
    )
    needed = Update(OBJECTS, ("init_object_id",), (("b", "init"),))
    await store.commit(build.changes(update=[needed]))
    assert {row["id"]: row[USES] for row in stored(config)["objects"]} == {
        "a": '{"f":0,"g":0,"h":0}',
        "init": "+{}",
        **dict.fromkeys("bcd", "{}"),
    }
    tx = client.begin()
    ids = tx.select(_OBJECTS, (), row_ids=True).column(ROW_ID).combine_chunks()
    texts = pa.array([text] * len(ids), pa.string())
    tx.update(_OBJECTS, pa.record_batch([ids, texts], names=[ROW_ID, USES]))
    tx.commit()
    await _assert_found(store, stored(config))
    for used in ("a", "init"):
        with pytest.raises(Stale):
            await store.commit(_claim(used))
    await store.commit(_claim("c"))
    await store.commit(_add("f", 7, "d"))
    assert {row["id"]: row[USES] for row in stored(config)["objects"]} == dict.fromkeys(
        ("a", "b", "d", "init"), text
    )
    await _assert_found(store, stored(config))


async def test_segments_of_an_object_without_a_row_are_found(
    store: CatalogStore, config: VastConfig
) -> None:
    added = [build.segments("f", [(0, 5), (5, 9)], object_id="a")]
    await store.commit(build.changes(*build.flows("f"), add_segments=added))
    await _assert_found(store, stored(config))


async def test_an_object_in_very_many_flows(store: CatalogStore, config: VastConfig) -> None:
    flows = [f"{number:036}" for number in range(200)]
    await store.commit(build.changes(*build.flows(*flows), build.objects("a")))
    for some in (flows[:100], flows[100:]):
        added = [build.segments(flow, [(10**18, 10**18 + 1)], object_id="a") for flow in some]
        await store.commit(build.changes(add_segments=added))
    (row,) = audit(config)["objects"]
    assert row[USES] == "*"
    await _assert_found(store, stored(config))
    with pytest.raises(Stale):
        await store.commit(_claim("a"))


@pytest.mark.parametrize("plain", [False, True])
def test_no_answer_rests_on_a_projection(
    emulator: Emulator, client: VastClient, config: VastConfig, plain: bool
) -> None:
    # given a cluster whose projections fall behind, and one that would suit our queries
    emulator.switches.projections = "stale"
    fill_long(client, "f", _SECOND, 70_000)
    columns = [(f, "Sorted" if f == "object_id" else "Unsorted") for f in _SEGMENTS.schema.names]
    place = config.bucket, config.schema, "segments"
    tx = client.begin()
    tx.change(lambda api: api.create_projection(*place, "by_object", columns, txid=tx.txid))
    tx.commit()
    tx = client.begin()
    gone = tx.select(_SEGMENTS, (), [eq("object_id", "7")], row_ids=True).column(ROW_ID)
    tx.delete(_SEGMENTS, gone)
    tx.commit()
    # when
    reader = VastClient(replace(config, plain_queries=plain))
    with closing(reader), emulator.counting() as calls:
        found = reader.begin().select(_SEGMENTS, ("object_id",), [is_in("object_id", ["7", "8"])])
    # then
    assert found.column("object_id").to_pylist() == ["8"]
    assert [call.projection for call in calls.of("query")] == [""]
    # although such a query would have met it
    with emulator.counting() as calls:
        session = vastdb.connect(**emulator.session)
        with session.transaction() as other:
            table = other.bucket(config.bucket).schema(config.schema).table("segments")
            stale = table.select(["object_id"], _.object_id.isin(["7", "8"])).read_all()
    assert stale.column("object_id").to_pylist() == ["7", "8"]
    assert {call.projection for call in calls.of("query")} == {"by_object"}
