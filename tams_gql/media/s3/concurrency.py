"""Many requests side by side, but never more than a bounded number."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from tams_gql.model.errors import TamsError

Item = TypeVar("Item")
Result = TypeVar("Result")


async def each(
    items: Sequence[Item],
    call: Callable[[Item], Awaitable[Result]],
    *,
    limit: int,
    tolerated: int = 0,
) -> list[Result]:
    """``call`` for every item, at most ``limit`` at a time; the results in order.

    Raises the first TamsError. No item is begun once more than ``tolerated`` have failed: a store
    that is down is not asked a thousand times.
    """
    results: dict[int, Result] = {}
    failures: list[TamsError] = []
    waiting = iter(enumerate(items))

    async def work() -> None:
        for place, item in waiting:
            try:
                results[place] = await call(item)
            except TamsError as error:
                failures.append(error)
            if len(failures) > tolerated:
                return

    workers = [asyncio.create_task(work()) for _ in range(min(limit, len(items)))]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    if failures:
        raise failures[0]
    return [results[place] for place in range(len(items))]
