"""Several operations in one body: refused, unless a setting allows it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.http.graphql_server import (
    GRAPHQL_JSON,
    JSON,
    TRIVIAL,
    UTF_8,
    GraphQLServer,
    graphql_server,
    refused,
)
from tests.http.graphql_stream_client import EVENTS

LIMIT = 4


@pytest.fixture(scope="module")
def off(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GraphQLServer]:
    with graphql_server(tmp_path_factory.mktemp("catalog")) as server:
        yield server


@pytest.fixture(scope="module")
def on(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GraphQLServer]:
    with graphql_server(
        tmp_path_factory.mktemp("catalog"), max_batch_operations=LIMIT, max_concurrent_operations=1
    ) as server:
        yield server


@pytest.mark.parametrize("body", [[], [{"query": TRIVIAL}], [1]])
def test_they_are_off_by_default(off: GraphQLServer, body: object) -> None:
    message = "The request body is an array; batches of operations are turned off"
    for accept in (GRAPHQL_JSON, JSON, EVENTS):
        refused(off.send(body, accept), 400, message)


@pytest.mark.parametrize("accept", [GRAPHQL_JSON, JSON])
def test_each_operation_has_its_own_response_in_order(on: GraphQLServer, accept: str) -> None:
    batch = [
        {"query": "{ a: __typename }"},
        {"query": "{"},
        {"query": "mutation { b: __typename }"},
        {"query": "subscription { events { cursor } }"},
    ]
    answer = on.send(batch, accept)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == accept + UTF_8
    first, syntax, third, subscription = answer.json()
    assert (first, third) == ({"data": {"a": "Query"}}, {"data": {"b": "Mutation"}})
    assert syntax["errors"][0]["message"] == "Syntax Error: Expected Name, found <EOF>."
    assert subscription["errors"] == [
        {
            "message": "A batch cannot have subscriptions",
            "extensions": {"code": "BAD_USER_INPUT"},
        }
    ]


def test_a_batch_that_is_too_long_is_refused_with_its_limit(on: GraphQLServer) -> None:
    answer = on.send([{"query": TRIVIAL}] * (LIMIT + 1))
    assert (answer.status_code, answer.json()) == (
        400,
        {
            "errors": [
                {
                    "message": "max_batch_operations: the batch has 5 operations; the limit is 4",
                    "extensions": {"code": "LIMIT_EXCEEDED", "limit": 4, "requested": 5},
                }
            ]
        },
    )


def test_an_empty_batch_and_items_that_are_none_are_400(on: GraphQLServer) -> None:
    refused(on.send([]), 400, "The batch has no operation")
    message = "body: an object is needed, not an array"
    refused(on.send([{"query": TRIVIAL}, []]), 400, message, field="body")


def test_an_operation_without_a_document_fails_alone(on: GraphQLServer) -> None:
    first, second = on.send([{}, {"query": TRIVIAL}]).json()
    assert first["errors"][0]["extensions"] == {"code": "BAD_USER_INPUT", "field": "query"}
    assert second == {"data": {"__typename": "Query"}}


def test_a_batch_is_not_a_stream(on: GraphQLServer) -> None:
    assert on.send([{"query": TRIVIAL}], EVENTS).status_code == 406
