"""A page of the change log is one look at it, whatever is written meanwhile."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest

from tams_gql.store.embedded import EmbeddedStore, log
from tams_gql.store.embedded.connection import connect
from tams_gql.store.scan import Where
from tests.store import build

_START = "0" * 16


async def test_a_page_does_not_tell_of_what_was_removed_after_it(
    path: Path, embedded: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        await embedded.commit(build.changes(events=[build.event(f'{{"n":{number}}}')]))
    events = log._events

    def trimmed_meanwhile(
        connection: sqlite3.Connection, start: int, limit: int, where: tuple[Where, ...]
    ) -> pa.RecordBatch:
        found = events(connection, start, limit, where)
        with closing(connect(path, write=True)) as other:
            other.execute("BEGIN IMMEDIATE")
            other.execute("DELETE FROM events WHERE seq <= 2")
            other.execute("UPDATE service SET value = '2' WHERE name = 'log_floor'")
            other.execute("COMMIT")
        return found

    monkeypatch.setattr(log, "_events", trimmed_meanwhile)
    page = await embedded.log.page(_START, 10)

    assert page.events.column("body").to_pylist() == ['{"n":0}', '{"n":1}', '{"n":2}']
    assert (page.floor, page.is_ahead) == (_START, False)

    page = await embedded.log.page(_START, 10)
    assert page.events.column("body").to_pylist() == ['{"n":2}']
    assert page.floor == f"{2:016x}"
