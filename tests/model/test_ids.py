"""UUIDs, object ids and MIME types."""

from __future__ import annotations

import json
import re
from urllib.parse import quote, unquote
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tams_gql.model.errors import BadInput
from tams_gql.model.ids import (
    is_same_container,
    new_id,
    parse_mime_type,
    parse_object_id,
    parse_uuid,
)
from tests.spec import NO_SPEC, spec_dir

CANONICAL = "4f79cfd1-c057-47f4-8e4d-1b126ca7bf34"


@given(st.uuids())
def test_uuids_of_versions_1_to_5_are_accepted_in_either_case(uuid: UUID) -> None:
    accepted = uuid.version in (1, 2, 3, 4, 5)
    for text in (str(uuid), str(uuid).upper()):
        if accepted:
            assert parse_uuid(text, field="id") == str(uuid)
        else:
            with pytest.raises(BadInput):
                parse_uuid(text, field="id")


@pytest.mark.parametrize(
    "value",
    [
        "",
        CANONICAL.replace("-", ""),
        "{" + CANONICAL + "}",
        "urn:uuid:" + CANONICAL,
        CANONICAL + "\n",
        CANONICAL[:-1],
        CANONICAL[:-1] + "g",
        "00000000-0000-0000-0000-000000000000",
        "019535d9-3df7-79fb-b466-fa907fa17f9e",
        "4f79cfd1-c057-47f4-7e4d-1b126ca7bf34",
        CANONICAL.replace("1", "\u0661"),
        None,
        7,
    ],
)
def test_other_values_are_no_uuid(value: object) -> None:
    with pytest.raises(BadInput) as caught:
        parse_uuid(value, field="source_id")
    assert caught.value.field == "source_id"
    assert caught.value.message.startswith("source_id: ")
    assert "a UUID of version 1 to 5" in caught.value.message


def test_new_ids_are_random_and_canonical() -> None:
    ids = {new_id() for _ in range(100)}
    assert len(ids) == 100
    assert {UUID(id).version for id in ids} == {4}
    assert all(parse_uuid(id, field="id") == id for id in ids)


@pytest.mark.parametrize(
    "text",
    ["a", "99c27f3f-ab67-47ae-8dd3-e5c146912b50", "a/b c?d#e%2F", "...", "é\u4e2d", "x" * 256],
)
def test_object_ids_are_any_text_that_fits_one_path_segment(text: str) -> None:
    assert parse_object_id(text, field="object_id") == text
    assert unquote(quote(text, safe="")) == text


@pytest.mark.parametrize(
    "value",
    [
        "",
        ".",
        "..",
        "x" * 257,
        "a\nb",
        "a\x00",
        "\x7f",
        "é\x85",
        "\u2028",
        "\ud800",
        None,
        5,
        ["a"],
    ],
)
def test_object_ids_that_break_paths_or_headers_are_refused(value: object) -> None:
    with pytest.raises(BadInput) as caught:
        parse_object_id(value, field="segments.0.object_id")
    assert caught.value.field == "segments.0.object_id"
    assert "1 to 256 characters" in caught.value.message


@pytest.mark.parametrize(
    "text", ["video/h264", "application/ttml+xml", "audio/x-raw-int", "x-a/b", "Video/H264"]
)
def test_mime_types_are_kept_as_sent(text: str) -> None:
    assert parse_mime_type(text, field="codec") == text


@pytest.mark.parametrize(
    "value",
    [
        "",
        "video",
        "video/",
        "/h264",
        "a/b/c",
        "video /h264",
        "video/h264\r\n",
        "v/é",
        "video/" + "x" * 250,
        None,
        1,
    ],
)
def test_other_values_are_no_mime_type(value: object) -> None:
    with pytest.raises(BadInput) as caught:
        parse_mime_type(value, field="codec")
    assert caught.value.field == "codec"
    assert "type/subtype" in caught.value.message


@pytest.fixture(scope="module")
def mime_pattern() -> str:
    spec = spec_dir()
    if spec is None:
        pytest.skip(NO_SPEC)
    pattern: str = json.loads((spec / "schemas" / "mime-type.json").read_text())["pattern"]
    return pattern


@given(data=st.data())
def test_every_mime_type_of_the_specification_is_accepted(
    mime_pattern: str, data: st.DataObject
) -> None:
    text = data.draw(st.from_regex(re.compile(mime_pattern, re.ASCII), fullmatch=True))
    text = text.removesuffix("\n")
    if len(text) <= 255:
        assert parse_mime_type(text, field="codec") == text


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("video/mp2t", "video/MP2T", True),
        ("video/mp4", "audio/MP4", True),
        ("application/mp4", "audio/mp4", True),
        ("video/iso.segment", "audio/iso.segment", True),
        ("video/mp4", "video/iso.segment", False),
        ("image/mp4", "video/mp4", False),
        ("video/mpeg", "audio/mpeg", False),
        ("video/mp4", None, False),
        (None, None, True),
    ],
)
def test_a_container_may_have_a_type_for_each_kind_of_content(
    one: str | None, other: str | None, same: bool
) -> None:
    assert is_same_container(one, other) is same
    assert is_same_container(other, one) is same
