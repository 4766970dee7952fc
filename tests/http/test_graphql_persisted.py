"""Automatic persisted queries, over every transport."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tams_gql.http.graphql.params import Params
from tams_gql.http.graphql.persisted import PersistedQueries
from tams_gql.http.graphql.refusal import NotRun
from tests.http.graphql_server import GRAPHQL_JSON, JSON, GraphQLServer, graphql_server, refused
from tests.http.graphql_stream_client import EVENTS, Events
from tests.http.graphql_ws_client import initialised, next_of

NOT_FOUND = ("PersistedQueryNotFound", "PERSISTED_QUERY_NOT_FOUND")
NOT_SUPPORTED = ("PersistedQueryNotSupported", "PERSISTED_QUERY_NOT_SUPPORTED")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GraphQLServer]:
    with graphql_server(tmp_path_factory.mktemp("catalog")) as server:
        yield server


def sha256(query: str) -> str:
    return hashlib.sha256(query.encode()).hexdigest()


def named(query: str, **other: Any) -> dict[str, Any]:
    """The extensions that name a query."""
    return {"persistedQuery": {"version": 1, "sha256Hash": sha256(query), **other}}


def told(answer: httpx.Response) -> tuple[str, str]:
    [error] = answer.json()["errors"]
    return error["message"], error["extensions"]["code"]


def test_a_document_is_sent_once_and_named_from_then_on(server: GraphQLServer) -> None:
    query = "query Once { __typename }"
    unknown = server.send({"extensions": named(query)})
    assert (unknown.status_code, told(unknown)) == (400, NOT_FOUND)
    legacy = server.send({"extensions": named(query)}, JSON)
    assert (legacy.status_code, told(legacy)) == (200, NOT_FOUND)
    data = {"data": {"__typename": "Query"}}
    assert server.send({"query": query, "extensions": named(query)}).json() == data
    assert server.send({"query": None, "extensions": named(query)}).json() == data


def test_it_works_by_get_and_can_be_cached(server: GraphQLServer) -> None:
    query = "query Get { __typename }"
    extensions = json.dumps(named(query))
    unknown = server.get(extensions=extensions)
    assert (unknown.status_code, told(unknown)) == (400, NOT_FOUND)
    assert unknown.headers["cache-control"] == "no-store"
    first = server.get(query=query, extensions=extensions)
    second = server.get(extensions=extensions)
    assert first.json() == second.json() == {"data": {"__typename": "Query"}}
    asked = {"Accept": GRAPHQL_JSON, "If-None-Match": first.headers["etag"]}
    known = server.http.get("/graphql", params={"extensions": extensions}, headers=asked)
    assert known.status_code == 304


def test_it_works_in_streams_and_over_a_websocket(server: GraphQLServer) -> None:
    query = "query Everywhere { __typename }"
    with initialised(server) as client:
        unknown = {"id": "1", "type": "subscribe", "payload": {"extensions": named(query)}}
        client.send(unknown)
        assert client.receive()["payload"][0]["extensions"] == {"code": NOT_FOUND[1]}
        client.subscribe(query, extensions=named(query))
        assert client.receive() == next_of("1", {"__typename": "Query"})
        assert client.receive()["type"] == "complete"
        client.send(unknown)
        assert client.receive() == next_of("1", {"__typename": "Query"})
    headers, body = {"Accept": EVENTS}, {"extensions": named(query)}
    with server.http.stream("POST", "/graphql", json=body, headers=headers) as answer:
        assert Events(answer).next() == ("next", {"data": {"__typename": "Query"}})


def test_a_mutation_may_be_named_but_not_by_get(server: GraphQLServer) -> None:
    query = "mutation Named { __typename }"
    server.send({"query": query, "extensions": named(query)})
    assert server.send({"extensions": named(query)}).json() == {"data": {"__typename": "Mutation"}}
    assert server.get(extensions=json.dumps(named(query))).status_code == 405


@pytest.mark.parametrize("accept", [GRAPHQL_JSON, JSON])
def test_a_hash_of_something_else_is_400(server: GraphQLServer, accept: str) -> None:
    body = {"query": "{ __typename }", "extensions": named("{ other }")}
    field = "extensions.persistedQuery.sha256Hash"
    refused(server.send(body, accept), 400, f"{field}: not the SHA-256 of the query", field=field)
    assert told(server.send({"extensions": named("{ other }")})) == NOT_FOUND


@pytest.mark.parametrize("bad", [None, 1, "", "0" * 63, "g" * 64, "A" * 64, ["0" * 64]])
def test_a_hash_that_is_none_is_400(server: GraphQLServer, bad: object) -> None:
    body = {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": bad}}}
    field = "extensions.persistedQuery.sha256Hash"
    message = f"{field}: 64 hexadecimal digits in lower case are needed"
    refused(server.send(body), 400, message, field=field)


@pytest.mark.parametrize("bad", [1, "x", [], True])
def test_a_name_that_is_no_object_is_400(server: GraphQLServer, bad: object) -> None:
    field = "extensions.persistedQuery"
    answer = server.send({"query": "{ __typename }", "extensions": {"persistedQuery": bad}})
    refused(answer, 400, f"{field}: an object is needed", field=field)


@pytest.mark.parametrize("version", [0, 2, "1", None, [], {}])
def test_another_version_is_not_supported(server: GraphQLServer, version: object) -> None:
    query = "query Version { __typename }"
    answer = server.send({"query": query, "extensions": named(query, version=version)})
    assert (answer.status_code, told(answer)) == (400, NOT_SUPPORTED)


def test_a_document_that_cannot_be_parsed_is_not_kept(server: GraphQLServer) -> None:
    assert server.send({"query": "{ kept", "extensions": named("{ kept")}).status_code == 400
    assert told(server.send({"extensions": named("{ kept")})) == NOT_FOUND


def test_it_can_be_turned_off(tmp_path: Path) -> None:
    query = "query Off { __typename }"
    with graphql_server(tmp_path, persisted_query_bytes=0) as server:
        for body in ({"extensions": named(query)}, {"query": query, "extensions": named(query)}):
            answer = server.send(body)
            assert (answer.status_code, told(answer)) == (400, NOT_SUPPORTED)
        assert server.ask(query).status_code == 200


def test_what_was_not_used_for_longest_is_forgotten() -> None:
    queries = PersistedQueries(max_bytes=20_000)

    def params(number: int, query: str | None) -> Params:
        return Params(query, None, None, named(f"{number:04} {'x' * 900}"))

    def known(number: int) -> bool:
        try:
            return queries.resolved(params(number, None)).query is not None
        except NotRun:
            return False

    for number in range(100):
        queries.remember(params(number, f"{number:04} {'x' * 900}"))
        assert known(0)
    assert [number for number in range(100) if known(number)] == [0, *range(81, 100)]
    assert len(queries) == 20
