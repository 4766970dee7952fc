"""Tag conditions against a naive reading of the tags."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tams_gql.store.changes import Delete, Update
from tams_gql.store.port import CatalogStore
from tams_gql.store.scan import OrderBy, Scan, Tagged, TagOp, eq, is_in
from tams_gql.store.tables import FLOWS, SEGMENTS, SOURCES, Table
from tests.store import ask, build, naive
from tests.store.given import examples, texts

Tags = dict[str, str | list[str]]

_TAGS: dict[str, Tags | None] = {
    "s0": None,
    "s1": {},
    "s2": {"genre": "news"},
    "s3": {"genre": ["news", "sport"]},
    "s4": {"genre": []},
    "s5": {"genre": ""},
    "s6": {"Genre": "news", "genre ": "news"},
    "s7": {"genre": ["newsreel"], "mood": "calm"},
    "s8": {"genre": "sport", 'a"b': "it's", "ä\u2028\U0001f3ac": '"'},
}


@pytest.fixture
async def sources(store: CatalogStore) -> CatalogStore:
    """A store with sources that have the tags above."""
    rows = [build.source(i, tags=build.tags_json(tags)) for i, tags in _TAGS.items()]
    await store.commit(build.changes(build.insert(SOURCES, *rows)))
    return store


async def _ids(store: CatalogStore, *tags: Tagged, table: Table = SOURCES) -> list[str]:
    scan = Scan(table, ("id",), tags=tags, order=(OrderBy("id"),))
    found = [resource_id for (resource_id,) in await ask.rows(store, scan)]
    assert await ask.count(store, scan) == len(found)
    return found


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (Tagged("genre", TagOp.EXISTS), ["s2", "s3", "s4", "s5", "s7", "s8"]),
        (Tagged("genre", TagOp.ABSENT), ["s0", "s1", "s6"]),
        (Tagged("nothing", TagOp.EXISTS), []),
        (Tagged("nothing", TagOp.ABSENT), sorted(_TAGS)),
        (Tagged("genre", TagOp.IN, ("news",)), ["s2", "s3"]),
        (Tagged("genre", TagOp.IN, ("sport", "news", "news")), ["s2", "s3", "s8"]),
        (Tagged("genre", TagOp.IN, ("",)), ["s5"]),
        (Tagged("genre", TagOp.IN, ("News",)), []),
        (Tagged("genre", TagOp.IN, ()), []),
        (Tagged("genre", TagOp.ALL, ("news",)), ["s2", "s3"]),
        (Tagged("genre", TagOp.ALL, ("sport", "news")), ["s3"]),
        (Tagged("genre", TagOp.ALL, ("news", "news")), ["s2", "s3"]),
        (Tagged("genre", TagOp.PREFIX, ("news",)), ["s2", "s3", "s7"]),
        (Tagged("genre", TagOp.PREFIX, ("newsr", "sp")), ["s3", "s7", "s8"]),
        (Tagged("genre", TagOp.PREFIX, ("",)), ["s2", "s3", "s5", "s7", "s8"]),
        (Tagged("genre", TagOp.PREFIX, ()), []),
        (Tagged('a"b', TagOp.IN, ("it's",)), ["s8"]),
        (Tagged("ä\u2028\U0001f3ac", TagOp.IN, ('"',)), ["s8"]),
        (Tagged("Genre", TagOp.EXISTS), ["s6"]),
    ],
    ids=repr,
)
async def test_one_condition(sources: CatalogStore, condition: Tagged, expected: list[str]) -> None:
    assert await _ids(sources, condition) == expected


async def test_conditions_must_all_hold(sources: CatalogStore) -> None:
    news = Tagged("genre", TagOp.PREFIX, ("news",))

    assert await _ids(sources, news, Tagged("mood", TagOp.EXISTS)) == ["s7"]
    assert await _ids(sources, news, Tagged("mood", TagOp.ABSENT)) == ["s2", "s3"]


async def test_tags_go_with_columns_order_and_position(sources: CatalogStore) -> None:
    scan = Scan(
        SOURCES,
        ("id",),
        where=(is_in("id", ["s3", "s4", "s7", "s8"]),),
        tags=(Tagged("genre", TagOp.EXISTS),),
        order=(OrderBy("id", descending=True),),
        limit=2,
        after=("s8",),
    )

    assert await ask.rows(sources, scan) == [("s7",), ("s4",)]


async def test_tables_do_not_see_each_others_tags(store: CatalogStore) -> None:
    tags = build.tags_json({"a": "b"})
    await store.commit(
        build.changes(
            build.insert(SOURCES, build.source("x", tags=tags), build.source("y")),
            build.insert(FLOWS, build.flow("y", tags=tags)),
        )
    )
    tagged = Tagged("a", TagOp.IN, ("b",))

    assert await _ids(store, tagged) == ["x"]
    assert await _ids(store, tagged, table=FLOWS) == ["y"]


async def test_segments_have_no_searchable_tags(store: CatalogStore) -> None:
    scan = Scan(SEGMENTS, ("id",), tags=(Tagged("a", TagOp.EXISTS),))

    with pytest.raises(ValueError, match="segments has no searchable tags"):
        await ask.rows(store, scan)


async def test_an_update_replaces_the_tags(sources: CatalogStore) -> None:
    rows = (("s3", build.tags_json({"mood": ["sport"]})), ("s5", None))
    await sources.commit(build.changes(update=[Update(SOURCES, ("tags",), rows)]))

    assert await _ids(sources, Tagged("genre", TagOp.EXISTS)) == ["s2", "s4", "s7", "s8"]
    assert await _ids(sources, Tagged("mood", TagOp.IN, ("sport",))) == ["s3"]


async def test_an_update_of_other_columns_keeps_the_tags(sources: CatalogStore) -> None:
    await sources.commit(build.changes(update=[Update(SOURCES, ("label",), (("s3", "new"),))]))

    assert await _ids(sources, Tagged("genre", TagOp.IN, ("sport",))) == ["s3", "s8"]


async def test_deleted_and_made_again_it_has_only_its_new_tags(sources: CatalogStore) -> None:
    again = build.source("s3", tags=build.tags_json({"mood": "calm"}))
    await sources.commit(build.changes(delete=[Delete(SOURCES, (eq("id", "s3"),))]))
    assert await _ids(sources, Tagged("genre", TagOp.IN, ("news",))) == ["s2"]

    await sources.commit(build.changes(build.insert(SOURCES, again)))
    assert await _ids(sources, Tagged("genre", TagOp.IN, ("news",))) == ["s2"]
    assert await _ids(sources, Tagged("mood", TagOp.EXISTS)) == ["s3", "s7"]


async def test_values_with_the_null_character(store: CatalogStore) -> None:
    tags: dict[str, Tags] = {"s0": {"t": "a"}, "s1": {"t": "a\0b"}, "s2": {"t": ["c", "a\0"]}}
    rows = [build.source(i, tags=build.tags_json(t)) for i, t in tags.items()]
    await store.commit(build.changes(build.insert(SOURCES, *rows)))

    assert await _ids(store, Tagged("t", TagOp.IN, ("a\0b",))) == ["s1"]
    assert await _ids(store, Tagged("t", TagOp.IN, ("a\0", "a"))) == ["s0", "s2"]


_names = st.sampled_from(["a", "A", 'a"', "é"])
_tags = st.dictionaries(_names, texts | st.lists(texts, max_size=3), max_size=3)
_tagged = st.builds(
    Tagged, _names, st.sampled_from(list(TagOp)), st.lists(texts, max_size=3).map(tuple)
)


@examples(120)
@given(
    before=st.lists(st.none() | _tags, max_size=6),
    after=st.lists(st.none() | _tags, max_size=3),
    gone=st.sets(st.integers(0, 5), max_size=2),
    conditions=st.lists(_tagged, min_size=1, max_size=3),
)
async def test_any_tags(
    store: CatalogStore,
    before: list[Tags | None],
    after: list[Tags | None],
    gone: set[int],
    conditions: list[Tagged],
) -> None:
    await ask.wipe(store, SOURCES)
    known: dict[str, Tags | None] = {f"s{i}": tags for i, tags in enumerate(before)}
    rows = [build.source(i, tags=build.tags_json(tags)) for i, tags in known.items()]
    await store.commit(build.changes(build.insert(SOURCES, *rows)))

    changed = dict(zip(known, after, strict=False))
    deleted = {f"s{i}" for i in gone}
    updates = tuple((i, build.tags_json(t)) for i, t in changed.items() if i not in deleted)
    await store.commit(
        build.changes(
            delete=[Delete(SOURCES, (is_in("id", sorted(deleted)),))],
            update=[Update(SOURCES, ("tags",), updates)],
        )
    )

    final = {i: tags for i, tags in {**known, **changed}.items() if i not in deleted}
    expected = [i for i, tags in final.items() if all(naive.tagged(tags, c) for c in conditions)]
    assert await _ids(store, *conditions) == sorted(expected)
