"""Limits of tags, and what they keep."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tams_gql.model.errors import BadInput
from tams_gql.model.tags import parse_tags

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)


@given(st.dictionaries(NAMES, TEXT | st.lists(TEXT, max_size=4), max_size=8))
def test_tags_keep_order_and_tell_a_string_from_a_list(tags: dict[str, str | list[str]]) -> None:
    parsed = parse_tags(tags, field="tags")
    assert parsed == tags
    assert list(parsed) == list(tags)


def test_tags_are_a_copy() -> None:
    sent = {"genre": ["news"]}
    parsed = parse_tags(sent, field="tags")
    sent["genre"].append("sport")
    assert parsed == {"genre": ["news"]}


def test_tuples_become_lists() -> None:
    assert parse_tags({"genre": ("news", "sport")}, field="tags") == {"genre": ["news", "sport"]}


def test_tags_at_their_limits_are_accepted() -> None:
    tags: dict[str, object] = {f"{number:0128}": "" for number in range(61)}
    tags |= {"long": "v" * 1_024, "many": ["w"] * 32, "none": []}
    assert parse_tags(tags, field="tags") == tags


@pytest.mark.parametrize(
    ("tags", "field", "said"),
    [
        (None, "tags", "None is not allowed; an object of tag names"),
        (["a"], "tags", "an object of tag names"),
        ({str(number): "" for number in range(65)}, "tags", "65 tags; at most 64"),
        ({"": "x"}, "tags", "the tag name '' is not allowed"),
        ({"n" * 129: "x"}, "tags", "the tag name 'nnnn"),
        ({5: "x"}, "tags", "the tag name 5 is not allowed"),
        ({"\ud800": "x"}, "tags", "the tag name '\\ud800'"),
        ({"genre": None}, "tags.genre", "a string or a list of strings"),
        ({"genre": 5}, "tags.genre", "5 is not allowed"),
        ({"genre": {"a": "b"}}, "tags.genre", "a string or a list of strings"),
        ({"genre": "x" * 1_025}, "tags.genre", "a string of 0 to 1024 characters"),
        ({"genre": "\udfff"}, "tags.genre", "a string of 0 to 1024 characters"),
        ({"genre": ["x"] * 33}, "tags.genre", "33 values in one tag; at most 32"),
        ({"genre": ["a", "b", 3]}, "tags.genre.2", "3 is not allowed"),
        ({"genre": ["x" * 1_025]}, "tags.genre.0", "a string of 0 to 1024 characters"),
        (
            {str(number): ["x" * 1_024] * 2 for number in range(33)},
            "tags",
            "the tags have 68004 bytes as JSON; at most 65536",
        ),
    ],
)
def test_refused_tags_name_the_tag(tags: object, field: str, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_tags(tags, field="tags")
    assert caught.value.field == field
    assert caught.value.message.startswith(f"{field}: ")
    assert said in caught.value.message
