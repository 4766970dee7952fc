"""One batch for many callers, none of whom can spoil it for the others."""

from __future__ import annotations

import asyncio

import pytest

from tams_gql.loaders.loader import Loader
from tests.waiting import PATIENCE_SECONDS


class Batches:
    """A batch function that notes what it was asked for and waits until it may answer."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.begun = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.error: BaseException | None = None

    async def load(self, keys: list[str]) -> list[str]:
        self.asked.append(keys)
        self.begun.set()
        await self.may_answer.wait()
        if self.error is not None:
            raise self.error
        return [key.upper() for key in keys]


async def test_a_key_is_loaded_once_for_all_who_ask_before_and_after() -> None:
    batches = Batches()
    batches.may_answer.set()
    loader: Loader[str, str] = Loader(batches.load)
    found = await asyncio.gather(loader.load("a"), loader.load("b"), loader.load("a"))
    assert list(found) == ["A", "B", "A"]
    assert await loader.load("b") == "B"
    assert await loader.load_many(["b", "c"]) == ["B", "C"]
    assert batches.asked == [["a", "b"], ["c"]]


async def test_who_is_cancelled_takes_nothing_from_the_others() -> None:
    batches = Batches()
    loader: Loader[str, str] = Loader(batches.load)

    async def ask() -> str:
        return await loader.load("a")

    first, second = asyncio.create_task(ask()), asyncio.create_task(ask())
    await asyncio.wait_for(batches.begun.wait(), PATIENCE_SECONDS)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    third = asyncio.create_task(ask())
    await asyncio.sleep(0)
    batches.may_answer.set()
    assert list(await asyncio.gather(second, third)) == ["A", "A"]
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
    await asyncio.wait_for(below.begun.wait(), PATIENCE_SECONDS)
    cancelled.cancel()
    below.may_answer.set()
    async with asyncio.timeout(PATIENCE_SECONDS):
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


async def test_a_cancellation_from_inside_a_batch_is_a_failure_of_it() -> None:
    batches = Batches()
    batches.error = asyncio.CancelledError()
    batches.may_answer.set()
    loader: Loader[str, str] = Loader(batches.load)
    async with asyncio.timeout(PATIENCE_SECONDS):
        with pytest.raises(RuntimeError, match="was cancelled"):
            await loader.load_many(["a", "b"])
