"""What a JSON body may hold at all."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tams_gql.model.errors import BadInput
from tams_gql.model.json_body import MAX_BODY_BYTES, check_body

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(TEXT, children, max_size=3),
    max_leaves=10,
)


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@given(st.dictionaries(TEXT, JSON, max_size=3))
def test_what_passes_survives_storing(body: dict[str, object]) -> None:
    checked = check_body(body, "")
    assert checked == body
    assert orjson.loads(orjson.dumps(checked)) == body


@pytest.mark.parametrize(
    ("body", "field", "said"),
    [
        (None, "flow", "a JSON object"),
        ([], "flow", "a JSON object"),
        ({"x": float("nan")}, "flow.x", "nan is not allowed; a finite number"),
        ({"x": [1, {"y": float("-inf")}]}, "flow.x.1.y", "a finite number"),
        ({"x": 2**64}, "flow.x", "an integer of at most 64 bits"),
        ({"x": -(2**63) - 1}, "flow.x", "an integer of at most 64 bits"),
        ({"x": "\ud83d"}, "flow.x", "'\\ud83d' is not allowed"),
        ({"x": {"\ud83d": 1}}, "flow.x", "keys are text"),
        ({1: "x"}, "flow", "keys are text"),
        ({"x": b"bytes"}, "flow.x", "a JSON value"),
        ({"x": {1, 2}}, "flow.x", "a JSON value"),
        ({"x": nested(32)}, "flow.x" + ".0" * 32, "at most 32 levels"),
        ({"x": "y" * MAX_BODY_BYTES}, "flow", "has 131080 bytes; at most 131072"),
    ],
)
def test_what_could_not_be_stored_is_refused(body: object, field: str, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        check_body(body, "flow")
    assert caught.value.field == field
    assert said in caught.value.message


def test_the_limits_themselves_are_allowed() -> None:
    assert check_body({"x": nested(31)}, "") == {"x": nested(31)}
    full = {"x": "y" * (MAX_BODY_BYTES - len('{"x":""}'))}
    assert check_body(full, "") == full


def test_endless_nesting_is_refused_without_exhausting_the_stack() -> None:
    with pytest.raises(BadInput, match="nested too deep"):
        check_body({"x": nested(100_000)}, "")


def test_size_is_counted_in_bytes_not_characters() -> None:
    with pytest.raises(BadInput, match="the JSON body has"):
        check_body({"x": "é" * (MAX_BODY_BYTES // 2)}, "")


def test_an_error_about_the_whole_body_has_no_field() -> None:
    with pytest.raises(BadInput) as caught:
        check_body({"x": "y" * MAX_BODY_BYTES}, "")
    assert caught.value.field is None
    assert caught.value.message.startswith("the JSON body has")
