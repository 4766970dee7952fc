"""Change sets: whole or not at all, and only while what they rely on holds."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tams_gql.store.changes import (
    ChangeSet,
    Delete,
    Expect,
    Insert,
    Receipt,
    RemoveSegments,
    Stale,
    Update,
)
from tams_gql.store.port import CatalogStore
from tams_gql.store.scan import Op, Scan, Tagged, TagOp, Where, compare, eq, is_in
from tams_gql.store.tables import (
    COLLECTIONS,
    EVENTS,
    FLOW_COUNTERS,
    FLOWS,
    OBJECTS,
    RECEIPTS,
    SEGMENTS,
    SERVICE,
    SOURCES,
    STORAGE_BACKENDS,
)
from tests.store import ask, build
from tests.store.given import MAX_NS, MIN_NS

_TAGGED = build.tags_json({"a": ["b"]})


async def _populate(store: CatalogStore) -> None:
    await store.commit(
        build.changes(
            build.insert(SOURCES, build.source("s", tags=_TAGGED, label="old", flow_count=1)),
            *build.flows("f", tags=_TAGGED),
            build.objects("o", size=100),
            add_segments=[build.segments("f", [(0, 10), (20, 30)], object_id="o")],
            events=[build.event()],
            receipt=Receipt("used", "", "{}"),
        )
    )


def _everything_at_once(**parts: Any) -> ChangeSet:
    """A change set that does something of every kind to the catalog above."""
    given: dict[str, Any] = {
        "delete": [Delete(SOURCES, (eq("id", "s"),))],
        "update": [Update(FLOWS, ("tags", "label"), (("f", None, "new"),))],
        "insert": [
            build.insert(SOURCES, build.source("s2", tags=_TAGGED)),
            *build.flows("g"),
        ],
        "remove_segments": [RemoveSegments("f", 0, 10, event=build.event('{"removed":true}'))],
        "add_segments": [build.segments("f", [(5, 15)], object_id="o")],
        "events": [build.event('{"last":true}')],
    }
    return ChangeSet(now_us=build.NOW + 1, **{**given, **parts})


async def _tagged(store: CatalogStore) -> list[Any]:
    condition = Tagged("a", TagOp.IN, ("b",))
    return [await ask.rows(store, Scan(t, ("id",), tags=(condition,))) for t in (SOURCES, FLOWS)]


async def test_a_change_set_is_applied_whole(store: CatalogStore) -> None:
    await _populate(store)

    done = await store.commit(_everything_at_once())

    found = await ask.everything(store)
    assert [row[0] for row in found["sources"]] == ["s2"]
    assert [row[0] for row in found["flows"]] == ["f", "g"]
    assert [row[:2] for row in found["segments"]] == [("f", 5), ("f", 20)]
    assert await _tagged(store) == [[("s2",)], []]
    assert done.removed == (1,)
    assert await ask.bodies(store) == [
        "{}",
        '{"removed":true,"segment_count":1,"start_ns":0,"end_ns":10}',
        '{"last":true}',
    ]


@pytest.mark.parametrize(
    "part",
    [
        {"expect": [Expect(FLOWS, ("f",), {"label": None}), Expect(FLOWS, ("g",), {})]},
        {"update": [Update(FLOWS, ("label",), (("f", "x"), ("gone", "x")))]},
        {"insert": [build.insert(SOURCES, build.source("s2"), build.source("s2"))]},
        {"insert": [build.objects("p", "o")]},
        {"receipt": Receipt("used", "", "{}")},
        {"add_segments": [build.segments("f", [(11, 12), (29, 31)], object_id="o")]},
        {"add_segments": [build.segments("f", [(11, 15), (14, 16)], object_id="o")]},
        {"add_segments": [build.segments("gone", [(0, 1)])]},
        {
            "add_segments": [
                build.segments("f", [(40, 50)], object_id="o"),
                build.segments("f", [(49, 60)], object_id="o"),
            ]
        },
    ],
    ids=lambda part: next(iter(part)),
)
async def test_what_fails_leaves_nothing_behind(store: CatalogStore, part: dict[str, Any]) -> None:
    await _populate(store)
    before, tagged = await ask.everything(store), await _tagged(store)
    head = await store.log.head()

    with pytest.raises(Stale):
        await store.commit(_everything_at_once(**part))

    assert await ask.everything(store) == before
    assert await _tagged(store) == tagged == [[("s",)], [("f",)]]
    assert await store.log.head() == head
    await store.commit(_everything_at_once())
    assert [row[0] for row in (await ask.everything(store))["sources"]] == ["s2"]


async def test_an_empty_change_set_changes_nothing(store: CatalogStore) -> None:
    await _populate(store)
    before = await ask.everything(store)

    done = await store.commit(ChangeSet(now_us=build.NOW + 1))

    assert await ask.everything(store) == before
    assert (done.position, done.removed) == (await store.log.head(), ())


@pytest.mark.parametrize(
    ("expect", "holds"),
    [
        (Expect(SOURCES, ("s",), {}), True),
        (Expect(SOURCES, ("s",), {"label": "old", "flow_count": 1, "explicit": True}), True),
        (Expect(SOURCES, ("s",), {"description": None}), True),
        (Expect(SOURCES, ("s",), {"label": "new"}), False),
        (Expect(SOURCES, ("s",), {"label": None}), False),
        (Expect(SOURCES, ("s",), {"label": "old", "flow_count": 2}), False),
        (Expect(SOURCES, ("s",), {"explicit": False}), False),
        (Expect(SOURCES, ("s",), None), False),
        (Expect(SOURCES, ("S",), None), True),
        (Expect(SOURCES, ("S",), {}), False),
        (Expect(SEGMENTS, ("f", 20), {"end_ns": 30}), True),
        (Expect(SEGMENTS, ("f", 21), None), True),
        (Expect(SEGMENTS, ("f", 20), None), False),
    ],
    ids=repr,
)
async def test_expectations(store: CatalogStore, expect: Expect, holds: bool) -> None:
    await _populate(store)
    changes = build.changes(expect=[expect], events=[build.event('{"done":1}')])

    if holds:
        await store.commit(changes)
    else:
        with pytest.raises(Stale):
            await store.commit(changes)

    assert await ask.bodies(store) == (["{}", '{"done":1}'] if holds else ["{}"])


async def test_expectations_look_at_the_catalog_before_the_change(store: CatalogStore) -> None:
    await _populate(store)
    expect = [Expect(SOURCES, ("s",), {"label": "old"}), Expect(SOURCES, ("s2",), None)]

    await store.commit(_everything_at_once(expect=expect))

    assert await ask.row(store, SOURCES, "s") is None


async def test_a_receipt_is_kept_with_what_it_tells_of(store: CatalogStore) -> None:
    await _populate(store)
    receipt = Receipt("key", "fingerprint", '{"answer":[1]}')

    done = await store.commit(_everything_at_once(receipt=receipt))

    found, _ = await ask.everything_of(store, RECEIPTS)
    assert (*found[:2], *found[3:]) == ("key", "fingerprint", done.position, build.NOW + 1)
    assert orjson.loads(found[2]) == {"answer": [1], "removed": [1]}


async def test_a_receipt_is_given_once(store: CatalogStore) -> None:
    await _populate(store)
    receipt = Receipt("key", "fingerprint", "{}")
    await store.commit(build.changes(receipt=receipt))
    before = await ask.everything(store)

    with pytest.raises(Stale):
        await store.commit(_everything_at_once(receipt=Receipt("key", "another", "{}")))

    assert await ask.everything(store) == before
    await store.commit(_everything_at_once(receipt=Receipt("Key", "another", "{}")))
    assert len(await ask.everything_of(store, RECEIPTS)) == 3


async def test_one_of_two_rivals_wins(store: CatalogStore, another: CatalogStore) -> None:
    await _populate(store)

    def rename(label: str) -> ChangeSet:
        return build.changes(
            expect=[Expect(SOURCES, ("s",), {"version": 1})],
            update=[Update(SOURCES, ("label", "version"), (("s", label, 2),))],
        )

    await another.commit(rename("theirs"))
    with pytest.raises(Stale):
        await store.commit(rename("ours"))

    found = await ask.row(store, SOURCES, "s")
    assert found is not None
    assert (found["label"], found["version"]) == ("theirs", 2)


async def test_a_taken_key_is_stale_in_every_table(store: CatalogStore) -> None:
    await _populate(store)
    backend = Insert(STORAGE_BACKENDS, ("id", "body", "created"), (("b", "{}", build.NOW),))
    member = Insert(
        COLLECTIONS,
        ("parent_id", "position", "child_id", "parent_source_id", "child_source_id"),
        (("f", 0, "g", "s", "s"),),
    )
    entry = Insert(SERVICE, ("name", "value"), (("about", "{}"),))
    await store.commit(build.changes(backend, member, entry))
    taken = [
        backend,
        member,
        entry,
        build.insert(SOURCES, build.source("s")),
        build.insert(FLOWS, build.flow("f")),
        build.objects("o"),
        build.insert(SEGMENTS, build.segment("f", 0, 1)),
    ]
    before = await ask.everything(store)

    for insert in taken:
        with pytest.raises(Stale):
            await store.commit(build.changes(insert))

    assert await ask.everything(store) == before


async def test_counters_come_and_go_with_their_flow(store: CatalogStore) -> None:
    await _populate(store)
    given = await ask.row(store, FLOW_COUNTERS, "f")
    assert given is not None
    assert (given["segment_count"], given["segments_updated"]) == (2, build.NOW)

    await store.commit(
        build.changes(
            *build.flows("f", "g"),
            delete=[Delete(FLOWS, (eq("id", "f"),))],
            remove_segments=[RemoveSegments("f", MIN_NS, MAX_NS)],
        )
    )

    empty = (0, 0, 0, None, None, 0, None)
    assert await ask.everything_of(store, FLOW_COUNTERS) == [("f", *empty), ("g", *empty)]
    await store.commit(build.changes(delete=[Delete(FLOWS, (is_in("id", ["g", "x"]),))]))
    assert await ask.everything_of(store, FLOW_COUNTERS) == [("f", *empty)]


@pytest.mark.parametrize(
    "part",
    [
        {"insert": [Insert(FLOW_COUNTERS, ("flow_id", "segment_count"), (("h", 1),))]},
        {"update": [Update(FLOW_COUNTERS, ("segment_count",), (("f", 1),))]},
        {"delete": [Delete(FLOW_COUNTERS, (eq("flow_id", "f"),))]},
        {"delete": [Delete(EVENTS, ())]},
    ],
    ids=repr,
)
async def test_rows_that_the_store_keeps_itself_cannot_be_written(
    store: CatalogStore, part: dict[str, Any]
) -> None:
    await _populate(store)
    before = await ask.everything(store)

    with pytest.raises(ValueError, match="the store keeps these rows itself"):
        await store.commit(_everything_at_once(**part))

    assert await ask.everything(store) == before


async def test_a_change_set_that_breaks_the_schema_is_not_stale(store: CatalogStore) -> None:
    """Trying again would never help, so it must not look like a lost race."""
    no_format = Insert(SOURCES, ("id", "created"), (("s", build.NOW),))
    backwards = build.segments("f", [(10, 10)])
    await store.commit(build.changes(*build.flows("f")))
    before = await ask.everything(store)

    for changes in (build.changes(no_format), build.changes(add_segments=[backwards])):
        with pytest.raises(Exception) as caught:  # noqa: PT011  each backend has its own
            await store.commit(changes)
        assert not isinstance(caught.value, Stale)

    assert await ask.everything(store) == before


async def test_updates_take_effect_in_turn(store: CatalogStore) -> None:
    await _populate(store)
    updates = [
        Update(SOURCES, ("label", "version"), (("s", "one", 2), ("s", "two", 3))),
        Update(SOURCES, ("description",), (("s", "three"),)),
        Update(SEGMENTS, ("key_frame_count",), (("f", 20, 7),)),
        Update(SOURCES, ("label",), ()),
    ]

    await store.commit(build.changes(update=updates))

    source = await ask.row(store, SOURCES, "s")
    segment = await ask.row(store, SEGMENTS, "f", 20)
    assert source is not None
    assert (source["label"], source["version"], source["description"]) == ("two", 3, "three")
    assert segment is not None
    assert segment["key_frame_count"] == 7


@pytest.mark.parametrize(
    ("where", "left"),
    [
        ((eq("id", "s1"),), ["s0", "s2", "s3"]),
        ((is_in("id", ["s1", "s3", "s9"]),), ["s0", "s2"]),
        ((compare("label", Op.PREFIX, "a"), eq("flow_count", 0)), ["s1", "s2", "s3"]),
        ((eq("label", None),), ["s0", "s1", "s2"]),
        ((is_in("id", []),), ["s0", "s1", "s2", "s3"]),
        ((), []),
    ],
)
async def test_a_delete_removes_what_matches(
    store: CatalogStore, where: tuple[Where, ...], left: list[str]
) -> None:
    rows = [
        build.source("s0", label="a", tags=_TAGGED),
        build.source("s1", label="ab", flow_count=1, tags=_TAGGED),
        build.source("s2", label="b", tags=_TAGGED),
        build.source("s3", tags=_TAGGED),
    ]
    await store.commit(build.changes(build.insert(SOURCES, *rows)))

    await store.commit(build.changes(delete=[Delete(SOURCES, where)]))

    assert [row[0] for row in await ask.everything_of(store, SOURCES)] == left
    assert [i for (i,) in (await _tagged(store))[0]] == left


async def test_a_key_is_free_again_after_a_delete_in_the_same_change_set(
    store: CatalogStore,
) -> None:
    await _populate(store)
    again = build.insert(SOURCES, build.source("s", label="again"))

    await store.commit(build.changes(again, delete=[Delete(SOURCES, (eq("id", "s"),))]))

    source = await ask.row(store, SOURCES, "s")
    assert source is not None
    assert (source["label"], source["tags"]) == ("again", None)
    assert await _tagged(store) == [[], [("f",)]]


async def test_integers_and_times_at_the_limits(store: CatalogStore) -> None:
    low = build.media_object("low", size=MIN_NS, created=MIN_NS, expires=MIN_NS, start_ns=MIN_NS)
    high = build.media_object("top", size=MAX_NS, created=MAX_NS, expires=MAX_NS, end_ns=MAX_NS)

    await store.commit(ChangeSet(now_us=MAX_NS, insert=[build.insert(OBJECTS, low, high)]))
    await store.commit(ChangeSet(now_us=MIN_NS, events=[build.event()]))

    assert await ask.everything_of(store, OBJECTS) == [low, high]
    ((_, _, created, *_),) = await ask.events(store)
    assert EVENTS.columns[2] == "created"
    assert created == MIN_NS
