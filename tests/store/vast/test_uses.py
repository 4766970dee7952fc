"""What objects' rows say of their users: too much perhaps, too little never."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tams_gql.store.scan import Op, Range, Where, compare, eq, is_in
from tams_gql.store.tables import OBJECTS, SEGMENTS
from tams_gql.store.vast.layout import physical_of
from tams_gql.store.vast.uses import (
    ANYWHERE,
    NEEDED,
    NOWHERE,
    Added,
    bounds_of_users,
    named,
    with_users,
)
from tams_gql.store.vast.wire.domains import Within, filter_of
from tests.store.given import MAX_NS, MIN_NS, examples, texts
from tests.store.vast.memory import MemoryTx
from tests.store.vast.views import segment_rows

_SEGMENTS = physical_of(SEGMENTS)

_starts = st.integers(-5, 5) | st.sampled_from([MIN_NS, MAX_NS - 1])
_users = st.lists(st.tuples(texts, _starts), max_size=8)


def _told(*users: tuple[str, int], text: str | None = NOWHERE) -> str | None:
    for flow_id, start in users:
        added = Added()
        added.segments(flow_id, start, start)
        text = with_users(text, added)
    return text


def test_what_is_written() -> None:
    assert _told(("f", 7)) == '{"f":7}'
    assert _told(("f", 7), ("g", -1), ("f", 3), ("f", 5)) == '{"f":[3,7],"g":-1}'
    several = Added({"f": (1, 9), "g": (2, 2)}, objects=True)
    assert with_users(NOWHERE, several) == '+{"f":[1,9],"g":2}'
    assert with_users(NEEDED, Added({"f": (1, 1)})) == '+{"f":1}'
    assert with_users(NOWHERE, Added(objects=True)) == NEEDED
    assert with_users('{"f":1}', Added()) == '{"f":1}'


def test_what_is_not_known_stays_so() -> None:
    for text in (None, ANYWHERE):
        assert with_users(text, Added({"f": (1, 1)}, objects=True)) == text
        assert bounds_of_users(SEGMENTS, {"a": '{"f":1}', "b": text}) == ()
        assert bounds_of_users(OBJECTS, {"a": NOWHERE, "b": text}) == (
            is_in("init_object_id", ["b"]),
        )


def test_too_many_flows_are_anywhere() -> None:
    users = [(f"{number:08}-0000-0000-0000-000000000000", 10**18) for number in range(200)]
    texts = [_told(*users[:count]) for count in (1, 100, 138, 139, 200)]
    assert [text == ANYWHERE for text in texts] == [False, False, False, True, True]
    assert all(len(str(text)) <= 8_192 for text in texts)


def test_bounds_are_few() -> None:
    told = {f"o{n}": _told((f"f{n % 3}", 10 * n)) for n in range(256)}
    flows, starts = bounds_of_users(SEGMENTS, told)
    assert flows == is_in("flow_id", ["f0", "f1", "f2"])
    assert starts == Within("start_ns", tuple((10 * n, 10 * n + 1) for n in range(256)))
    told["more"] = _told(("f0", -5), ("f0", 7))
    flows, starts = bounds_of_users(SEGMENTS, told)
    assert flows == is_in("flow_id", ["f0", "f1", "f2"])
    assert starts == Within("start_ns", ((-5, 2_551),))
    assert filter_of(_SEGMENTS, bounds_of_users(SEGMENTS, {"a": NOWHERE})) is None
    assert filter_of(_SEGMENTS, bounds_of_users(SEGMENTS, {})) is None


@examples(200)
@given(st.dictionaries(texts, _users, max_size=4), st.data())
def test_bounds_hold_every_user(
    history: Mapping[str, list[tuple[str, int]]], data: st.DataObject
) -> None:
    rows = [
        row
        for object_id, users in history.items()
        for flow_id, start in users
        for row in segment_rows(flow_id, [(start, start + 1)], object_id=object_id)
    ]
    told = {object_id: _told(*users) for object_id, users in history.items()}
    asked = data.draw(st.lists(st.sampled_from(sorted(told)), unique=True) if told else st.just([]))
    where = is_in("object_id", asked)
    tx = MemoryTx({SEGMENTS: rows})
    bounds = bounds_of_users(SEGMENTS, {object_id: told[object_id] for object_id in asked})
    assert tx.count(_SEGMENTS, (where, *bounds)) == tx.count(_SEGMENTS, (where,))


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ([eq("o", "a")], ["a"]),
        ([eq("f", "x"), is_in("o", ["a", "b", "a", None])], ["a", "b"]),
        ([Where("o", (Range(Op.EQ, "a"), Range(Op.IN, ("c",))))], ["a", "c"]),
        ([compare("o", Op.GT, "a"), eq("o", "b")], ["b"]),
        ([is_in("o", [])], []),
        ([eq("o", None)], None),
        ([Where("o", (Range(Op.EQ, "a"), Range(Op.IS_NULL)))], None),
        ([Where("o", (Range(Op.EQ, "a"), Range(Op.PREFIX, "b")))], None),
        ([Within("o", (("a", "b"),))], None),
        ([eq("f", "a")], None),
        ([], None),
    ],
)
def test_named_values(where: list[Where | Within], expected: list[str] | None) -> None:
    assert named(where, "o") == expected
