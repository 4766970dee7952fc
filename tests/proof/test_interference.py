"""What somebody deletes between a write and its answer is told, and is no failure of the server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tams_gql.context import Services
from tams_gql.model.ids import new_id
from tams_gql.store.changes import ChangeSet, Committed
from tams_gql.store.port import ReadSession
from tests import seed
from tests.catalog import Catalog, quick_settings, running
from tests.failing import FailingStore
from tests.gql import Data
from tests.proof.audit import audit
from tests.seed import Seed

Act = Callable[[], Awaitable[object]]


class InterferingStore(FailingStore):
    """Lets somebody else act right after the next commit, before who made it hears of it."""

    act: Act | None = None

    async def commit(self, changes: ChangeSet, seen: ReadSession | None = None) -> Committed:
        done = await super().commit(changes, seen)
        if changes.events and self.act is not None:
            act, self.act = self.act, None
            await act()
        return done


class Interference:
    """A ``Refit`` that puts an ``InterferingStore`` into the services."""

    store: InterferingStore

    def __call__(self, services: Services) -> Services:
        self.store = InterferingStore(services.store)
        return replace(services, store=self.store)


Disturbed = tuple[Catalog, InterferingStore]


@pytest.fixture
async def disturbed(tmp_path: Path) -> AsyncIterator[Disturbed]:
    """A catalog, and the store through which to interfere."""
    interference = Interference()
    async with running(quick_settings(tmp_path), interference) as catalog:
        yield catalog, interference.store


PUT = "mutation M($input: PutFlowInput!) { putFlow(input: $input) { event flow { %s } } }"
PATCH = "mutation M($input: PatchFlowInput!) { patchFlow(input: $input) { event flow { %s } } }"
TAG = "mutation M($input: SetTagsInput!) { setTags(input: $input) { event node { id %s } } }"
REGISTER = """
mutation M($input: RegisterSegmentsInput!) {
  registerSegments(input: $input) { event registeredCount flow { %s } }
}
"""
OF_FLOW = """
id version timerange source { id } collection { role } collectedBy { id } segmentsUpdated
segments { totalCount nodes { id } } coverage { segmentCount }
"""


async def answer_disturbed(disturbed: Disturbed, mutation: str, given: Data, act: Act) -> Data:
    """The answer to a mutation whose commit is followed by ``act`` of somebody else."""
    catalog, store = disturbed
    store.act = act
    return await catalog.gql.answer(mutation, {"input": given})


@pytest.mark.parametrize("fields", ["id label version", OF_FLOW])
@pytest.mark.parametrize("name", ["put", "put again", "patch", "tag", "register"])
async def test_a_flow_that_goes_before_the_answer(
    disturbed: Disturbed, name: str, fields: str
) -> None:
    catalog, _ = disturbed
    maker = Seed(catalog.gql, catalog.http)
    flow = seed.flow_input("video")
    flow_id = flow["video"]["id"]
    if name != "put":
        await maker.put("video", **flow["video"])
    mutation, given = {
        "put": (PUT, flow),
        "put again": (PUT, flow),
        "patch": (PATCH, {"id": flow_id, "label": "new"}),
        "tag": (TAG.replace("%s", "... on Flow { %s }"), {"id": flow_id, "remove": ["a"]}),
        "register": (REGISTER, {"flowId": flow_id, "segments": [seed.external("[0:0_1:0)")]}),
    }[name]
    # when
    answer = await answer_disturbed(
        disturbed, mutation % fields, given, lambda: maker.delete(flow_id)
    )
    # then
    codes = [error["extensions"]["code"] for error in answer.get("errors", ())]
    assert codes == (["NOT_FOUND"] if "source" in fields else [])
    assert await catalog.gql.execute("{ flows { totalCount } }") == {"flows": {"totalCount": 0}}
    await audit(catalog.services.store)


async def test_segments_that_go_before_the_answer(disturbed: Disturbed) -> None:
    catalog, _ = disturbed
    maker = Seed(catalog.gql, catalog.http)
    flow_id = await maker.flow()
    given = {"flowId": flow_id, "segments": [seed.external("[0:0_1:0)")]}
    # when
    answer = await answer_disturbed(
        disturbed, REGISTER % OF_FLOW, given, lambda: maker.delete_segments(flow_id)
    )
    # then
    assert answer["data"]["registerSegments"]["registeredCount"] == 1
    assert answer["data"]["registerSegments"]["flow"]["timerange"] == "()"


async def test_a_source_that_goes_before_the_answer(disturbed: Disturbed) -> None:
    catalog, _ = disturbed
    source_id = new_id()
    create = """
    mutation M($input: CreateSourceInput!) {
      createSource(input: $input) {
        event source { id flows { totalCount } timerange collects { role } collectedBy { id } }
      }
    }
    """
    delete = "mutation D($id: ID!) { deleteSource(input: { id: $id }) { event } }"
    # when
    answer = await answer_disturbed(
        disturbed,
        create,
        {"id": source_id, "format": "DATA"},
        lambda: catalog.gql.execute(delete, {"id": source_id}),
    )
    # then
    assert answer["data"]["createSource"]["source"]["id"] == source_id
    assert "errors" not in answer
