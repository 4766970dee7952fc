"""One batch for many callers, none of whom can spoil it for the others."""

from __future__ import annotations

import asyncio

import pytest

from tams_gql.loaders.loader import Loader


class Batches:
    """A batch function that notes what it was asked for and waits until it may answer."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.may_answer = asyncio.Event()
        self.error: Exception | None = None

    async def load(self, keys: list[str]) -> list[str]:
        self.asked.append(keys)
        await self.may_answer.wait()
        if self.error is not None:
            raise self.error
        return [key.upper() for key in keys]


async def _begun(batches: Batches, count: int) -> None:
    async with asyncio.timeout(5):
        while len(batches.asked) < count:
            await asyncio.sleep(0)


async def test_a_key_is_loaded_once_for_all_who_ask_before_and_after() -> None:
    batches = Batches()
    batches.may_answer.set()
    loader: Loader[str, str] = Loader(batches.load)
    assert await asyncio.gather(loader.load("a"), loader.load("b"), loader.load("a")) == [
        *("A", "B", "A")
    ]
    assert await loader.load("b") == "B"
    assert await loader.load_many(["b", "c"]) == ["B", "C"]
    assert batches.asked == [["a", "b"], ["c"]]


async def test_who_is_cancelled_takes_nothing_from_the_others() -> None:
    batches = Batches()
    loader: Loader[str, str] = Loader(batches.load)

    async def ask() -> str:
        return await loader.load("a")

    first, second = asyncio.create_task(ask()), asyncio.create_task(ask())
    await _begun(batches, 1)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    third = asyncio.create_task(ask())
    await asyncio.sleep(0)
    batches.may_answer.set()
    assert await asyncio.gather(second, third) == ["A", "A"]
    assert batches.asked == [["a"]]


async def test_a_batch_that_needs_another_loader_outlives_who_asked_that_one_too() -> None:
    below = Batches()
    rows: Loader[str, str] = Loader(below.load)

    async def load(keys: list[str]) -> list[str]:
        return [row + "!" for row in await rows.load_many(keys)]

    above: Loader[str, str] = Loader(load)

    async def ask(loader: Loader[str, str]) -> str:
        return await loader.load("a")

    cancelled, waiting = asyncio.create_task(ask(rows)), asyncio.create_task(ask(above))
    await _begun(below, 1)
    cancelled.cancel()
    below.may_answer.set()
    async with asyncio.timeout(5):
        assert await waiting == "A!"


async def test_a_failure_reaches_everyone_and_is_not_remembered() -> None:
    batches = Batches()
    batches.error = ValueError("no luck")
    batches.may_answer.set()
    loader: Loader[str, str] = Loader(batches.load)
    outcomes = await asyncio.gather(loader.load("a"), loader.load("a"), return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == ["no luck", "no luck"]
    batches.error = None
    assert await loader.load("a") == "A"
