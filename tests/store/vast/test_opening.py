"""Opening a store while the cluster has troubles of its own."""

from __future__ import annotations

import asyncio
from contextlib import closing
from dataclasses import replace

import pytest

from tams_gql.model.errors import Unavailable
from tams_gql.store.vast.config import VastConfig
from tams_gql.store.vast.layout import CLAIMS, rows_to_batch
from tams_gql.store.vast.store import VastStore
from tams_gql.store.vast.wire.client import VastClient
from tests.store.vast.physical import stored
from tests.vast_emulator import Emulator


@pytest.mark.parametrize("trouble", ["conflict", "expired", "lost"])
async def test_a_probe_that_fails(config: VastConfig, emulator: Emulator, trouble: str) -> None:
    """The first transaction is that of the probe's own row, which nobody else writes."""
    match trouble:
        case "conflict":
            emulator.faults.conflict(kinds=("insert",), table="claims")
        case "expired":
            emulator.faults.expire("insert", table="claims")
        case "lost":
            emulator.faults.drop_commit(applied=False, table="claims")

    with pytest.raises(Unavailable, match="gave up a transaction; try again"):
        await VastStore.open(config)

    emulator.expire_transactions()
    store = await VastStore.open(config)
    assert store.modes.reads_can_be_trusted
    await store.close()


def leave_behind(config: VastConfig, key: str) -> None:
    """A claim, or the row of a probe, whose owner died more than an hour ago."""
    with closing(VastClient(config)) as client:
        tx = client.begin()
        row = (key, "0", client.clock.now_us() - 1)
        tx.insert(CLAIMS, rows_to_batch(CLAIMS, CLAIMS.schema.names, [row]))
        tx.commit()


@pytest.mark.parametrize("modes", ["found", "set"])
async def test_several_that_open_at_once_all_tidy_up(
    config: VastConfig, emulator: Emulator, modes: str
) -> None:
    """One is held just before it removes what a dead one has left; another removes it first."""
    if modes == "set":  # nothing is probed then, and claims are looked for
        config = replace(config, isolation="snapshot", conflicts="none")
    left = "probe 0123456789abcdef" if modes == "found" else "0123456789abcdef"
    leave_behind(config, left)
    held = emulator.faults.hold("delete", table="claims")
    late = asyncio.create_task(VastStore.open(config))
    await asyncio.to_thread(held.wait_reached)
    early = await VastStore.open(config)
    assert left not in {row["key"] for row in stored(config)["claims"]}
    held.release()

    opened = await late

    assert opened.modes == early.modes
    await opened.close()
    await early.close()
    assert stored(config)["claims"] == []
    assert emulator.open_transactions() == []


@pytest.mark.parametrize("trouble", ["expired", "lost", "broken"])
async def test_what_cannot_be_tidied_up_now_keeps_nobody_from_opening(
    config: VastConfig, emulator: Emulator, trouble: str
) -> None:
    leave_behind(config, "probe 0123456789abcdef")
    match trouble:
        case "expired":
            emulator.faults.expire("delete", table="claims")
        case "lost":  # the first commit is that of the probe's own row
            emulator.faults.drop_commit(applied=False, table="claims", nth=2)
        case "broken":
            emulator.faults.drop("delete", table="claims")

    store = await VastStore.open(config)

    assert store.modes.reads_can_be_trusted
    await store.close()
