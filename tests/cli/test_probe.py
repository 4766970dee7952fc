"""The probe of a cluster says what the emulator is switched to, and cleans up after itself."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest

from tams_gql.store.vast.config import VastConfig
from tams_gql.store.vast.layout import CLAIMS, Physical
from tams_gql.store.vast.probing import probe_rows
from tams_gql.store.vast.probing.probe import advise, probe
from tams_gql.store.vast.probing.probe_conflicts import Answer
from tams_gql.store.vast.probing.probe_door import Door, NoAnswer, Refused
from tams_gql.store.vast.probing.probe_place import PREFIX, remove_left_behind
from tests.vast_emulator import Emulator


@pytest.fixture(scope="module")
def shared() -> Iterator[Emulator]:
    """One emulator; each test may switch it."""
    with Emulator() as emulator:
        yield emulator


@pytest.fixture
def emulator(shared: Emulator) -> Iterator[Emulator]:
    """The emulator with an empty bucket, no faults and its usual switches."""
    shared.create_bucket(shared.bucket)
    with shared.switched(isolation="snapshot", conflict="eager", granularity="row"):
        yield shared
    shared.faults.clear()


def _config(emulator: Emulator, *endpoints: str) -> VastConfig:
    return VastConfig(
        endpoints or (emulator.url,),
        emulator.access_key,
        emulator.secret_key,
        emulator.bucket,
        timeout_seconds=3,
    )


def _words(answers: list[Answer]) -> dict[str, str]:
    return {answer.question: answer.answer for answer in answers}


def _nothing_left(emulator: Emulator) -> bool:
    door = Door(_config(emulator), emulator.url)
    with door.begin() as party:
        schemas = door.api.list_schemas(door.bucket, txid=party.txid)[1]
        tables = party.tables() if door.schema in party.schemas() else set()
    door.close()
    return not tables and not schemas and not emulator.open_transactions()


SAME = {"eager": "statement", "commit": "commit", "none": "none"}


@pytest.mark.parametrize(
    ("isolation", "conflict", "granularity"),
    list(product(("snapshot", "read_committed"), ("eager", "commit", "none"), ("row", "cell"))),
)
def test_the_answers_are_the_switches(
    emulator: Emulator, isolation: str, conflict: str, granularity: str
) -> None:
    with emulator.switched(isolation=isolation, conflict=conflict, granularity=granularity):
        answers = list(probe(_config(emulator)))
    words = _words(answers)
    snapshot = isolation == "snapshot"
    assert words.pop("isolation") == isolation
    assert words.pop("snapshot", None) == ("begin" if snapshot else None)
    assert words.pop("two writers of one cell") == SAME[conflict]
    assert words.pop("two writers of two cells") == (
        SAME[conflict] if granularity == "row" else "none"
    )
    assert words.pop("row changed since begin") == (SAME[conflict] if snapshot else "none")
    assert words.pop("update beside a delete") == SAME[conflict]
    assert words == {
        "uncommitted rows": "invisible",
        "own writes": "visible",
        "rollback": "undone",
        "update of a deleted row": "not found",
        "an ended transaction": "told apart",
        "reads without a transaction": "work",
        "one transaction at several endpoints": "not tried",
        "row ids": "not reused",
        "rows of sorted tables": "updatable",
        "the same external row id twice": "refused",
        "tables made in a transaction": "transactional",
        "largest cell": "enough",
        "left behind": "nothing",
    }
    advice = advise(answers)
    assert advice.unfit == ()
    assert advice.settings == {
        "TAMS_VAST_ISOLATION": isolation,
        "TAMS_VAST_CONFLICTS": "none" if conflict == "none" else "row",
        "TAMS_VAST_READS": "transaction",
    }
    assert any("safe mode" in note for note in advice.notes) is (conflict == "none")
    assert _nothing_left(emulator)


def test_a_transaction_is_tried_at_every_endpoint_that_answers(emulator: Emulator) -> None:
    dead = "http://127.0.0.1:9"
    same = emulator.url.replace("127.0.0.1", "localhost")
    answers = list(probe(_config(emulator, dead, emulator.url, same)))
    assert _words(answers)["one transaction at several endpoints"] == "work"


class _Clock:
    """A time that passes only while somebody waits for it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_idle_transactions_are_waited_for(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = _Clock()
    monkeypatch.setattr(probe_rows, "time", clock)
    monkeypatch.setattr(emulator._server.engine, "clock", clock.monotonic)
    with emulator.switched(transaction_idle_seconds=0.5):
        answers = list(probe(_config(emulator), expiry_seconds=1))
    found = next(answer for answer in answers if answer.question == "idle transactions")
    assert (found.answer, found.text) == (
        "expire",
        "one lived for 0 seconds and was gone after 1",
    )
    assert any("TAMS_REQUEST_TIMEOUT" in note for note in advise(answers).notes)
    assert _words(answers)["row ids while sorting"] == "stay"
    lasting = list(probe(_config(emulator), expiry_seconds=1))
    found = next(answer for answer in lasting if answer.question == "idle transactions")
    assert (found.answer, found.text) == (
        "live",
        "one lived for 1 seconds; longer was not tried",
    )


def test_a_question_that_cannot_be_asked_does_not_end_the_probe(emulator: Emulator) -> None:
    emulator.faults.forbid("delete")
    words = _words(list(probe(_config(emulator))))
    assert words["own writes"] == "failed"
    assert words["isolation"] == "snapshot"
    emulator.faults.clear()
    assert _nothing_left(emulator)


def test_without_an_answering_endpoint_there_is_no_probe(emulator: Emulator) -> None:
    with pytest.raises(NoAnswer, match="connection refused"):
        list(probe(_config(emulator, "http://127.0.0.1:9")))
    emulator.faults.forbid("create_table")
    with pytest.raises(Refused, match="403 AccessDenied"):
        list(probe(_config(emulator)))
    emulator.faults.clear()
    assert _nothing_left(emulator)


def test_tables_of_a_broken_off_probe_are_removed_later(emulator: Emulator) -> None:
    config = _config(emulator)
    door = Door(config, emulator.url)
    old, young = f"{PREFIX}{1:x}_00000000", f"{PREFIX}{2**40:x}_00000000"
    with door.begin() as party:
        party.create_schema()
        for name in (old, young, "probe_of_somebody_else", "claims"):
            party.create_table(Physical(name, CLAIMS.schema))
        party.commit()
    assert remove_left_behind(door) == [old]
    with door.begin() as party:
        assert party.tables() == {young, "probe_of_somebody_else", "claims"}
    door.close()


UNSAFE = [
    ("uncommitted rows", "visible", "uncommitted changes are visible"),
    ("rollback", "kept", "a rollback keeps rows"),
    ("an ended transaction", "undone", "a rollback undoes a committed transaction"),
    ("rows of sorted tables", "not updatable", "rows of sorted tables cannot be updated"),
    ("largest cell", "too small", "cells of 128 KiB are not kept"),
    ("update of a deleted row", "resurrected", "an update brings deleted rows back"),
]


@pytest.mark.parametrize(("question", "answer", "reason"), UNSAFE)
def test_a_cluster_that_would_lose_data_is_called_unfit(
    question: str, answer: str, reason: str
) -> None:
    assert advise([Answer(question, answer, "")]).unfit == (reason,)


@pytest.mark.parametrize(
    ("isolation", "one_cell", "since", "deleted", "conflicts"),
    [
        ("snapshot", "statement", "statement", "statement", "row"),
        ("snapshot", "waits", "commit", "waits", "row"),
        ("snapshot", "statement", "none", "statement", "none"),  # lost updates
        ("read_committed", "statement", "none", "statement", "row"),
        ("mixed", "commit", "none", "commit", "row"),
        ("read_committed", "statement", "none", "none", "none"),
        ("snapshot", "failed", "statement", "statement", "none"),  # not proven, so not relied on
    ],
)
def test_the_safe_mode_is_advised_unless_every_conflict_was_seen(
    isolation: str, one_cell: str, since: str, deleted: str, conflicts: str
) -> None:
    answers = [
        Answer("isolation", isolation, ""),
        Answer("two writers of one cell", one_cell, ""),
        Answer("row changed since begin", since, ""),
        Answer("update beside a delete", deleted, ""),
    ]
    settings = advise(answers).settings
    assert settings["TAMS_VAST_CONFLICTS"] == conflicts
    assert settings["TAMS_VAST_ISOLATION"] == (
        "snapshot" if isolation == "snapshot" else "read_committed"
    )
