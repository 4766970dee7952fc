"""What a reader of the documents takes for right, and makes of a command."""

from __future__ import annotations

import pytest

from tests.document_reader import curl, differing


@pytest.mark.parametrize(
    ("wanted", "found", "differences"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 2}, ["answer.a: 2 instead of 1"]),
        ({"a": 1}, {"a": True}, ["answer.a: True instead of 1"]),
        ({"a": 1}, {"a": 1, "b": 2}, ["answer.b: not expected"]),
        ({"a": 1, "…": "…"}, {"a": 1, "b": 2}, []),
        ({"a": 1, "…": "…"}, {"b": 2}, ["answer.a: missing"]),
        ({"a": "…"}, {"a": [1]}, []),
        ({"a": "…"}, {"a": None}, ["answer.a: null"]),
        ({"a": "http://…/media/…"}, {"a": "http://x/media/y?z"}, []),
        ({"a": "http://…/media/…"}, {"a": "ftp://x/media/y"}, ["answer.a: ftp://x/media/y"]),
        ([1, "…"], [1, 2, 3], []),
        ([1, "…"], [2], ["answer.0: 2 instead of 1"]),
        ([1, "…"], [], ["answer: 0 items instead of 1"]),
        ([1], [1, 2], ["answer: 2 items instead of 1"]),
        ([], {}, ["answer: {} instead of []"]),
    ],
)
def test_answers_are_compared_exactly(
    wanted: object, found: object, differences: list[str]
) -> None:
    assert differing(wanted, found) == differences


def test_a_command_of_curl_is_read_as_a_shell_reads_it() -> None:
    command = "curl -N http://x/graphql \\\n  -H 'Accept: text/plain' \\\n  -d '{\"a\": 1}'\n"
    assert curl(command) == ("POST", "http://x/graphql", {"Accept": "text/plain"}, b'{"a": 1}')
    assert curl("curl 'http://x/graphql?query=%7Ba%7D'") == (
        "GET",
        "http://x/graphql?query=%7Ba%7D",
        {},
        None,
    )
    with pytest.raises(AssertionError):
        curl("curl --upload-file x http://x/")
