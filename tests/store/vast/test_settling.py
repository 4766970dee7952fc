"""Finding out what became of a commit whose answer did not come."""

from __future__ import annotations

from contextlib import closing

import pytest

from tams_gql.store.vast.config import VastConfig
from tams_gql.store.vast.layout import CLAIMS, rows_to_batch
from tams_gql.store.vast.store import VastStore
from tams_gql.store.vast.wire import transport
from tams_gql.store.vast.wire.client import OutcomeUnknown, VastClient
from tests.store import ask, build
from tests.store.vast.physical import stored
from tests.vast_emulator import Emulator


async def test_a_commit_that_is_still_being_carried_out(
    config: VastConfig, emulator: Emulator
) -> None:
    """A cluster may refuse to undo what it commits at the moment: that is no end of it yet."""
    store = await VastStore.open(config)
    lost = emulator.faults.drop_commit(applied=False, table="events")
    refused = emulator.faults.fail(409, ("rollback",), table="events", code="TabularConflict")

    await store.commit(build.changes(events=[build.event("once")]))

    assert (lost.hits, refused.hits) == (1, 1)
    engine = emulator._server.engine
    for late in list(engine.open.values()):  # now the cluster has come to its end
        engine.commit(late)
    await store.commit(build.changes(events=[build.event("then")]))
    assert await ask.bodies(store) == ["once", "then"]
    await store.close()


def test_a_commit_with_an_answer_too_large_may_have_been_made(
    config: VastConfig, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(VastClient(config)) as client:
        tx = client.begin()
        row = ("key", "owner", 0)
        tx.insert(CLAIMS, rows_to_batch(CLAIMS, CLAIMS.schema.names, [row]))
        emulator.faults.garble(b"x" * 300, "commit")

        with monkeypatch.context() as limited:
            limited.setattr(transport, "MAX_ANSWER_BYTES", 100)
            with pytest.raises(OutcomeUnknown):
                tx.commit()

    assert [found["key"] for found in stored(config)["claims"]] == ["key"]
