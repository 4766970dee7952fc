"""Opening a store while the cluster has troubles of its own."""

from __future__ import annotations

import pytest

from tams_gql.model.errors import Unavailable
from tams_gql.store.vast.config import VastConfig
from tams_gql.store.vast.store import VastStore
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
