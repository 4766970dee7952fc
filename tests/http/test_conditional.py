"""Which bytes a Range header means, and when a condition ends a request."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from tams_gql.http.conditional import (
    ByteRange,
    RangeNotSatisfiable,
    http_date,
    parse_range,
    refused_by_precondition,
    requested_range,
)

ETAG = '"abc"'
CHANGED = datetime(2026, 3, 4, 12, 0, 0, 500_000, tzinfo=UTC)
AT = "Wed, 04 Mar 2026 12:00:00 GMT"
BEFORE = "Wed, 04 Mar 2026 11:59:59 GMT"
AFTER = "Wed, 04 Mar 2026 12:00:01 GMT"

sizes = st.integers(min_value=0, max_value=50)
positions = st.integers(min_value=0, max_value=60)


def cut(data: bytes, text: str) -> bytes | None:
    """The part of ``data``, all of it if the range is ignored, or None if there is no such part."""
    try:
        part = parse_range(text, len(data))
    except RangeNotSatisfiable:
        return None
    return data if part is None else data[part.start : part.stop]


@given(sizes, positions, positions)
def test_first_to_last_is_a_slice(size: int, first: int, last: int) -> None:
    data = bytes(range(size))
    expected = data[first : last + 1] or None if first <= last else data
    assert cut(data, f"bytes={first}-{last}") == expected


@given(sizes, positions)
def test_from_a_position_is_a_slice(size: int, first: int) -> None:
    data = bytes(range(size))
    assert cut(data, f"bytes={first}-") == (data[first:] or None)


@given(sizes, positions)
def test_a_suffix_is_a_slice(size: int, length: int) -> None:
    data = bytes(range(size))
    expected = None if length == 0 else data[max(0, size - length) :]
    assert cut(data, f"bytes=-{length}") == expected


@given(sizes, positions, positions)
def test_a_part_is_never_empty_and_never_beyond_the_end(size: int, first: int, last: int) -> None:
    for text in (f"bytes={first}-{last}", f"bytes={first}-", f"bytes=-{last}"):
        try:
            part = parse_range(text, size)
        except RangeNotSatisfiable:
            continue
        assert part is None or 0 <= part.start < part.stop <= size


@given(st.text(max_size=30), sizes)
def test_any_text_is_a_range_or_ignored(text: str, size: int) -> None:
    for header in (text, f"bytes={text}"):
        part = None
        try:
            part = parse_range(header, size)
        except RangeNotSatisfiable:
            continue
        assert part is None or 0 <= part.start < part.stop <= size


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=5-3",
        "bytes=a-b",
        "bytes=1-2-3",
        "bytes=+1-2",
        "bytes=1_0-20",
        "bytes=٣-٤",
        "bytes= 1 - 2",
        "bytes=0-1,3-4",
        "items=0-1",
        "0-1",
    ],
)
def test_malformed_foreign_and_multiple_ranges_are_ignored(text: str) -> None:
    assert parse_range(text, 10) is None


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("Bytes=2-3", ByteRange(2, 4)),
        (" bytes= 2-3 ", ByteRange(2, 4)),
        ("bytes=0002-3", ByteRange(2, 4)),
        ("bytes=2-" + "9" * 5_000, ByteRange(2, 10)),
        ("bytes=-" + "9" * 5_000, ByteRange(0, 10)),
    ],
)
def test_unusual_spellings_are_understood(text: str, part: ByteRange) -> None:
    assert parse_range(text, 10) == part


def test_a_start_beyond_any_file_is_not_satisfiable() -> None:
    with pytest.raises(RangeNotSatisfiable):
        parse_range("bytes=" + "9" * 5_000 + "-", 10)


@pytest.mark.parametrize(
    ("condition", "applies"),
    [
        (None, True),
        (ETAG, True),
        (f"W/{ETAG}", False),
        ('"other"', False),
        (AT, True),
        (BEFORE, False),
        (AFTER, False),
        ("nonsense", False),
    ],
)
def test_a_range_of_another_version_is_ignored(condition: str | None, applies: bool) -> None:
    headers = {"range": "bytes=0-1"} | ({"if-range": condition} if condition else {})
    part = requested_range(Headers(headers), ETAG, CHANGED, 10)
    assert part == (ByteRange(0, 2) if applies else None)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, None),
        ({"if-none-match": ETAG}, 304),
        ({"if-none-match": f"W/{ETAG}"}, 304),
        ({"if-none-match": '"x", "abc" , "y"'}, 304),
        ({"if-none-match": "*"}, 304),
        ({"if-none-match": '"x"'}, None),
        ({"if-none-match": "abc"}, None),
        ({"if-modified-since": AT}, 304),
        ({"if-modified-since": AFTER}, 304),
        ({"if-modified-since": BEFORE}, None),
        ({"if-modified-since": "yesterday"}, None),
        ({"if-modified-since": "Wed, 04 Mar 2026 12:00:00 -0000"}, 304),
        ({"if-none-match": '"x"', "if-modified-since": AT}, None),
        ({"if-match": ETAG}, None),
        ({"if-match": "*"}, None),
        ({"if-match": '"x", "abc"'}, None),
        ({"if-match": f"W/{ETAG}"}, 412),
        ({"if-match": '"x"'}, 412),
        ({"if-unmodified-since": AT}, None),
        ({"if-unmodified-since": BEFORE}, 412),
        ({"if-unmodified-since": "Fri, 99 Foo 2026 99:99:99 GMT"}, None),
        ({"if-modified-since": f"Wed, 04 Mar {'9' * 40} 12:00:00 GMT"}, None),
        ({"if-match": ETAG, "if-unmodified-since": BEFORE}, None),
        ({"if-match": ETAG, "if-none-match": ETAG}, 304),
        ({"if-match": '"x"', "if-none-match": ETAG}, 412),
    ],
)
def test_preconditions(headers: dict[str, str], status: int | None) -> None:
    assert refused_by_precondition(Headers(headers), ETAG, CHANGED) == status


def test_a_condition_may_come_in_several_lines() -> None:
    headers = Headers(raw=[(b"if-none-match", b'"x"'), (b"if-none-match", b'"abc"')])
    assert refused_by_precondition(headers, ETAG, CHANGED) == 304


@given(st.text(alphabet=st.characters(codec="latin-1"), max_size=40))
def test_any_text_in_a_condition_is_survived(text: str) -> None:
    for name in ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since"):
        assert refused_by_precondition(Headers({name: text}), ETAG, CHANGED) in (None, 304, 412)


def test_dates_are_written_in_gmt() -> None:
    assert http_date(CHANGED) == AT
    assert http_date(CHANGED + timedelta(days=1)) == "Thu, 05 Mar 2026 12:00:00 GMT"
