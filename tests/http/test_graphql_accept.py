"""What the ``Accept`` header asks for."""

from __future__ import annotations

import time
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tams_gql.http.graphql.accept import Accepted, accepted

GRAPHQL_JSON: Final = "application/graphql-response+json"
JSON: Final = "application/json"
EVENTS: Final = "text/event-stream"
PARTS: Final = "multipart/mixed"
SUBSCRIPTION_PARTS = f'{PARTS};boundary="graphql";subscriptionSpec=1.0'


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", Accepted(JSON, None, False)),
        ("*/*", Accepted(JSON, None, False)),
        ("application/*", Accepted(JSON, None, False)),
        (GRAPHQL_JSON, Accepted(GRAPHQL_JSON, None, False)),
        (f"{GRAPHQL_JSON}, {JSON}", Accepted(GRAPHQL_JSON, None, False)),
        (f"{JSON}, {GRAPHQL_JSON}", Accepted(GRAPHQL_JSON, None, False)),
        (f"{JSON}, {GRAPHQL_JSON};q=0.9", Accepted(JSON, None, False)),
        (f"{GRAPHQL_JSON}, */*", Accepted(GRAPHQL_JSON, None, False)),
        (f"{JSON};q=0, */*", Accepted(GRAPHQL_JSON, None, False)),
        (f"{GRAPHQL_JSON};q=0, */*;q=0.1", Accepted(JSON, None, False)),
        ("*/*;q=0", Accepted(None, None, False)),
        ("application/*;q=0, */*", Accepted(None, None, False)),
        (f"{JSON}; charset=UTF-8 ; q=0.5", Accepted(JSON, None, False)),
        (f"{JSON}; charset=latin1", Accepted(None, None, False)),
        (f"{JSON};q=2", Accepted(None, None, False)),
        ("APPLICATION/JSON", Accepted(JSON, None, False)),
        ("image/png, text/html", Accepted(None, None, False)),
        (",, ;, /", Accepted(None, None, False)),
        (EVENTS, Accepted(None, EVENTS, True)),
        (f"{EVENTS}, {JSON}", Accepted(JSON, EVENTS, False)),
        (f"{EVENTS}, {JSON};q=0.5", Accepted(JSON, EVENTS, True)),
        (f"{EVENTS};q=0, {JSON}", Accepted(JSON, None, False)),
        (SUBSCRIPTION_PARTS, Accepted(None, PARTS, True)),
        (f"{SUBSCRIPTION_PARTS}, {JSON}", Accepted(JSON, PARTS, False)),
        (f'{PARTS};subscriptionSpec="1.0"', Accepted(None, PARTS, True)),
        (f"{PARTS};deferSpec=20220824", Accepted(None, None, False)),
        (PARTS, Accepted(None, None, False)),
        (f"{EVENTS};q=0.5, {SUBSCRIPTION_PARTS}", Accepted(None, PARTS, True)),
        (
            f"{GRAPHQL_JSON}, application/graphql+json, {JSON}, {EVENTS}, {PARTS}",
            Accepted(GRAPHQL_JSON, EVENTS, False),
        ),
    ],
)
def test_the_best_form_that_there_is_is_chosen(header: str, expected: Accepted) -> None:
    assert accepted(header) == expected


@given(st.text(alphabet=st.sampled_from('aq=;,/*"\\ 01.+')))
def test_no_header_breaks_it(header: str) -> None:
    assert isinstance(accepted(header), Accepted)


@pytest.mark.parametrize("part", ['"\\"', ";q=1", ",", "*/*;", '"'])
def test_a_long_header_takes_no_time(part: str) -> None:
    started = time.thread_time()  # others may have the machine meanwhile
    accepted(part * 20_000)
    assert time.thread_time() - started < 0.5
