"""GraphQL over HTTP: media types, status codes, and requests that are none."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.http.graphql_server import (
    GRAPHQL_JSON,
    JSON,
    NEEDS_A_VARIABLE,
    READS,
    TRIVIAL,
    UTF_8,
    GraphQLServer,
    graphql_server,
    refused,
)

PAGE_OF_A_BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
MISSING_FLOW = (
    'mutation { deleteFlow(input: {id: "3e1c6d2e-3c35-4b73-a1ee-21b5e9b0b3a1"}) { event } }'
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GraphQLServer]:
    with graphql_server(tmp_path_factory.mktemp("catalog"), max_request_bytes=100_000) as server:
        yield server


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (GRAPHQL_JSON, GRAPHQL_JSON),
        (JSON, JSON),
        (None, JSON),
        ("*/*", JSON),
        (f"{GRAPHQL_JSON}, {JSON};q=0.9", GRAPHQL_JSON),
        (f"{JSON};q=0.4, {GRAPHQL_JSON};q=0.5", GRAPHQL_JSON),
        (PAGE_OF_A_BROWSER, JSON),
    ],
)
def test_the_answer_has_the_media_type_that_was_asked_for(
    server: GraphQLServer, accept: str | None, media_type: str
) -> None:
    for answer in (server.ask(TRIVIAL, accept), server.get(accept, query=TRIVIAL)):
        assert answer.status_code == 200
        assert answer.headers["content-type"] == media_type + UTF_8
        assert answer.json() == {"data": {"__typename": "Query"}}


@pytest.mark.parametrize("accept", ["text/html", "image/png", f"{JSON};charset=utf-16"])
def test_a_form_of_answer_that_there_is_not_is_406(server: GraphQLServer, accept: str) -> None:
    message = f"An operation is answered with {GRAPHQL_JSON} or {JSON}"
    answer = server.ask(TRIVIAL, accept)
    refused(answer, 406, message)
    assert answer.headers["content-type"] == JSON + UTF_8


NOT_RUN = {
    "syntax": {"query": "{"},
    "validation": {"query": "{ nothing }"},
    "coercion": {"query": NEEDS_A_VARIABLE, "variables": {"id": None}},
    "unknown operation": {"query": "query A { __typename }", "operationName": "B"},
    "no operation named": {"query": "query A { __typename } query B { __typename }"},
    "no operation": {"query": "fragment A on Query { __typename }"},
    "empty document": {"query": ""},
    "only a comment": {"query": "# nothing"},
}


@pytest.mark.parametrize("body", NOT_RUN.values(), ids=NOT_RUN)
def test_what_was_not_run_is_400_without_data_for_graphql_and_200_for_plain_json(
    server: GraphQLServer, body: dict[str, Any]
) -> None:
    modern, legacy = server.send(body, GRAPHQL_JSON), server.send(body, JSON)
    assert (modern.status_code, legacy.status_code) == (400, 200)
    assert modern.json() == legacy.json()
    assert modern.json().keys() == {"errors"}
    assert [e["extensions"]["code"] for e in modern.json()["errors"]] == ["BAD_USER_INPUT"]


def test_which_operation_is_meant_is_told(server: GraphQLServer) -> None:
    [unknown] = server.send(NOT_RUN["unknown operation"]).json()["errors"]
    [unnamed] = server.send(NOT_RUN["no operation named"]).json()["errors"]
    assert unknown["message"] == 'Unknown operation named "B".'
    assert unnamed["message"] == "operationName: the document has several operations, name one."


def test_an_empty_operation_name_is_none(server: GraphQLServer) -> None:
    answer = server.ask("query A { __typename }", operationName="")
    assert answer.json() == {"data": {"__typename": "Query"}}


@pytest.mark.parametrize("accept", [GRAPHQL_JSON, JSON])
def test_what_was_run_is_200_with_data_even_if_that_is_null(
    server: GraphQLServer, accept: str
) -> None:
    answer = server.ask(MISSING_FLOW, accept)
    assert answer.status_code == 200
    assert answer.json()["data"] is None
    assert [e["extensions"]["code"] for e in answer.json()["errors"]] == ["NOT_FOUND"]


def test_a_part_that_failed_leaves_200_and_the_other_parts(server: GraphQLServer) -> None:
    answer = server.ask('{ ok: __typename flow(id: "not an id") { id } }')
    assert answer.status_code == 200
    assert answer.json()["data"] == {"ok": "Query", "flow": None}
    assert [e["path"] for e in answer.json()["errors"]] == [["flow"]]


@pytest.mark.parametrize("content_type", [JSON, JSON + UTF_8, 'Application/JSON ; Charset="UTF-8"'])
def test_json_in_utf_8_is_read(server: GraphQLServer, content_type: str) -> None:
    body = json.dumps({"query": '{ __type(name: "Run🏃Swim🏊") { name } }'}, ensure_ascii=False)
    answer = server.send(body.encode(), content_type=content_type)
    assert (answer.status_code, answer.json()) == (200, {"data": {"__type": None}})


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/graphql",
        f"{JSON}; charset=iso-8859-1",
        "application/json-seq",
    ],
)
def test_every_other_content_type_is_415(server: GraphQLServer, content_type: str | None) -> None:
    answer = server.send(json.dumps({"query": TRIVIAL}).encode(), content_type=content_type)
    refused(answer, 415, f"The content type is {content_type or ''!r}; application/json is needed")
    assert answer.headers["accept-post"] == JSON


def test_a_compressed_body_is_415(server: GraphQLServer) -> None:
    answer = server.send({"query": TRIVIAL}, content_encoding="gzip")
    refused(answer, 415, "The content coding is 'gzip'; none is supported")


@pytest.mark.parametrize("body", [b"", b"{", b'{"query": "\xff"}', b"{'query': 1}", b"NaN"])
def test_a_body_that_is_no_json_is_400(server: GraphQLServer, body: bytes) -> None:
    for accept in (GRAPHQL_JSON, JSON):
        answer = server.send(body, accept)
        [error] = answer.json()["errors"]
        assert (answer.status_code, error["extensions"]) == (400, {"code": "BAD_USER_INPUT"})
        assert error["message"].startswith("The request body is not valid JSON: ")
        assert answer.headers["content-type"] == accept + UTF_8


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("text", "body: an object is needed, not a string"),
        (b"null", "body: an object is needed, not null"),
        (1.5, "body: an object is needed, not a number"),
        ({}, "query: the request has no GraphQL document"),
        ({"query": None}, "query: the request has no GraphQL document"),
        ({"query": 1}, "query: a string or null is needed, not a number"),
        ({"query": ["{"]}, "query: a string or null is needed, not an array"),
        (
            {"query": TRIVIAL, "variables": "{}"},
            "variables: an object or null is needed, not a string",
        ),
        (
            {"query": TRIVIAL, "variables": []},
            "variables: an object or null is needed, not an array",
        ),
        (
            {"query": TRIVIAL, "operationName": True},
            "operationName: a string or null is needed, not a boolean",
        ),
        (
            {"query": TRIVIAL, "extensions": 0},
            "extensions: an object or null is needed, not a number",
        ),
    ],
)
def test_a_parameter_of_another_type_is_400_and_named(
    server: GraphQLServer, body: object, message: str
) -> None:
    field = message.partition(":")[0]
    for accept in (GRAPHQL_JSON, JSON):
        refused(server.send(body, accept), 400, message, field=field)


def test_null_parameters_are_like_missing_ones(server: GraphQLServer) -> None:
    answer = server.ask(TRIVIAL, variables=None, operationName=None, extensions=None, more=1)
    assert (answer.status_code, answer.json()) == (200, {"data": {"__typename": "Query"}})


def test_the_url_does_not_count_for_post(server: GraphQLServer) -> None:
    answer = server.http.post("/graphql?query={nothing}", json={"query": TRIVIAL})
    assert answer.json() == {"data": {"__typename": "Query"}}


def test_a_body_that_is_too_large_is_413(server: GraphQLServer) -> None:
    answer = server.send({"query": "#" * 100_000})
    [error] = answer.json()["errors"]
    assert (answer.status_code, error["extensions"]["code"]) == (413, "LIMIT_EXCEEDED")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE", "QUERY"])
def test_other_methods_are_405_with_allow(server: GraphQLServer, method: str) -> None:
    answer = server.http.request(method, "/graphql")
    refused(answer, 405, "The methods are GET and POST")
    assert answer.headers["allow"] == "GET, HEAD, POST, OPTIONS"


def test_options_tells_the_methods(server: GraphQLServer) -> None:
    answer = server.http.options("/graphql")
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["allow"] == "GET, HEAD, POST, OPTIONS"


def test_a_page_of_another_origin_may_ask_before_it_posts(server: GraphQLServer) -> None:
    asks = {
        "Origin": "https://ui.example.com",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    answer = server.http.options("/graphql", headers=asks)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "POST" in answer.headers["access-control-allow-methods"]


def test_a_client_that_leaves_before_its_body_is_whole_is_no_error(server: GraphQLServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(
            b"POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 100\r\n\r\n{"
        )
    assert server.ask(TRIVIAL).status_code == 200
    assert server.errors.messages == []


@pytest.mark.parametrize("directive", ["defer", "stream"])
def test_answers_in_parts_are_not_offered(server: GraphQLServer, directive: str) -> None:
    parts = {
        "defer": "{ ... @defer { __typename } }",
        "stream": "{ sources { nodes @stream { id } } }",
    }
    answer = server.ask(parts[directive], "multipart/mixed;deferSpec=20220824, application/json")
    assert answer.headers["content-type"] == JSON + UTF_8
    [error] = answer.json()["errors"]
    assert error["message"] == f"Unknown directive '@{directive}'."


def test_the_cost_is_told_when_a_header_asks(server: GraphQLServer) -> None:
    plain = server.ask(READS).json()
    priced = server.send({"query": READS}, x_graphql_cost="1").json()
    other = server.send({"query": READS}, x_graphql_cost="0").json()
    assert plain.keys() == other.keys() == {"data"}
    assert priced["extensions"]["cost"]["requested"] > 0


def test_the_client_does_not_learn_what_broke(tmp_path: Path) -> None:
    with graphql_server(tmp_path) as server:

        def broken() -> None:
            raise ZeroDivisionError("secret")

        server.gate.session = broken  # type: ignore[assignment, method-assign]
        answers = [server.ask(READS, accept) for accept in (GRAPHQL_JSON, JSON)]
        assert [answer.status_code for answer in answers] == [200, 200]
        for answer in answers:
            [error] = answer.json()["errors"]
            assert error["extensions"] == {"code": "INTERNAL"}
            assert error["message"] == "Something went wrong on the server."
        assert len(server.errors.messages) == 2
        server.errors.messages.clear()
