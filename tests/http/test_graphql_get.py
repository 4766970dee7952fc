"""Queries by GET: their parameters, what they may do, and how they are cached."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import quote

import httpx
import pytest

from tests.http.graphql_server import (
    GRAPHQL_JSON,
    JSON,
    NEEDS_A_VARIABLE,
    READS,
    TRIVIAL,
    GraphQLServer,
    graphql_server,
    refused,
)

ID = "3e1c6d2e-3c35-4b73-a1ee-21b5e9b0b3a1"
MUTATION = "mutation { __typename }"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GraphQLServer]:
    with graphql_server(tmp_path_factory.mktemp("catalog")) as server:
        yield server


def raw(server: GraphQLServer, query_string: str) -> httpx.Response:
    return server.http.get(f"/graphql?{query_string}", headers={"Accept": GRAPHQL_JSON})


def test_all_parameters_may_stand_in_the_url(server: GraphQLServer) -> None:
    answer = server.get(
        query=f"{NEEDS_A_VARIABLE} query Other {{ __typename }}",
        operationName="Flow",
        variables=json.dumps({"id": ID}),
        extensions="{}",
    )
    assert (answer.status_code, answer.json()) == (200, {"data": {"flow": None}})


@pytest.mark.parametrize("empty", ["variables", "extensions", "operationName"])
def test_empty_parameters_are_like_missing_ones(server: GraphQLServer, empty: str) -> None:
    answer = raw(server, f"query={quote(TRIVIAL)}&{empty}=&other=1&other=2")
    assert (answer.status_code, answer.json()) == (200, {"data": {"__typename": "Query"}})


@pytest.mark.parametrize("name", ["variables", "extensions"])
def test_a_parameter_that_is_no_json_is_400_and_named(server: GraphQLServer, name: str) -> None:
    answer = raw(server, f"query={quote(TRIVIAL)}&{name}={{1")
    [error] = answer.json()["errors"]
    assert answer.status_code == 400
    assert error["message"].startswith(f"{name}: not valid JSON: ")
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "field": name}


@pytest.mark.parametrize(
    ("query_string", "message"),
    [
        ("", "query: the request has no GraphQL document"),
        ("variables={}", "query: the request has no GraphQL document"),
        ("query={a}&query={b}", "query: given more than once"),
        ("query=%FF", "URL: its parameters are not UTF-8"),
        ("query={a}&variables=[]", "variables: an object or null is needed, not an array"),
        (
            "&".join(f"p{n}=" for n in range(65)),
            "URL: its parameters cannot be read: Max number of fields exceeded",
        ),
    ],
)
def test_a_url_that_cannot_be_read_is_400(
    server: GraphQLServer, query_string: str, message: str
) -> None:
    refused(raw(server, query_string), 400, message, field=message.partition(":")[0])


def test_a_url_that_is_too_long_is_414(server: GraphQLServer) -> None:
    query_string = f"query={TRIVIAL.replace(' ', '+')}&filler="
    longest = query_string.ljust(32_768, "x")
    assert raw(server, longest).status_code == 200
    answer = raw(server, longest + "x")
    assert answer.status_code == 414
    assert answer.json()["errors"][0]["extensions"] == {
        "code": "LIMIT_EXCEEDED",
        "limit": 32_768,
        "requested": 32_769,
    }


@pytest.mark.parametrize("accept", [GRAPHQL_JSON, JSON, "text/event-stream"])
def test_a_mutation_is_405(server: GraphQLServer, accept: str) -> None:
    answer = server.get(accept, query=MUTATION)
    refused(answer, 405, "Mutations need the method POST")
    assert answer.headers["allow"] == "POST"


def test_the_operation_that_is_named_decides(server: GraphQLServer) -> None:
    both = f"query A {{ __typename }} {MUTATION.replace('mutation', 'mutation B')}"
    assert server.get(query=both, operationName="A").status_code == 200
    assert server.get(query=both, operationName="B").status_code == 405


def test_what_was_not_run_is_400_or_200_as_for_post(server: GraphQLServer) -> None:
    assert server.get(GRAPHQL_JSON, query="{ nothing }").status_code == 400
    assert server.get(JSON, query="{ nothing }").status_code == 200


def test_the_same_answer_has_the_same_etag_and_need_not_be_sent_again(
    server: GraphQLServer,
) -> None:
    first, second = server.get(query=TRIVIAL), server.get(query=TRIVIAL)
    assert first.headers["etag"] == second.headers["etag"]
    assert first.headers["cache-control"] == "private, no-cache"
    assert "Accept" in first.headers["vary"].split(", ")
    etag = first.headers["etag"]
    assert (etag[0], etag[-1]) == ('"', '"')
    for known in (etag, f'"other", W/{etag}', "*"):
        asked = {"Accept": GRAPHQL_JSON, "If-None-Match": known}
        again = server.http.get("/graphql", params={"query": TRIVIAL}, headers=asked)
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == etag
        assert again.headers["cache-control"] == "private, no-cache"
        assert "content-type" not in again.headers


def test_a_changed_answer_has_another_etag_and_is_sent(server: GraphQLServer) -> None:
    before = server.get(query=READS)
    server.new_flow()
    asked = {"Accept": GRAPHQL_JSON, "If-None-Match": before.headers["etag"]}
    after = server.http.get("/graphql", params={"query": READS}, headers=asked)
    assert after.status_code == 200
    assert after.headers["etag"] != before.headers["etag"]
    assert len(after.json()["data"]["sources"]["nodes"]) > 0


def test_the_media_types_have_etags_of_their_own(server: GraphQLServer) -> None:
    tags = {server.get(accept, query=TRIVIAL).headers["etag"] for accept in (GRAPHQL_JSON, JSON)}
    assert len(tags) == 2


def test_a_date_is_no_condition(server: GraphQLServer) -> None:
    asked = {"Accept": JSON, "If-Modified-Since": "Wed, 04 Mar 2099 12:00:00 GMT"}
    answer = server.http.get("/graphql", params={"query": TRIVIAL}, headers=asked)
    assert answer.status_code == 200


@pytest.mark.parametrize("query", ["{ nothing }", '{ flow(id: "x") { id } }'])
def test_errors_are_not_kept(server: GraphQLServer, query: str) -> None:
    answer = server.get(query=query)
    assert answer.headers["cache-control"] == "no-store"
    assert "etag" not in answer.headers


def test_head_has_the_headers_of_get_without_its_body(server: GraphQLServer) -> None:
    headers = {"Accept": GRAPHQL_JSON}
    got = server.http.get("/graphql", params={"query": TRIVIAL}, headers=headers)
    head = server.http.head("/graphql", params={"query": TRIVIAL}, headers=headers)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("etag", "content-type", "content-length", "cache-control", "vary"):
        assert head.headers[name] == got.headers[name]


def test_head_never_waits_for_events(server: GraphQLServer) -> None:
    asked = {"Accept": "text/event-stream"}
    query = {"query": "subscription { events { cursor } }"}
    assert server.http.head("/graphql", params=query, headers=asked).status_code == 406


def test_a_browser_gets_the_page_and_a_query_its_answer(server: GraphQLServer) -> None:
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    page = server.http.get("/graphql", headers=browser)
    answer = server.http.get("/graphql", params={"query": TRIVIAL}, headers=browser)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "Accept" in page.headers["vary"]
    assert answer.json() == {"data": {"__typename": "Query"}}
