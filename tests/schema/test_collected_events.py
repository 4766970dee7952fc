"""Events of what collections hold, live, replayed and read in pages."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tams_gql.model.ids import new_id
from tams_gql.resolvers import events_collected
from tests.catalog import Catalog
from tests.gql import Data, refusal
from tests.gql_ws import Connection, Refused, Stream, connected
from tests.seed import Seed
from tests.waiting import until

LIVE = """
subscription Follow(
  $collectedBy: [ID!], $flowIds: [ID!], $types: [EventType!], $after: String
) {
  events(collectedBy: $collectedBy, flowIds: $flowIds, types: $types, after: $after) {
    type flowId sourceId cursor
  }
}
"""

PAGE = """
query Page($filter: EventFilter, $after: String, $first: Int) {
  events(filter: $filter, after: $after, first: $first) {
    nodes { type flowId sourceId } pageInfo { hasNextPage endCursor }
  }
}
"""

READ = "scan collections collections"

Told = list[tuple[str, str | None]]


class Programme:
    """A flow that collects two others, and one that nothing collects; names stand for ids."""

    def __init__(self, seed: Seed) -> None:
        self._seed = seed
        self.names: dict[str, str] = {}
        self.ids: dict[str, str] = {}

    async def begin(self) -> None:
        for name in ("video", "audio", "other"):
            await self.flow(name)
        await self.flow("programme", "multi", self.members("video", "audio"))

    async def flow(
        self, name: str, format: str = "video", members: list[Data] | None = None
    ) -> None:
        """Make a flow with a source of its own; of the same ids, if it was there before."""
        for resource in (name, f"{name} source"):
            self.names[self.ids.setdefault(resource, new_id())] = resource
        ids = {"id": self.ids[name], "sourceId": self.ids[f"{name} source"]}
        fields = {} if members is None else {"collection": members}
        await self._seed.flow(format, **ids, **fields)

    def members(self, *names: str) -> list[Data]:
        return [{"flowId": self.ids[name]} for name in names]

    async def collect(self, *names: str) -> None:
        await self._seed.patch(self.ids["programme"], collection=self.members(*names))

    async def append(self, *names: str, at: int) -> None:
        for name in names:
            await self._seed.external(self.ids[name], f"[{at}:0_{at + 1}:0)")

    async def delete(self, name: str) -> None:
        await self._seed.delete(self.ids[name])

    def told(self, events: list[Data]) -> Told:
        return [(e["type"], self.names.get(e["flowId"] or e["sourceId"])) for e in events]


@pytest.fixture
async def socket(served: Catalog) -> AsyncIterator[Connection]:
    async with connected(served.settings.public_url) as connection:
        yield connection


@pytest.fixture
async def programme(served: Catalog) -> Programme:
    made = Programme(Seed(served.gql, served.http))
    await made.begin()
    return made


async def head(catalog: Catalog) -> str:
    feed = catalog.services.feed
    return feed.cursor(await feed.head())


async def take(programme: Programme, stream: Stream, count: int) -> Told:
    return programme.told([data["events"] for data in await stream.take(count)])


async def everything(programme: Programme, catalog: Catalog, **filter: object) -> Told:
    """All pages of the log, which must be whole whatever the size of a page is."""
    found: list[Told] = []
    for size in (1, 3, 1000):
        told: Told = []
        after: str | None = None
        while True:
            variables = {"filter": filter, "after": after, "first": size}
            page = (await catalog.gql.execute(PAGE, variables))["events"]
            told += programme.told(page["nodes"])
            after = page["pageInfo"]["endCursor"]
            if not page["pageInfo"]["hasNextPage"]:
                break
        found.append(told)
    assert found[0] == found[1] == found[2]
    return found[0]


@pytest.mark.parametrize("collector", ["programme", "programme source"])
async def test_members_count_as_the_log_says_whatever_joins_leaves_or_goes(
    served: Catalog, programme: Programme, socket: Connection, collector: str
) -> None:
    # given
    stream = await socket.subscribe(LIVE, {"collectedBy": [programme.ids[collector]]})
    await until(lambda: served.services.feed.subscribers == 1)
    # when
    await programme.append("programme", "other", "video", "audio", at=0)
    await programme.collect("audio", "other")
    await programme.append("video", "other", at=1)
    await programme.flow("new")
    await programme.collect("new", "other")
    await programme.append("audio", "new", at=2)
    await programme.delete("new")
    await programme.delete("audio")
    await programme.append("other", at=3)
    await programme.delete("programme")
    await programme.append("other", at=4)
    await programme.flow("programme", "multi", programme.members("video"))
    await programme.append("video", "other", at=5)
    await programme.delete("video")
    # then
    wanted: Told = [
        ("SEGMENTS_ADDED", "video"),
        ("SEGMENTS_ADDED", "audio"),
        ("SEGMENTS_ADDED", "other"),
        ("SEGMENTS_ADDED", "new"),
        ("SEGMENTS_DELETED", "new"),
        ("FLOW_DELETED", "new"),
        ("SOURCE_DELETED", "new source"),
        ("SEGMENTS_ADDED", "other"),
        ("SEGMENTS_ADDED", "video"),
        ("SEGMENTS_DELETED", "video"),
        ("FLOW_DELETED", "video"),
        ("SOURCE_DELETED", "video source"),
    ]
    assert await take(programme, stream, len(wanted)) == wanted


async def test_what_is_replayed_goes_by_the_members_of_now_and_by_what_deletions_say(
    served: Catalog, programme: Programme, socket: Connection
) -> None:
    # given
    after = await head(served)
    await programme.append("video", "audio", "other", at=0)
    await programme.delete("audio")
    await programme.collect("video")
    await programme.collect("video", "other")
    # when
    chosen = {"collectedBy": [programme.ids["programme"]], "after": after}
    stream = await socket.subscribe(LIVE, chosen)
    replayed = await take(programme, stream, 4)
    await programme.collect("other")
    await programme.append("video", "other", at=1)
    # then
    assert replayed == [
        ("SEGMENTS_ADDED", "video"),
        ("SEGMENTS_ADDED", "other"),
        ("FLOW_DELETED", "audio"),
        ("SOURCE_DELETED", "audio source"),
    ]
    assert await take(programme, stream, 1) == [("SEGMENTS_ADDED", "other")]


async def test_any_choice_of_what_to_follow_is_enough_and_types_narrow_all(
    served: Catalog, programme: Programme, socket: Connection
) -> None:
    after = await head(served)
    await programme.append("programme", "video", "other", "audio", at=0)
    await programme.delete("other")
    ids = {name: [programme.ids[name]] for name in ("programme", "other", "video")}
    both = await socket.subscribe(
        LIVE, {"collectedBy": ids["programme"], "flowIds": ids["programme"], "after": after}
    )
    deletions = await socket.subscribe(
        LIVE,
        {"collectedBy": ids["video"], "flowIds": ids["other"], "types": ["FLOW_DELETED"],
         "after": after},
    )  # fmt: skip
    found = await take(programme, both, 3)
    assert found == [("SEGMENTS_ADDED", name) for name in ("programme", "video", "audio")]
    assert await take(programme, deletions, 1) == [("FLOW_DELETED", "other")]


async def test_no_collection_holds_nothing(
    served: Catalog, programme: Programme, socket: Connection
) -> None:
    after = await head(served)
    nothing = await socket.subscribe(LIVE, {"collectedBy": [], "after": after})
    empty = await socket.subscribe(LIVE, {"collectedBy": [new_id()], "after": after})
    marked = {"collectedBy": [], "flowIds": [programme.ids["other"]], "after": after}
    mark = await socket.subscribe(LIVE, marked)
    await programme.append("video", "other", at=0)
    assert await take(programme, mark, 1) == [("SEGMENTS_ADDED", "other")]
    assert (nothing.waiting, empty.waiting) == (0, 0)
    assert await everything(programme, served, collectedBy=[]) == []


async def test_following_costs_no_reads_however_much_happens(
    served: Catalog, programme: Programme, socket: Connection
) -> None:
    stream = await socket.subscribe(LIVE, {"collectedBy": [programme.ids["programme"]]})
    await until(lambda: served.services.feed.subscribers == 1)
    before = served.store.calls.count(READ)
    for at in range(5):
        await programme.append("video", at=at)
    assert await take(programme, stream, 5) == [("SEGMENTS_ADDED", "video")] * 5
    assert before == 1
    assert served.store.calls.count(READ) == before


async def test_pages_of_the_log_go_by_the_members_of_now(
    served: Catalog, programme: Programme
) -> None:
    # given
    await programme.append("video", "audio", "other", at=0)
    await programme.delete("audio")
    names = ("programme", "programme source")
    flow, source = ([programme.ids[name]] for name in names)
    # when, then
    of_flow = [("FLOW_CREATED", "video"), ("SEGMENTS_ADDED", "video")]
    of_source = [("SOURCE_CREATED", "video source"), *of_flow]
    for chosen, wanted in (
        ({"collectedBy": flow}, of_flow),
        ({"collectedBy": source}, of_source),
        ({"collectedBy": [*flow, *source]}, of_source),
        ({"collectedBy": flow, "flowIds": [programme.ids["other"]]}, []),
        ({"collectedBy": flow, "flowIds": []}, []),
        ({"collectedBy": source, "sourceIds": [programme.ids["video source"]]}, of_source),
        ({"collectedBy": source, "sourceIds": [programme.ids["other source"]]}, []),
        ({"collectedBy": source, "types": ["SEGMENTS_ADDED"]}, of_flow[1:]),
        ({"collectedBy": [programme.ids["video"]]}, []),
    ):
        assert await everything(programme, served, **chosen) == wanted, chosen


async def test_a_page_stops_reading_where_too_much_does_not_belong_on_it(
    served: Catalog, programme: Programme
) -> None:
    # given a flow of the collected source of which only another flow is collected
    seed = Seed(served.gql, served.http)
    noise = await seed.flow("video", sourceId=programme.ids["video source"])
    programme.names[noise] = "noise"
    await programme.flow("kept", "video")
    await programme.flow("collector", "multi", programme.members("kept"))
    for at in range(40):
        await seed.external(noise, f"[{at}:0_{at + 1}:0)")
    await programme.append("video", "kept", at=0)
    # when
    ids = [programme.ids["programme"], programme.ids["collector source"]]
    told, pages, after = [], 0, None
    while True:
        variables = {"filter": {"collectedBy": ids}, "first": 1, "after": after}
        page = (await served.gql.execute(PAGE, variables))["events"]
        told += programme.told(page["nodes"])
        pages += 1
        if not page["pageInfo"]["hasNextPage"]:
            break
        assert page["pageInfo"]["endCursor"] != after
        after = page["pageInfo"]["endCursor"]
    # then
    assert told == [
        ("FLOW_CREATED", "video"),
        ("FLOW_CREATED", "audio"),
        ("SOURCE_CREATED", "kept source"),
        ("FLOW_CREATED", "kept"),
        ("SEGMENTS_ADDED", "video"),
        ("SEGMENTS_ADDED", "kept"),
    ]
    assert pages > len(told)


async def test_too_many_ids_or_members_are_refused(
    served: Catalog, programme: Programme, socket: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [new_id() for _ in range(1001)]
    limit = {"limit": 1000, "requested": 1001}
    for field, refused in (
        ("collectedBy", await refusals(socket, collectedBy=many)),
        (
            "filter.collectedBy",
            await served.gql.errors(PAGE, {"filter": {"collectedBy": many}}),
        ),
    ):
        (error,) = refused
        error.pop("path", None)
        wanted = f"{field}: 1001 ids are above the limit of 1000"
        assert error == refusal("LIMIT_EXCEEDED", wanted, field=field, **limit)
    (error,) = await refusals(socket, collectedBy=[new_id(), "x"])
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "field": "collectedBy.1"}
    # and a collection that has too many, or gets them
    monkeypatch.setattr(events_collected, "MAX_MEMBERS", 2)
    ids = [programme.ids["programme"]]
    stream = await socket.subscribe(LIVE, {"collectedBy": ids})
    await until(lambda: served.services.feed.subscribers == 1)
    await programme.collect("video", "audio", "other")
    with pytest.raises(Refused) as ended:
        await stream.next()
    for field, refused in (
        ("collectedBy", ended.value.errors),
        ("collectedBy", await refusals(socket, collectedBy=ids)),
        ("filter.collectedBy", await served.gql.errors(PAGE, {"filter": {"collectedBy": ids}})),
    ):
        (error,) = refused
        error.pop("path", None)
        message = f"{field}: the collections have more than 2 members"
        assert error == refusal("LIMIT_EXCEEDED", message, field=field, limit=2)
    await until(lambda: served.services.feed.subscribers == 0)


async def refusals(socket: Connection, **variables: object) -> list[Data]:
    """The errors that a subscription ends with, before anything else."""
    stream = await socket.subscribe(LIVE, variables)
    with pytest.raises(Refused) as found:
        await stream.next()
    return found.value.errors
