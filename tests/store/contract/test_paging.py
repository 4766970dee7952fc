"""Order, limits and positions: pages laid side by side are the whole list."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tams_gql.store.port import CatalogStore
from tams_gql.store.scan import Op, OrderBy, Scan, Value, Where, compare, eq
from tams_gql.store.tables import FLOWS, SOURCES
from tests.store import ask, build, naive
from tests.store.given import conditions, examples, integers, orders, texts

_COLUMNS = ("created", "label", "frame_width", "id")


async def _store_flows(store: CatalogStore, *values: dict[str, Any]) -> list[naive.Named]:
    rows = [build.flow(f"f{i}", **each) for i, each in enumerate(values)]
    await store.commit(build.changes(build.insert(FLOWS, *rows)))
    return [dict(zip(FLOWS.columns, row, strict=True)) for row in rows]


async def _ids(store: CatalogStore, *order: OrderBy, **parts: Any) -> list[str]:
    scan = Scan(FLOWS, ("id",), order=order, **parts)
    return [flow_id for (flow_id,) in await ask.rows(store, scan)]


async def _pages(store: CatalogStore, scan: Scan, size: int) -> list[list[tuple[Any, ...]]]:
    """All pages of a scan, each read from the position of the last row before it."""
    pages: list[list[tuple[Any, ...]]] = []
    after: tuple[Value, ...] | None = None
    while True:
        page = Scan(
            scan.table, scan.columns, scan.where, scan.tags, scan.order, limit=size, after=after
        )
        pages.append(await ask.rows(store, page))
        if len(pages[-1]) < size:
            return pages
        last = dict(zip(scan.columns, pages[-1][-1], strict=True))
        after = tuple(last[term.column] for term in scan.order)


async def test_null_sorts_last_and_first_when_descending(store: CatalogStore) -> None:
    await _store_flows(store, {"label": "b"}, {"label": None}, {"label": "a"}, {"label": None})

    assert await _ids(store, OrderBy("label"), OrderBy("id")) == ["f2", "f0", "f1", "f3"]
    assert await _ids(store, OrderBy("label", True), OrderBy("id")) == ["f1", "f3", "f0", "f2"]
    assert await _ids(store, OrderBy("label", True), OrderBy("id", True)) == [
        *("f3", "f1", "f0", "f2")
    ]
    assert await _ids(store, OrderBy("created"), OrderBy("label"), OrderBy("id")) == [
        *("f2", "f0", "f1", "f3")
    ]


async def test_text_sorts_by_code_point(store: CatalogStore) -> None:
    labels = ["b", "B", "é", "", "\U0010ffff", "\uffff", "a", "aa", "\0"]
    await _store_flows(store, *({"label": label} for label in labels))

    found = await ask.rows(store, Scan(FLOWS, ("label",), order=(OrderBy("label"),)))

    assert found == [(label,) for label in sorted(labels)]


async def test_a_limit_counts_over_rows_with_and_without_a_value(store: CatalogStore) -> None:
    await _store_flows(store, {"label": "b"}, {"label": None}, {"label": "a"}, {"label": None})
    order = (OrderBy("label"), OrderBy("id"))

    found = [await _ids(store, *order, limit=limit) for limit in (0, 1, 2, 3, 4, 5)]

    assert found == [["f2", "f0", "f1", "f3"][:limit] for limit in (0, 1, 2, 3, 4, 5)]


async def test_a_position_need_not_belong_to_a_row(store: CatalogStore) -> None:
    await _store_flows(store, {"label": "b"}, {"label": None}, {"label": "d"})
    order = (OrderBy("label"), OrderBy("id"))

    assert await _ids(store, *order, after=("a", "zz")) == ["f0", "f2", "f1"]
    assert await _ids(store, *order, after=("b", "f")) == ["f0", "f2", "f1"]
    assert await _ids(store, *order, after=("b", "f0")) == ["f2", "f1"]
    assert await _ids(store, *order, after=("e", "")) == ["f1"]
    assert await _ids(store, *order, after=(None, "f1")) == []


async def test_a_position_of_a_column_that_may_be_null_alone(store: CatalogStore) -> None:
    await _store_flows(store, {"label": "b"}, {"label": None}, {"label": "a"})

    assert await _ids(store, OrderBy("label"), after=("a",)) == ["f0", "f1"]
    assert await _ids(store, OrderBy("label"), after=(None,)) == []
    assert await _ids(store, OrderBy("label", True), after=(None,)) == ["f0", "f2"]


async def test_a_condition_on_the_ordering_column(store: CatalogStore) -> None:
    await _store_flows(store, {"label": "b"}, {"label": None}, {"label": "a"}, {"label": "c"})
    order = (OrderBy("label", True), OrderBy("id"))
    from_b = (compare("label", Op.GE, "b"),)

    assert await _ids(store, *order, where=from_b) == ["f3", "f0"]
    assert await _ids(store, *order, where=from_b, after=("c", "f3")) == ["f0"]
    assert await _ids(store, *order, where=(eq("label", None),), after=(None, "f0")) == ["f1"]


_values = st.fixed_dictionaries(
    {
        "created": st.integers(0, 3) | integers,
        "label": st.none() | st.sampled_from("ab") | texts,
        "frame_width": st.none() | st.integers(0, 1),
    }
)


@examples(120)
@given(
    values=st.lists(_values, max_size=12),
    order=orders(("created", "label", "frame_width"), "id"),
    where=conditions({"label": texts, "frame_width": integers}, max_size=1),
    size=st.integers(1, 5),
)
async def test_pages_make_up_the_list(
    store: CatalogStore,
    values: list[dict[str, Any]],
    order: tuple[OrderBy, ...],
    where: tuple[Where, ...],
    size: int,
) -> None:
    await ask.wipe(store, FLOWS)
    flows = await _store_flows(store, *values)
    expected = [f for f in naive.ordered(flows, order) if naive.satisfies(f, where)]
    scan = Scan(FLOWS, _COLUMNS, where=where, order=order)

    pages = await _pages(store, scan, size)

    assert [row for page in pages for row in page] == [
        tuple(f[column] for column in _COLUMNS) for f in expected
    ]
    assert all(len(page) == size for page in pages[:-1])
    assert await ask.rows(store, scan) == [row for page in pages for row in page]


@examples(90)
@given(
    values=st.lists(_values, max_size=10),
    order=orders(("created", "label", "frame_width"), "id"),
    position=st.tuples(st.none() | integers, st.none() | texts, st.none() | integers, texts),
)
async def test_any_position(
    store: CatalogStore,
    values: list[dict[str, Any]],
    order: tuple[OrderBy, ...],
    position: tuple[Any, ...],
) -> None:
    await ask.wipe(store, FLOWS)
    flows = await _store_flows(store, *values)
    named = dict(zip(_COLUMNS, position, strict=True))
    after = tuple(named[term.column] for term in order)
    expected = [f["id"] for f in naive.ordered(flows, order) if naive.beyond(f, order, after)]

    assert await _ids(store, *order, after=after) == expected


@pytest.mark.parametrize("descending", [False, True])
async def test_pages_hold_while_rows_come_and_go(store: CatalogStore, descending: bool) -> None:
    order = (OrderBy("created", descending), OrderBy("id", descending))
    rows = [build.source(f"s{i}", created=build.NOW + i // 2) for i in range(10)]
    await store.commit(build.changes(build.insert(SOURCES, *rows)))
    scan = Scan(SOURCES, ("created", "id"), order=order, limit=4)
    first = await ask.rows(store, scan)
    in_between = build.source("s4-new", created=first[1][0])
    await store.commit(build.changes(build.insert(SOURCES, in_between)))

    rest = await ask.rows(store, Scan(SOURCES, ("id",), order=order, after=first[-1]))

    expected = [f"s{i}" for i in range(10)]
    if descending:
        expected.reverse()
    assert [source_id for _, source_id in first] == expected[:4]
    assert [source_id for (source_id,) in rest] == expected[4:]
