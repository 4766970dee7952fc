"""What a cluster does with rows, their ids, large cells, and statements outside of transactions."""

from __future__ import annotations

import time
from contextlib import ExitStack

from tams_gql.store.vast.layout import ROW_ID, Physical
from tams_gql.store.vast.probing.probe_conflicts import Answer, attempt, cells, new_row
from tams_gql.store.vast.probing.probe_door import Door, NoAnswer, Party, Refused
from tams_gql.store.vast.probing.probe_place import committed, drop, table_in, throw_away

_KIBI = 2**10
# A request carries at most 5 MiB, so a larger cell could not be sent at all.
_CELL_BYTES = (64 * _KIBI, 126 * _KIBI, 128 * _KIBI, 256 * _KIBI, 1024 * _KIBI, 4096 * _KIBI)
_NEEDED_CELL_BYTES = 128 * _KIBI
_SORTED_ROWS = 500
_SORTED_BATCHES = 4
_PINGS_SECONDS = (60, 120, 300, 600, 900, 1200, 1800, 3600)


def own_writes(door: Door, table: Physical) -> Answer:
    """Does a transaction see its own inserts, updates and deletes?"""
    with door.begin() as party:
        (row,) = party.insert(table, [{"name": "own", "one": 0, "two": 0}])
        inserted = cells(party, table, "own") == (0, 0)
        party.update(table, row, one=1)
        updated = cells(party, table, "own") == (1, 0)
        party.delete(table, row)
        deleted = cells(party, table, "own") is None
    steps = (("inserts", inserted), ("updates", updated), ("deletes", deleted))
    missing = [name for name, seen in steps if not seen]
    if missing:
        text = f"a transaction does not see its own {' and '.join(missing)}"
        return Answer("own writes", "invisible", text)
    return Answer("own writes", "visible", "a transaction sees what it has written")


def reads_without_transaction(door: Door, table: Physical) -> Answer:
    """Does transaction 0 read what is committed, and only that?"""
    question = "reads without a transaction"
    row = new_row(door, table, "direct")
    with door.begin() as writer:
        writer.update(table, row, one=1)
        try:
            before = cells(door.direct(), table, "direct")
            committed(writer)
            after = cells(door.direct(), table, "direct")
        except (Refused, NoAnswer) as refused:
            return Answer(question, "refused", f"they are refused: {refused}")
    if (before, after) == ((0, 0), (1, 0)):
        return Answer(question, "work", "they see what is committed")
    return Answer(question, "wrong", f"they saw {before} before and {after} after a commit")


def rollback_of_rows(door: Door, table: Physical) -> Answer:
    """Is a rolled back insert gone?"""
    with door.begin() as party:
        party.insert(table, [{"name": "rolled back", "one": 0, "two": 0}])
        party.rollback()
    with door.begin() as reader:
        kept = cells(reader, table, "rolled back") is not None
    if kept:
        return Answer("rollback", "kept", "rows of a rolled back transaction are there")
    return Answer("rollback", "undone", "nothing of a rolled back transaction is left")


def ended_transaction(door: Door, table: Physical) -> Answer:
    """Can a transaction that has ended be told from an open one, as lost replies need it?"""
    question = "an ended transaction"
    with door.begin() as party:
        party.insert(table, [{"name": "ended", "one": 0, "two": 0}])
        was_open = party.is_open()
        party.commit()
        is_open = party.is_open()
        again = attempt(party.commit)
        undone = attempt(party.undo)
    with door.begin() as reader:
        kept = cells(reader, table, "ended") is not None
    if not kept:
        return Answer(question, "undone", "a rollback after the commit removed its rows")
    if not was_open:
        return Answer(question, "unclear", "the cluster does not know open transactions")
    if is_open:
        return Answer(question, "unclear", "the cluster calls it open")
    text = f"is known as ended; commit again: {again}, roll back: {undone}"
    return Answer(question, "told apart", text)


def row_id_reuse(door: Door, table: Physical) -> Answer:
    """Are the ids of deleted and of rolled back rows given to new ones?"""
    deleted = new_row(door, table, "reuse")
    with door.begin() as party:
        party.delete(table, deleted)
        committed(party)
    with door.begin() as party:
        (rolled_back,) = party.insert(table, [{"name": "reuse", "one": 0, "two": 0}])
    later = {new_row(door, table, "reuse") for _ in range(8)}
    reused = [
        name for name, row in (("deleted", deleted), ("rolled back", rolled_back)) if row in later
    ]
    if reused:
        text = f"ids of {' and '.join(reused)} rows are given again"
        return Answer("row ids", "reused", text)
    return Answer("row ids", "not reused", "new rows got new ids")


def sorted_rows(door: Door) -> Answer:
    """Can rows of a sorted table be updated by the id that their insert gave?"""
    question = "rows of sorted tables"
    with table_in(door, sorted_by=("name",)) as table:
        with door.begin() as party:
            ids = party.insert(
                table, [{"name": name, "one": 0, "two": 0} for name in ("c", "a", "b")]
            )
            committed(party)
        with door.begin() as party:
            rows = party.select(table, ("name",), row_ids=True)
            found = {row["name"]: int(row[ROW_ID]) for row in rows}
            answer = attempt(lambda: party.update(table, found["a"], one=7))
            if answer == "done":
                answer = attempt(party.commit)
        with door.begin() as reader:
            seen = cells(reader, table, "a")
    if answer != "done" or seen != (7, 0):
        return Answer(question, "not updatable", f"an update got: {answer}, and shows {seen}")
    same = set(ids) == set(found.values())
    text = "can be updated; their ids " + ("are those of the insert" if same else "differ from it")
    return Answer(question, "updatable", text)


def row_ids_while_sorting(door: Door, longest_seconds: int) -> Answer:
    """Does a row keep its id when the cluster sorts its table? Waits until it has."""
    question = "row ids while sorting"
    deadline = time.monotonic() + longest_seconds
    with table_in(door, sorted_by=("name",)) as table:
        for step in range(_SORTED_BATCHES):
            names = [f"{n * 7919 % 1000:03} {step}" for n in range(_SORTED_ROWS)]
            with door.begin() as party:
                party.insert(table, [{"name": name, "one": 0, "two": 0} for name in names])
                committed(party)
        before = _ids(door, table)
        done = False
        while not done and time.monotonic() < deadline:
            with door.begin() as party:
                done = party.is_sorted(table.name)
            if not done:
                time.sleep(1)
        after = _ids(door, table)
    if after != before:
        return Answer(question, "change", "rows get other ids, which the catalog never keeps")
    if not done:
        return Answer(question, "not tried", f"sorting took more than {longest_seconds} seconds")
    return Answer(question, "stay", "rows keep their ids")


def _ids(door: Door, table: Physical) -> dict[str, int]:
    with door.begin() as party:
        rows = party.select(table, ("name",), row_ids=True)
    return {row["name"]: int(row[ROW_ID]) for row in rows}


def external_row_ids(door: Door) -> Answer:
    """What becomes of a second row with the same caller-chosen id?"""
    question = "the same external row id twice"
    with table_in(door, row_id_column=True) as table:

        def inserted(one: int) -> str:
            with door.begin() as party:
                rows = [{"vastdb_rowid": 17, "name": "external", "one": one, "two": 0}]
                answer = attempt(lambda: party.insert(table, rows))
                return answer if answer != "done" else attempt(party.commit)

        first, second = inserted(1), inserted(2)
        with door.begin() as reader:
            seen = [row["one"] for row in reader.select(table, ("name", "one"))]
    if first != "done":
        return Answer(question, "not supported", f"the first row got: {first}")
    if second != "done":
        return Answer(question, "refused", f"the second row got: {second}")
    words = {(1, 2): "duplicated", (2,): "overwritten", (1,): "ignored"}
    word = words.get(tuple(sorted(seen)), "other")
    return Answer(question, word, f"then the table has {len(seen)} such rows")


def tables_in_transactions(door: Door) -> Answer:
    """Is a table that was made in a rolled back transaction gone, its rows with it?"""
    table = throw_away()
    try:
        with door.begin() as party, door.begin() as other:
            party.create_table(table)
            used = attempt(lambda: party.insert(table, [{"name": "x", "one": 0, "two": 0}]))
            seen = table.name in other.tables(table.name)
        with door.begin() as reader:
            left = table.name in reader.tables(table.name)
    finally:
        drop(door, table.name)
    if used == "done" and not left and not seen:
        text = "a table can be made, used and undone in one transaction"
        return Answer("tables made in a transaction", "transactional", text)
    facts = f"insert: {used}, seen by others: {_yes(seen)}, left after rollback: {_yes(left)}"
    return Answer("tables made in a transaction", "not transactional", facts)


def _yes(fact: bool) -> str:
    return "yes" if fact else "no"


def largest_cell(door: Door, table: Physical) -> Answer:
    """How large may a text be? Tried up to what fits into one request."""
    largest, refusal = 0, ""
    for size in _CELL_BYTES:
        text = "x" * size
        with door.begin() as party:
            answer = attempt(
                lambda text=text: party.insert(table, [{"name": "cell", "text": text}])  # type: ignore[misc]
            )
            if answer == "done":
                rows = party.select(table, ("name", "text"))
                whole = [row["text"] for row in rows if row["name"] == "cell"] == [text]
                answer = "done" if whole else "cut off"
        if answer != "done":
            refusal = f"; {size // _KIBI:,} KiB: {answer}"
            break
        largest = size
    word = "enough" if largest >= _NEEDED_CELL_BYTES else "too small"
    return Answer("largest cell", word, f"{largest // _KIBI:,} KiB were kept{refusal}")


def transaction_over(doors: list[Door], table: Physical) -> Answer:
    """Can one transaction be used at several endpoints?"""
    question = "one transaction at several endpoints"
    if len(doors) < 2:
        return Answer(question, "not tried", "there is one endpoint only")
    with doors[0].begin() as party:
        party.insert(table, [{"name": "roaming", "one": 0, "two": 0}])
        for door in doors[1:]:
            try:
                seen = cells(Party(door, party.txid), table, "roaming")
            except (Refused, NoAnswer) as refused:
                return Answer(question, "refused", f"{door.endpoint}: {refused}")
            if seen is None:
                return Answer(question, "wrong", f"{door.endpoint} does not see its rows")
    return Answer(question, "work", "every endpoint knows it and its rows")


def expiry(door: Door, table: Physical, longest_seconds: int) -> Answer:
    """How long may a transaction be idle? Waits for up to ``longest_seconds``.

    One transaction for each moment that is tried, because looking at one may keep it alive.
    """
    question = "idle transactions"
    moments = [second for second in _PINGS_SECONDS if second < longest_seconds]
    moments.append(longest_seconds)
    with ExitStack() as stack:
        parties = [(second, stack.enter_context(door.begin())) for second in moments]
        began, alive = time.monotonic(), 0
        for second, party in parties:
            time.sleep(max(0.0, began + second - time.monotonic()))
            if attempt(lambda party=party: cells(party, table, "none")) != "done":  # type: ignore[misc]
                text = f"one lived for {alive} seconds and was gone after {second}"
                return Answer(question, "expire", text)
            alive = second
    return Answer(question, "live", f"one lived for {alive} seconds; longer was not tried")
