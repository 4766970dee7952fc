"""Asking a store whether it works, and closing it meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from tams_gql.model.errors import Unavailable
from tams_gql.store.vast.config import VastConfig
from tams_gql.store.vast.store import VastStore
from tests.vast_emulator import Emulator


async def test_a_check_under_way_is_finished_first(config: VastConfig, emulator: Emulator) -> None:
    store = await VastStore.open(config)
    held = emulator.faults.hold("query", table="service")
    checking = asyncio.create_task(store.check())
    await asyncio.to_thread(held.wait_reached)
    closing = asyncio.create_task(store.close())
    ended, _ = await asyncio.wait({closing}, timeout=0.2)

    held.release()
    await asyncio.gather(checking, closing)

    assert ended == set()
    assert emulator.open_transactions() == []  # its own among them, which could not be ended later


async def test_checks_that_nobody_waits_for_any_more_do_not_pile_up(
    config: VastConfig, emulator: Emulator
) -> None:
    """A cluster that keeps silent is asked once, however often somebody looks and gives up."""
    store = await VastStore.open(config)
    held = emulator.faults.hold("begin", times=None)
    for _ in range(8):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await store.check()
    await asyncio.to_thread(held.wait_reached)
    assert held.hits == 1

    held.release()
    await store.check()
    await store.close()
    with pytest.raises(Unavailable, match="closed"):
        await store.check()


async def test_who_gives_up_takes_the_check_from_nobody(
    config: VastConfig, emulator: Emulator
) -> None:
    store = await VastStore.open(config)
    held = emulator.faults.hold("begin")
    first, second = (asyncio.create_task(store.check()) for _ in range(2))
    await asyncio.to_thread(held.wait_reached)
    first.cancel()
    held.release()

    with pytest.raises(asyncio.CancelledError):
        await first
    await second
    await store.close()
