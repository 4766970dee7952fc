"""A write repeated under its key happens once and answers the same, whatever came between."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tams_gql.context import Services
from tams_gql.model.ids import new_id
from tams_gql.resolvers.reclaim import forget_receipts
from tests import seed
from tests.catalog import Catalog, quick_settings, running
from tests.gql import Data
from tests.proof.audit import audit
from tests.seed import Seed

TOGETHER = 8

CREATE_SOURCE = """
mutation Create($input: CreateSourceInput!) {
  createSource(input: $input) { event source { id format created } }
}
"""
UPDATE_SOURCE = """
mutation Update($input: UpdateSourceInput!) { updateSource(input: $input) { event source { id } } }
"""
DELETE_SOURCE = """
mutation Delete($input: DeleteSourceInput!) {
  deleteSource(input: $input) { deletedSourceId event }
}
"""
CREATE_PROFILE = """
mutation Create($input: CreateProfileInput!) { createProfile(input: $input) { profile { id } } }
"""
REGISTER = """
mutation Register($input: RegisterSegmentsInput!) {
  registerSegments(input: $input) {
    registeredCount event
    results {
      index error { code message field }
      segment { id objectId timerange tsOffset created tags { name values } keyFrameCount }
    }
  }
}
"""
LABEL = "mutation Label($input: PatchFlowInput!) { patchFlow(input: $input) { event } }"


@dataclass(frozen=True)
class Write:
    """A mutation that takes a key.

    ``path`` leads from the input to what holds the key. ``other`` makes another request of it, and
    ``possible`` makes possible what is refused before.
    """

    mutation: str
    given: Data
    other: Callable[[Data], Data]
    path: tuple[str, ...] = ()
    possible: Callable[[], Awaitable[object]] | None = None

    def under(self, key: str) -> Data:
        """The input with the key."""
        return _within(self.given, self.path, lambda inner: {**inner, "idempotencyKey": key})

    def other_under(self, key: str) -> Data:
        """Another request with the same key."""
        given = _within(self.under(key), self.path, self.other)
        assert given != self.under(key)
        return given

    @property
    def field(self) -> str:
        """How an error names the key."""
        return ".".join(("input", *self.path, "idempotencyKey"))


def _within(given: Data, path: tuple[str, ...], change: Callable[[Data], Data]) -> Data:
    if not path:
        return change(given)
    name, *rest = path
    return {**given, name: _within(given[name], tuple(rest), change)}


Prepare = Callable[[Catalog, Seed], Awaitable[Write]]


async def put_new(catalog: Catalog, maker: Seed) -> Write:
    given = seed.flow_input("video", tags=[{"name": "a", "values": ["1", "2"]}], label="new")
    return Write(seed.PUT_FLOW, given, _with(label="other"), ("video",))


async def put_existing(catalog: Catalog, maker: Seed) -> Write:
    given = seed.flow_input("multi")
    await maker.put("multi", **given["multi"])
    write = _within(given, ("multi",), _with(label="again", expectedVersion=1))
    return Write(seed.PUT_FLOW, write, _with(description="other"), ("multi",))


async def put_from_profile(catalog: Catalog, maker: Seed) -> Write:
    profile_id = new_id()

    async def make_profile() -> None:
        data = {"data": {"dataType": None}}
        given = {"id": profile_id, "codec": "text/vtt", "essenceParameters": data}
        await catalog.gql.execute(CREATE_PROFILE, {"input": given})

    flow = {"id": new_id(), "sourceId": new_id(), "profileId": profile_id}
    return Write(seed.PUT_FLOW, {"profile": flow}, _with(label="other"), ("profile",), make_profile)


async def patch(catalog: Catalog, maker: Seed) -> Write:
    given = seed.flow_input("data")
    flow_id = given["data"]["id"]
    write = {"id": flow_id, "label": "new", "tags": [{"name": "a", "values": []}]}
    made: Callable[[], Awaitable[object]] = lambda: maker.put("data", **given["data"])  # noqa: E731
    return Write(seed.PATCH_FLOW, write, _with(label="other"), possible=made)


async def delete(catalog: Catalog, maker: Seed) -> Write:
    flow_id = await maker.flow("video", readOnly=True)
    allow: Callable[[], Awaitable[object]] = lambda: maker.patch(flow_id, readOnly=False)  # noqa: E731
    return Write(seed.DELETE_FLOW, {"id": flow_id}, _with(id=new_id()), possible=allow)


async def delete_with_segments(catalog: Catalog, maker: Seed) -> Write:
    flow_id = await maker.flow("video")
    await maker.external(flow_id, "[0:0_1:0)", "[1:0_2:0)")
    return Write(seed.DELETE_FLOW, {"id": flow_id}, _with(id=new_id()))


async def register(catalog: Catalog, maker: Seed) -> Write:
    """Of five items two fail, one for a reason that the first ones make."""
    flow_id = await maker.flow("video", readOnly=True)
    tags = [{"name": "b", "values": ["x"]}]
    (object_id,) = [new_id()]
    items = [
        seed.external("[0:0_1:0)", tags=tags, keyFrameCount=3),
        {"objectId": "unknown", "timerange": "[7:0_8:0)"},
        seed.external("[0:5_0:7)"),
        seed.external("[2:0_3:0)", object_id),
        {"objectId": object_id, "timerange": "[12:0_13:0)", "tsOffset": "10:0"},
    ]
    allow: Callable[[], Awaitable[object]] = lambda: maker.patch(flow_id, readOnly=False)  # noqa: E731
    given = {"flowId": flow_id, "segments": items}
    return Write(REGISTER, given, _with(atomic=True), possible=allow)


async def register_all_or_none(catalog: Catalog, maker: Seed) -> Write:
    flow_id = await maker.flow("video")
    await maker.external(flow_id, "[1:0_2:0)")
    items = [seed.external("[0:0_1:0)"), seed.external("[1:0_2:0)")]
    given = {"flowId": flow_id, "segments": items, "atomic": True}
    free: Callable[[], Awaitable[object]] = lambda: maker.delete_segments(flow_id)  # noqa: E731
    other = _with(segments=items[:1])
    return Write(REGISTER, given, other, possible=free)


async def delete_segments(catalog: Catalog, maker: Seed) -> Write:
    flow_id = await maker.flow("video", readOnly=True)

    async def allow() -> None:
        await maker.patch(flow_id, readOnly=False)
        await maker.external(flow_id, *(seed.seconds(n, n + 1) for n in range(4)))

    given = {"flowId": flow_id, "coveredBy": "[1:0_3:0)"}
    return Write(seed.DELETE_SEGMENTS, given, _with(coveredBy=None), possible=allow)


async def allocate(catalog: Catalog, maker: Seed) -> Write:
    given = seed.flow_input("video")
    made: Callable[[], Awaitable[object]] = lambda: maker.put("video", **given["video"])  # noqa: E731
    write = {"flowId": given["video"]["id"], "limit": 3}
    return Write(seed.ALLOCATE, write, _with(limit=2), possible=made)


async def create_source(catalog: Catalog, maker: Seed) -> Write:
    given = {"id": new_id(), "format": "AUDIO", "label": "new"}
    return Write(CREATE_SOURCE, given, _with(format="VIDEO"))


async def update_source(catalog: Catalog, maker: Seed) -> Write:
    source_id = new_id()
    made: Callable[[], Awaitable[object]] = lambda: maker.flow(sourceId=source_id)  # noqa: E731
    write = {"id": source_id, "label": None, "description": "new"}
    return Write(UPDATE_SOURCE, write, _with(description="other"), possible=made)


async def delete_source(catalog: Catalog, maker: Seed) -> Write:
    source_id = new_id()
    given = {"id": source_id, "format": "VIDEO"}
    await catalog.gql.execute(CREATE_SOURCE, {"input": given})
    flow_id = await maker.flow(sourceId=source_id)
    free: Callable[[], Awaitable[object]] = lambda: maker.delete(flow_id)  # noqa: E731
    return Write(DELETE_SOURCE, {"id": source_id}, _with(id=new_id()), possible=free)


def _with(**changes: Any) -> Callable[[Data], Data]:
    return lambda inner: {**inner, **changes}


ALL = (
    *(put_new, put_existing, put_from_profile, patch, delete, delete_with_segments),
    *(register, register_all_or_none, delete_segments, allocate),
    *(create_source, update_source, delete_source),
)
every_write = pytest.mark.parametrize("prepare", ALL, ids=lambda prepare: prepare.__name__)


async def made_possible(prepare: Prepare, catalog: Catalog, maker: Seed) -> Write:
    """A write that will succeed."""
    write = await prepare(catalog, maker)
    if write.possible is not None:
        await write.possible()
    return write


async def sent(catalog: Catalog, write: Write, key: str) -> Data:
    """What the write answers, URLs that are signed anew left out."""
    data = await catalog.gql.execute(write.mutation, {"input": write.under(key)})
    for place in data.get("allocateStorage", {}).get("mediaObjects", ()):
        url = place.pop("putUrl")
        place["path"] = url["url"].split("?")[0]
    return data


@every_write
async def test_repeating_answers_the_same_and_changes_nothing(
    catalog: Catalog, seed: Seed, prepare: Prepare
) -> None:
    write = await made_possible(prepare, catalog, seed)
    before = await catalog.dump()
    # when
    first = await sent(catalog, write, "key")
    after = await catalog.dump()
    again = [await sent(catalog, write, "key") for _ in range(2)]
    # then
    assert after != before
    assert again == [first, first]
    assert await catalog.dump() == after


@every_write
async def test_all_who_send_it_at_once_get_the_same_answer(
    catalog: Catalog, seed: Seed, prepare: Prepare
) -> None:
    write = await made_possible(prepare, catalog, seed)
    events = len(await catalog.event_types())
    # when
    answers = await asyncio.gather(*(sent(catalog, write, "key") for _ in range(TOGETHER)))
    # then
    assert answers == [answers[0]] * TOGETHER
    after = await catalog.dump()
    assert len(after["receipts"]) == 1
    await audit(catalog.services.store)
    # and: there are as many events as one such write makes
    other = await made_possible(prepare, catalog, seed)
    between = len(await catalog.event_types())
    await sent(catalog, other, "other key")
    alone = len(await catalog.event_types()) - between
    assert len(after["events"]) - events == alone


@every_write
async def test_other_writes_between_do_not_matter(
    catalog: Catalog, seed: Seed, prepare: Prepare
) -> None:
    write = await made_possible(prepare, catalog, seed)
    first = await sent(catalog, write, "key")
    # when
    flows = await catalog.gql.execute("{ flows { nodes { id } } sources { nodes { id } } }")
    for flow in flows["flows"]["nodes"]:
        await catalog.gql.execute(LABEL, {"input": {"id": flow["id"], "label": new_id()}})
        await seed.delete_segments(flow["id"])
    for source in flows["sources"]["nodes"]:
        given = {"id": source["id"], "label": new_id()}
        await catalog.gql.execute(UPDATE_SOURCE, {"input": given})
    before = await catalog.dump()
    again = await sent(catalog, write, "key")
    # then
    assert again == first
    assert await catalog.dump() == before


@every_write
async def test_another_request_under_the_key_is_refused(
    catalog: Catalog, seed: Seed, prepare: Prepare
) -> None:
    write = await made_possible(prepare, catalog, seed)
    await sent(catalog, write, "key")
    before = await catalog.dump()
    # when
    (error,) = await catalog.gql.errors(write.mutation, {"input": write.other_under("key")})
    # then
    assert error["extensions"] == {"code": "CONFLICT", "field": write.field}
    assert error["message"] == f"{write.field}: the key was used for another request"
    assert await catalog.dump() == before


@pytest.mark.parametrize(
    "prepare",
    [
        *(put_from_profile, patch, delete, register, register_all_or_none, delete_segments),
        *(allocate, update_source, delete_source),
    ],
    ids=lambda prepare: prepare.__name__,
)
async def test_a_first_attempt_that_fails_leaves_the_key_free(
    catalog: Catalog, seed: Seed, prepare: Prepare
) -> None:
    write = await prepare(catalog, seed)
    before = await catalog.dump()
    refused = await catalog.gql.errors(write.mutation, {"input": write.under("key")})
    assert refused[0]["extensions"]["code"] in {
        *("BAD_USER_INPUT", "NOT_FOUND", "CONFLICT", "READ_ONLY"),
    }
    assert await catalog.dump() == before
    # when
    assert write.possible is not None
    await write.possible()
    first = await sent(catalog, write, "key")
    # then
    assert await sent(catalog, write, "key") == first


async def test_the_same_key_serves_each_mutation(catalog: Catalog, seed: Seed) -> None:
    source_id = new_id()
    create = Write(CREATE_SOURCE, {"id": source_id, "format": "DATA"}, _with(id=new_id()))
    update = Write(UPDATE_SOURCE, {"id": source_id, "label": "new"}, _with(label="other"))
    remove = Write(DELETE_SOURCE, {"id": source_id}, _with(id=new_id()))
    answers = [await sent(catalog, write, "key") for write in (create, update, remove)]
    assert len({answer.popitem()[1]["event"] for answer in answers}) == 3


@pytest.mark.parametrize(
    "prepare",
    [put_new, patch, register, register_all_or_none, create_source, update_source],
    ids=lambda prepare: prepare.__name__,
)
async def test_what_the_key_wrote_and_somebody_deleted_does_not_come_back(
    catalog: Catalog, seed: Seed, prepare: Prepare
) -> None:
    write = await made_possible(prepare, catalog, seed)
    await sent(catalog, write, "key")
    data = await catalog.gql.execute("{ flows { nodes { id } } sources { nodes { id } } }")
    for flow in data["flows"]["nodes"]:
        await seed.delete(flow["id"])
    for source in data["sources"]["nodes"] if not data["flows"]["nodes"] else ():
        await catalog.gql.execute(DELETE_SOURCE, {"input": {"id": source["id"]}})
    before = await catalog.dump()
    # when
    (error,) = await catalog.gql.errors(write.mutation, {"input": write.under("key")})
    # then
    assert error["extensions"] == {"code": "CONFLICT", "field": write.field}
    told = r".* which the key wrote( to)?, has been deleted since"
    assert re.fullmatch(told, error["message"])
    assert await catalog.dump() == before


@pytest.mark.parametrize("key", ["", "k" * 129])
async def test_a_key_of_another_length_is_refused(catalog: Catalog, key: str) -> None:
    write = await create_source(catalog, Seed(catalog.gql, catalog.http))
    (error,) = await catalog.gql.errors(write.mutation, {"input": write.under(key)})
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "field": write.field}


@pytest.mark.parametrize("key", [" ", "k" * 128, "\0", "a\0b", "🎬", "'; --"])
async def test_any_text_can_be_a_key(catalog: Catalog, key: str) -> None:
    write = await create_source(catalog, Seed(catalog.gql, catalog.http))
    assert await sent(catalog, write, key) == await sent(catalog, write, key)
    other = await create_source(catalog, Seed(catalog.gql, catalog.http))
    await sent(catalog, other, key[:-1] + "x")


async def test_a_number_beyond_64_bits_is_refused_with_a_key_as_without(catalog: Catalog) -> None:
    mutation = """
    mutation Put($id: ID!, $sourceId: ID!, $key: String) {
      putFlow(input: { multi: {
        id: $id, sourceId: $sourceId, idempotencyKey: $key
        vendorParameters: { number: 123456789012345678901234567890 }
      } }) { event }
    }
    """
    for key in (None, "key"):
        variables = {"id": new_id(), "sourceId": new_id(), "key": key}
        (error,) = await catalog.gql.errors(mutation, variables)
        assert error["extensions"]["code"] == "BAD_USER_INPUT"
        assert error["extensions"]["field"] == "input.multi.number"


async def test_keys_survive_a_restart_and_are_forgotten_after_a_day(tmp_path: Path) -> None:
    hours = 0.0

    def moved(services: Services) -> Services:
        return replace(services, now_us=lambda: services.now_us() + int(hours * 3_600_000_000))

    config = quick_settings(tmp_path)
    async with running(config, moved) as catalog:
        write = await create_source(catalog, Seed(catalog.gql, catalog.http))
        first = await sent(catalog, write, "key")
    async with running(config, moved) as catalog:
        hours = 23.9
        await forget_receipts(catalog.services)
        assert await sent(catalog, write, "key") == first
        hours = 24.1
        await forget_receipts(catalog.services)
        (error,) = await catalog.gql.errors(write.mutation, {"input": write.under("key")})
        assert error["extensions"] == {"code": "CONFLICT", "field": "input.id"}
