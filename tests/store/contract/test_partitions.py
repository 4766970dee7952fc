"""One scan for many keys: order, limit and position count within each key."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tams_gql.store.changes import Insert
from tams_gql.store.port import CatalogStore
from tams_gql.store.scan import OrderBy, Partitioned, Scan, Tagged, TagOp, Value, eq
from tams_gql.store.tables import COLLECTIONS, FLOWS
from tests.store import ask, build, naive
from tests.store.given import examples, orders, texts

_ORDER = (OrderBy("created"), OrderBy("id"))


async def _store_flows(store: CatalogStore, *values: dict[str, Any]) -> list[naive.Named]:
    rows = [build.flow(f"f{i}", **each) for i, each in enumerate(values)]
    await store.commit(build.changes(build.insert(FLOWS, *rows)))
    return [dict(zip(FLOWS.columns, row, strict=True)) for row in rows]


async def _counts(store: CatalogStore, partitioned: Partitioned) -> list[int]:
    async with store.session() as session:
        return await session.count_partitions(partitioned)


async def test_answers_come_in_the_order_of_the_keys(store: CatalogStore) -> None:
    sources = ["a", "b", "a", "c", "a"]
    await _store_flows(store, *({"source_id": s, "created": -i} for i, s in enumerate(sources)))
    scan = Scan(FLOWS, ("id",), order=_ORDER)
    partitioned = Partitioned(scan, "source_id", ("c", "nobody", "a", "c", ""))

    assert await ask.partitions(store, partitioned) == [
        [("f3",)],
        [],
        [("f4",), ("f2",), ("f0",)],
        [("f3",)],
        [],
    ]
    assert await _counts(store, partitioned) == [1, 0, 3, 1, 0]


async def test_no_keys_no_groups(store: CatalogStore) -> None:
    partitioned = Partitioned(Scan(FLOWS, ("id",), order=_ORDER), "source_id", ())

    assert await ask.partitions(store, partitioned) == []
    assert await _counts(store, partitioned) == []


async def test_limit_and_position_hold_within_each_key(store: CatalogStore) -> None:
    values = [{"source_id": "ab"[i % 2], "created": i // 4} for i in range(12)]
    await _store_flows(store, *values)
    scan = Scan(FLOWS, ("id",), order=_ORDER, limit=2, after=(0, "f2"))
    partitioned = Partitioned(scan, "source_id", ("a", "b"))

    assert await ask.partitions(store, partitioned) == [
        [("f4",), ("f6",)],
        [("f3",), ("f5",)],
    ]
    assert await _counts(store, partitioned) == [6, 6]


async def test_conditions_and_tags_hold_within_each_key(store: CatalogStore) -> None:
    red = build.tags_json({"colour": "red"})
    values: list[dict[str, Any]] = [
        {"source_id": "a", "codec": "video/raw", "tags": red},
        {"source_id": "a", "codec": "video/raw"},
        {"source_id": "b", "codec": "video/h264", "tags": red},
        {"source_id": "b", "codec": "video/raw", "tags": red},
    ]
    await _store_flows(store, *values)
    scan = Scan(
        FLOWS,
        ("id",),
        where=(eq("codec", "video/raw"),),
        tags=(Tagged("colour", TagOp.IN, ("red",)),),
        order=_ORDER,
    )
    partitioned = Partitioned(scan, "source_id", ("a", "b", "c"))

    assert await ask.partitions(store, partitioned) == [[("f0",)], [("f3",)], []]
    assert await _counts(store, partitioned) == [1, 1, 0]


async def test_a_key_with_the_null_character(store: CatalogStore) -> None:
    await _store_flows(store, {"source_id": "a"}, {"source_id": "a\0"}, {"source_id": "a\0b"})
    partitioned = Partitioned(Scan(FLOWS, ("id",)), "source_id", ("a\0b", "a", "a\0c"))

    assert await ask.partitions(store, partitioned) == [[("f2",)], [("f0",)], []]
    assert await _counts(store, partitioned) == [1, 1, 0]


async def test_members_of_a_collection_from_either_end(store: CatalogStore) -> None:
    members = [("p", 1, "c2"), ("p", 0, "c1"), ("q", 0, "c1")]
    columns = ("parent_id", "position", "child_id", "parent_source_id", "child_source_id")
    rows = tuple((*member, "s1", "s2") for member in members)
    await store.commit(
        build.changes(insert=[Insert(COLLECTIONS, columns, rows)]),
    )
    children = Scan(COLLECTIONS, ("child_id",), order=(OrderBy("position"),))
    parents = Scan(COLLECTIONS, ("parent_id",), order=(OrderBy("parent_id"),))

    down = await ask.partitions(store, Partitioned(children, "parent_id", ("p", "q")))
    up = await ask.partitions(store, Partitioned(parents, "child_id", ("c1", "c2")))

    assert down == [[("c1",), ("c2",)], [("c1",)]]
    assert up == [[("p",), ("q",)], [("p",)]]


_values = st.fixed_dictionaries(
    {
        "source_id": st.sampled_from("abc"),
        "created": st.integers(0, 2),
        "label": st.none() | texts,
    }
)


@examples(90)
@given(
    values=st.lists(_values, max_size=12),
    order=orders(("created", "label"), "id"),
    keys=st.lists(st.sampled_from("abcd"), max_size=5).map(tuple),
    limit=st.none() | st.integers(0, 3),
    position=st.none() | st.tuples(st.integers(0, 2), st.none() | texts, st.just("f3")),
)
async def test_any_partitions(
    store: CatalogStore,
    values: list[dict[str, Any]],
    order: tuple[OrderBy, ...],
    keys: tuple[str, ...],
    limit: int | None,
    position: tuple[Any, ...] | None,
) -> None:
    await ask.wipe(store, FLOWS)
    flows = await _store_flows(store, *values)
    named = dict(zip(("created", "label", "id"), position or (), strict=False))
    after: tuple[Value, ...] | None = (
        tuple(named[term.column] for term in order) if position else None
    )
    partitioned = Partitioned(
        Scan(FLOWS, ("id",), order=order, limit=limit, after=after), "source_id", keys
    )

    def expected(key: str) -> list[tuple[str]]:
        found = [f for f in naive.ordered(flows, order) if f["source_id"] == key]
        seen = [f for f in found if after is None or naive.beyond(f, order, after)]
        return [(f["id"],) for f in seen[:limit]]

    assert await ask.partitions(store, partitioned) == [expected(key) for key in keys]
    assert await _counts(store, partitioned) == [
        sum(f["source_id"] == key for f in flows) for key in keys
    ]
