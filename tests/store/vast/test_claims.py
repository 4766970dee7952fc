"""Claims: of writers that see each other one gets on, and what the dead leave does not stay."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tams_gql.store.vast.config import VastConfig
from tams_gql.store.vast.layout import CLAIMS, rows_to_batch
from tams_gql.store.vast.wire.client import VastClient
from tams_gql.store.vast.writing import claims as module
from tams_gql.store.vast.writing.claims import Claims, Contended, forget_expired
from tams_gql.store.vast.writing.locks import Lock
from tests.store.vast.physical import stored
from tests.vast_emulator import Emulator
from tests.waiting import PATIENCE_SECONDS

A, B, C = (Lock("flows", (name,)) for name in "abc")


@pytest.fixture(autouse=True)
def without_conflicts(emulator: Emulator) -> None:
    emulator.switches.change(isolation="read_committed", conflict="none")


def _owners(config: VastConfig) -> set[str]:
    return {row["owner"] for row in stored(config)["claims"]}


def _begin(claims: Claims) -> Callable[[], bool]:
    def begin() -> bool:
        try:
            claims.begin().rollback()
        except Contended:
            return False
        return True

    return begin


def test_claims_on_other_locks_are_in_nobodys_way(client: VastClient) -> None:
    one, other = Claims.made(client, [A, B]), Claims.made(client, [C])

    one.begin().rollback()
    other.begin().rollback()


def test_of_two_that_see_each_other_one_gives_way(
    client: VastClient, config: VastConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE_SECONDS", PATIENCE_SECONDS)
    low, high = sorted(
        (Claims.made(client, [A, B]), Claims.made(client, [B, C])), key=lambda each: each.owner
    )
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(_begin(low))
        time.sleep(0.05)
        assert not _begin(high)()
        assert not waiting.done()
        high.withdraw()
        assert waiting.result(PATIENCE_SECONDS)
    assert _owners(config) == {low.owner}


def test_nobody_waits_for_ever(client: VastClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE_SECONDS", 0.05)
    Claims.made(client, [A])
    for _ in range(4):
        other = Claims.made(client, [A])
        assert not _begin(other)()
        other.withdraw()


def test_claims_go_with_the_transaction(client: VastClient, config: VastConfig) -> None:
    claims = Claims.made(client, [A, B])
    tx = claims.begin()
    claims.end_with(tx)
    assert _owners(config) == {claims.owner}
    tx.commit()
    assert _owners(config) == set()


def test_old_claims_commit_nothing(client: VastClient, monkeypatch: pytest.MonkeyPatch) -> None:
    claims = Claims.made(client, [A])
    tx = claims.begin()
    monkeypatch.setattr(module, "_USABLE_SECONDS", -1)
    with pytest.raises(Contended):
        claims.end_with(tx)
    tx.rollback()


def test_what_the_dead_leave(client: VastClient, config: VastConfig) -> None:
    now = client.clock.now_us()
    rows = [(A.claim, "0", now - 1), (B.claim, "0", now + 60_000_000)]
    tx = client.begin()
    tx.insert(CLAIMS, rows_to_batch(CLAIMS, CLAIMS.schema.names, rows))
    tx.commit()

    assert _begin(Claims.made(client, [A]))()
    assert not _begin(Claims.made(client, [B]))()
    tx = client.begin()
    assert forget_expired(tx, now) == 1
    tx.commit()
    assert A.claim not in {r["key"] for r in stored(config)["claims"] if r["owner"] == "0"}


def test_many_locks(
    client: VastClient, config: VastConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE_SECONDS", 0.05)
    many = [Lock("objects", (f"{i}",)) for i in range(500)]
    one = Claims.made(client, many)
    other = Claims.made(client, [many[499], A])
    assert [_begin(one)(), _begin(other)()].count(True) <= 1
    other.withdraw()
    assert _begin(one)()
    one.withdraw()
    assert _owners(config) == set()


def test_claims_without_a_lock_cost_nothing(client: VastClient, emulator: Emulator) -> None:
    with emulator.counting() as calls:
        claims = Claims.made(client, [])
        claims.begin().rollback()
        claims.withdraw()
    assert [call.kind for call in calls.rpcs] == ["begin", "rollback"]


def test_a_cluster_that_does_not_tell_what_became_of_claims(
    client: VastClient, config: VastConfig, emulator: Emulator
) -> None:
    emulator.faults.drop_commit(applied=True, table="claims")
    fault = emulator.faults.drop("keep_alive", times=None)
    with pytest.raises(Contended):
        Claims.made(client, [A])
    assert fault.hits
    assert _owners(config) == set()


@pytest.mark.parametrize("applied", [True, False])
def test_a_lost_answer_leaves_no_claims(
    client: VastClient, config: VastConfig, emulator: Emulator, applied: bool
) -> None:
    emulator.faults.drop_commit(applied=applied, table="claims")
    with pytest.raises(Contended):
        Claims.made(client, [A])
    assert _owners(config) == set()
    emulator.faults.conflict(kinds=("delete",), table="claims")
    Claims.made(client, [A]).withdraw()
    assert _owners(config) == set()
