"""What a query costs: store round trips level by level, the same for 1 parent and for 50."""

from __future__ import annotations

import pytest

from tams_gql.model.ids import new_id
from tests.catalog import Catalog
from tests.gql import Data
from tests.recording import watched
from tests.seed import Seed, external

MANY = [1, 50]


async def cost(catalog: Catalog, query: str, **variables: object) -> tuple[Data, list[str]]:
    """The data, and the round trips it took, sorted."""
    with watched() as calls:
        data = await catalog.gql.execute(query, variables)
    return data, sorted(calls)


@pytest.mark.parametrize("count", MANY)
async def test_sources_flows_segments_objects_and_urls_are_four(
    catalog: Catalog, seed: Seed, count: int
) -> None:
    # given
    for _ in range(count):
        await seed.segments(await seed.flow("video"), "[0:0_10:0)", "[10:0_20:0)")
    # when
    query = """
    { sources { nodes { id flows(first: 3) { nodes { id
      segments(window: "[0:0_20:0)", first: 10) { nodes { id objectTimerange object { id size }
        getUrls { url } } } } } } } }
    """
    data, calls = await cost(catalog, query)
    # then
    sources = data["sources"]["nodes"]
    assert len(sources) == count
    for source in sources:
        (flow,) = source["flows"]["nodes"]
        assert [len(node["getUrls"]) for node in flow["segments"]["nodes"]] == [1, 1]
    assert calls == [
        "partitions flows by source_id",
        "scan objects",
        "scan sources",
        f"sign {2 * count} GET",
        "windows",
    ]


@pytest.mark.parametrize("count", MANY)
async def test_flows_and_their_sources_are_two(catalog: Catalog, seed: Seed, count: int) -> None:
    for _ in range(count):
        await seed.flow("data")
    data, calls = await cost(catalog, "{ flows { nodes { source { id label } } } }")
    assert len(data["flows"]["nodes"]) == count
    assert calls == ["scan flows", "scan sources"]


@pytest.mark.parametrize("count", MANY)
async def test_collections_cost_two_in_either_direction(
    catalog: Catalog, seed: Seed, count: int
) -> None:
    # given
    member = await seed.flow("audio")
    parents = [
        await seed.flow("multi", collection=[{"flowId": member}, {"flowId": await seed.flow()}])
        for _ in range(count)
    ]
    # when, then
    query = "query($ids: [ID!]!) { flows(filter: {ids: $ids}) { nodes { %s } } }"
    down = query % "collection { role flow { id } }"
    data, calls = await cost(catalog, down, ids=parents)
    assert [len(flow["collection"]) for flow in data["flows"]["nodes"]] == [2] * count
    assert calls == ["partitions collections by parent_id", "scan flows", "scan flows"]
    data, calls = await cost(catalog, query % "collectedBy { id }", ids=[member])
    (flow,) = data["flows"]["nodes"]
    assert [parent["id"] for parent in flow["collectedBy"]] == sorted(parents)
    assert calls == ["partitions collections by child_id", "scan flows", "scan flows"]


@pytest.mark.parametrize("count", MANY)
async def test_collections_of_sources_cost_two_in_either_direction(
    catalog: Catalog, seed: Seed, count: int
) -> None:
    for _ in range(count):
        await seed.flow("multi", collection=[{"flowId": await seed.flow("audio")}])
    query = "{ sources(first: 100) { nodes { %s } } }"
    data, calls = await cost(catalog, query % "collects { source { id } }")
    found = sorted(len(source["collects"]) for source in data["sources"]["nodes"])
    assert found == [0] * count + [1] * count
    assert calls == ["partitions collections by parent_source_id", "scan sources", "scan sources"]
    data, calls = await cost(catalog, query % "collectedBy { id }")
    found = sorted(len(source["collectedBy"]) for source in data["sources"]["nodes"])
    assert found == [0] * count + [1] * count
    assert calls == ["partitions collections by child_source_id", "scan sources", "scan sources"]


@pytest.mark.parametrize("count", MANY)
async def test_what_the_counters_know_costs_one(catalog: Catalog, seed: Seed, count: int) -> None:
    for _ in range(count):
        await seed.external(await seed.flow(), "[0:0_10:0)")
    query = "{ flows { nodes { timerange segmentsUpdated } } }"
    data, calls = await cost(catalog, query)
    assert [flow["timerange"] for flow in data["flows"]["nodes"]] == ["[0:0_10:0)"] * count
    assert calls == ["scan flow_counters", "scan flows"]


@pytest.mark.parametrize("count", MANY)
async def test_the_timerange_in_a_window_costs_one(
    catalog: Catalog, seed: Seed, count: int
) -> None:
    for _ in range(count):
        await seed.external(await seed.flow(), "[0:0_10:0)")
    query = '{ flows { nodes { timerange(window: "[5:0_6:0)") } } }'
    data, calls = await cost(catalog, query)
    assert [flow["timerange"] for flow in data["flows"]["nodes"]] == ["[0:0_10:0)"] * count
    assert calls == ["scan flows", "windows"]


@pytest.mark.parametrize("count", MANY)
async def test_each_total_adds_exactly_one(catalog: Catalog, seed: Seed, count: int) -> None:
    for _ in range(count):
        await seed.external(await seed.flow(), "[0:0_10:0)")
    plain = """
    { sources { nodes { flows(first: 3) { nodes { segments(first: 3) { nodes { id } } } } } } }
    """
    totals = """
    { sources { totalCount nodes { flows(first: 3) { totalCount nodes {
      segments(first: 3) { totalCount nodes { id } } } } } } }
    """
    _, calls = await cost(catalog, plain)
    assert calls == ["partitions flows by source_id", "scan sources", "windows"]
    data, with_totals = await cost(catalog, totals)
    assert data["sources"]["totalCount"] == count
    assert with_totals == sorted(
        [*calls, "count sources", "count_partitions flows by source_id", "scan flow_counters"]
    )


@pytest.mark.parametrize("count", MANY)
async def test_segments_lead_back_to_what_they_belong_to(
    catalog: Catalog, seed: Seed, count: int
) -> None:
    # given segments of different flows that share objects
    shared = external("[0:0_10:0)")
    for _ in range(count):
        await seed.register(await seed.flow(), [shared])
    # when
    query = """
    { flows { nodes { segments(window: "_10:0)") { nodes { flow { source { id } }
      object { firstReferencedByFlow { id } initObject { id } } } } } } }
    """
    data, calls = await cost(catalog, query)
    # then: nothing is read twice, only the flow of the object is new
    assert len(data["flows"]["nodes"]) == count
    assert calls == ["scan flows", "scan flows", "scan objects", "scan sources", "windows"]


async def test_a_look_up_costs_one(catalog: Catalog, seed: Seed) -> None:
    # given
    source_id = new_id()
    flow_id = await seed.flow(sourceId=source_id)
    (object_id,) = await seed.external(flow_id, "[0:0_10:0)")
    # when, then
    for query, id, call in (
        ("query($id: ID!) { flow(id: $id) { id label } }", flow_id, "scan flows"),
        ("query($id: ID!) { source(id: $id) { id label } }", source_id, "scan sources"),
        ("query($id: ID!) { object(id: $id) { id size } }", object_id, "scan objects"),
        ("query($id: ID!) { node(id: $id) { id } }", flow_id, "scan flows"),
    ):
        assert (await cost(catalog, query, id=id))[1] == [call]
        assert (await cost(catalog, query, id=new_id()))[1][:1] == [call]


async def test_the_same_look_up_twice_costs_one(catalog: Catalog, seed: Seed) -> None:
    ids = [await seed.flow() for _ in range(3)]
    query = """
    query($a: ID!, $b: ID!, $c: ID!, $ids: [ID!]!) {
      a: flow(id: $a) { id } b: flow(id: $b) { id } c: flow(id: $c) { id }
      again: flow(id: $a) { id }
      nodes(ids: $ids) { id }
    }
    """
    _, calls = await cost(catalog, query, a=ids[0], b=ids[1], c=ids[2], ids=ids)
    assert calls == ["scan flows"]


async def test_what_is_not_selected_costs_nothing(catalog: Catalog, seed: Seed) -> None:
    await seed.flow()
    _, calls = await cost(catalog, "{ service { apiVersion storageBackends { id } } __typename }")
    assert calls == []
    _, calls = await cost(catalog, "{ __schema { types { name } } }")
    assert calls == []


@pytest.mark.parametrize("count", MANY)
async def test_a_mutation_reads_what_it_checks_and_commits_once(
    catalog: Catalog, seed: Seed, count: int
) -> None:
    flow_id = await seed.flow("multi")
    members = [{"flowId": await seed.flow("audio")} for _ in range(count)]
    with watched() as calls:
        await seed.patch(flow_id, collection=members)
    reads = [call for call in calls if call != "commit"]
    assert calls.count("commit") == 1
    # The flow, its source and collection, the members, and what is below the members.
    assert len(reads) <= 6
    assert reads[0] == "scan flows"


@pytest.mark.parametrize("count", MANY)
async def test_a_total_alone_reads_no_rows(catalog: Catalog, seed: Seed, count: int) -> None:
    for _ in range(count):
        await seed.segments(await seed.flow("video"), "[0:0_10:0)", "[10:0_20:0)")
    query = """
    { sources { totalCount nodes { flows { ...Total } } }
      flows { ...Total ... on FlowConnection { __typename } } }
    fragment Total on FlowConnection { totalCount }
    """
    data, calls = await cost(catalog, query)
    assert data["flows"] == {"totalCount": count, "__typename": "FlowConnection"}
    assert [s["flows"]["totalCount"] for s in data["sources"]["nodes"]] == [1] * count
    assert calls == [
        "count flows",
        "count sources",
        "count_partitions flows by source_id",
        "scan sources",
    ]


async def test_counting_segments_costs_what_counting_costs(catalog: Catalog, seed: Seed) -> None:
    await seed.segments(await seed.flow("video"), "[0:0_10:0)", "[10:0_20:0)")
    whole = "{ flows { nodes { segments { totalCount } } } }"
    data, calls = await cost(catalog, whole)
    assert data["flows"]["nodes"] == [{"segments": {"totalCount": 2}}]
    assert calls == ["scan flow_counters", "scan flows"]
    windowed = """{ flows { nodes { segments(window: "[0:0_5:0)") { totalCount } } } }"""
    data, calls = await cost(catalog, windowed)
    assert data["flows"]["nodes"] == [{"segments": {"totalCount": 1}}]
    assert calls == ["count_windows", "scan flows"]


async def test_paging_arguments_are_checked_though_only_the_total_is_asked_for(
    catalog: Catalog, seed: Seed
) -> None:
    for arguments in ("first: -1", "first: 1, last: 1", 'after: "x"'):
        (error,) = await catalog.gql.errors(f"{{ flows({arguments}) {{ totalCount }} }}")
        assert error["extensions"]["code"] == "BAD_USER_INPUT"
