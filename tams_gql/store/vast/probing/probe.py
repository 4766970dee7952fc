"""``tams-gql doctor --probe``: how does this cluster behave where documentation is silent?

Every question is answered by doing it, on throw-away tables in the catalog's schema. The answers
decide two settings, and may show that the catalog cannot be kept on this cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from tams_gql.store.vast.config import VastConfig
from tams_gql.store.vast.layout import Physical
from tams_gql.store.vast.probing import probe_conflicts as conflicts
from tams_gql.store.vast.probing import probe_rows as rows
from tams_gql.store.vast.probing.probe_conflicts import Answer
from tams_gql.store.vast.probing.probe_door import Door, NoAnswer, Refused
from tams_gql.store.vast.probing.probe_place import remove_left_behind, schema_of_probe, table_in

__all__ = ["Advice", "Answer", "advise", "probe"]


@dataclass(frozen=True, slots=True)
class Advice:
    """What follows from the answers.

    ``settings`` are environment variables with their best values. ``unfit`` says why the catalog
    would not be safe on this cluster, ``notes`` what an operator should know besides.
    """

    settings: dict[str, str]
    unfit: tuple[str, ...]
    notes: tuple[str, ...]


def probe(config: VastConfig, *, expiry_seconds: int = 0) -> Iterator[Answer]:
    """Ask all questions, one answer at a time. Blocks.

    With ``expiry_seconds`` it also finds out, by waiting up to so long, whether transactions may be
    idle, and whether rows keep their ids when their table is sorted. Raises ``Refused`` or
    ``NoAnswer`` if no throw-away table can be made.
    """
    with ExitStack() as stack:
        doors = stack.enter_context(_doors(config))
        table = stack.enter_context(table_in(doors[0]))
        door = doors[0]
        for question in _questions(doors, table, expiry_seconds):
            yield from _answered(question)
        yield Answer("left behind", *_left_behind(door))


@contextmanager
def _doors(config: VastConfig) -> Iterator[list[Door]]:
    with ExitStack() as stack:
        endpoints = list(_answering(config))
        schema = stack.enter_context(schema_of_probe(config, endpoints[0]))
        doors = [Door(config, endpoint, schema) for endpoint in endpoints]
        for door in doors:
            stack.callback(door.close)
        yield doors


def _answering(config: VastConfig) -> Iterator[str]:
    """The endpoints that work; raises the first failure if none does."""
    failures: list[NoAnswer | Refused] = []
    for endpoint in config.endpoints:
        try:
            Door(config, endpoint).close()
        except (NoAnswer, Refused) as failed:
            failures.append(failed)
        else:
            yield endpoint
    if len(failures) == len(config.endpoints):
        raise failures[0]


def _questions(
    doors: list[Door], table: Physical, expiry_seconds: int
) -> Iterator[tuple[str, Callable[[], Answer | Iterable[Answer]]]]:
    door = doors[0]
    yield "isolation", lambda: conflicts.isolation(door, table)
    yield "uncommitted rows", lambda: conflicts.dirty_read(door, table)
    yield "own writes", lambda: rows.own_writes(door, table)
    yield "rollback", lambda: rows.rollback_of_rows(door, table)
    yield "two writers of one cell", lambda: conflicts.both_open(door, table, other_cell=False)
    yield "two writers of two cells", lambda: conflicts.both_open(door, table, other_cell=True)
    yield "row changed since begin", lambda: conflicts.changed_since_begin(door, table)
    yield "update beside a delete", lambda: conflicts.update_and_delete(door, table)
    yield "update of a deleted row", lambda: conflicts.deleted_row(door, table)
    yield "an ended transaction", lambda: rows.ended_transaction(door, table)
    yield "reads without a transaction", lambda: rows.reads_without_transaction(door, table)
    yield (
        "one transaction at several endpoints",
        lambda: rows.transaction_over(doors, table),
    )
    yield "row ids", lambda: rows.row_id_reuse(door, table)
    yield "rows of sorted tables", lambda: rows.sorted_rows(door)
    yield "the same external row id twice", lambda: rows.external_row_ids(door)
    yield "tables made in a transaction", lambda: rows.tables_in_transactions(door)
    yield "largest cell", lambda: rows.largest_cell(door, table)
    if expiry_seconds:
        yield "row ids while sorting", lambda: rows.row_ids_while_sorting(door, expiry_seconds)
        yield "idle transactions", lambda: rows.expiry(door, table, expiry_seconds)


def _answered(question: tuple[str, Callable[[], Answer | Iterable[Answer]]]) -> Iterator[Answer]:
    name, ask = question
    try:
        answer = ask()
        yield from [answer] if isinstance(answer, Answer) else list(answer)
    except (Refused, NoAnswer) as refused:
        yield Answer(name, "failed", f"could not be asked: {refused}")


def _left_behind(door: Door) -> tuple[str, str]:
    try:
        removed = remove_left_behind(door)
    except (Refused, NoAnswer) as refused:
        return "failed", f"tables of earlier probes could not be looked for: {refused}"
    if removed:
        return "removed", f"tables of earlier probes: {', '.join(removed)}"
    return "nothing", "no tables of earlier probes"


_REFUSED_TO_ONE = {"statement", "commit", "waits", "other"}
_UNFIT = {
    ("uncommitted rows", "visible"): "uncommitted changes are visible",
    ("rollback", "kept"): "a rollback keeps rows",
    ("an ended transaction", "undone"): "a rollback undoes a committed transaction",
    ("rows of sorted tables", "not updatable"): "rows of sorted tables cannot be updated",
    ("largest cell", "too small"): "cells of 128 KiB are not kept",
    ("update of a deleted row", "resurrected"): "an update brings deleted rows back",
}
_NOTES = {
    ("reads without a transaction", "work"): (
        "TAMS_VAST_READS=direct would save two calls a request, but the reads of one request"
        " might then see different states"
    ),
    ("one transaction at several endpoints", "refused"): (
        "give one endpoint only: a transaction is known at the one that began it"
    ),
    ("one transaction at several endpoints", "wrong"): (
        "give one endpoint only: others do not see what a transaction has written"
    ),
    ("an ended transaction", "unclear"): (
        "after a lost reply only the events of a change tell whether it was committed"
    ),
    ("idle transactions", "expire"): (
        "keep TAMS_REQUEST_TIMEOUT well below the life of an idle transaction"
    ),
}


def advise(answers: Iterable[Answer]) -> Advice:
    """What the answers mean for the settings of the catalog."""
    known = {answer.question: answer.answer for answer in answers}
    facts = list(known.items())
    unfit = [_UNFIT[fact] for fact in facts if fact in _UNFIT]
    notes = [_NOTES[fact] for fact in facts if fact in _NOTES]
    isolation = "snapshot" if known.get("isolation") == "snapshot" else "read_committed"
    safe = _conflicts_are_found(known, isolation)
    if not safe:
        notes.append(
            "writers of one row are not kept apart by the cluster: the safe mode does it with"
            " claims, at the cost of about eight calls a write"
        )
    settings = {
        "TAMS_VAST_ISOLATION": isolation,
        "TAMS_VAST_CONFLICTS": "row" if safe else "none",
        "TAMS_VAST_READS": "transaction",
    }
    return Advice(settings, tuple(unfit), tuple(notes))


def _conflicts_are_found(known: dict[str, str], isolation: str) -> bool:
    needed = ["two writers of one cell", "update beside a delete"]
    if isolation == "snapshot":
        # Under read committed the catalog writes a row first and reads it afterwards, so a change
        # that was committed before is seen; under snapshot it must be refused.
        needed.append("row changed since begin")
    return all(known.get(question) in _REFUSED_TO_ONE for question in needed)
