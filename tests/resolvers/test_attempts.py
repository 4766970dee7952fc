"""Writers of one row that try again: all get their turn, nobody waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context

import pytest

from tams_gql import row_queues
from tams_gql.model.errors import Conflict
from tams_gql.resolvers import attempts
from tams_gql.resolvers.attempts import until_fresh
from tams_gql.row_queues import RowKey, awaited_by_others, turn
from tams_gql.store.changes import Stale
from tests.waiting import PATIENCE_SECONDS

WRITERS = 16
WRITES_EACH = 10


class Row:
    """Takes long to read and a moment to write, which only succeeds if nobody wrote meanwhile."""

    key = ("flows", ("one",))

    def __init__(self) -> None:
        self.version = 0
        self.most_tries = 0

    async def write(self) -> None:
        """Write once, as resolvers do, and note how many tries it took."""
        tries = 0

        async def attempt() -> None:
            nonlocal tries
            tries += 1
            seen = self.version
            await asyncio.sleep(0.002)
            if seen != self.version or awaited_by_others([self.key]):
                raise Stale("written meanwhile, or about to be", self.key)
            self.version += 1

        await until_fresh(attempt)
        self.most_tries = max(self.most_tries, tries)


async def test_all_writers_of_a_row_succeed_and_none_loses_for_long() -> None:
    row = Row()

    async def write_often() -> None:
        for _ in range(WRITES_EACH):
            await row.write()

    await asyncio.gather(*(write_often() for _ in range(WRITERS)))
    assert row.version == WRITERS * WRITES_EACH
    # Once to whoever was there before; then it has its turn, which nobody disturbs.
    assert row.most_tries == 2
    assert row_queues._queues == {}


def losing_once(row: str, then: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[None]]:
    """An attempt that loses ``row`` at first."""
    lost = False

    async def attempt() -> None:
        nonlocal lost
        if not lost:
            lost = True
            raise Stale("lost", ("flows", (row,)))
        await then()

    return attempt


async def test_those_who_lost_one_row_do_not_wait_for_another() -> None:
    has_turn, free = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        has_turn.set()
        await free.wait()

    holding = asyncio.create_task(until_fresh(losing_once("one", hold)))
    await has_turn.wait()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await until_fresh(losing_once("two", lambda: asyncio.sleep(0)))
    assert not holding.done()
    free.set()
    await holding


async def test_patience_ends_in_the_queue_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "_PATIENCE_SECONDS", 0.2)
    free = asyncio.Event()
    both = [asyncio.create_task(until_fresh(losing_once("one", free.wait))) for _ in range(2)]
    done, waiting = await asyncio.wait(
        both, return_when=asyncio.FIRST_COMPLETED, timeout=PATIENCE_SECONDS
    )
    (refused,) = done
    with pytest.raises(Conflict, match="others keep changing the same resource"):
        await refused
    free.set()
    await asyncio.gather(*waiting)
    assert row_queues._queues == {}


async def test_one_who_goes_away_leaves_the_queue() -> None:
    async def always() -> None:
        raise Stale("lost", ("flows", ("one",)))

    going = asyncio.create_task(until_fresh(always))
    await asyncio.sleep(0.05)
    going.cancel()
    with pytest.raises(asyncio.CancelledError):
        await going
    assert row_queues._queues == {}


async def test_who_comes_anew_lets_those_go_first_who_wait() -> None:
    row = ("flows", ("one",))
    other = ("flows", ("two",))
    assert awaited_by_others([row, other]) is None
    async with turn(row, 1):
        # One who has a turn need not wait for others, so that nobody waits in a circle.
        async with asyncio.timeout(PATIENCE_SECONDS):
            seen = await asyncio.create_task(_ask([other, row]), context=Context())
        assert (awaited_by_others([row]), seen) == (None, row)
    assert awaited_by_others([row]) is None


async def _ask(rows: list[RowKey]) -> RowKey | None:
    return awaited_by_others(rows)
