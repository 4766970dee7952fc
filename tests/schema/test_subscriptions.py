"""Subscriptions over a real WebSocket: live, replayed, filtered, and never a gap."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from tams_gql.model.ids import new_id
from tests.catalog import Catalog, quick_settings, running, serving
from tests.gql import Data, refusal
from tests.gql_ws import Connection, Refused, Stream, connected, opened
from tests.recording import watched
from tests.seed import Seed, external, seconds
from tests.waiting import until

ADDED = """
subscription Added($flowIds: [ID!], $sourceIds: [ID!], $window: TimeRange, $after: String) {
  segmentsAdded(flowIds: $flowIds, sourceIds: $sourceIds, window: $window, after: $after) {
    cursor created flow { id } segments { timerange }
  }
}
"""

CURSORS = "subscription($after: String) { segmentsAdded(after: $after) { cursor } }"


@pytest.fixture
def seed(served: Catalog) -> Seed:
    return Seed(served.gql, served.http)


@pytest.fixture
async def socket(served: Catalog) -> AsyncIterator[Connection]:
    """A connection to ``served``."""
    async with connected(served.settings.public_url) as connection:
        yield connection


async def following(catalog: Catalog, count: int) -> None:
    """Wait until that many subscriptions have begun."""
    await until(lambda: catalog.services.feed.subscribers == count)


async def next_added(stream: Stream) -> Data:
    added: Data = (await stream.next())["segmentsAdded"]
    return added


def ranges(added: Data) -> list[str]:
    return [segment["timerange"] for segment in added["segments"]]


async def begin(catalog: Catalog) -> str:
    """The cursor of what is committed now."""
    feed = catalog.services.feed
    return feed.cursor(await feed.head())


async def test_a_registration_is_told_at_once_with_all_that_can_be_selected(
    served: Catalog, seed: Seed, socket: Connection
) -> None:
    # given
    source_id = new_id()
    flow_id = await seed.flow("video", sourceId=source_id)
    stream = await socket.subscribe("""
    subscription {
      segmentsAdded {
        cursor created
        flow { id label timerange source { id } segments { totalCount } }
        segments {
          timerange tsOffset lastDuration sampleOffset sampleCount keyFrameCount created
          tags { name values } flow { id } object { id size } getUrls { label url }
        }
      }
    }
    """)
    await following(served, 1)
    # when
    (object_id,) = await seed.objects(flow_id, b"12345")
    given = {
        "timerange": "[10:0_20:0]",
        "tsOffset": "10:0",
        "lastDuration": "0:40000000",
        "sampleOffset": 0,
        "sampleCount": 250,
        "keyFrameCount": 5,
        "tags": [{"name": "a", "values": ["1", "2"]}],
    }
    payload = await seed.register(flow_id, [{"objectId": object_id, **given}])
    # then
    added = await next_added(stream)
    (segment,) = added.pop("segments")
    (url,) = segment.pop("getUrls")
    assert segment.pop("created") == added.pop("created")
    assert added == {
        "cursor": payload["event"],
        "flow": {
            "id": flow_id,
            "label": None,
            "timerange": "[10:0_20:1)",
            "source": {"id": source_id},
            "segments": {"totalCount": 1},
        },
    }
    assert segment == {
        **given,
        "flow": {"id": flow_id},
        "object": {"id": object_id, "size": 5},
    }
    assert url["label"] == "local"
    assert (await served.http.get(url["url"])).content == b"12345"


async def test_after_a_cursor_comes_the_rest_of_the_log_and_then_what_happens(
    served: Catalog, seed: Seed, socket: Connection
) -> None:
    # given
    flow_id = await seed.flow()
    events = []
    for at in range(3):
        payload = await seed.register(flow_id, [external(seconds(at, at + 1))])
        events.append(payload["event"])
    # when
    stream = await socket.subscribe(ADDED, {"after": events[0]})
    replayed = [await next_added(stream) for _ in range(2)]
    payload = await seed.register(flow_id, [external("[9:0_10:0)")])
    live = await next_added(stream)
    # then
    assert [added["cursor"] for added in [*replayed, live]] == [*events[1:], payload["event"]]
    wanted = [["[1:0_2:0)"], ["[2:0_3:0)"], ["[9:0_10:0)"]]
    assert [ranges(added) for added in [*replayed, live]] == wanted


async def test_the_cursor_of_a_write_is_where_to_begin(
    served: Catalog, seed: Seed, socket: Connection
) -> None:
    flow_id = await seed.flow()
    cursor = (await seed.patch(flow_id, label="x"))["event"]
    await seed.external(flow_id, "[0:0_1:0)")
    stream = await socket.subscribe(ADDED, {"after": cursor})
    assert ranges(await next_added(stream)) == ["[0:0_1:0)"]


async def test_a_thousand_segments_arrive_in_portions_but_whole(
    served: Catalog, seed: Seed, socket: Connection
) -> None:
    flow_id = await seed.flow()
    stream = await socket.subscribe(ADDED, {"after": await begin(served)})
    items = [external(seconds(at, at + 1)) for at in range(1000)]
    payload = await seed.register(flow_id, items)
    found: list[str] = []
    while len(found) < 1000:
        added = await next_added(stream)
        found += ranges(added)
    assert found == [item["timerange"] for item in items]
    assert added["cursor"] == payload["event"]


async def test_subscribers_anywhere_in_the_log_get_its_rest_while_it_grows(
    served: Catalog, seed: Seed
) -> None:
    # given a writer of 45 events, and 20 subscribers that begin at random moments and places
    dice, total = random.Random(11), 45
    flows = [await seed.flow() for _ in range(3)]
    log = [await begin(served)]

    async def write() -> None:
        for at in range(total):
            payload = await seed.register(flows[at % 3], [external(seconds(at, at + 1))])
            log.append(payload["event"])
            await asyncio.sleep(dice.random() / 100)

    async def read(connection: Connection) -> tuple[int, list[str]]:
        await asyncio.sleep(dice.random() * 0.5)
        at = dice.randrange(len(log))
        stream = await connection.subscribe(CURSORS, {"after": log[at]})
        found: list[str] = []
        for _ in range(total - at):
            found.append((await next_added(stream))["cursor"])
            if dice.random() < 0.05:
                await asyncio.sleep(dice.random() / 50)
        return at, found

    # when
    url = served.settings.public_url
    async with connected(url) as one, connected(url) as other, asyncio.TaskGroup() as tasks:
        writer = tasks.create_task(write())
        readers = [tasks.create_task(read(dice.choice([one, other]))) for _ in range(20)]
        await asyncio.gather(writer, *readers)
    # then each has exactly what came after its place
    for reader in readers:
        at, found = reader.result()
        assert found == log[at + 1 :]


async def test_without_a_cursor_nothing_committed_after_the_start_is_missed(
    served: Catalog, seed: Seed
) -> None:
    flow_id, log, all_follow = await seed.flow(), list[str](), asyncio.Event()

    async def write() -> None:
        left = 5  # after the last one has begun, so that there is something for it
        while left:
            left -= all_follow.is_set()
            at = len(log)
            payload = await seed.register(flow_id, [external(seconds(at, at + 1))])
            log.append(payload["event"])

    async with connected(served.settings.public_url) as connection:
        writer = asyncio.create_task(write())
        streams, marks = [], []
        for number in range(10):
            await asyncio.sleep(0.02)
            streams.append(await connection.subscribe(CURSORS))
            await following(served, number + 1)
            marks.append(await begin(served))  # what is committed from here on must come
        all_follow.set()
        await writer
        for stream, mark in zip(streams, marks, strict=True):
            found = [(await next_added(stream))["cursor"]]
            while found[-1] != log[-1]:
                found.append((await next_added(stream))["cursor"])
            assert found == log[-len(found) :]
            assert set(found) >= set(log[log.index(mark) + 1 :] if mark in log else log)


async def test_filters_choose_by_flow_source_and_window(
    served: Catalog, seed: Seed, socket: Connection
) -> None:
    # given
    after = await begin(served)
    sources = [new_id(), new_id()]
    one = await seed.flow("video", sourceId=sources[0])
    two = await seed.flow("video", sourceId=sources[1])
    three = await seed.flow("video", sourceId=sources[1])
    names = {one: "one", two: "two", three: "three"}
    for flow_id in names:
        await seed.external(flow_id, "[0:0_10:0)", "[10:0_20:0)")
        await seed.external(flow_id, "[30:0_40:0)")
    last = await seed.flow("data")
    await seed.external(last, "[0:0_1000:0)")
    names[last] = "end"
    # when, then
    low, high = ["[0:0_10:0)", "[10:0_20:0)"], ["[30:0_40:0)"]
    for chosen, wanted in (
        ({}, [(n, part) for n in ("one", "two", "three") for part in (low, high)]),
        ({"flowIds": [two]}, [("two", low), ("two", high)]),
        ({"flowIds": [two.upper(), new_id()]}, [("two", low), ("two", high)]),
        ({"flowIds": []}, []),
        ({"sourceIds": [sources[1]], "window": "[35:0_36:0)"}, [("two", high), ("three", high)]),
        ({"flowIds": [one], "sourceIds": [sources[1]], "window": "[0:0_5:0)"},
         [("one", low[:1]), ("two", low[:1]), ("three", low[:1])]),
        ({"window": "[20:0_30:0)"}, []),
        ({"window": "()"}, []),
    ):  # fmt: skip
        variables: Data = {"after": after, **chosen}
        # The last flow ends each replay, whatever is chosen.
        ends = {**variables, "flowIds": [*variables.get("flowIds", []), last]}
        if "flowIds" not in chosen and "sourceIds" not in chosen:
            ends = variables
        stream = await socket.subscribe(ADDED, ends)
        found: list[tuple[str, list[str]]] = []
        if ends.get("window") != "()":
            while not found or found[-1][0] != "end":
                added = await next_added(stream)
                found.append((names[added["flow"]["id"]], ranges(added)))
            found.pop()
        await stream.complete()
        assert found == wanted, chosen
    await following(served, 0)


async def refused(socket: Connection, query: str, **variables: object) -> list[Data]:
    """The errors that a subscription ends with, before anything else."""
    stream = await socket.subscribe(query, variables)
    with pytest.raises(Refused) as found:
        await stream.next()
    return found.value.errors


async def test_cursors_that_are_not_of_this_log_are_refused(
    served: Catalog, seed: Seed, socket: Connection, tmp_path: Path
) -> None:
    async with running(quick_settings(tmp_path / "other")) as other:
        foreign = await begin(other)
    unknown = served.services.feed.cursor("unknown")
    for cursor, message in (
        (unknown, f"after: {unknown!r} is not an event cursor of this service"),
        ("zzz", "after: 'zzz' is not an event cursor of this service"),
        ("", "after: '' is not an event cursor of this service"),
        (
            foreign,
            "after: the event cursor belongs to another catalog; start without a cursor",
        ),
        (
            served.services.feed.cursor("f" * 9),
            "after: the event cursor is ahead of the change log",
        ),
    ):
        errors = await refused(socket, ADDED, after=cursor)
        assert [error["message"] for error in errors] == [message]
        assert errors[0]["extensions"] == {"code": "BAD_USER_INPUT", "field": "after"}
    await following(served, 0)


async def test_malformed_arguments_are_named(served: Catalog, socket: Connection) -> None:
    for arguments, field in (
        ({"flowIds": [new_id(), "x"]}, "flowIds.1"),
        ({"sourceIds": ["x"]}, "sourceIds.0"),
        ({"window": "x"}, "window"),
    ):
        (error,) = await refused(socket, ADDED, **arguments)
        assert error["extensions"] == {"code": "BAD_USER_INPUT", "field": field}


async def test_a_cursor_behind_the_retention_has_expired(
    served: Catalog, seed: Seed, socket: Connection
) -> None:
    # given
    flow_id = await seed.flow()
    old = (await seed.patch(flow_id, label="old"))["event"]
    kept = (await seed.patch(flow_id, label="kept"))["event"]
    await served.services.store.log.trim(served.services.now_us() + 1)
    # when, then
    wanted = refusal(
        "CURSOR_EXPIRED",
        "after: the event cursor is older than the retention of the change log",
        field="after",
        oldestCursor=kept,
    )
    (error,) = await refused(socket, ADDED, after=old)
    error.pop("path", None)
    assert error == wanted
    # and the cursor it names works
    stream = await socket.subscribe(ADDED, {"after": kept})
    await seed.external(flow_id, "[0:0_1:0)")
    assert ranges(await next_added(stream)) == ["[0:0_1:0)"]


async def test_one_that_never_reads_holds_nobody_back(served: Catalog, seed: Seed) -> None:
    # given events of 30 kB and 20 subscriptions to them on a connection that is never read:
    # more than the network holds for it
    flow_id = await seed.flow()
    tags = [{"name": "long", "values": ["x" * 1000] * 30}]
    url = served.settings.public_url
    async with opened(url, max_queue=1, close_timeout=0.1) as lazy, connected(url) as other:
        await lazy.send('{"type": "connection_init"}')
        await lazy.recv()
        query = "subscription { segmentsAdded { segments { tags { values } } } }"
        for number in range(20):
            payload = {"id": str(number), "type": "subscribe", "payload": {"query": query}}
            await lazy.send(json.dumps(payload))
        await following(served, 20)
        stream = await other.subscribe(CURSORS)
        await following(served, 21)
        # when
        events = []
        for at in range(0, 60, 10):
            items = [external(seconds(s, s + 1), tags=tags) for s in range(at, at + 10)]
            events.append((await seed.register(flow_id, items))["event"])
        # then the other one has everything, and queries are answered
        found = [(await next_added(stream))["cursor"]]
        while found[-1] != events[-1]:
            found.append((await next_added(stream))["cursor"])
        assert set(events) <= set(found)
        flows = await served.gql.execute("{ flows { nodes { segments { totalCount } } } }")
        assert flows == {"flows": {"nodes": [{"segments": {"totalCount": 60}}]}}
    await following(served, 0)


async def test_a_hundred_subscribers_share_what_an_event_needs(served: Catalog, seed: Seed) -> None:
    # given
    flow_id, per_connection, url = await seed.flow(), 10, served.settings.public_url
    objects = await seed.objects(flow_id, *[b"bytes"] * 25)
    query = """
    subscription {
      segmentsAdded {
        cursor flow { id source { id } }
        segments { object { size } getUrls { url } }
      }
    }
    """
    async with asyncio.TaskGroup() as tasks, served.without_socket() as direct:
        stop = asyncio.Event()
        streams: list[Stream] = []

        async def listen() -> None:
            async with connected(url) as connection:
                mine = [await connection.subscribe(query) for _ in range(per_connection)]
                streams.extend(mine)
                await stop.wait()

        for _ in range(10):
            tasks.create_task(listen())
        await following(served, 10 * per_connection)
        # when
        own: list[str] = []
        events = []
        served.store.calls.clear()
        for at in range(5):
            items = [
                {"objectId": object_id, "timerange": seconds(s, s + 1)}
                for s, object_id in enumerate(objects[5 * at : 5 * at + 5], 5 * at)
            ]
            with watched() as calls:
                events.append((await Seed(direct, served.http).register(flow_id, items))["event"])
            own += [call for call in calls if not call.startswith("sign")]
            answers = [await next_added(stream) for stream in streams]
            # then everybody has the whole event
            assert {answer["cursor"] for answer in answers} == {events[-1]}
            for answer in answers:
                assert answer["flow"]["id"] == flow_id
                sizes = [segment["object"]["size"] for segment in answer["segments"]]
                assert sizes == [5] * 5
                assert all(len(segment["getUrls"]) == 1 for segment in answer["segments"])
        stop.set()
    # and what they select was read a few times for each event, not a hundred
    shared = Counter(served.store.calls) - Counter(own)
    shared = Counter({call: n for call, n in shared.items() if call != "scan objects expired"})
    assert set(shared) >= {"scan flows", "scan sources", "scan objects"}
    assert max(shared.values()) <= 5 * 4, shared


async def test_leaving_releases_the_subscription(
    served: Catalog, seed: Seed, socket: Connection
) -> None:
    flow_id = await seed.flow()
    first, second = await socket.subscribe(ADDED), await socket.subscribe(ADDED)
    async with connected(served.settings.public_url) as another:
        await another.subscribe(ADDED)
        await following(served, 3)
    await following(served, 2)
    await first.complete()
    await following(served, 1)
    await seed.external(flow_id, "[0:0_1:0)")
    assert ranges(await next_added(second)) == ["[0:0_1:0)"]
    assert first.waiting == 0
    await second.complete()
    await following(served, 0)


async def test_a_stopping_server_ends_subscriptions(tmp_path: Path) -> None:
    async with serving(quick_settings(tmp_path)) as catalog:
        reader = connected(catalog.settings.public_url)
        connection = await reader.__aenter__()
        stream = await connection.subscribe(ADDED)
        await following(catalog, 1)
    with pytest.raises(ConnectionClosed) as closed:
        await stream.next()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012
    await reader.__aexit__(None, None, None)


async def test_a_flow_that_is_gone_is_null_in_a_replay(
    served: Catalog, seed: Seed, socket: Connection
) -> None:
    after = await begin(served)
    flow_id = await seed.flow()
    await seed.external(flow_id, "[0:0_1:0)")
    await seed.delete(flow_id)
    stream = await socket.subscribe(ADDED, {"after": after})
    added = await next_added(stream)
    assert (added["flow"], ranges(added)) == (None, ["[0:0_1:0)"])


async def test_queries_and_mutations_go_over_the_same_connection(
    served: Catalog, seed: Seed, socket: Connection
) -> None:
    flow_id = await seed.flow(label="before")
    live = await socket.subscribe(ADDED)
    await following(served, 1)
    patch = 'mutation($id: ID!) { patchFlow(input: {id: $id, label: "after"}) { flow { label } } }'
    done = await socket.subscribe(patch, {"id": flow_id})
    assert await done.next() == {"patchFlow": {"flow": {"label": "after"}}}
    found = await socket.subscribe("{ flows { nodes { label } } }")
    assert await found.next() == {"flows": {"nodes": [{"label": "after"}]}}
    await seed.external(flow_id, "[0:0_1:0)")
    assert ranges(await next_added(live)) == ["[0:0_1:0)"]
