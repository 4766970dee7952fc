"""Cursors of the change log: opaque, bound to their log, refused when they are not ours."""

from __future__ import annotations

from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tams_gql.events.cursor import decode_cursor, encode_cursor
from tams_gql.model.errors import BadInput

LOG = "4f79cfd1-c057-47f4-8e4d-1b126ca7bf34"


@given(st.text("0123456789abcdefghijklmnopqrstuvwxyz.-", min_size=1, max_size=4096))
def test_a_cursor_leads_back_to_its_position(position: str) -> None:
    cursor = encode_cursor(LOG, position)
    assert decode_cursor(LOG, cursor) == position
    assert cursor.isascii()
    assert not set(cursor) & set("+/= ")  # it can stand in a URL


def test_a_cursor_of_another_log_is_named_as_such() -> None:
    with pytest.raises(BadInput) as refused:
        decode_cursor("another", encode_cursor(LOG, "0" * 16), field="input.after")
    assert refused.value.message == (
        "input.after: the event cursor belongs to another catalog; start without a cursor"
    )
    assert refused.value.field == "input.after"


def _encoded(text: str) -> str:
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        *("", "x", "é", "a" * 5000, "{}", "AAAA"),
        *map(_encoded, (LOG, f"{LOG}:", f"{LOG}:X", f"{LOG}:1:2", f"{LOG}:+1", f"{LOG}: 1")),
        *map(_encoded, (f"{LOG}:0\n", f"{LOG}:1_0", f"{LOG}:{'0' * 4097}", f"{LOG}:ü")),
    ],
)
def test_what_is_no_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(BadInput) as refused:
        decode_cursor(LOG, cursor)
    assert refused.value.message == f"after: {cursor[:80]!r} is not an event cursor of this service"
    assert refused.value.field == "after"


@given(st.text())
def test_any_text_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        decode_cursor(LOG, text)
