"""What clients may set on a source."""

from __future__ import annotations

import pytest

from tams_gql.model.errors import BadInput
from tams_gql.model.source import SourceFields, parse_source_fields


def test_fields_are_read_with_the_names_that_were_sent() -> None:
    assert parse_source_fields({"label": "Gala", "tags": {"a": ["b"]}}) == SourceFields(
        label="Gala", description=None, tags={"a": ["b"]}, sent=frozenset({"label", "tags"})
    )


def test_nothing_sent_is_told_from_null() -> None:
    assert parse_source_fields({}) == SourceFields()
    assert parse_source_fields({"label": None, "description": None, "tags": None}) == SourceFields(
        sent=frozenset({"label", "description", "tags"})
    )


@pytest.mark.parametrize(
    ("body", "field", "said"),
    [
        ({"label": 5}, "input.label", "a string of 0 to 1024 characters"),
        ({"label": "x" * 1_025}, "input.label", "a string of 0 to 1024 characters"),
        ({"description": "x" * 16_385}, "input.description", "a string of 0 to 16384 characters"),
        ({"tags": {"a": 5}}, "input.tags.a", "a string or a list of strings"),
        ({"lable": "x"}, "input.lable", "only label, description, tags can be set"),
        ({"format": "urn:x-nmos:format:video"}, "input.format", "can be set"),
        ([], "input", "a JSON object"),
    ],
)
def test_bad_fields_are_named(body: dict[str, object], field: str, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_source_fields(body, field="input")
    assert caught.value.field == field
    assert said in caught.value.message
