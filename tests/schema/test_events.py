"""The change log: read in pages, followed live, and the same in both."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tams_gql.model.ids import new_id
from tests.catalog import Catalog
from tests.gql import Data, GraphQL, refusal
from tests.gql_ws import Connection, connected
from tests.seed import Seed, external
from tests.waiting import until

EVENTS = """
query Events($filter: EventFilter, $after: String, $first: Int) {
  events(filter: $filter, after: $after, first: $first) {
    nodes { type flowId sourceId cursor }
    edges { cursor node { cursor } }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
  }
}
"""

FULL = """
type created cursor flowId sourceId segmentCount timerange document
flow { id label } source { id label } segments { objectId timerange }
"""


class Story:
    """A catalog in which something of everything has happened."""

    def __init__(self, seed: Seed) -> None:
        self._seed = seed
        self.source_id = new_id()
        self.flow_id = new_id()
        self.gone_id = new_id()

    async def tell(self) -> list[tuple[str, str | None]]:
        """The types of the events, and the flow each is about."""
        seed, ids = self._seed, {"id": self.flow_id, "sourceId": self.source_id}
        await seed.put("data", **ids, label="first")
        await seed.patch(self.flow_id, label="second")
        await seed.put("data", id=self.gone_id, sourceId=self.source_id)
        await seed.register(
            self.flow_id, [external("[0:0_10:0)", "one"), external("[10:0_20:0)", "two")]
        )
        await seed.delete_segments(self.flow_id, coveredBy="[0:0_10:0)")
        await seed.delete(self.gone_id)
        return [
            ("SOURCE_CREATED", None),
            ("FLOW_CREATED", self.flow_id),
            ("FLOW_UPDATED", self.flow_id),
            ("FLOW_CREATED", self.gone_id),
            ("SEGMENTS_ADDED", self.flow_id),
            ("SEGMENTS_DELETED", self.flow_id),
            ("FLOW_DELETED", self.gone_id),
        ]


@pytest.fixture
def story(seed: Seed) -> Story:
    return Story(seed)


async def page(gql: GraphQL, **arguments: object) -> Data:
    events: Data = (await gql.execute(EVENTS, arguments))["events"]
    assert [edge["cursor"] for edge in events["edges"]] == [e["cursor"] for e in events["nodes"]]
    assert [edge["node"]["cursor"] for edge in events["edges"]] == [
        e["cursor"] for e in events["nodes"]
    ]
    return events


def told(events: Data) -> list[tuple[str, str | None]]:
    return [(event["type"], event["flowId"]) for event in events["nodes"]]


async def test_every_change_is_an_event_in_commit_order(gql: GraphQL, story: Story) -> None:
    assert told(await page(gql)) == []
    wanted = await story.tell()
    events = await page(gql)
    assert told(events) == wanted
    assert {event["sourceId"] for event in events["nodes"]} == {story.source_id}


async def test_pages_laid_together_are_the_whole_log(gql: GraphQL, story: Story) -> None:
    wanted = await story.tell()
    for size in (1, 2, 3, 7, 8):
        found, cursor = [], None
        while True:
            events = await page(gql, first=size, after=cursor)
            assert events["pageInfo"]["hasPreviousPage"] is (cursor is not None)
            found += told(events)
            if not events["pageInfo"]["hasNextPage"]:
                break
            cursor = events["pageInfo"]["endCursor"]
        assert found == wanted
    # At the end of the log the cursor stays, so that a client can ask again.
    end = events["pageInfo"]["endCursor"]
    empty = await page(gql, after=end)
    assert (empty["nodes"], empty["pageInfo"]["endCursor"]) == ([], end)


async def test_filters(gql: GraphQL, story: Story) -> None:
    everything = await story.tell()
    mine = [event for event in everything if event[1] == story.flow_id]
    for chosen, wanted in (
        ({}, everything),
        ({"types": ["FLOW_UPDATED", "FLOW_DELETED"]}, [everything[2], everything[6]]),
        ({"types": []}, []),
        ({"flowIds": [story.flow_id.upper()]}, mine),
        ({"flowIds": [new_id()]}, []),
        ({"sourceIds": [story.source_id]}, everything),
        ({"sourceIds": [new_id()]}, []),
        ({"flowIds": [story.flow_id], "types": ["SEGMENTS_ADDED"]}, [everything[4]]),
    ):
        assert told(await page(gql, filter=chosen)) == wanted, chosen
        first = await page(gql, filter=chosen, first=1)
        assert told(first) == wanted[:1]
        assert first["pageInfo"]["hasNextPage"] is (len(wanted) > 1)


async def test_an_event_has_what_was_then_and_what_is_now(gql: GraphQL, story: Story) -> None:
    await story.tell()
    found = await gql.execute(f"{{ events {{ nodes {{ {FULL} }} }} }}")
    source, created, updated, _, added, deleted, gone = found["events"]["nodes"]
    now = {"id": story.flow_id, "label": "second"}
    # what was
    assert source["document"]["label"] == "first"
    assert (source["flow"], source["segmentCount"], source["timerange"]) == (None, None, None)
    assert created["document"]["label"] == "first"
    assert updated["document"]["label"] == "second"
    assert updated["document"]["id"] == story.flow_id
    assert added["document"] is None
    assert added["segments"] == [
        {"objectId": "one", "timerange": "[0:0_10:0)"},
        {"objectId": "two", "timerange": "[10:0_20:0)"},
    ]
    assert (added["segmentCount"], added["timerange"]) == (2, "[0:0_20:0)")
    assert (deleted["segmentCount"], deleted["timerange"]) == (1, "[0:0_10:0)")
    assert (deleted["segments"], gone["segments"]) == ([], [])
    # what is
    assert [event["flow"] for event in (created, updated, added, deleted)] == [now] * 4
    assert (gone["flow"], gone["flowId"]) == (None, story.gone_id)
    assert gone["source"] == {"id": story.source_id, "label": "first"}


async def test_a_cursor_that_does_not_fit_is_refused(catalog: Catalog, story: Story) -> None:
    await story.tell()
    gql, log = catalog.gql, catalog.services.store.log
    events = await page(gql)
    old, kept = events["nodes"][2]["cursor"], events["nodes"][-1]["cursor"]
    await log.trim(catalog.services.now_us() + 1)
    assert await gql.errors(EVENTS, {"after": old}) == [
        refusal(
            "CURSOR_EXPIRED",
            "after: the event cursor is older than the retention of the change log",
            "events",
            field="after",
            oldestCursor=kept,
        )
    ]
    for cursor in ("x", "", catalog.services.feed.cursor("f" * 9)):
        (error,) = await gql.errors(EVENTS, {"after": cursor})
        assert error["extensions"] == {"code": "BAD_USER_INPUT", "field": "after"}
    # Without a cursor it begins with the oldest event that is kept.
    assert told(await page(gql)) == []
    (error,) = await gql.errors(EVENTS, {"first": -1})
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "field": "first"}
    (error,) = await gql.errors(EVENTS, {"first": 1001})
    assert error["extensions"]["code"] == "LIMIT_EXCEEDED"


async def test_the_service_tells_where_the_log_ends(gql: GraphQL, story: Story) -> None:
    query = "{ service { eventCursor } }"
    before = (await gql.execute(query))["service"]["eventCursor"]
    wanted = await story.tell()
    after = (await gql.execute(query))["service"]["eventCursor"]
    assert told(await page(gql, after=before)) == wanted
    assert told(await page(gql, after=after)) == []


@pytest.fixture
async def socket(served: Catalog) -> AsyncIterator[Connection]:
    async with connected(served.settings.public_url) as connection:
        yield connection


async def test_following_gives_what_reading_gives(served: Catalog, socket: Connection) -> None:
    # given
    begin = (await served.gql.execute("{ service { eventCursor } }"))["service"]["eventCursor"]
    query = "subscription($after: String) { events(after: $after) { %s } }" % FULL  # noqa: UP031
    live = await socket.subscribe(query)
    await until(lambda: served.services.feed.subscribers == 1)
    # when
    wanted = await Story(Seed(served.gql, served.http)).tell()
    replayed = await socket.subscribe(query, {"after": begin})
    # then
    read = (await served.gql.execute(f"{{ events {{ nodes {{ {FULL} }} }} }}"))["events"]["nodes"]
    assert [(event["type"], event["flowId"]) for event in read] == wanted
    replay = [data["events"] for data in await replayed.take(len(wanted))]
    assert replay == read
    following = [data["events"] for data in await live.take(len(wanted))]
    past = ("flow", "source")  # as they were when the event was sent
    assert [{k: v for k, v in event.items() if k not in past} for event in following] == [
        {k: v for k, v in event.items() if k not in past} for event in read
    ]


async def test_following_can_be_filtered(served: Catalog, socket: Connection) -> None:
    begin = (await served.gql.execute("{ service { eventCursor } }"))["service"]["eventCursor"]
    story = Story(Seed(served.gql, served.http))
    everything = await story.tell()
    query = """
    subscription($types: [EventType!], $flows: [ID!], $sources: [ID!], $after: String) {
      events(types: $types, flowIds: $flows, sourceIds: $sources, after: $after) { type flowId }
    }
    """
    last = everything[-1]
    for chosen, wanted in (
        ({}, everything),
        ({"types": ["FLOW_CREATED", "FLOW_DELETED"]}, [everything[1], everything[3], last]),
        ({"flows": [story.gone_id]}, [everything[3], last]),
        ({"sources": [story.source_id]}, everything),
    ):
        stream = await socket.subscribe(query, {**chosen, "after": begin})
        found = [data["events"] for data in await stream.take(len(wanted))]
        assert [(event["type"], event["flowId"]) for event in found] == wanted
        await stream.complete()


async def test_deleted_segments_are_told(served: Catalog, socket: Connection) -> None:
    # given
    seed = Seed(served.gql, served.http)
    flow_id, other = await seed.flow(), await seed.flow()
    for id in (flow_id, other):
        await seed.external(id, "[0:0_10:0)", "[10:0_20:0)", "[30:0_40:0)")
    query = """
    subscription($flows: [ID!]) {
      segmentsDeleted(flowIds: $flows) { cursor flowId flow { id } timerange deletedCount }
    }
    """
    stream = await socket.subscribe(query, {"flows": [flow_id]})
    await until(lambda: served.services.feed.subscribers == 1)
    # when
    await seed.delete_segments(other)
    await seed.delete_segments(flow_id, coveredBy="[100:0_200:0)")  # nothing goes
    some = await seed.delete_segments(flow_id, coveredBy="[0:0_35:0)")
    await seed.delete(flow_id)
    # then
    first, second = [data["segmentsDeleted"] for data in await stream.take(2)]
    assert first["cursor"] == some["event"]
    shown = ("flowId", "timerange", "deletedCount")
    assert [first[name] for name in shown] == [flow_id, "[0:0_20:0)", 2]
    assert [second[name] for name in shown] == [flow_id, "[30:0_40:0)", 1]
    assert second["flow"] is None
