"""Scans over tables in memory: what is read for them, and how often."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tams_gql.store.changes import Row
from tams_gql.store.scan import (
    Among,
    AnyOf,
    Not,
    Op,
    OrderBy,
    Partitioned,
    Scan,
    Tagged,
    TagOp,
    compare,
    eq,
    is_in,
)
from tams_gql.store.tables import FLOW_COUNTERS, FLOWS, OBJECTS, SOURCES
from tams_gql.store.vast.layout import physical_of
from tams_gql.store.vast.reading import long_lists
from tams_gql.store.vast.reading import scanning as module
from tams_gql.store.vast.reading.partitions import partition_counts, partitioned_rows
from tams_gql.store.vast.reading.scanning import COUNTERS, counted, scanned
from tests.store import ask, build, naive
from tests.store.given import conditions, examples, integers, orders, texts
from tests.store.vast.memory import MemoryTx
from tests.store.vast.views import even, flow_rows, view_of

_NEWEST = (OrderBy("created", descending=True), OrderBy("id", descending=True))


def _sources(count: int) -> list[Row]:
    return [build.source(f"s{i:03}", created=build.NOW + i, label=f"{i % 7}") for i in range(count)]


def _ids(batch: Any) -> list[str]:
    return list(batch.column("id").to_pylist())


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every table with more than three rows counts as large."""
    monkeypatch.setattr(module, "_WIDE_ROWS", 3)
    monkeypatch.setattr(module, "_PUSHED_KEYS", 2)
    monkeypatch.setattr(module, "_MANY_KEYS", 4)


def test_rows_by_key_are_read_once() -> None:
    tx = MemoryTx({OBJECTS: [build.media_object(f"o{i}", size=i) for i in range(5)]})
    view = view_of(tx)

    def read(*keys: str, **parts: Any) -> list[Any]:
        scan = Scan(OBJECTS, ("id", "size"), (is_in("id", keys),), **parts)
        return ask.plain(scanned(view, scan))

    assert read("o3", "o1", "nothing") == [("o3", 3), ("o1", 1)]
    assert read("nothing", "o1") == [("o1", 1)]
    assert read("o1", "o3", order=(OrderBy("id", True),), limit=1) == [("o3", 3)]
    assert read("o1", "o3", matching=eq("size", 1)) == [("o1", 1)]
    assert read() == []
    assert [call.rows for call in tx.calls] == [2]
    assert read("o1", "o2") == [("o1", 1), ("o2", 2)]
    assert tx.calls[1].where == (is_in("id", ["o2"]),)
    known = view.rows.rows(physical_of(OBJECTS), ["o2", "o3"], ["id", "$row_id"])
    assert known is not None
    assert [int(each) for each in known.column("$row_id").to_pylist()] == [2, 3]


def test_a_flow_brings_its_counters() -> None:
    tx = MemoryTx(flow_rows({"f": even("f", 10, 3), "g": [], "h": even("h", 10, 2)}))
    counters = Scan(FLOW_COUNTERS, ("flow_id", "segment_count"), (is_in("flow_id", "fgh"),))
    every = [Scan(FLOWS, ("id",), (is_in("id", "fgh"),)), Scan(FLOWS, ("id",), order=_NEWEST)]
    partitioned = Partitioned(Scan(FLOWS, ("id",)), "source_id", ("source",))

    for read in every:
        view = view_of(tx)
        scanned(view, read)
        tx.calls.clear()
        assert ask.plain(scanned(view, counters)) == [("f", 3), ("g", 0), ("h", 2)]
        assert tx.calls == []
    view = view_of(tx)
    partitioned_rows(view, partitioned)
    assert scanned(view, counters).num_rows == 3
    assert len(tx.calls) == 1


def test_only_what_is_needed_is_read() -> None:
    tx = MemoryTx({SOURCES: _sources(9), FLOWS: [build.flow("f", source_id="s001")]})
    view = view_of(tx)
    condition = AnyOf((eq("flow_count", 7), Tagged("a", TagOp.ABSENT)))

    scan = Scan(SOURCES, ("label",), order=_NEWEST, matching=condition)
    assert len(scanned(view, scan)) == counted(view, scan) == 9
    assert [set(call.columns) for call in tx.calls] == [
        {"label", "created", "id", "flow_count", "tags"},
        {"flow_count", "tags"},
    ]
    tx.calls.clear()
    assert counted(view, Scan(SOURCES, ("id",), (eq("label", "1"),))) == 2
    assert [(call.kind, call.where) for call in tx.calls] == [("count", (eq("label", "1"),))]
    tx.calls.clear()
    assert _ids(scanned(view, Scan(FLOWS, ("id",), order=(OrderBy("id"),)))) == ["f"]
    assert [set(call.columns) for call in tx.calls] == [{"id", *COUNTERS}]


def test_a_few_rows_of_another_table_are_pushed_down() -> None:
    flows = [build.flow(f"f{i}", source_id=f"s{i:03}", codec="c") for i in range(4)]
    tx = MemoryTx({SOURCES: _sources(9), FLOWS: flows})
    view = view_of(tx)
    of_flows = Among("id", FLOWS, "source_id", (eq("codec", "c"),))

    assert counted(view, Scan(SOURCES, ("id",), matching=of_flows)) == 4
    assert counted(view, Scan(SOURCES, ("id",), matching=Not(of_flows))) == 5
    assert [(call.table, call.kind) for call in tx.calls] == [
        *(("flows", "select"), ("sources", "count")),
        *(("flows", "select"), ("sources", "select")),
    ]
    assert set(tx.calls[0].columns) == {"id", "source_id"}


@pytest.mark.usefixtures("large")
def test_a_page_of_a_large_table_is_found_before_it_is_read() -> None:
    tx = MemoryTx({SOURCES: _sources(50)})
    view = view_of(tx)
    scan = Scan(SOURCES, ("id", "label"), order=_NEWEST, limit=2)

    assert _ids(scanned(view, scan)) == ["s049", "s048"]
    assert [call.kind for call in tx.calls] == ["estimate", "select", "select"]
    assert [call.rows for call in tx.calls] == [0, 50, 2]
    assert set(tx.calls[1].columns) == {"created", "id"}
    tx.calls.clear()
    after = Scan(SOURCES, ("id", "label"), order=_NEWEST, limit=3, after=(build.NOW + 10, "s010"))
    assert _ids(scanned(view, after)) == ["s009", "s008", "s007"]
    assert [call.rows for call in tx.calls] == [11, 3]
    tx.calls.clear()
    nothing = Scan(SOURCES, ("id", "label"), (eq("label", "no"),), order=_NEWEST, limit=3)
    assert scanned(view, nothing).num_rows == 0
    assert len(tx.calls) == 1


@pytest.mark.usefixtures("large")
def test_many_keys_of_a_small_table_are_not_sent() -> None:
    tx = MemoryTx({SOURCES: _sources(9)})
    view = view_of(tx)
    keys = [f"s{i:03}" for i in range(5, 20)]

    assert _ids(scanned(view, Scan(SOURCES, ("id",), (is_in("id", keys),)))) == keys[:4]
    assert [(call.kind, call.where) for call in tx.calls] == [("estimate", ()), ("select", ())]
    assert view.rows.unknown(physical_of(SOURCES), ["s000", *keys], ["id"]) == ["s000"]


_values = st.fixed_dictionaries(
    {
        "source_id": st.sampled_from("abc"),
        "created": st.integers(0, 2),
        "label": st.none() | texts,
    }
)


@pytest.mark.usefixtures("large")
@examples(300)
@given(
    values=st.lists(_values, max_size=12),
    order=orders(("created", "label"), "id"),
    keys=st.lists(st.sampled_from("abcdefg"), max_size=9).map(tuple),
    limit=st.none() | st.integers(0, 3),
    position=st.none() | st.tuples(st.integers(0, 2), st.none() | texts, st.just("f3")),
    where=conditions({"label": texts, "frame_width": integers}, max_size=1),
)
def test_pages_of_large_tables_are_right(
    values: list[dict[str, Any]],
    order: tuple[OrderBy, ...],
    keys: tuple[str, ...],
    limit: int | None,
    position: tuple[Any, ...] | None,
    where: tuple[Any, ...],
) -> None:
    rows = [build.flow(f"f{i}", **each) for i, each in enumerate(values)]
    flows = [dict(zip(FLOWS.columns, row, strict=True)) for row in rows]
    view = view_of(MemoryTx({FLOWS: rows}))
    named = dict(zip(("created", "label", "id"), position or (), strict=False))
    after = tuple(named[term.column] for term in order) if position else None
    scan = Scan(FLOWS, ("id", "codec"), where, order=order, limit=limit, after=after)

    met = [f for f in naive.ordered(flows, order) if naive.satisfies(f, where)]
    seen = [f for f in met if after is None or naive.beyond(f, order, after)]
    assert _ids(scanned(view, scan)) == [f["id"] for f in seen][:limit]
    partitioned = Partitioned(scan, "source_id", keys)
    groups = partitioned_rows(view, partitioned)
    assert [_ids(groups.group(at)) for at in range(len(keys))] == [
        [f["id"] for f in seen if f["source_id"] == key][:limit] for key in keys
    ]
    assert partition_counts(view, partitioned) == [
        sum(f["source_id"] == key for f in met) for key in keys
    ]


def test_of_two_rows_with_one_key_the_older_counts() -> None:
    twice = [
        build.source("a", label="new", created=3),
        build.source("a", label="old", created=2),
        build.source("b", label="y", created=1),
        build.source("b", label="x", created=1),
    ]
    for rows in (twice, twice[::-1]):
        view = view_of(MemoryTx({SOURCES: rows}))
        whole = Scan(SOURCES, ("label",), order=(OrderBy("id"),))

        assert ask.plain(scanned(view, whole)) == [("old",), ("x",)]
        assert view.tally.duplicates_seen == 2
        by_key = Scan(SOURCES, ("label",), (is_in("id", "ab"),), order=(OrderBy("id"),))
        assert ask.plain(scanned(view, by_key)) == [("old",), ("x",)]


def test_a_range_of_keys_is_not_a_list_of_keys() -> None:
    tx = MemoryTx({SOURCES: _sources(5)})
    scan = Scan(SOURCES, ("id",), (compare("id", Op.PREFIX, "s00"), compare("id", Op.GT, "s003")))

    assert _ids(scanned(view_of(tx), scan)) == ["s004"]
    assert tx.calls[0].where == scan.where


def test_a_table_that_grows_is_noticed_by_what_its_reads_bring() -> None:
    tx = MemoryTx({SOURCES: _sources(4)})
    view, sources = view_of(tx), physical_of(SOURCES)
    view.sizes.note(sources, 9)

    assert view.sizes.of(tx, sources) == 4
    view.sizes.note(sources, 3)
    assert view.sizes.of(tx, sources) == 4
    view.sizes.note(sources, 5)
    assert view.sizes.of(tx, sources) == 5
    assert [call.kind for call in tx.calls] == ["estimate"]


@pytest.fixture
def long(monkeypatch: pytest.MonkeyPatch, large: None) -> None:
    """Every table with more than three rows counts as a very large one."""
    monkeypatch.setattr(module, "LONG_ROWS", 3)
    monkeypatch.setattr(long_lists, "_MOST_ROWS", 12)


@pytest.mark.usefixtures("long")
@pytest.mark.parametrize("descending", [True, False])
def test_a_page_of_a_very_large_table_is_looked_for_in_its_time(descending: bool) -> None:
    hour = 3_600_000_000
    rows = [build.source(f"s{i:03}", created=build.NOW + i * hour) for i in range(100)]
    tx = MemoryTx({SOURCES: rows})
    view = view_of(tx)
    order = (OrderBy("created", descending), OrderBy("id", descending))
    ids = [f"s{i:03}" for i in range(100)]
    if descending:
        ids.reverse()

    found: list[str] = []
    after = None
    while len(found) < 100:
        scan = Scan(SOURCES, ("id", "created", "label"), order=order, limit=5, after=after)
        tx.calls.clear()
        page = ask.plain(scanned(view, scan))
        assert sum(call.rows for call in tx.calls if call.kind == "select") <= 2 * 12
        assert len(tx.calls) < (50 if after is None or len(found) == 5 else 6)
        found += [row[0] for row in page]
        after = (page[-1][1], page[-1][0])
    assert found == ids


@pytest.mark.usefixtures("long")
@examples(300)
@given(
    times=st.lists(st.none() | st.integers(0, 30) | st.just(2**50), max_size=30),
    descending=st.booleans(),
    limit=st.integers(0, 6),
    position=st.none() | st.tuples(st.none() | st.integers(-1, 31), st.just("o05")),
    where=conditions({"size": integers}, max_size=1),
    tagged=st.booleans(),
)
def test_any_page_of_a_very_large_table(
    times: list[int | None],
    descending: bool,
    limit: int,
    position: tuple[Any, ...] | None,
    where: tuple[Any, ...],
    tagged: bool,
) -> None:
    rows = [
        build.media_object(f"o{i:02}", registered=time, size=i % 3) for i, time in enumerate(times)
    ]
    named = [dict(zip(OBJECTS.columns, row, strict=True)) for row in rows]
    order = (OrderBy("registered", descending), OrderBy("id"))
    matching = AnyOf((eq("size", 1), eq("id", "o03"))) if tagged else None
    scan = Scan(OBJECTS, ("id", "role"), where, (), order, limit, position, matching)

    expected = [
        row
        for row in naive.ordered(named, order)
        if naive.satisfies(row, where)
        and (position is None or naive.beyond(row, order, position))
        and (matching is None or naive.meets(row, matching))
    ]
    assert _ids(scanned(view_of(MemoryTx({OBJECTS: rows})), scan)) == [
        row["id"] for row in expected[:limit]
    ]


@pytest.mark.usefixtures("long")
def test_rare_rows_of_a_very_large_table_are_not_looked_for_twice() -> None:
    tx = MemoryTx({SOURCES: _sources(50)})
    view = view_of(tx)
    scan = Scan(SOURCES, ("id", "label"), (eq("version", 2),), order=_NEWEST, limit=3)

    for _ in range(2):
        tx.calls.clear()
        assert scanned(view, scan).num_rows == 0
    assert [call.kind for call in tx.calls] == ["count", "select"]
