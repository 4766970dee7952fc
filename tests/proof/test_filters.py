"""Filters, searches and orders mean what plain Python says over the documents themselves."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.catalog import Catalog, quick_settings, running
from tests.gql import Data
from tests.proof import filters, lists, model
from tests.proof.lists import Listing
from tests.proof.model import Test
from tests.proof.world import Maker, World, seen

pytestmark = pytest.mark.asyncio(loop_scope="module")

quickly = settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow])

Full = tuple[Catalog, World]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def full(catalog_store: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Full]:
    """A catalog full of everything, that nobody changes."""
    async with running(quick_settings(tmp_path_factory.mktemp("full"))) as catalog:
        await Maker(catalog, random.Random(1)).fill(flows=40)
        yield catalog, await seen(catalog.gql)


async def found(catalog: Catalog, listing: Listing, variables: Data) -> list[str]:
    """What the list has, and that it counts it so."""
    return await listing.whole(catalog.gql, variables)


def expected(
    documents: Any, tests: dict[str, Test], chosen: Data | None, search: str | None = None
) -> list[Data]:
    """What the list must have."""
    return [d for d in documents if model.meets(tests, d, chosen) and model.found_by(d, search)]


def ids(documents: Any) -> list[str]:
    return [document["id"] for document in documents]


@quickly
@given(data=st.data(), search=filters.searches, order=filters.flow_orders)
async def test_flows(full: Full, data: st.DataObject, search: str | None, order: Data) -> None:
    catalog, world = full
    chosen = data.draw(filters.flow_filters(world), "filter")
    # when
    listed = await found(catalog, lists.FLOWS, {"filter": chosen, "search": search, "order": order})
    # then
    matching = expected(world.flows, model.FLOW, chosen, search)
    assert listed == ids(model.ordered(matching, order, "metadataUpdated"))


@quickly
@given(data=st.data(), search=filters.searches, order=filters.source_orders)
async def test_sources(full: Full, data: st.DataObject, search: str | None, order: Data) -> None:
    catalog, world = full
    chosen = data.draw(filters.source_filters(world), "filter")
    # when
    listed = await found(
        catalog, lists.SOURCES, {"filter": chosen, "search": search, "order": order}
    )
    # then
    matching = expected(world.sources, model.SOURCE, chosen, search)
    assert listed == ids(model.ordered(matching, order, "updated"))


@quickly
@given(data=st.data(), order=filters.flow_orders)
async def test_flows_of_a_source(full: Full, data: st.DataObject, order: Data) -> None:
    catalog, world = full
    chosen = data.draw(filters.flow_filters(world), "filter")
    source_id = data.draw(st.sampled_from(ids(world.sources)), "source")
    # when
    variables = {"id": source_id, "filter": chosen, "order": order}
    listed = await found(catalog, lists.FLOWS_OF_SOURCE, variables)
    # then
    flows = [flow for flow in world.flows if flow["source"]["id"] == source_id]
    matching = expected(flows, model.FLOW, chosen)
    assert listed == ids(model.ordered(matching, order, "metadataUpdated"))


@quickly
@given(data=st.data(), order=filters.flow_orders)
async def test_flows_of_an_object(full: Full, data: st.DataObject, order: Data) -> None:
    catalog, world = full
    chosen = data.draw(filters.flow_filters(world), "filter")
    row = data.draw(st.sampled_from(world.objects), "object")
    # when
    variables = {"id": row["id"], "filter": chosen, "order": order}
    listed = await found(catalog, lists.FLOWS_OF_OBJECT, variables)
    # then
    users = {segment["flow"]["id"] for segment in row["references"]["nodes"]}
    flows = [flow for flow in world.flows if flow["id"] in users]
    matching = expected(flows, model.FLOW, chosen)
    assert listed == ids(model.ordered(matching, order, "metadataUpdated"))


async def test_the_flows_of_each_object_are_those_of_its_segments(full: Full) -> None:
    """Those of an initialisation object too, which segments use through their objects."""
    catalog, world = full
    query = "query Flows($id: ID!) { object(id: $id) { flows { nodes { id } totalCount } } }"
    for row in world.objects:
        found = (await catalog.gql.execute(query, {"id": row["id"]}))["object"]["flows"]
        users = {segment["flow"]["id"] for segment in row["references"]["nodes"]}
        assert {flow["id"] for flow in found["nodes"]} == users, row
        assert found["totalCount"] == len(users)


@quickly
@given(data=st.data())
async def test_objects(full: Full, data: st.DataObject) -> None:
    catalog, world = full
    chosen = data.draw(filters.object_filters(world), "filter")
    # when
    listed = await found(catalog, lists.OBJECTS, {"filter": chosen})
    # then
    matching = [row for row in world.objects if model.meets(model.OBJECT, row, chosen)]
    assert listed == ids(model.ordered(matching, None, ""))


@quickly
@given(data=st.data())
async def test_profiles(full: Full, data: st.DataObject) -> None:
    catalog, world = full
    chosen = data.draw(filters.profile_filters(world), "filter")
    # when
    listed = await found(catalog, lists.PROFILES, {"filter": chosen})
    # then
    matching = expected(world.profiles, model.PROFILE, chosen)
    assert listed == ids(model.ordered(matching, None, ""))


@quickly
@given(data=st.data())
async def test_events(full: Full, data: st.DataObject) -> None:
    catalog, world = full
    chosen = data.draw(filters.event_filters(world), "filter")
    # when
    listed = await found(catalog, lists.EVENTS, {"filter": chosen})
    # then
    matching = [e for e in world.events if model.meets(model.EVENT, e, chosen)]
    assert listed == [event["cursor"] for event in matching]
