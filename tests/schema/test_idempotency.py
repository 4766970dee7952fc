"""Idempotency keys: a write that is sent again happens once and answers the same."""

from __future__ import annotations

import asyncio
import json

import pytest

from tams_gql.model.ids import new_id
from tests.catalog import Catalog
from tests.gql import Data, refusal
from tests.seed import (
    ALLOCATE,
    CREATE_SOURCE,
    DELETE_FLOW,
    DELETE_SEGMENTS,
    DELETE_SOURCE,
    PATCH_FLOW,
    PUT_FLOW,
    REGISTER,
    UPDATE_SOURCE,
    Seed,
    external,
    flow_input,
)

NEW_SOURCE, NEW_FLOW = new_id(), new_id()

# Each write, with FLOW and SOURCE standing for what the test makes, and another one that differs.
WRITES: dict[str, tuple[str, Data, Data]] = {
    "putFlow": (PUT_FLOW, flow_input("data", id=NEW_FLOW), {"data": {"label": "x"}}),
    "patchFlow": (PATCH_FLOW, {"id": "FLOW", "label": "a"}, {"label": "b"}),
    "deleteFlow": (DELETE_FLOW, {"id": "FLOW"}, {"id": NEW_FLOW}),
    "allocateStorage": (ALLOCATE, {"flowId": "FLOW", "limit": 2}, {"limit": 3}),
    "registerSegments": (
        REGISTER,
        {"flowId": "FLOW", "segments": [external("[50:0_60:0)"), external("[55:0_65:0)")]},
        {"segments": [external("[70:0_80:0)")]},
    ),
    "deleteSegments": (
        DELETE_SEGMENTS,
        {"flowId": "FLOW", "coveredBy": "[0:0_15:0)"},
        {"coveredBy": "_"},
    ),
    "createSource": (
        CREATE_SOURCE,
        {"id": NEW_SOURCE, "format": "DATA", "tags": [{"name": "a", "values": ["1"]}]},
        {"label": "x"},
    ),
    "updateSource": (UPDATE_SOURCE, {"id": "SOURCE", "label": "a"}, {"label": "b"}),
    "deleteSource": (DELETE_SOURCE, {"id": "SOURCE"}, {"id": NEW_SOURCE}),
}


class Writer:
    """Sends one of ``WRITES`` under a key."""

    def __init__(self, catalog: Catalog, name: str, ids: dict[str, str]) -> None:
        query, given, other = WRITES[name]
        self._gql = catalog.gql
        self._query = query
        text = json.dumps([given, other])
        for word, id in ids.items():
            text = text.replace(word, id)
        self._given, self._other = json.loads(text)
        self._name = name

    def _input(self, key: str | None, *, other: bool = False) -> Data:
        given = json.loads(json.dumps(self._given))
        changes = self._other if other else {}
        if self._name == "putFlow":
            given["data"] |= {"idempotencyKey": key, **changes.get("data", {})}
            return {"input": given}
        return {"input": {**given, **changes, "idempotencyKey": key}}

    async def send(self, key: str | None) -> Data:
        payload: Data = (await self._gql.execute(self._query, self._input(key)))[self._name]
        if self._name == "allocateStorage":
            for place in payload["mediaObjects"]:
                del place["putUrl"]  # signed anew, for the same place
        return payload

    async def errors(self, key: str, *, other: bool = False) -> list[Data]:
        return await self._gql.errors(self._query, self._input(key, other=other))


@pytest.fixture
async def ids(catalog: Catalog, seed: Seed) -> dict[str, str]:
    """A flow with two segments, and a source without flows."""
    flow_id, source_id = await seed.flow("video"), new_id()
    await seed.external(flow_id, "[0:0_10:0)", "[10:0_20:0)")
    await catalog.gql.execute(CREATE_SOURCE, {"input": {"id": source_id, "format": "DATA"}})
    return {"FLOW": flow_id, "SOURCE": source_id}


@pytest.mark.parametrize("name", WRITES)
async def test_a_repeated_write_happens_once_and_answers_the_same(
    catalog: Catalog, ids: dict[str, str], name: str
) -> None:
    writer = Writer(catalog, name, ids)
    first = await writer.send("key-1")
    after = await catalog.dump()
    for _ in range(2):
        assert await writer.send("key-1") == first
    assert await catalog.dump() == after


@pytest.mark.parametrize("name", WRITES)
async def test_writes_with_one_key_at_once_happen_once(
    catalog: Catalog, ids: dict[str, str], name: str
) -> None:
    writer = Writer(catalog, name, ids)
    events = len(await catalog.event_types())
    answers = await asyncio.gather(*(writer.send("key-1") for _ in range(5)))
    assert answers == [answers[0]] * 5
    receipts = (await catalog.dump())["receipts"]
    assert len(receipts) == 1
    new = (await catalog.event_types())[events:]
    assert len(new) == len(set(new))  # none of them twice


@pytest.mark.parametrize("name", WRITES)
async def test_a_key_belongs_to_one_request(
    catalog: Catalog, ids: dict[str, str], name: str
) -> None:
    writer = Writer(catalog, name, ids)
    await writer.send("key-1")
    before = await catalog.dump()
    field = "input.data.idempotencyKey" if name == "putFlow" else "input.idempotencyKey"
    assert await writer.errors("key-1", other=True) == [
        refusal(
            "CONFLICT",
            f"{field}: the key was used for another request",
            name,
            field=field,
        )
    ]
    assert await catalog.dump() == before


@pytest.mark.parametrize("name", WRITES)
async def test_a_key_has_bounds(catalog: Catalog, ids: dict[str, str], name: str) -> None:
    writer = Writer(catalog, name, ids)
    before = await catalog.dump()
    for key in ("", "x" * 129):
        (error,) = await writer.errors(key)
        assert error["extensions"]["code"] == "BAD_USER_INPUT"
        assert error["extensions"]["field"].endswith("idempotencyKey")
    assert await catalog.dump() == before
    await writer.send("x" * 128)


async def test_the_same_key_for_another_mutation_is_another_key(
    catalog: Catalog, ids: dict[str, str]
) -> None:
    await Writer(catalog, "patchFlow", ids).send("key-1")
    payload = await Writer(catalog, "updateSource", ids).send("key-1")
    assert payload["source"]["label"] == "a"


async def test_a_write_that_failed_leaves_its_key_unused(catalog: Catalog, seed: Seed) -> None:
    # given a patch of a flow that does not exist yet
    flow_id = new_id()
    writer = Writer(catalog, "patchFlow", {"FLOW": flow_id, "SOURCE": new_id()})
    (error,) = await writer.errors("key-1")
    assert error["extensions"]["code"] == "NOT_FOUND"
    # when it does, the same request works
    await seed.flow("video", id=flow_id)
    assert (await writer.send("key-1"))["flow"]["id"] == flow_id


async def test_a_replay_answers_what_happened_then(catalog: Catalog, seed: Seed) -> None:
    # given a registration of which one item failed
    flow_id = await seed.flow()
    given = {
        "flowId": flow_id,
        "segments": [external("[0:0_10:0)"), external("[5:0_15:0)")],
        "idempotencyKey": "key-1",
    }
    first = (await catalog.gql.execute(REGISTER, {"input": given}))["registerSegments"]
    assert [r["error"] and r["error"]["code"] for r in first["results"]] == [None, "CONFLICT"]
    # when the segment has been deleted since
    await seed.delete_segments(flow_id)
    before = await catalog.dump()
    # then the answer is that of the first time, and nothing is registered
    again = (await catalog.gql.execute(REGISTER, {"input": given}))["registerSegments"]
    assert again == first
    assert await catalog.dump() == before


async def test_what_the_key_wrote_may_be_gone(catalog: Catalog, seed: Seed) -> None:
    given = flow_input("data", idempotencyKey="key-1")
    await catalog.gql.execute(PUT_FLOW, {"input": given})
    await seed.delete(given["data"]["id"])
    before = await catalog.dump()
    (error,) = await catalog.gql.errors(PUT_FLOW, {"input": given})
    assert error["extensions"]["code"] == "CONFLICT"
    assert "has been deleted since" in error["message"]
    assert await catalog.dump() == before
