"""Clients that write without a pause and know what the catalog must hold whenever it is killed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import httpx

from tams_gql.model.ids import new_id
from tests import seed
from tests.gql import Data, GraphQL
from tests.proof.servers import Client, client

_STATE = """
query State($id: ID!, $after: String) {
  flow(id: $id) {
    label
    tags { name values }
    segments(first: 1000, after: $after) {
      nodes { objectId timerange }
      pageInfo { hasNextPage endCursor }
    }
  }
}
"""
_URLS = "query Urls($id: ID!) { object(id: $id) { getUrls { url } } }"
_SET_TAGS = """
mutation SetTags($input: SetTagsInput!) { setTags(input: $input) { event node { id } } }
"""

_MOST_SEGMENTS = 400
"""A timeline longer than that is deleted in large parts, so that reading it stays quick."""


@dataclass(frozen=True)
class Timeline:
    """A flow as its writer knows it: object ids by the second at which their segments start."""

    label: str | None
    tags: Mapping[str, str]
    objects: Mapping[int, str]


State = Timeline | None
"""None while there is no flow."""


@dataclass(frozen=True)
class Attempt:
    """A write, and the state it leads to. Without ``key`` it must not be repeated."""

    mutation: str
    given: Data
    after: State
    key: str | None
    check: Callable[[Data], None]
    prepare: Callable[[Client], Awaitable[None]] | None = None
    """What can be done any number of times before the write."""


class Writer:
    """Writes to one flow, which nobody else does."""

    def __init__(self, number: int, chance: random.Random) -> None:
        self.number = number
        self.acknowledged = 0
        self.repeated = 0
        self._chance = chance
        self._flow_id, self._source_id = new_id(), new_id()
        self._state: State = None
        self._pending: Attempt | None = None
        self._first_answer: tuple[Attempt, Data] | None = None
        self._uploaded: set[str] = set()

    async def write(self, url: str) -> None:
        """Write until the server does not answer any more."""
        async with client(url) as server:
            try:
                while True:
                    await self._step(server)
            except httpx.TransportError:
                return

    async def settle(self, server: Client) -> None:
        """After a crash: find out what became of the last write, and compare everything."""
        gql, pending, self._pending = server.gql, self._pending, None
        if pending is not None and pending.key is not None:
            # Whether the crash came before or after the commit, repeating must do it once.
            await self._send(server, pending)
            self.repeated += 1
        elif pending is not None and await self._stored(gql) == pending.after:
            self._state = pending.after
            self._first_answer = None  # the flow may be gone, and with it what the key wrote
        assert await self._stored(gql) == self._state
        if self._first_answer is not None:
            attempt, answer = self._first_answer
            assert await gql.execute(attempt.mutation, {"input": attempt.given}) == answer
            assert await self._stored(gql) == self._state
        await self._read_uploads(server)

    async def _step(self, server: Client) -> None:
        self._pending = self._next()
        await self._send(server, self._pending)
        self._pending = None
        self.acknowledged += 1

    async def _send(self, server: Client, attempt: Attempt) -> None:
        if attempt.prepare is not None:
            await attempt.prepare(server)
        answer = await server.gql.execute(attempt.mutation, {"input": attempt.given})
        (payload,) = answer.values()
        attempt.check(payload)
        self._state = attempt.after
        # The first answer of a key is kept until the flow goes, and asked for again.
        repeatable = attempt.mutation == seed.REGISTER and attempt.key is not None
        self._first_answer = (attempt, answer) if repeatable else None

    async def _read_uploads(self, server: Client) -> None:
        """Fetch the bytes of some objects that are in use."""
        objects = {} if self._state is None else self._state.objects
        mine = [i for i in objects.values() if i in self._uploaded]
        for object_id in self._chance.sample(mine, min(3, len(mine))):
            data = await server.gql.execute(_URLS, {"id": object_id})
            (url,) = data["object"]["getUrls"]
            got = await server.http.get(url["url"])
            assert (got.status_code, got.content) == (httpx.codes.OK, object_id.encode())

    async def _stored(self, gql: GraphQL) -> State:
        objects: dict[int, str] = {}
        after = None
        while True:
            data = await gql.execute(_STATE, {"id": self._flow_id, "after": after})
            flow = data["flow"]
            if flow is None:
                return None
            for node in flow["segments"]["nodes"]:
                objects[_start_of(node["timerange"])] = node["objectId"]
            after = flow["segments"]["pageInfo"]["endCursor"]
            if not flow["segments"]["pageInfo"]["hasNextPage"]:
                tags = {tag["name"]: tag["values"][0] for tag in flow["tags"]}
                return Timeline(flow["label"], tags, objects)

    def _next(self) -> Attempt:
        state = self._state
        if state is None:
            return self._create()
        steps: list[tuple[int, Callable[[Timeline], Attempt]]] = [
            (8, self._append),
            (4, self._append_with_a_clash),
            (2, self._fill),
            (2, self._upload),
            (3, self._remove),
            (1, self._patch),
            (1, self._tag),
            (1 if state.objects else 0, self._drop),
        ]
        weights, choices = zip(*steps, strict=True)
        (step,) = self._chance.choices(choices, weights)
        attempt: Attempt = step(state)
        return attempt

    def _create(self) -> Attempt:
        given = seed.flow_input("video", id=self._flow_id, sourceId=self._source_id)
        key = self._key()
        given["video"]["idempotencyKey"] = key
        return Attempt(seed.PUT_FLOW, given, Timeline(None, {}, {}), key, _is_created)

    def _append(self, state: Timeline) -> Attempt:
        first = max(state.objects, default=-1) + 1
        return self._register(state, range(first, first + self._chance.randint(1, 20)))

    def _fill(self, state: Timeline) -> Attempt:
        """Register again what was deleted before."""
        known = range(max(state.objects, default=0))
        free = [start for start in known if start not in state.objects]
        if not free:
            return self._append(state)
        return self._register(state, self._chance.sample(free, min(len(free), 5)))

    def _append_with_a_clash(self, state: Timeline) -> Attempt:
        if not state.objects:
            return self._append(state)
        first, taken = max(state.objects) + 1, self._chance.choice(list(state.objects))
        starts = [*range(first, first + self._chance.randint(1, 6))]
        at = self._chance.randrange(len(starts))
        return self._register(state, [*starts[:at], taken, *starts[at:]], clash=at)

    def _register(self, state: Timeline, starts: Any, *, clash: int | None = None) -> Attempt:
        starts = list(starts)
        ids = [new_id() for _ in starts]
        items = [
            seed.external(seed.seconds(start, start + 1), object_id)
            for start, object_id in zip(starts, ids, strict=True)
        ]
        key = self._key()
        # One item fails: with `atomic` the whole request would, and nothing could be said.
        atomic = clash is None and self._chance.random() < 0.7
        given = {"flowId": self._flow_id, "segments": items, "atomic": atomic}
        made = {s: i for n, (s, i) in enumerate(zip(starts, ids, strict=True)) if n != clash}
        after = replace(state, objects={**state.objects, **made})

        def check(payload: Data) -> None:
            failed = [r["index"] for r in payload["results"] if r["error"] is not None]
            assert failed == ([] if clash is None else [clash]), payload
            assert payload["registeredCount"] == len(made)

        return Attempt(seed.REGISTER, {**given, "idempotencyKey": key}, after, key, check)

    def _upload(self, state: Timeline) -> Attempt:
        """Register objects whose bytes are here."""
        first, flow_id, key = max(state.objects, default=-1) + 1, self._flow_id, new_id()
        made = {first + n: new_id() for n in range(self._chance.randint(1, 3))}
        items = [
            {"objectId": object_id, "timerange": seed.seconds(start, start + 1)}
            for start, object_id in made.items()
        ]

        async def prepare(server: Client) -> None:
            uploads = seed.Seed(server.gql, server.http)
            ids = [*made.values()]
            for place in await uploads.allocate(flow_id, objectIds=ids, idempotencyKey=key):
                await uploads.upload(place["putUrl"], place["objectId"].encode())
            self._uploaded.update(ids)

        def check(payload: Data) -> None:
            assert payload["registeredCount"] == len(made), payload

        given = {"flowId": flow_id, "segments": items, "idempotencyKey": key}
        after = replace(state, objects={**state.objects, **made})
        return Attempt(seed.REGISTER, given, after, key, check, prepare)

    def _remove(self, state: Timeline) -> Attempt:
        if not state.objects:
            return self._append(state)
        many = len(state.objects) > _MOST_SEGMENTS
        first = self._chance.choice(list(state.objects))
        start, end = (0, max(state.objects) - 5) if many else (first, first + 7)
        gone = [s for s in state.objects if start <= s < end]
        key = self._key()
        given = {
            "flowId": self._flow_id,
            # Half a second more at both ends: what is only touched stays.
            "coveredBy": f"[{start}:0_{end}:500000000)",
            "idempotencyKey": key,
        }
        after = replace(state, objects={s: i for s, i in state.objects.items() if s not in gone})

        def check(payload: Data) -> None:
            assert payload["deletedCount"] == len(gone)

        return Attempt(seed.DELETE_SEGMENTS, given, after, key, check)

    def _patch(self, state: Timeline) -> Attempt:
        key, label = self._key(), new_id()
        given = {"id": self._flow_id, "label": label, "idempotencyKey": key}
        return Attempt(seed.PATCH_FLOW, given, replace(state, label=label), key, _anything)

    def _tag(self, state: Timeline) -> Attempt:
        name, value = f"tag {self._chance.randrange(5)}", new_id()
        given = {"id": self._flow_id, "set": [{"name": name, "values": [value]}]}
        after = replace(state, tags={**state.tags, name: value})
        return Attempt(_SET_TAGS, given, after, None, _anything)

    def _drop(self, state: Timeline) -> Attempt:
        key = self._key()
        given = {"id": self._flow_id, "idempotencyKey": key}

        def check(payload: Data) -> None:
            assert payload["deletedSegmentCount"] == len(state.objects)
            assert payload["sourceDeleted"] is True

        return Attempt(seed.DELETE_FLOW, given, None, key, check)

    def _key(self) -> str | None:
        return new_id() if self._chance.random() < 0.7 else None


async def write_together(
    writers: list[Writer], url: str, until: Callable[[], Awaitable[None]]
) -> None:
    """Let all writers write; ``until`` ends the server."""
    async with asyncio.TaskGroup() as group:
        for writer in writers:
            group.create_task(writer.write(url))
        await until()


def _is_created(payload: Data) -> None:
    assert payload["created"] is True


def _anything(payload: Data) -> None:
    assert payload["event"]


def _start_of(timerange: str) -> int:
    return int(timerange[1:].split(":")[0])
