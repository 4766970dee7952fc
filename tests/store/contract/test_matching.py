"""Combined conditions: any tree of comparisons, tags, search terms and other tables' rows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tams_gql.store.changes import Delete, Update
from tams_gql.store.port import CatalogStore
from tams_gql.store.scan import (
    AllOf,
    Among,
    AnyOf,
    Condition,
    Not,
    Op,
    OrderBy,
    Partitioned,
    Scan,
    Tagged,
    TagOp,
    Where,
    compare,
    eq,
    is_in,
)
from tams_gql.store.tables import FLOWS, SOURCES
from tests.store import ask, build, naive
from tests.store.given import conditions, examples, integers, texts

_BY_ID = (OrderBy("id"),)
_NEWS = build.tags_json({"genre": ["news", "local"]})


def _says(term: str) -> Where:
    return compare("search", Op.CONTAINS, term)


async def _ids(store: CatalogStore, condition: Condition, **parts: Any) -> list[str]:
    scan = Scan(SOURCES, ("id",), order=_BY_ID, matching=condition, **parts)
    found = [source_id for (source_id,) in await ask.rows(store, scan)]
    if not parts:
        assert await ask.count(store, scan) == len(found)
    return found


@pytest.fixture
async def sources(store: CatalogStore) -> CatalogStore:
    """A store with four sources, and flows of two of them."""
    await store.commit(
        build.changes(
            build.insert(
                SOURCES,
                build.source("s0", label="a", search="evening news\nlocal", tags=_NEWS),
                build.source("s1", label="b", search='say "news" twice'),
                build.source("s2", label=None, search=None, flow_count=2),
                build.source("s3", label="ab", search="new\nsé", flow_count=2),
            ),
            build.insert(
                FLOWS,
                build.flow("f0", source_id="s0", codec="video/raw", search="evening news"),
                build.flow("f1", source_id="s2", codec="video/h264"),
                build.flow("f2", source_id="s2", codec="video/raw", label="x"),
            ),
        )
    )
    return store


def _of_flows(*where: Where) -> Among:
    return Among("id", FLOWS, "source_id", where)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (eq("label", "a"), ["s0"]),
        (Not(eq("label", "a")), ["s1", "s2", "s3"]),
        (Not(compare("label", Op.NE, "a")), ["s0", "s2"]),
        (Not(Not(compare("label", Op.GT, "a"))), ["s1", "s3"]),
        (Not(eq("label", None)), ["s0", "s1", "s3"]),
        (Not(is_in("label", ["a", "b"])), ["s2", "s3"]),
        (Not(is_in("label", [])), ["s0", "s1", "s2", "s3"]),
        (AllOf(()), ["s0", "s1", "s2", "s3"]),
        (AnyOf(()), []),
        (Not(AnyOf(())), ["s0", "s1", "s2", "s3"]),
        (AnyOf((eq("label", "a"), eq("flow_count", 2))), ["s0", "s2", "s3"]),
        (AllOf((Not(eq("label", "a")), eq("flow_count", 2))), ["s2", "s3"]),
        (Not(AllOf((Not(eq("label", "a")), eq("flow_count", 2)))), ["s0", "s1"]),
        (Tagged("genre", TagOp.IN, ("local",)), ["s0"]),
        (Not(Tagged("genre", TagOp.EXISTS)), ["s1", "s2", "s3"]),
        (AnyOf((Tagged("genre", TagOp.ALL, ("news",)), eq("label", "b"))), ["s0", "s1"]),
        (_of_flows(), ["s0", "s2"]),
        (_of_flows(eq("codec", "video/raw"), eq("label", "x")), ["s2"]),
        (Not(_of_flows(eq("codec", "video/raw"))), ["s1", "s3"]),
        (_of_flows(eq("codec", "audio/aac")), []),
        (Among("id", FLOWS, "source_id", (), Among("source_id", SOURCES, "id", ())), ["s0", "s2"]),
        (
            Among(
                *("id", FLOWS, "source_id", (eq("codec", "video/raw"),)),
                Among("source_id", SOURCES, "id", (eq("label", "a"),)),
            ),
            ["s0"],
        ),
        (Among("label", FLOWS, "label", ()), []),
        (Not(Among("label", FLOWS, "label", ())), ["s0", "s1", "s2", "s3"]),
        (_says("news"), ["s0", "s1"]),
        (_says("evening news"), ["s0"]),
        (_says('"news"'), ["s1"]),
        (_says("NEWS"), []),
        (_says("ne"), ["s0", "s1", "s3"]),
        (_says(""), ["s0", "s1", "s3"]),
        (_says("new OR say"), []),
        (_says("ews\nloc"), ["s0"]),
        (_says("sé"), ["s3"]),
        (Not(_says("news")), ["s2", "s3"]),
        (AnyOf((_says("twice"), _says("w\ns"), eq("id", "s2"))), ["s1", "s2", "s3"]),
        (AllOf((_says("news"), _says("local"))), ["s0"]),
    ],
    ids=repr,
)
async def test_one_condition(
    sources: CatalogStore, condition: Condition, expected: list[str]
) -> None:
    assert await _ids(sources, condition) == expected


async def test_it_goes_with_everything_else_of_a_scan(sources: CatalogStore) -> None:
    either = AnyOf((eq("flow_count", 2), _says("news")))
    by_label = (OrderBy("label", descending=True), OrderBy("id"))
    scan = Scan(SOURCES, ("id",), order=by_label, matching=either)

    assert await _ids(sources, either, where=(eq("label", None),)) == ["s2"]
    assert await _ids(sources, either, tags=(Tagged("genre", TagOp.ABSENT),), limit=2) == [
        *("s1", "s2")
    ]
    assert await _ids(sources, either, after=("s1",)) == ["s2", "s3"]
    assert await ask.rows(sources, scan) == [("s2",), ("s1",), ("s3",), ("s0",)]


async def test_it_holds_within_each_partition(sources: CatalogStore) -> None:
    condition = AnyOf((eq("codec", "video/h264"), _says("news")))
    partitioned = Partitioned(
        Scan(FLOWS, ("id",), order=_BY_ID, matching=condition), "source_id", ("s2", "s1", "s0")
    )

    assert await ask.partitions(sources, partitioned) == [[("f1",)], [], [("f0",)]]
    async with sources.session() as session:
        assert await session.count_partitions(partitioned) == [1, 0, 1]


async def test_search_follows_changes(sources: CatalogStore) -> None:
    await sources.commit(
        build.changes(
            delete=[Delete(SOURCES, (eq("id", "s0"),))],
            update=[
                Update(SOURCES, ("search",), (("s1", "weather"), ("s2", "morning news"))),
                Update(SOURCES, ("search", "label"), (("s3", None, "new label"),)),
            ],
        )
    )
    assert await _ids(sources, _says("news")) == ["s2"]
    assert await _ids(sources, _says("weather")) == ["s1"]
    assert await _ids(sources, Not(_says("zzz"))) == ["s1", "s2", "s3"]

    again = build.insert(SOURCES, build.source("s0", search="weather"))
    await sources.commit(
        build.changes(again, update=[Update(SOURCES, ("search",), (("s3", "weather"),))])
    )
    assert await _ids(sources, _says("weather")) == ["s0", "s1", "s3"]
    assert await _ids(sources, _says("news")) == ["s2"]


@pytest.mark.parametrize(
    "odd", ["\uffff", "\ufffe", "\ufffd", "\U0010ffff", '"', "'", "\x01", "\n"]
)
async def test_search_takes_every_character_as_it_is(store: CatalogStore, odd: str) -> None:
    searched = {
        "s0": f"one{odd}two{odd}three",
        "s1": f"{odd}{odd}{odd}",
        "s2": "one two three",
        "s3": "onetwothree",
        "s4": f"one{odd}",
        "s5": "one\ntwo\x01three\ufffd",
        "s6": "one\ufffdtwo\uffffthree",
    }
    rows = [build.source(i, search=text) for i, text in searched.items()]
    await store.commit(build.changes(build.insert(SOURCES, *rows)))

    around = (f"one{odd}two", f"e{odd}t", f"{odd}{odd}{odd}", f"one{odd}", odd)
    for term in ("two", "three", "two\0", "\0", *around):
        expected = [i for i, text in searched.items() if term in text]
        assert await _ids(store, _says(term)) == expected
        assert await _ids(store, Not(_says(term))) == sorted(set(searched) - set(expected))


# What is searched holds no U+0000.
_long_texts = st.text("aA\"'é\uffff\ufffd\n", max_size=7)
_sources = st.fixed_dictionaries(
    {
        "label": st.none() | texts,
        "flow_count": st.integers(-1, 1),
        "search": st.none() | _long_texts,
        "tags": st.none()
        | st.dictionaries(st.sampled_from("tu"), texts, max_size=2).map(build.tags_json),
    }
)
_flows = st.fixed_dictionaries(
    {"source_id": st.sampled_from(["s0", "s1", "s2"]), "label": st.none() | texts}
)
_leaves: st.SearchStrategy[Condition] = st.one_of(
    conditions({"label": texts, "flow_count": integers}, min_size=1, max_size=1).map(
        lambda where: where[0]
    ),
    (_long_texts | texts).map(_says),
    st.builds(
        Tagged,
        st.sampled_from("tu"),
        st.sampled_from(list(TagOp)),
        st.lists(texts, max_size=2).map(tuple),
    ),
    conditions({"label": texts}, max_size=1).map(
        lambda where: Among("id", FLOWS, "source_id", where)
    ),
    st.just(Among("label", FLOWS, "label", ())),
)
_conditions: st.SearchStrategy[Condition] = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        inner.map(Not),
        st.lists(inner, max_size=3).map(lambda of: AllOf(tuple(of))),
        st.lists(inner, max_size=3).map(lambda of: AnyOf(tuple(of))),
    ),
    max_leaves=6,
)


@examples(120)
@given(
    sources=st.lists(_sources, max_size=5),
    flows=st.lists(_flows, max_size=4),
    condition=_conditions,
)
async def test_any_condition(
    store: CatalogStore,
    sources: list[dict[str, Any]],
    flows: list[dict[str, Any]],
    condition: Condition,
) -> None:
    await ask.wipe(store, SOURCES, FLOWS)
    rows = {
        SOURCES: [build.source(f"s{i}", **each) for i, each in enumerate(sources)],
        FLOWS: [build.flow(f"f{i}", **each) for i, each in enumerate(flows)],
    }
    await store.commit(build.changes(*(build.insert(table, *of) for table, of in rows.items())))
    named = {
        table.name: [dict(zip(table.columns, row, strict=True)) for row in of]
        for table, of in rows.items()
    }

    assert await _ids(store, condition) == [
        row["id"] for row in named["sources"] if naive.meets(row, condition, named)
    ]
