"""Object keys and the template that makes them."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tams_gql.media.keys import MAX_KEY_BYTES, KeyTemplate, check_key
from tams_gql.model.errors import BadInput

NOON = datetime(2026, 3, 4, 12, 59, 59, tzinfo=UTC)
FLOW = "bd5b7a9f-5c5f-4d3a-8a56-9d5fd4c2ff30"


@pytest.mark.parametrize(
    ("template", "prefix", "key"),
    [
        ("{prefix}{YYYY}/{MM}/{DD}/{hh}/{object_id}", "", "2026/03/04/12/o"),
        ("{prefix}{YYYY}/{MM}/{DD}/{hh}/{object_id}", "studio/", "studio/2026/03/04/12/o"),
        ("{flow_id}/{object_id}", "unused", f"{FLOW}/o"),
        ("{shard}/{object_id}", "", hashlib.sha256(b"o").hexdigest()[:2] + "/o"),
        ("{{{object_id}}}", "", "{o}"),
    ],
)
def test_the_template_fills_in_its_fields(template: str, prefix: str, key: str) -> None:
    assert KeyTemplate(template, prefix=prefix).render("o", flow_id=FLOW, now=NOON) == key


def test_the_time_of_allocation_counts_in_utc() -> None:
    east = timezone(timedelta(hours=14))
    now = datetime(2027, 1, 1, 3, 0, tzinfo=east)
    assert KeyTemplate().render("o", flow_id=FLOW, now=now) == "2026/12/31/13/o"


def test_a_time_without_zone_is_a_defect() -> None:
    with pytest.raises(ValueError, match="time zone"):
        KeyTemplate().render("o", flow_id=FLOW, now=datetime(2026, 3, 4))


@pytest.mark.parametrize(
    "template",
    [
        "{YYYY}/{MM}",
        "{object_id}/{YYYY",
        "{object_id}/{year}",
        "{object_id}/{}",
        "{object_id.__class__}",
        "{object_id[0]}",
        "{object_id:.3}",
        "{object_id!r}",
        "/{object_id}",
        "{object_id}/",
        "../{object_id}",
    ],
)
def test_a_template_that_cannot_make_good_keys_is_refused(template: str) -> None:
    with pytest.raises(BadInput):
        KeyTemplate(template)


def test_braces_in_an_object_id_are_only_text() -> None:
    key = KeyTemplate().render("{flow_id}", flow_id=FLOW, now=NOON)
    assert key == "2026/03/04/12/{flow_id}"


@pytest.mark.parametrize(
    "key", ["a" * MAX_KEY_BYTES, "ü" * (MAX_KEY_BYTES // 2), "a/b/c", "...", "a..b", " ", "%2e%2e"]
)
def test_these_are_keys(key: str) -> None:
    assert check_key(key) == key


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("a" * (MAX_KEY_BYTES + 1), "at most 1024 bytes"),
        ("ü" * (MAX_KEY_BYTES // 2) + "a", "at most 1024 bytes"),
        ("", "may be empty"),
        ("/a", "may be empty"),
        ("a/", "may be empty"),
        ("a//b", "may be empty"),
        (".", "may be empty"),
        ("a/./b", "may be empty"),
        ("a/..", "may be empty"),
        ("a\x00b", "control characters"),
        ("a\x7fb", "control characters"),
        ("a\x85b", "control characters"),
        ("a\\b", "backslashes"),
        ("a\ud800", "surrogates"),
    ],
)
def test_these_are_not(key: str, reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        check_key(key)


@given(st.text(max_size=40), st.text(max_size=40))
def test_different_objects_never_share_a_key(one: str, other: str) -> None:
    template = KeyTemplate()
    keys = set()
    for object_id in (one, other):
        try:
            keys.add(template.render(object_id, flow_id=FLOW, now=NOON))
        except BadInput:
            return
    assert len(keys) == len({one, other})
