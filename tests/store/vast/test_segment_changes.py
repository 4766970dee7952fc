"""Adding and removing segments where one call does not reach: long flows, in small portions."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest

from tams_gql.store.changes import AddSegments, Delete, RemoveSegments, Stale
from tams_gql.store.port import CatalogStore
from tams_gql.store.scan import eq
from tams_gql.store.tables import FLOWS, SEGMENTS
from tams_gql.store.vast.config import VastConfig
from tams_gql.store.vast.writing import apply, timeline
from tests.store import build
from tests.store.vast.physical import audit, column
from tests.store.vast.rivals import open_store
from tests.vast_emulator import Emulator


@pytest.fixture
async def store(config: VastConfig, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[CatalogStore]:
    """A store that takes everything for long."""
    monkeypatch.setattr(timeline, "_PORTION_ROWS", 7)
    monkeypatch.setattr(timeline, "_MAX_SPANS", 3)
    monkeypatch.setattr(timeline, "_FIRST_LOOK", 1)
    monkeypatch.setattr(timeline, "_WIDER", 2)
    monkeypatch.setattr(apply, "_MANY_OBJECTS", 5)
    opened = await open_store(config)
    yield opened
    await opened.close()


def _rows(spans: list[tuple[int, int]]) -> AddSegments:
    return AddSegments(
        "f",
        tuple(build.segment("f", *span, object_id=f"o{span[0] % 40}", size=3) for span in spans),
    )


async def _flow(store: CatalogStore, spans: list[tuple[int, int]]) -> None:
    objects = build.objects(*(f"o{i}" for i in range(40)), first_flow_id="f", size=3)
    await store.commit(build.changes(*build.flows("f"), objects, add_segments=[_rows(spans)]))


@pytest.mark.parametrize("seed", range(8))
async def test_any_history(store: CatalogStore, config: VastConfig, seed: int) -> None:
    chance = random.Random(seed)
    scale = chance.choice([1, 10**6])
    marks = sorted(chance.sample(range(400), 120))
    spans = [(a * scale, b * scale) for a, b in pairwise(marks)]
    await _flow(store, spans[::2])
    left = set(spans[::2])
    for _ in range(6):
        start, end = sorted(chance.choices([mark * scale for mark in marks], k=2))
        if chance.random() < 0.5:
            added = chance.sample(spans, 6)
            change = build.changes(add_segments=[_rows(added)])
            if left.isdisjoint(added):
                await store.commit(change)
                left.update(added)
            else:
                with pytest.raises(Stale):
                    await store.commit(change)
        else:
            chosen = None if chance.random() < 0.5 else f"o{chance.choice(marks) * scale % 40}"
            done = await store.commit(
                build.changes(remove_segments=[RemoveSegments("f", start, end, chosen)])
            )
            gone = {
                span
                for span in left
                if start <= span[0] and span[1] <= end and chosen in (None, f"o{span[0] % 40}")
            }
            assert done.removed == (len(gone),)
            left -= gone
        rows = audit(config)
        assert column(rows, SEGMENTS, "start_ns") == sorted(start for start, _ in left)


async def test_a_whole_flow(store: CatalogStore, config: VastConfig, emulator: Emulator) -> None:
    await _flow(store, [(i * 10, i * 10 + 10) for i in range(100)])
    with emulator.counting() as calls:
        done = await store.commit(
            build.changes(
                remove_segments=[RemoveSegments("f", 0, 1_000)],
                delete=[Delete(FLOWS, (eq("id", "f"),))],
            )
        )
    assert done.removed == (100,)
    rows = audit(config)
    assert (rows["flows"], rows["segments"]) == ([], [])
    assert {row["ref_count"] for row in rows["objects"]} == {0}
    # Fifteen portions of the flow; its objects are found by the flow that brought them.
    assert [call.kind for call in calls.on("segments")] == ["query"] * 15 + ["delete"]
    assert [call.kind for call in calls.on("objects")] == ["query", "update"]


async def test_gaps_all_over_a_flow_are_filled_at_once(
    store: CatalogStore, config: VastConfig, emulator: Emulator
) -> None:
    await _flow(store, [(i * 10, i * 10 + 5) for i in range(50)])
    with emulator.counting() as calls:
        await store.commit(
            build.changes(add_segments=[_rows([(i * 10 + 5, i * 10 + 10) for i in range(50)])])
        )
    assert [call.kind for call in calls.on("segments")] == ["query", "insert"]
    assert audit(config)["flows"][0]["segment_count"] == 100
