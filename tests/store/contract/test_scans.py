"""What a scan finds: every operator, and their combinations, on text, integers and flags."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tams_gql.store.changes import Row
from tams_gql.store.port import CatalogStore
from tams_gql.store.scan import Op, OrderBy, Range, Scan, Where, columns_of, compare, eq, is_in
from tams_gql.store.tables import FLOWS, OBJECTS, SEGMENTS, SOURCES
from tests.store import ask, build, naive
from tests.store.given import MAX_NS, MIN_NS, conditions, examples, integers, texts

_BY_ID = (OrderBy("id"),)

# label, frame_width, read_only
_FLOWS: dict[str, tuple[str | None, int | None, bool]] = {
    "f0": (None, None, False),
    "f1": ("", 0, True),
    "f2": ("a", 1, False),
    "f3": ("ab", MIN_NS, True),
    "f4": ("b", MAX_NS, False),
    "f5": ("Ab", -1, False),
    "f6": ("ba", 2, True),
}


def _flow(flow_id: str, label: str | None, width: int | None, read_only: bool) -> Row:
    return build.flow(flow_id, label=label, frame_width=width, read_only=read_only)


@pytest.fixture
async def flows(store: CatalogStore) -> CatalogStore:
    """A store with the flows above."""
    rows = [_flow(flow_id, *values) for flow_id, values in _FLOWS.items()]
    await store.commit(build.changes(build.insert(FLOWS, *rows)))
    return store


async def _ids(store: CatalogStore, *where: Where) -> list[str]:
    scan = Scan(FLOWS, ("id",), where=where, order=_BY_ID)
    found = [flow_id for (flow_id,) in await ask.rows(store, scan)]
    assert await ask.count(store, scan) == len(found)
    return found


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (eq("label", "a"), ["f2"]),
        (eq("label", ""), ["f1"]),
        (eq("label", "A"), []),
        (eq("label", None), ["f0"]),
        (compare("label", Op.NE, "a"), ["f1", "f3", "f4", "f5", "f6"]),
        (compare("label", Op.LT, "a"), ["f1", "f5"]),
        (compare("label", Op.LE, "a"), ["f1", "f2", "f5"]),
        (compare("label", Op.GT, "ab"), ["f4", "f6"]),
        (compare("label", Op.GE, "ab"), ["f3", "f4", "f6"]),
        (compare("label", Op.IS_NULL), ["f0"]),
        (compare("label", Op.NOT_NULL), ["f1", "f2", "f3", "f4", "f5", "f6"]),
        (compare("label", Op.PREFIX, "a"), ["f2", "f3"]),
        (compare("label", Op.PREFIX, ""), ["f1", "f2", "f3", "f4", "f5", "f6"]),
        (compare("label", Op.CONTAINS, "b"), ["f3", "f4", "f5", "f6"]),
        (compare("label", Op.CONTAINS, ""), ["f1", "f2", "f3", "f4", "f5", "f6"]),
        (compare("label", Op.CONTAINS, "%"), []),
        (eq("frame_width", 0), ["f1"]),
        (compare("frame_width", Op.NE, 0), ["f2", "f3", "f4", "f5", "f6"]),
        (compare("frame_width", Op.LT, 0), ["f3", "f5"]),
        (compare("frame_width", Op.LE, MIN_NS), ["f3"]),
        (compare("frame_width", Op.GT, 1), ["f4", "f6"]),
        (compare("frame_width", Op.GE, MAX_NS), ["f4"]),
        (eq("read_only", True), ["f1", "f3", "f6"]),
        (compare("read_only", Op.NE, True), ["f0", "f2", "f4", "f5"]),
        (is_in("read_only", [False, True]), sorted(_FLOWS)),
        (is_in("frame_width", [MIN_NS, MAX_NS, 7]), ["f3", "f4"]),
        (is_in("label", ["a", "ba", "no such label"]), ["f2", "f6"]),
        (is_in("label", ["a", "a"]), ["f2"]),
        (is_in("label", [None, "a"]), ["f2"]),
        (is_in("label", []), []),
        (Where("label", ()), []),
    ],
    ids=repr,
)
async def test_one_condition(flows: CatalogStore, where: Where, expected: list[str]) -> None:
    assert await _ids(flows, where) == expected


async def test_ranges_of_a_condition_are_alternatives(flows: CatalogStore) -> None:
    any_of = (Range(Op.EQ, "a"), Range(Op.PREFIX, "b"), Range(Op.IS_NULL), Range(Op.IN, ("",)))

    assert await _ids(flows, Where("label", any_of)) == ["f0", "f1", "f2", "f4", "f6"]


async def test_conditions_must_all_hold(flows: CatalogStore) -> None:
    where = (compare("label", Op.PREFIX, "b"), eq("read_only", False), is_in("id", ["f4", "f5"]))

    assert await _ids(flows, *where) == ["f4"]
    assert await _ids(flows, *where, eq("frame_width", 0)) == []


async def test_two_conditions_on_one_column_are_an_interval(flows: CatalogStore) -> None:
    between = (compare("frame_width", Op.GE, 0), compare("frame_width", Op.LT, 2))

    assert await _ids(flows, *between) == ["f1", "f2"]


@pytest.mark.parametrize("number", [0, 1, 5_000])
async def test_a_list_of_any_length(store: CatalogStore, number: int) -> None:
    stored = [f"f{i:04}" for i in range(0, 10_000, 3)]
    await store.commit(
        build.changes(build.insert(FLOWS, *(build.flow(flow_id) for flow_id in stored)))
    )
    asked = [f"f{i:04}" for i in range(number)]

    assert await _ids(store, is_in("id", asked)) == sorted(set(stored) & set(asked))


async def test_a_list_tells_texts_with_the_null_character_apart(store: CatalogStore) -> None:
    labels = {"f0": "a", "f1": "a\0", "f2": "a\0b", "f3": "\0", "f4": "", "f5": "\\u0000"}
    rows = [build.flow(flow_id, label=label) for flow_id, label in labels.items()]
    await store.commit(build.changes(build.insert(FLOWS, *rows)))

    assert await _ids(store, is_in("label", ["a\0b"])) == ["f2"]
    assert await _ids(store, is_in("label", ["a", "\0", "\\u0000"])) == ["f0", "f3", "f5"]
    assert await _ids(store, is_in("label", ["a\0c"])) == []


@pytest.mark.parametrize("prefix", ["\ud7ff", "\uffff", "\U0010ffff", "a\U0010ffff\U0010ffff"])
async def test_prefix_at_the_ends_of_unicode(store: CatalogStore, prefix: str) -> None:
    labels = {
        "f0": prefix[:-1],
        "f1": prefix,
        "f2": prefix + "a",
        "f3": prefix + "\U0010ffff",
        "f4": prefix[:-1] + chr(ord(prefix[-1]) - 1),
        "f5": "b",
        "f6": "\ue000",
        "f7": None,
    }
    rows = [build.flow(flow_id, label=label) for flow_id, label in labels.items()]
    await store.commit(build.changes(build.insert(FLOWS, *rows)))
    expected = [f for f, label in labels.items() if label is not None and label.startswith(prefix)]

    assert await _ids(store, compare("label", Op.PREFIX, prefix)) == expected


_values = st.tuples(st.none() | texts, st.none() | integers, st.booleans())


@examples(90)
@given(
    values=st.lists(_values, max_size=8),
    where=conditions({"label": texts, "frame_width": integers, "read_only": st.booleans()}),
)
async def test_any_condition(
    store: CatalogStore,
    values: list[tuple[str | None, int | None, bool]],
    where: tuple[Where, ...],
) -> None:
    await ask.wipe(store, FLOWS)
    rows = [_flow(f"f{i}", *each) for i, each in enumerate(values)]
    await store.commit(build.changes(build.insert(FLOWS, *rows)))
    named = [dict(zip(FLOWS.columns, row, strict=True)) for row in rows]

    assert await _ids(store, *where) == [f["id"] for f in named if naive.satisfies(f, where)]


async def test_answers_hold_the_columns_asked_for(store: CatalogStore) -> None:
    source = {"label": "ß", "tags": '{"a":"b"}', "explicit": False, "updated": MIN_NS}
    rows = [build.source("s1", **source), build.source("s2", created=MAX_NS)]
    await store.commit(build.changes(build.insert(SOURCES, *rows)))
    columns = ("updated", "id", "explicit", "label", "created")

    async with store.session() as session:
        (found,) = await session.scan([Scan(SOURCES, columns, order=_BY_ID)])

    assert found.schema.equals(pa.schema([SOURCES.schema.field(name) for name in columns]))
    assert ask.plain(found) == [
        (MIN_NS, "s1", False, "ß", build.NOW),
        (build.NOW, "s2", True, None, MAX_NS),
    ]


@pytest.mark.parametrize("number", [0, 1, 40])
async def test_rows_come_back_as_they_were_written(store: CatalogStore, number: int) -> None:
    full: dict[str, Any] = {"tags": '{"a":["b"]}', "key_frame_count": 3, "sample_count": MAX_NS}
    rows = [
        build.segment("f", i, i + 1, **(full if i % 2 else {}), created=build.NOW + i)
        for i in range(number)
    ]
    flows = [
        build.flow(f"f{i:02}", init_segments=[None, True, False][i % 3]) for i in range(number)
    ]
    await store.commit(build.changes(build.insert(SEGMENTS, *rows), build.insert(FLOWS, *flows)))

    async with store.session() as session:
        found = await session.scan(
            [
                Scan(SEGMENTS, SEGMENTS.columns, order=(OrderBy("start_ns"),)),
                Scan(FLOWS, FLOWS.columns, order=_BY_ID),
                Scan(OBJECTS, OBJECTS.columns),
            ]
        )

    assert [batch.schema for batch in found] == [SEGMENTS.schema, FLOWS.schema, OBJECTS.schema]
    assert [ask.plain(batch) for batch in found] == [rows, flows, []]


async def test_counting_ignores_limit_and_position(flows: CatalogStore) -> None:
    scan = Scan(FLOWS, ("id",), order=_BY_ID, limit=2, after=("f3",))

    assert [i for (i,) in await ask.rows(flows, scan)] == ["f4", "f5"]
    assert await ask.count(flows, scan) == len(_FLOWS)


async def test_several_scans_are_answered_in_turn(flows: CatalogStore) -> None:
    scans = [
        Scan(FLOWS, ("id",), where=(eq("id", "f3"),)),
        Scan(SOURCES, ("id", "label")),
        Scan(FLOWS, ("label",), where=(eq("id", "f3"),)),
    ]
    async with flows.session() as session:
        found = [ask.plain(batch) for batch in await session.scan(scans)]
        counts = await session.count(scans)
        nothing = (await session.scan([]), await session.count([]))

    assert found == [[("f3",)], [], [("ab",)]]
    assert counts == [1, 0, 1]
    assert nothing == ([], [])


def test_columns_are_named_once_in_the_order_of_the_table() -> None:
    assert columns_of(SOURCES, ["label", "id", "label"]) == ("id", "label")
    with pytest.raises(ValueError, match=r"sources has no column \['bytes', 'size'\]"):
        columns_of(SOURCES, ["id", "size", "bytes"])
