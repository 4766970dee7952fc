"""How many operations run at once, who waits, and who is sent away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed

from tams_gql.http.graphql.turns import TooManyWaiting, Turns
from tests.http.graphql_server import (
    GRAPHQL_JSON,
    JSON,
    READS,
    TRIVIAL,
    GraphQLServer,
    eventually,
    graphql_server,
)
from tests.http.graphql_stream_client import EVENTS, Events, posted
from tests.http.graphql_ws_client import FOLLOW, initialised

AT_ONCE, WAITING, SUBSCRIPTIONS = 2, 3, 2


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GraphQLServer]:
    with graphql_server(
        tmp_path_factory.mktemp("catalog"),
        max_concurrent_operations=AT_ONCE,
        max_waiting_operations=WAITING,
        max_subscriptions=SUBSCRIPTIONS,
    ) as server:
        yield server


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class Worker:
    """Takes a turn and keeps it until it is told to stop."""

    def __init__(self, turns: Turns, order: list[int], number: int) -> None:
        self.stop = asyncio.Event()
        self.task = asyncio.create_task(self._work(turns, order, number))

    async def _work(self, turns: Turns, order: list[int], number: int) -> None:
        async with turns:
            order.append(number)
            await self.stop.wait()


async def test_turns_are_taken_in_the_order_of_arrival() -> None:
    turns, order = Turns(at_once=2, waiting=4), list[int]()
    workers = [Worker(turns, order, number) for number in range(6)]
    await settle()
    assert (order, turns.running, turns.waiting) == ([0, 1], 2, 4)
    for ended, running in ((1, 2), (0, 3), (3, 4), (2, 5)):
        workers[ended].stop.set()
        await settle()
        assert order[-1] == running
    for worker in workers:
        worker.stop.set()
    await asyncio.gather(*(worker.task for worker in workers))
    assert (turns.running, turns.waiting) == (0, 0)


async def test_the_queue_is_bounded() -> None:
    turns, order = Turns(at_once=1, waiting=1), list[int]()
    workers = [Worker(turns, order, number) for number in range(3)]
    await settle()
    with pytest.raises(TooManyWaiting):
        await workers[2].task
    workers[0].task.cancel()
    await settle()
    assert order == [0, 1]
    workers[1].stop.set()
    await workers[1].task


async def test_a_turn_that_comes_as_its_taker_is_cancelled_goes_on() -> None:
    turns, order = Turns(at_once=1, waiting=2), list[int]()
    first, second, third = (Worker(turns, order, number) for number in range(3))
    await settle()
    first.stop.set()
    while not first.task.done():  # noqa: ASYNC110
        await asyncio.sleep(0)
    # Its turn is here, but it has not seen it yet.
    second.task.cancel()
    await settle()
    assert (order, turns.running, turns.waiting) == ([0, 2], 1, 0)
    third.stop.set()
    await third.task
    assert turns.running == 0


@given(st.lists(st.tuples(st.sampled_from(["come", "stop", "cancel"]), st.integers(0, 30))))
async def test_no_turn_is_lost_or_given_twice(steps: list[tuple[str, int]]) -> None:
    turns, order = Turns(at_once=3, waiting=5), list[int]()
    workers: list[Worker] = []
    for step, number in steps:
        if step == "come":
            workers.append(Worker(turns, order, len(workers)))
        elif workers:
            worker = workers[number % len(workers)]
            worker.stop.set() if step == "stop" else worker.task.cancel()
        if number % 2:
            await settle()
    await settle()
    open_now = sum(not worker.task.done() for worker in workers)
    assert (turns.running, turns.waiting) == (min(3, open_now), max(0, open_now - 3))
    assert len(set(order)) == len(order)
    for worker in workers:
        worker.task.cancel()
    await asyncio.gather(*(worker.task for worker in workers), return_exceptions=True)
    assert (turns.running, turns.waiting) == (0, 0)


def busy(answer: httpx.Response) -> None:
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert answer.json() == {
        "errors": [
            {
                "message": "max_concurrent_operations: 2 operations are running and 3 are "
                "waiting; try again later",
                "extensions": {"code": "LIMIT_EXCEEDED", "limit": 2},
            }
        ]
    }


def test_a_server_that_has_its_hands_full_says_so(server: GraphQLServer) -> None:
    server.gate.is_open = False
    with ThreadPoolExecutor(AT_ONCE + WAITING) as pool:
        try:
            admitted = [pool.submit(server.ask, READS) for _ in range(AT_ONCE + WAITING)]
            # Who has a turn comes to the gate a moment later.
            eventually(lambda: (server.turns.waiting, server.gate.held) == (WAITING, AT_ONCE))
            assert server.turns.running == AT_ONCE
            for accept in (GRAPHQL_JSON, JSON):
                busy(server.ask(READS, accept))
                busy(server.get(accept, query=READS))
            with posted(server, EVENTS, READS) as answer:
                _, body = Events(answer).next()
                assert body["errors"][0]["extensions"] == {"code": "LIMIT_EXCEEDED", "limit": 2}
            with initialised(server) as client:
                client.subscribe(READS)
                assert client.receive()["payload"] == body["errors"]
        finally:
            server.gate.is_open = True
        assert [answer.result().status_code for answer in admitted] == [200] * 5
    assert (server.turns.running, server.turns.waiting) == (0, 0)


def test_subscriptions_take_no_turn_but_have_a_bound_of_their_own(server: GraphQLServer) -> None:
    with initialised(server) as one, initialised(server) as other:
        one.subscribe(FOLLOW)
        other.subscribe(FOLLOW)
        eventually(lambda: server.subscribers == SUBSCRIPTIONS)
        assert server.turns.running == 0
        one.subscribe(FOLLOW, "more")
        assert one.receive() == {
            "id": "more",
            "type": "error",
            "payload": [
                {
                    "message": "max_subscriptions: 2 subscriptions are open; try again later",
                    "extensions": {"code": "LIMIT_EXCEEDED", "limit": 2},
                }
            ],
        }
        assert server.ask(READS).status_code == 200
        other.send({"id": "1", "type": "complete"})
        eventually(lambda: server.subscribers == 1)
        with posted(server, EVENTS, FOLLOW):
            eventually(lambda: server.subscribers == 2)
    eventually(lambda: server.subscribers == 0)


@pytest.mark.parametrize(("accept", "status"), [(GRAPHQL_JSON, 503), (JSON, 200)])
def test_a_query_that_takes_too_long_is_ended_and_gives_everything_back(
    tmp_path_factory: pytest.TempPathFactory, accept: str, status: int
) -> None:
    with graphql_server(tmp_path_factory.mktemp("catalog"), request_timeout=1) as server:
        server.gate.is_open = False
        answer = server.ask(READS, accept)
        assert answer.status_code == status
        assert answer.json()["errors"] == [
            {
                "message": "request_timeout: the operation took longer than 1 seconds",
                "extensions": {"code": "LIMIT_EXCEEDED", "limit": 1},
            }
        ]
        eventually(lambda: server.gate.held == 0)
        assert server.turns.running == 0


def test_the_time_to_wait_counts(tmp_path_factory: pytest.TempPathFactory) -> None:
    with graphql_server(
        tmp_path_factory.mktemp("catalog"), request_timeout=1, max_concurrent_operations=1
    ) as server:
        server.gate.is_open = False
        with ThreadPoolExecutor(3) as pool:
            answers = [pool.submit(server.ask, READS) for _ in range(3)]
            statuses = [json.loads(answer.result().content)["errors"] for answer in answers]
        assert [errors[0]["message"].split(":")[0] for errors in statuses] == [
            "request_timeout"
        ] * 3
        assert (server.turns.running, server.turns.waiting) == (0, 0)


def test_so_many_websockets_and_no_more_until_one_is_closed(tmp_path: Path) -> None:
    with graphql_server(tmp_path, max_websockets=2) as server:
        with initialised(server), initialised(server) as second:
            with pytest.raises(ConnectionClosed) as refused, initialised(server):
                pass
            assert refused.value.rcvd is not None
            assert (refused.value.rcvd.code, refused.value.rcvd.reason) == (
                1013,
                "max_websockets: 2 are open; try again later",
            )
            # requests go on, and so do the others
            assert server.http.post("/graphql", json={"query": TRIVIAL}).status_code == 200
            second.send({"type": "ping"})
            assert second.receive() == {"type": "pong"}

        def connects() -> bool:
            try:
                with initialised(server):
                    return True
            except ConnectionClosed:
                return False

        eventually(connects)
        assert server.errors.messages == []
