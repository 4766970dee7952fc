"""Documents are parsed and validated once, within a bounded amount of memory."""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path
from typing import Any
from uuid import uuid4

import graphql
import pytest
from graphql import GraphQLError, get_introspection_query
from strawberry.schema import schema as library

from tams_gql.context import Context
from tams_gql.schema import QueryLimits, build_schema
from tams_gql.schema import operation_cache as module
from tams_gql.schema.limits import analysis
from tams_gql.schema.operation_cache import OperationCache
from tests.catalog import Catalog, quick_settings, running

QUERY = "query Flow($id: ID!) { flow(id: $id) { id label } } mutation Other { __typename }"
NOBODY = {"id": "3e1c6d2e-3c35-4b73-a1ee-21b5e9b0b3a1"}


class Counted:
    """Counts the calls of a function that it stands in for."""

    def __init__(self, function: Any) -> None:
        self._function = function
        self.calls = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        return self._function(*args, **kwargs)


@pytest.fixture
def parsing(monkeypatch: pytest.MonkeyPatch) -> Counted:
    counted = Counted(graphql.parse)
    monkeypatch.setattr(module, "parse", counted)
    monkeypatch.setattr(library, "parse", counted)
    return counted


@pytest.fixture
def validating(monkeypatch: pytest.MonkeyPatch) -> Counted:
    counted = Counted(graphql.validate)
    monkeypatch.setattr(analysis, "validate", counted)
    return counted


def cache_of(max_bytes: int = 2**20, **limits: int) -> OperationCache:
    return OperationCache(
        max_bytes=max_bytes, **{"max_tokens": 1000, "max_characters": 10_000, **limits}
    )


async def test_a_document_is_parsed_and_validated_once(
    tmp_path: Path, parsing: Counted, validating: Counted
) -> None:
    async with running(quick_settings(tmp_path)) as catalog:
        query = f"{QUERY} # {uuid4()}"  # tests may share a schema and its cache
        for _ in range(3):
            body = {"query": query, "operationName": "Flow", "variables": NOBODY}
            assert (await catalog.gql.post(body)).json() == {"data": {"flow": None}}
            body = {"query": query, "operationName": "Other"}
            assert (await catalog.gql.post(body)).json() == {"data": {"__typename": "Mutation"}}
    assert (parsing.calls, validating.calls) == (1, 1)


async def test_errors_are_found_once_and_told_each_time(
    tmp_path: Path, parsing: Counted, validating: Counted
) -> None:
    async with running(quick_settings(tmp_path)) as catalog:
        query = f"{{ nothing }} # {uuid4()}"
        answers = [(await catalog.gql.post({"query": query})).json() for _ in range(3)]
        assert answers[0]["errors"][0]["message"] == (
            "Cannot query field 'nothing' on type 'Query'."
        )
        assert answers[1] == answers[2] == answers[0]
    assert (parsing.calls, validating.calls) == (1, 1)


async def test_what_variables_decide_is_not_kept(tmp_path: Path) -> None:
    page = "query Page($first: Int) { sources(first: $first) { nodes { id } } }"
    async with running(quick_settings(tmp_path)) as catalog:
        for first, fails in ((1, False), (5000, True), (1, False), (None, False), ("x", True)):
            answer = await catalog.gql.answer(page, {"first": first})
            assert ("errors" in answer) is fails


async def test_errors_of_execution_do_not_come_back(tmp_path: Path) -> None:
    query = "query Flow($id: ID!) { flow(id: $id) { id } }"
    async with running(quick_settings(tmp_path)) as catalog:
        assert "errors" in await catalog.gql.answer(query, {"id": "x"})
        assert await catalog.gql.answer(query, NOBODY) == {"data": {"flow": None}}


async def test_two_schemas_do_not_share_what_they_know(catalog: Catalog) -> None:
    context = Context(catalog.services)
    deep = "{ sources { nodes { flows { nodes { id } } } } }"
    strict, lax = build_schema(QueryLimits(depth=2)), build_schema()
    for _ in range(2):
        errors = (await strict.execute(deep, context_value=context)).errors
        assert errors is not None
        assert errors[0].message.startswith("max_query_depth")
        assert (await lax.execute(deep, context_value=context)).errors is None


@pytest.mark.parametrize(
    "query",
    [
        get_introspection_query(),
        "{" + " ".join(f"a{n}: service {{ name }}" for n in range(100)) + "}",
        "{" + "a " * 900 + "}",
        "{" + " ".join(f'f(a: {{b: [1, 2, 3], c: "x{n}"}})' for n in range(40)) + "}",
        "{ a }" + "#\n" * 900,
        "{ a }" + " " * 9000,
        '{ a(b: "' + "é" * 9000 + '") }',
    ],
    ids=["introspection", "aliases", "names", "arguments", "comments", "blanks", "text"],
)
def test_the_size_of_a_document_is_not_underrated(query: str) -> None:
    document = graphql.parse(query)  # what the parser keeps for itself is there now
    gc.collect()
    tracemalloc.start()
    document = graphql.parse("".join([*query]))
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    size = module._size(query, document)
    assert taken <= size <= 4 * taken + 30_000


def test_documents_take_no_more_memory_than_allowed() -> None:
    cache = cache_of(2**20)
    for number in range(500):
        cache.parsed(f"query Q{number} {{ " + "field " * 200 + "}")
    assert 700_000 < cache._documents.bytes <= 2**20
    assert len(cache._documents) < 10


@pytest.mark.parametrize(
    ("query", "documents"),
    [
        ("{ service { name } }", 100),
        ("{ sources(first: 9) { nodes { id flows(first: 9) { nodes { id } } } } }", 50),
        ("{" + " ".join(f'a{n}: flow(id: "{n}") {{ id label }}' for n in range(15)) + "}", 10),
        ("{" + " ".join(f'a{n}: nothing(id: "{n}") {{ id }}' for n in range(15)) + "}", 10),
    ],
    ids=["small", "nested", "aliases", "invalid"],
)
async def test_all_that_is_kept_of_a_document_counts(
    tmp_path: Path, query: str, documents: int
) -> None:
    # Work in the background would take memory, too.
    async with running(quick_settings(tmp_path, background_work=False)) as catalog:
        await catalog.gql.answer(query)
        gc.collect()
        tracemalloc.start()
        for number in range(documents):
            await catalog.gql.answer(f"{query} # {number} {uuid4()}")
        gc.collect()
        taken, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert taken / documents <= module._size(query, graphql.parse(query)) + 3000


@pytest.mark.parametrize("query", ["{", "{ a " * 1000, "{" + "a " * 1001 + "}", " " * 10_001])
def test_what_cannot_be_parsed_is_not_kept(query: str) -> None:
    cache = cache_of()
    for _ in range(2):
        with pytest.raises(GraphQLError):
            cache.parsed(query)
    assert len(cache._documents) == 0


def test_a_long_document_is_refused_before_it_is_read() -> None:
    with pytest.raises(GraphQLError) as refused:
        cache_of(max_characters=100).parsed("{" + " " * 100)
    assert refused.value.message == (
        "max_query_characters: the document has 101 characters; the limit is 100"
    )
    assert refused.value.extensions == {"code": "LIMIT_EXCEEDED", "limit": 100, "requested": 101}


def test_the_operation_is_chosen_as_the_specification_says() -> None:
    cache = cache_of()
    both = cache.parsed(f"{QUERY} subscription Third {{ a }}")
    assert both.kind_of("Flow") == "query"
    assert both.kind_of("Other") == "mutation"
    assert both.kind_of("Third") == "subscription"
    for query, name in ((QUERY, None), (QUERY, "X"), ("fragment A on Query { a }", None)):
        with pytest.raises(GraphQLError):
            cache.parsed(query).kind_of(name)
