"""What two transactions see of each other, and whether they may write one row.

Each function lets two transactions meet in a throw-away table and says what came of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tams_gql.store.vast.layout import Physical
from tams_gql.store.vast.probing.probe_door import Door, NoAnswer, Party, Refused
from tams_gql.store.vast.probing.probe_place import committed

_CONFLICT = 409
_NOT_FOUND = 404


@dataclass(frozen=True, slots=True)
class Answer:
    """What the cluster did: ``answer`` in one of a few stable words, ``text`` in a sentence."""

    question: str
    answer: str
    text: str


def attempt(work: Callable[[], object]) -> str:
    """Do something and say how it ended in one word."""
    try:
        work()
    except Refused as refused:
        words = {_CONFLICT: "conflict", _NOT_FOUND: "not found"}
        return words.get(refused.status, f"refused ({refused})")
    except NoAnswer:
        return "waits"
    return "done"


def new_row(door: Door, table: Physical, name: str) -> int:
    """A committed row; its id."""
    with door.begin() as party:
        (row_id,) = party.insert(table, [{"name": name, "one": 0, "two": 0}])
        committed(party)
    return row_id


def cells(party: Party, table: Physical, name: str) -> tuple[int, int] | None:
    """What a transaction sees of a row; None if it sees no such row."""
    rows = party.select(table, ("name", "one", "two"))
    found = [(row["one"], row["two"]) for row in rows if row["name"] == name]
    return found[0] if found else None


def isolation(door: Door, table: Physical) -> Iterator[Answer]:
    """Does a transaction see what others commit after its begin, and after its first read?"""
    row = new_row(door, table, "isolation")
    with door.begin() as reader, door.begin() as late_reader:
        before = cells(reader, table, "isolation")
        with door.begin() as writer:
            writer.update(table, row, one=1)
            writer.insert(table, [{"name": "phantom", "one": 0, "two": 0}])
            committed(writer)
        after = cells(reader, table, "isolation")
        phantom = cells(reader, table, "phantom") is not None
        late = cells(late_reader, table, "isolation")
    changed = after != before
    if not changed and not phantom:
        yield Answer("isolation", "snapshot", "a transaction reads one state of all tables")
        at_begin = late == before
        text = "is taken when a transaction begins" if at_begin else "is taken by the first read"
        yield Answer("snapshot", "begin" if at_begin else "first read", f"the state {text}")
    elif changed and phantom:
        text = "every statement sees what others have committed before it"
        yield Answer("isolation", "read_committed", text)
    else:
        seen = "changed rows" if changed else "new rows"
        text = f"a transaction sees {seen} of others, but not the rest"
        yield Answer("isolation", "mixed", text)


def dirty_read(door: Door, table: Physical) -> Answer:
    """Does a transaction see what another has written and not committed?"""
    row = new_row(door, table, "dirty")
    with door.begin() as writer, door.begin() as reader:
        writer.update(table, row, one=1)
        seen = cells(reader, table, "dirty") == (1, 0)
    if seen:
        return Answer("uncommitted rows", "visible", "transactions see uncommitted changes")
    return Answer("uncommitted rows", "invisible", "nobody sees uncommitted changes")


def both_open(door: Door, table: Physical, *, other_cell: bool) -> Answer:
    """Two open transactions update one row, the same cell or two cells of it."""
    name = "two cells" if other_cell else "one cell"
    row = new_row(door, table, name)
    with door.begin() as first, door.begin() as second:
        first.update(table, row, one=1)
        answer = attempt(
            lambda: second.update(table, row, two=2) if other_cell else _one(second, table, row)
        )
        if answer == "done":
            answer = _committed_both(first, second)
        else:
            attempt(first.commit)
    with door.begin() as reader:
        left = cells(reader, table, name)
    return Answer(f"two writers of {name}", *_said(answer, left))


def _one(party: Party, table: Physical, row: int) -> None:
    party.update(table, row, one=2)


def _committed_both(first: Party, second: Party) -> str:
    # Which of the two is refused does not matter to the catalog, but that one of them is.
    answers = [attempt(first.commit), attempt(second.commit)]
    refused = [answer for answer in answers if answer != "done"]
    return f"{refused[0]} at commit" if refused else "none"


def _said(answer: str, left: tuple[int, int] | None) -> tuple[str, str]:
    """The stable word for how the later writer fared, and what it means."""
    if answer == "conflict":
        return "statement", "the later writer is refused at once"
    if answer == "conflict at commit":
        return "commit", "the later writer is refused when it commits"
    if answer == "waits":
        return "waits", "the later writer waits for the earlier one"
    if answer == "none":
        kept = " and both changes are kept" if left == (1, 2) else ""
        return "none", f"both may commit{kept}"
    return "other", f"the later writer got: {answer}"


def changed_since_begin(door: Door, table: Physical) -> Answer:
    """A transaction updates a row that another has changed and committed since it began."""
    name = "changed since begin"
    row = new_row(door, table, name)
    with door.begin() as second:
        cells(second, table, name)
        with door.begin() as first:
            first.update(table, row, one=1)
            committed(first)
        answer = attempt(lambda: _one(second, table, row))
        if answer == "done":
            ended = attempt(second.commit)
            answer = "none" if ended == "done" else f"{ended} at commit"
    with door.begin() as reader:
        left = cells(reader, table, name)
    return Answer("row changed since begin", *_said(answer, left))


def update_and_delete(door: Door, table: Physical) -> Answer:
    """One open transaction deletes a row that another then updates."""
    name = "update and delete"
    row = new_row(door, table, name)
    with door.begin() as first, door.begin() as second:
        first.delete(table, row)
        answer = attempt(lambda: _one(second, table, row))
        if answer == "done":
            answer = _committed_both(first, second)
        else:
            attempt(first.commit)
    with door.begin() as reader:
        left = cells(reader, table, name)
    word, text = _said(answer, left)
    if word == "none":
        text += "; the row is gone" if left is None else "; the row is back"
    return Answer("update beside a delete", word, text)


def deleted_row(door: Door, table: Physical) -> Answer:
    """A transaction updates a row that was deleted before it began."""
    name = "deleted"
    row = new_row(door, table, name)
    with door.begin() as party:
        party.delete(table, row)
        committed(party)
    with door.begin() as party:
        answer = attempt(lambda: _one(party, table, row))
        if answer == "done":
            ended = attempt(party.commit)
            answer = "ignored" if ended == "done" else f"{ended} at commit"
    with door.begin() as reader:
        back = cells(reader, table, name) is not None
    if back:
        return Answer("update of a deleted row", "resurrected", "the row comes back")
    texts = {"ignored": "nothing happens", "not found": "it is refused as unknown"}
    text = texts.get(answer, f"it got: {answer}")
    return Answer("update of a deleted row", answer, text)
