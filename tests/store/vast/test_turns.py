"""Turns within a process: change sets that share a lock follow each other, others do not wait."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tams_gql.model.errors import LimitExceeded
from tams_gql.store.vast.writing.locks import Lock
from tams_gql.store.vast.writing.turns import Turns
from tests.waiting import PATIENCE_SECONDS

A, B, C = (Lock("flows", (name,)) for name in "abc")


async def test_who_shares_a_lock_waits() -> None:
    turns, told = Turns(), list[str]()
    first_may_go = asyncio.Event()

    async def first() -> None:
        async with turns.taken([A, B]):
            told.append("first")
            await first_may_go.wait()
        told.append("first is over")

    async def other(name: str, *locks: Lock) -> None:
        async with turns.taken(locks):
            told.append(name)

    tasks = [asyncio.create_task(first())]
    for name, locks in (("b", [B]), ("c", [C]), ("none", []), ("b and c", [B, C])):
        tasks.append(asyncio.create_task(other(name, *locks)))
    for _ in range(20):
        await asyncio.sleep(0)
    assert told == ["first", "c", "none"]
    first_may_go.set()
    await asyncio.gather(*tasks)
    assert told == ["first", "c", "none", "first is over", "b", "b and c"]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sets(st.sampled_from([A, B, C])), max_size=12))
def test_nobody_meets_and_nobody_waits_for_ever(wanted: list[set[Lock]]) -> None:
    async def run() -> None:
        turns, held, order = Turns(), list[Lock](), list[int]()

        async def take(number: int, locks: set[Lock]) -> None:
            async with turns.taken(locks):
                assert not locks.intersection(held)
                held.extend(locks)
                await asyncio.sleep(0)
                for lock in locks:
                    held.remove(lock)
                order.append(number)

        tasks = (take(number, locks) for number, locks in enumerate(wanted))
        await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE_SECONDS)
        for lock in (A, B, C):
            mine = [number for number in order if lock in wanted[number]]
            assert mine == sorted(mine)

    asyncio.run(run())


async def test_a_failure_lets_the_next_one_go() -> None:
    turns = Turns()
    with pytest.raises(ValueError, match="mine"):
        async with turns.taken([A]):
            raise ValueError("mine")
    async with asyncio.timeout(PATIENCE_SECONDS), turns.taken([A]):
        pass


async def test_who_is_cancelled_takes_the_turn_from_nobody() -> None:
    """As it happens to all tasks when a program ends."""
    turns, may_go, told = Turns(), asyncio.Event(), list[str]()

    async def first() -> None:
        async with turns.taken([A]):
            await may_go.wait()
            told.append("first")

    async def other(name: str) -> None:
        async with turns.taken([A]):
            told.append(name)

    tasks = [asyncio.create_task(first()), *(asyncio.create_task(other(n)) for n in "bcd")]
    await asyncio.sleep(0)
    tasks[1].cancel()
    await asyncio.wait(tasks[1:2])
    assert told == []
    may_go.set()
    ends = await asyncio.gather(*tasks, return_exceptions=True)

    assert [type(end) for end in ends] == [type(None), asyncio.CancelledError, *[type(None)] * 2]
    assert told == ["first", "c", "d"]


async def test_too_many_are_refused() -> None:
    turns, may_go = Turns(), asyncio.Event()

    async def wait() -> None:
        async with turns.taken([A]):
            await may_go.wait()

    tasks = [asyncio.create_task(wait()) for _ in range(1024)]
    await asyncio.sleep(0)
    with pytest.raises(LimitExceeded, match="1024 writes are already waiting"):
        async with turns.taken([B]):
            pass
    may_go.set()
    await asyncio.gather(*tasks)
    async with turns.taken([B]):
        pass


def test_what_was_written_since() -> None:
    turns = Turns()
    turns.note([A, B], 10.0)

    assert turns.written_since([B, C], 9.0)
    assert not turns.written_since([B, C], 10.0)
    assert not turns.written_since([C], 0.0)
    turns.note([Lock("objects", (i,)) for i in range(20_000)], 11.0)
    assert not turns.written_since([A], 9.0)
