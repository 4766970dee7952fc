"""Every way to fail: one shape, a code, no inner detail, and nothing left behind."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tams_gql.model.errors import Unavailable
from tams_gql.model.ids import new_id
from tests.catalog import Catalog, quick_settings, running, serving
from tests.failing import Breakable, FailingStore
from tests.gql import Data, refusal
from tests.gql_ws import Refused, connected
from tests.seed import (
    ALLOCATE,
    DELETE_FLOW,
    DELETE_SEGMENTS,
    PATCH_FLOW,
    PUT_FLOW,
    REGISTER,
    Seed,
    external,
    flow_input,
)
from tests.waiting import until

JSON = {"Content-Type": "application/json"}
GET_MUTATION = 'mutation { deleteFlow(input: {id: "x"}) { event } }'
DEEP = "{ sources { nodes " + "{ collectedBy " * 20 + "{ id }" + " }" * 22

CODES = {
    *("BAD_USER_INPUT", "NOT_FOUND", "CONFLICT", "READ_ONLY", "FORBIDDEN", "UNAUTHENTICATED"),
    *("LIMIT_EXCEEDED", "UNAVAILABLE", "CURSOR_EXPIRED", "INTERNAL"),
}


def posted(query: str, **variables: object) -> Data:
    return {"method": "POST", "json": {"query": query, "variables": variables}}


def mutation(query: str, **given: object) -> Data:
    return posted(query, input=given)


REQUESTS: dict[str, tuple[Data, int, str]] = {
    # The request is none that GraphQL knows
    "bad JSON": ({"method": "POST", "content": b"{", "headers": JSON}, 400, "BAD_USER_INPUT"),
    "no JSON": ({"method": "POST", "content": b"", "headers": JSON}, 400, "BAD_USER_INPUT"),
    "JSON of another kind": ({"method": "POST", "json": 7}, 400, "BAD_USER_INPUT"),
    "null": ({"method": "POST", "content": b"null", "headers": JSON}, 400, "BAD_USER_INPUT"),
    "half a surrogate pair": (
        {
            "method": "POST",
            "content": b'{"query": "{ __typename }", "variables": {"a": "\\ud800"}}',
            "headers": JSON,
        },
        400,
        "BAD_USER_INPUT",
    ),
    "not UTF-8": ({"method": "POST", "content": b'"\xff"', "headers": JSON}, 400, "BAD_USER_INPUT"),
    "content type": ({"method": "POST", "content": b"{}"}, 415, "BAD_USER_INPUT"),
    "no query": ({"method": "POST", "json": {}}, 400, "BAD_USER_INPUT"),
    "query of another kind": ({"method": "POST", "json": {"query": [1]}}, 400, "BAD_USER_INPUT"),
    "variables of another kind": (
        {"method": "POST", "json": {"query": "{ __typename }", "variables": [1]}},
        400,
        "BAD_USER_INPUT",
    ),
    "method": ({"method": "PUT", "json": {}}, 405, "BAD_USER_INPUT"),
    "mutation by GET": (
        {"method": "GET", "params": {"query": GET_MUTATION}},
        405,
        "BAD_USER_INPUT",
    ),
    "nothing by GET": ({"method": "GET"}, 400, "BAD_USER_INPUT"),
    "subscription without a stream": (
        posted("subscription { segmentsAdded { cursor } }"),
        406,
        "BAD_USER_INPUT",
    ),
    "too large": (
        {"method": "POST", "json": {"query": "x" * 9 * 2**20}},
        413,
        "LIMIT_EXCEEDED",
    ),
    # The document
    "syntax": (posted("{"), 200, "BAD_USER_INPUT"),
    "half a surrogate pair in the document": (
        posted('{ object(id: "\\ud800") { id } }'),
        200,
        "BAD_USER_INPUT",
    ),
    "unknown field": (posted("{ nothing }"), 200, "BAD_USER_INPUT"),
    "unknown operation": (
        {"method": "POST", "json": {"query": "query A { __typename }", "operationName": "B"}},
        200,
        "BAD_USER_INPUT",
    ),
    "which operation": (posted("query A { __typename } query B { __typename }"), 200,
                        "BAD_USER_INPUT"),
    "fragment in a circle": (
        posted("{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }"),
        200,
        "BAD_USER_INPUT",
    ),
    "depth": (posted(DEEP), 200, "LIMIT_EXCEEDED"),
    "aliases": (
        posted("{ " + " ".join(f"a{n}: __typename" for n in range(101)) + " }"),
        200,
        "LIMIT_EXCEEDED",
    ),
    "tokens": (posted("{ " + "__typename " * 20_000 + "}"), 200, "LIMIT_EXCEEDED"),
    "page size": (posted("{ flows(first: 1001) { nodes { id } } }"), 200, "LIMIT_EXCEEDED"),
    # The variables
    "missing variable": (posted("query($id: ID!) { flow(id: $id) { id } }"), 200, "BAD_USER_INPUT"),
    "variable of another kind": (
        posted("query($n: Int) { flows(first: $n) { totalCount } }", n="x"),
        200,
        "BAD_USER_INPUT",
    ),
    "number beyond 32 bits": (
        posted("query($n: Int) { flows(filter: {channels: $n}) { totalCount } }", n=2**31),
        200,
        "BAD_USER_INPUT",
    ),
    "enum value": (
        posted("query($f: FlowFilter) { flows(filter: $f) { totalCount } }", f={"format": ["X"]}),
        200,
        "BAD_USER_INPUT",
    ),
    "scalar of another kind": (
        posted("query($id: ID!, $w: TimeRange) { flow(id: $id) { timerange(window: $w) } }",
               id=new_id(), w=5),
        200,
        "BAD_USER_INPUT",
    ),
    # What the operation asks
    "no UUID": (posted('{ flow(id: "x") { id } }'), 200, "BAD_USER_INPUT"),
    "no cursor": (posted('{ flows(after: "x") { totalCount } }'), 200, "BAD_USER_INPUT"),
    "put": (mutation(PUT_FLOW, **flow_input("data", codec="x")), 200, "BAD_USER_INPUT"),
    "stale": (mutation(PUT_FLOW, **flow_input("data", expectedVersion=3)), 200, "CONFLICT"),
    "patch": (mutation(PATCH_FLOW, id=new_id()), 200, "NOT_FOUND"),
    "delete": (mutation(DELETE_FLOW, id=new_id()), 200, "NOT_FOUND"),
    "allocate": (mutation(ALLOCATE, flowId=new_id()), 200, "NOT_FOUND"),
    "register": (
        mutation(REGISTER, flowId=new_id(), segments=[external("[0:0_1:0)")]),
        200,
        "NOT_FOUND",
    ),
    "delete segments": (mutation(DELETE_SEGMENTS, flowId=new_id()), 200, "NOT_FOUND"),
}  # fmt: skip


def check_shape(error: Data) -> str:
    """The code of an error that has the shape all errors have."""
    assert set(error) <= {"message", "locations", "path", "extensions"}
    assert isinstance(error["message"], str)
    assert error["message"]
    extensions = error["extensions"]
    assert extensions["code"] in CODES
    if "field" in extensions:
        assert isinstance(extensions["field"], str)
    for line in ("Traceback", "sqlite", ".py", "0x"):
        assert line not in json.dumps(error)
    code: str = extensions["code"]
    return code


def codes(response: httpx.Response) -> list[str]:
    assert response.headers["content-type"].startswith("application/")
    body = response.json()
    assert not any((body.get("data") or {}).values())
    return [check_shape(error) for error in body["errors"]]


@pytest.mark.parametrize("name", REQUESTS)
async def test_every_refusal_has_one_shape_and_changes_nothing(
    catalog: Catalog, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    request, status, code = REQUESTS[name]
    before = await catalog.dump()
    response = await catalog.http.request(url="/graphql", **request)
    assert (response.status_code, set(codes(response))) == (status, {code})
    assert await catalog.dump() == before
    # What a client does wrong is nothing that somebody has to look at.
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


SECRET = "password=hunter2 at /var/lib/catalog"

OPERATIONS: dict[str, Data] = {
    "query": {"query": "{ flows { nodes { id } } }"},
    "put": {"query": PUT_FLOW, "variables": {"input": flow_input("data")}},
    "patch": {"query": PATCH_FLOW, "variables": {"input": {"id": "FLOW", "label": "x"}}},
    "delete": {"query": DELETE_FLOW, "variables": {"input": {"id": "FLOW"}}},
    "allocate": {"query": ALLOCATE, "variables": {"input": {"flowId": "FLOW"}}},
    "register": {
        "query": REGISTER,
        "variables": {"input": {"flowId": "FLOW", "segments": [external("[5:0_6:0)")]}},
    },
    "delete segments": {"query": DELETE_SEGMENTS, "variables": {"input": {"flowId": "FLOW"}}},
}


class Broken:
    """A catalog with a flow that has a segment, and a store that can be broken."""

    def __init__(self, catalog: Catalog, store: FailingStore, flow_id: str) -> None:
        self.catalog = catalog
        self.store = store
        self._flow_id = flow_id

    async def answer(self, operation: str) -> Any:
        text = json.dumps(OPERATIONS[operation]).replace("FLOW", self._flow_id)
        return (await self.catalog.gql.post(json.loads(text))).json()


@pytest.fixture
async def broken(tmp_path: Path) -> AsyncIterator[Broken]:
    refit = Breakable()
    # Work in the background would meet the broken store, too, and tell of it.
    settings = quick_settings(tmp_path, background_work=False)
    async with running(settings, refit) as catalog:
        seed = Seed(catalog.gql, catalog.http)
        flow_id = await seed.flow("data")
        await seed.external(flow_id, "[0:0_1:0)")
        yield Broken(catalog, refit.store, flow_id)


def logged(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("where", ["on_read", "on_commit"])
async def test_what_nobody_expected_is_logged_once_and_shown_without_detail(
    broken: Broken, caplog: pytest.LogCaptureFixture, operation: str, where: str
) -> None:
    if (operation, where) == ("query", "on_commit"):
        return  # a query commits nothing
    # given
    before = await broken.catalog.dump()
    setattr(broken.store, where, RuntimeError(SECRET))
    # when
    answer = await broken.answer(operation)
    setattr(broken.store, where, None)
    # then
    (error,) = answer["errors"]
    assert check_shape(error) == "INTERNAL"
    assert error["message"] == "Something went wrong on the server."
    assert error["extensions"] == {"code": "INTERNAL"}
    assert "hunter2" not in json.dumps(answer)
    (record,) = logged(caplog)
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert SECRET in str(record.exc_info[1])
    assert await broken.catalog.dump() == before


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("where", ["on_read", "on_commit"])
async def test_a_store_that_does_not_answer_is_unavailable(
    broken: Broken, caplog: pytest.LogCaptureFixture, operation: str, where: str
) -> None:
    if (operation, where) == ("query", "on_commit"):
        return
    before = await broken.catalog.dump()
    setattr(broken.store, where, Unavailable("the catalog store does not answer"))
    answer = await broken.answer(operation)
    setattr(broken.store, where, None)
    (error,) = answer["errors"]
    assert check_shape(error) == "UNAVAILABLE"
    assert error["message"] == "the catalog store does not answer"
    assert await broken.catalog.dump() == before
    assert "errors" not in await broken.answer(operation)  # and then it works


async def test_a_snapshot_that_cannot_be_given_back_is_an_error_of_the_server(
    broken: Broken, caplog: pytest.LogCaptureFixture
) -> None:
    broken.store.on_close = RuntimeError(SECRET)
    answer = await broken.answer("query")
    broken.store.on_close = None
    (error,) = answer["errors"]
    assert check_shape(error) == "INTERNAL"
    assert "hunter2" not in json.dumps(answer)
    assert len(logged(caplog)) == 1


async def test_one_field_that_fails_leaves_the_others(broken: Broken) -> None:
    query = '{ good: flows { totalCount } bad: flow(id: "x") { id } }'
    answer = await broken.catalog.gql.answer(query)
    assert answer["data"] == {"good": {"totalCount": 1}, "bad": None}
    (error,) = answer["errors"]
    assert error["path"] == ["bad"]
    assert error["locations"] == [{"line": 1, "column": 30}]
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "field": "id"}


async def test_mutations_of_one_request_run_in_order_and_fail_alone(
    catalog: Catalog, seed: Seed
) -> None:
    flow_id, unknown = await seed.flow("data"), new_id()
    query = """
    mutation($id: ID!) {
      a: patchFlow(input: {id: $id, label: "a"}) { flow { version label } }
      c: patchFlow(input: {id: $id, label: "c", expectedVersion: 2}) { flow { version label } }
      d: patchFlow(input: {id: $id, label: "d", expectedVersion: 3}) { flow { version label } }
    }
    """
    data = await catalog.gql.execute(query, {"id": flow_id})
    assert data == {
        "a": {"flow": {"version": 2, "label": "a"}},
        "c": {"flow": {"version": 3, "label": "c"}},
        "d": {"flow": {"version": 4, "label": "d"}},
    }
    # One that cannot be null takes the answer with it, but what came before it is done.
    query = """
    mutation($id: ID!, $unknown: ID!) {
      a: patchFlow(input: {id: $id, label: "e"}) { flow { version } }
      b: patchFlow(input: {id: $unknown, label: "x"}) { flow { version } }
    }
    """
    variables = {"id": flow_id, "unknown": unknown}
    assert await catalog.gql.errors(query, variables) == [
        refusal("NOT_FOUND", f"there is no flow {unknown}", "b", field="input.id")
    ]
    found = await catalog.gql.execute("query($id: ID!) { flow(id: $id) { label } }", variables)
    assert found["flow"]["label"] == "e"


async def test_a_failure_inside_an_event_spares_the_subscription(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # given
    refit = Breakable()
    settings = quick_settings(tmp_path, background_work=False)
    async with serving(settings, refit) as catalog:
        seed = Seed(catalog.gql, catalog.http)
        flow_id = await seed.flow("data")
        async with connected(catalog.settings.public_url) as socket:
            stream = await socket.subscribe(
                "subscription { segmentsAdded { cursor segments { object { id } } } }"
            )
            await until(lambda: catalog.services.feed.subscribers == 1)
            # when the nested reads of the first event fail, and those of the second do not
            items = [external("[0:0_1:0)"), external("[1:0_2:0)")]
            refit.store.on_read_after_commit = RuntimeError(SECRET)
            await seed.register(flow_id, items[:1])
            with pytest.raises(Refused) as refused:
                await stream.next()
            refit.store.on_read = None
            await seed.register(flow_id, items[1:])
            added = (await stream.next())["segmentsAdded"]
    # then
    (error,) = refused.value.errors
    assert check_shape(error) == "INTERNAL"
    assert len([record for record in logged(caplog) if record.exc_info]) == 1
    ids = [segment["object"]["id"] for segment in added["segments"]]
    assert ids == [items[1]["objectId"]]


async def test_a_branch_that_fails_spoils_no_other_that_asks_for_the_same(
    catalog: Catalog, seed: Seed
) -> None:
    # given
    flow = await seed.flow("video")
    (shared,) = await seed.segments(flow, "[0:0_10:0)")
    # when
    query = """query($id: ID!) {
      bad: object(id: $id) { copyRequests { status } references(after: "x") { totalCount } }
      good: object(id: $id) { copyRequests { status } references { totalCount } }
    }"""
    answer = await catalog.gql.answer(query, {"id": shared})
    # then
    assert answer["data"] == {
        "bad": None,
        "good": {"copyRequests": [], "references": {"totalCount": 1}},
    }
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["BAD_USER_INPUT"]
