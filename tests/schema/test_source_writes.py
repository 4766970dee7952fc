"""Sources made, changed and deleted on their own, and single tags of sources and flows."""

from __future__ import annotations

import asyncio

import pytest

from tams_gql.model.ids import new_id
from tests.catalog import Catalog
from tests.gql import Data, GraphQL, refusal
from tests.seed import Seed

FIELDS = "id format label description tags { name values } version created updated"
SOURCE = f"query Source($id: ID!) {{ source(id: $id) {{ {FIELDS} flows {{ totalCount }} }} }}"
CREATE = f"""
mutation Create($input: CreateSourceInput!) {{
  createSource(input: $input) {{ event source {{ {FIELDS} }} }}
}}
"""
UPDATE = f"""
mutation Update($input: UpdateSourceInput!) {{
  updateSource(input: $input) {{ event source {{ {FIELDS} }} }}
}}
"""
DELETE = """
mutation Delete($input: DeleteSourceInput!) {
  deleteSource(input: $input) { deletedSourceId event }
}
"""
SET_TAGS = """
mutation SetTags($input: SetTagsInput!) {
  setTags(input: $input) {
    event
    node {
      __typename id
      ... on Flow { version tags { name values } }
      ... on Source { version tags { name values } }
    }
  }
}
"""

GIVEN: Data = {
    "format": "AUDIO",
    "label": "Commentary",
    "description": "English",
    "tags": [{"name": "b", "values": ["1"]}, {"name": "a", "values": ["2", "3"]}],
}


async def create(gql: GraphQL, **fields: object) -> str:
    source_id = new_id()
    given = {"id": source_id, **GIVEN, **fields}
    await gql.execute(CREATE, {"input": given})
    return source_id


async def read(gql: GraphQL, source_id: str) -> Data | None:
    found: Data | None = (await gql.execute(SOURCE, {"id": source_id}))["source"]
    return found


def tag(name: str, *values: str) -> Data:
    return {"name": name, "values": list(values)}


async def test_a_source_can_be_made_without_a_flow(catalog: Catalog) -> None:
    source_id = new_id()
    given = {"id": source_id.upper(), **GIVEN}
    payload = (await catalog.gql.execute(CREATE, {"input": given}))["createSource"]
    source = payload["source"]
    assert source.pop("created") == source.pop("updated")
    assert source == {"id": source_id, **GIVEN, "version": 1}
    head = await catalog.services.store.log.head()
    assert payload["event"] == catalog.services.feed.cursor(head)
    assert await catalog.event_types() == ["sources/created"]
    found = await read(catalog.gql, source_id)
    assert found is not None
    assert found["flows"] == {"totalCount": 0}


async def test_it_stays_when_its_last_flow_goes(gql: GraphQL, seed: Seed) -> None:
    source_id = await create(gql)
    flow_id = await seed.flow("audio", sourceId=source_id)
    assert (await seed.delete(flow_id))["sourceDeleted"] is False
    found = await read(gql, source_id)
    assert found is not None
    assert (found["label"], found["version"], found["flows"]) == (
        "Commentary",
        1,
        {"totalCount": 0},
    )


async def test_its_flows_must_have_its_format(catalog: Catalog, seed: Seed) -> None:
    source_id = await create(catalog.gql)
    before = await catalog.dump()
    with pytest.raises(AssertionError, match="so its flow cannot be"):
        await seed.flow("video", sourceId=source_id)
    assert await catalog.dump() == before


@pytest.mark.parametrize("by_flow", [True, False])
async def test_an_id_is_taken_once(catalog: Catalog, seed: Seed, by_flow: bool) -> None:
    source_id = new_id()
    if by_flow:
        await seed.flow("audio", sourceId=source_id)
    else:
        source_id = await create(catalog.gql)
    before = await catalog.dump()
    given = {"id": source_id, "format": "AUDIO"}
    assert await catalog.gql.errors(CREATE, {"input": given}) == [
        refusal(
            "CONFLICT", f"input.id: source {source_id} exists", "createSource", field="input.id"
        )
    ]
    assert await catalog.dump() == before


async def test_of_clients_that_make_the_same_source_one_wins(gql: GraphQL) -> None:
    given = {"id": new_id(), "format": "DATA"}
    answers = await asyncio.gather(*(gql.answer(CREATE, {"input": given}) for _ in range(6)))
    codes = [a["errors"][0]["extensions"]["code"] for a in answers if "errors" in a]
    assert codes == ["CONFLICT"] * 5


async def test_what_is_left_out_stays_and_null_removes(catalog: Catalog) -> None:
    gql = catalog.gql
    source_id = await create(gql)
    steps: list[tuple[Data, Data]] = [
        ({"label": "Kommentar"}, {"label": "Kommentar"}),
        ({}, {}),
        ({"description": None}, {"description": None}),
        ({"tags": [tag("c", "4")]}, {"tags": [tag("c", "4")]}),
        ({"tags": None, "label": None}, {"tags": [], "label": None}),
    ]
    for version, (changes, wanted) in enumerate(steps, start=2):
        before = await read(gql, source_id)
        assert before is not None
        payload = await gql.execute(UPDATE, {"input": {"id": source_id, **changes}})
        after = await read(gql, source_id)
        assert after is not None
        assert payload["updateSource"]["source"] == {k: v for k, v in after.items() if k != "flows"}
        assert after["updated"] > before["updated"]
        assert after == {**before, **wanted, "version": version, "updated": after["updated"]}
    assert await catalog.event_types() == ["sources/created", *["sources/updated"] * 5]


async def test_a_source_made_by_a_flow_can_be_changed_and_still_goes_with_it(
    gql: GraphQL, seed: Seed
) -> None:
    source_id = new_id()
    flow_id = await seed.flow("audio", sourceId=source_id, label="flow")
    await gql.execute(UPDATE, {"input": {"id": source_id, "label": "source"}})
    data = await gql.execute("query($id: ID!) { flow(id: $id) { label source { label } } }",
                             {"id": flow_id})  # fmt: skip
    assert data["flow"] == {"label": "flow", "source": {"label": "source"}}
    assert (await seed.delete(flow_id))["sourceDeleted"] is True


async def test_only_a_source_without_flows_can_be_deleted(catalog: Catalog, seed: Seed) -> None:
    gql = catalog.gql
    source_id = await create(gql)
    flow_id = await seed.flow("audio", sourceId=source_id)
    before = await catalog.dump()
    assert await gql.errors(DELETE, {"input": {"id": source_id}}) == [
        refusal(
            "CONFLICT",
            f"input.id: source {source_id} has 1 flows; delete them first",
            "deleteSource",
            field="input.id",
        )
    ]
    assert await catalog.dump() == before
    await seed.delete(flow_id)
    payload = (await gql.execute(DELETE, {"input": {"id": source_id}}))["deleteSource"]
    assert payload["deletedSourceId"] == source_id
    assert await read(gql, source_id) is None
    assert (await catalog.event_types())[-1] == "sources/deleted"


async def test_deleting_races_with_a_new_flow_and_nothing_is_left_hanging(
    gql: GraphQL, seed: Seed
) -> None:
    for _ in range(5):
        source_id = await create(gql)
        answer, flow_id = await asyncio.gather(
            gql.answer(DELETE, {"input": {"id": source_id}}),
            seed.flow("audio", sourceId=source_id),
        )
        # Either it had a flow by then, or the flow has made it anew.
        data = await gql.execute(
            "query($id: ID!) { flow(id: $id) { source { id label flows { totalCount } } } }",
            {"id": flow_id},
        )
        label = "Commentary" if "errors" in answer else None
        wanted = {"id": source_id, "label": label, "flows": {"totalCount": 1}}
        assert data["flow"]["source"] == wanted


@pytest.mark.parametrize(("name", "query"), [("updateSource", UPDATE), ("deleteSource", DELETE)])
async def test_a_stale_version_or_an_unknown_source(
    catalog: Catalog, name: str, query: str
) -> None:
    source_id, unknown = await create(catalog.gql), new_id()
    before = await catalog.dump()
    stale = {"id": source_id, "expectedVersion": 2}
    assert await catalog.gql.errors(query, {"input": stale}) == [
        refusal(
            "CONFLICT",
            "input.expectedVersion: 2 is stale; the source has version 1",
            name,
            field="input.expectedVersion",
            version=1,
        )
    ]
    assert await catalog.gql.errors(query, {"input": {"id": unknown}}) == [
        refusal("NOT_FOUND", f"there is no source {unknown}", name, field="input.id")
    ]
    assert await catalog.dump() == before


@pytest.mark.parametrize("kind", ["flow", "source"])
async def test_single_tags_are_set_and_removed(catalog: Catalog, seed: Seed, kind: str) -> None:
    # given
    tags = [tag("a", "1"), tag("b", "2", "3"), tag("c", "4")]
    if kind == "flow":
        id = await seed.flow("video", tags=tags, collection=[{"flowId": await seed.flow()}])
    else:
        id = await create(catalog.gql, tags=tags)
    # when
    given = {"id": id, "set": [tag("b", "5"), tag("d", "6")], "remove": ["a", "unknown"]}
    payload = (await catalog.gql.execute(SET_TAGS, {"input": given}))["setTags"]
    # then
    assert payload["node"] == {
        "__typename": "VideoFlow" if kind == "flow" else "Source",
        "id": id,
        "version": 2,
        "tags": [tag("b", "5"), tag("c", "4"), tag("d", "6")],
    }
    assert (await catalog.event_types())[-1] == f"{kind}s/updated"
    # and the collection of the flow is as it was
    data = await catalog.gql.execute(
        "query($id: ID!) { node(id: $id) { ... on Flow { collection { flow { id } } } } }",
        {"id": id},
    )
    assert len(data["node"].get("collection", [1])) == 1


@pytest.mark.parametrize("kind", ["flow", "source"])
async def test_tags_set_by_many_at_once_are_all_kept(gql: GraphQL, seed: Seed, kind: str) -> None:
    id = await seed.flow() if kind == "flow" else await create(gql, tags=None)
    writes = [{"id": id, "set": [tag(f"t{n}", str(n))]} for n in range(6)]
    await asyncio.gather(*(gql.execute(SET_TAGS, {"input": write}) for write in writes))
    data = await gql.execute(
        "query($id: ID!) { node(id: $id) { ... on Flow { version tags { name } }"
        " ... on Source { version tags { name } } } }",
        {"id": id},
    )
    assert data["node"]["version"] == 7
    assert sorted(t["name"] for t in data["node"]["tags"]) == [f"t{n}" for n in range(6)]


async def test_tags_that_are_refused_leave_no_trace(catalog: Catalog, seed: Seed) -> None:
    flow_id, locked, unknown = await seed.flow(), await seed.flow(readOnly=True), new_id()
    before = await catalog.dump()
    for given, code, field in (
        ({"id": flow_id, "set": [tag("a", "1")], "remove": ["a"]}, "BAD_USER_INPUT", "remove"),
        ({"id": flow_id, "set": [tag("a", "1"), tag("a", "2")]}, "BAD_USER_INPUT", "set"),
        ({"id": flow_id, "set": [tag("", "1")]}, "BAD_USER_INPUT", "tags"),
        ({"id": unknown, "set": [tag("a", "1")]}, "NOT_FOUND", "id"),
        ({"id": locked, "set": [tag("a", "1")]}, "READ_ONLY", "id"),
        ({"id": "x", "remove": ["a"]}, "BAD_USER_INPUT", "id"),
    ):
        (error,) = await catalog.gql.errors(SET_TAGS, {"input": given})
        found = (error["extensions"]["code"], error["extensions"].get("field"))
        assert found == (code, f"input.{field}"), given
    assert await catalog.dump() == before


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"label": "x" * 1025}, "label"),
        ({"description": "x" * 16_385}, "description"),
        ({"tags": [tag("", "1")]}, "tags"),
        ({"id": "x"}, "id"),
    ],
)
async def test_what_breaks_a_rule_is_named(catalog: Catalog, fields: Data, field: str) -> None:
    source_id = await create(catalog.gql)
    before = await catalog.dump()
    for query, given in (
        (CREATE, {"id": new_id(), "format": "DATA", **fields}),
        (UPDATE, {"id": source_id, **fields}),
    ):
        (error,) = await catalog.gql.errors(query, {"input": given})
        assert error["extensions"] == {"code": "BAD_USER_INPUT", "field": f"input.{field}"}
    assert await catalog.dump() == before
