"""The writer: group commit, its limits, and failures that it survives."""

from __future__ import annotations

import asyncio
import gc
import logging
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tams_gql.model.errors import LimitExceeded, Unavailable
from tams_gql.store.changes import ChangeSet, Insert, Stale, Update
from tams_gql.store.embedded import EmbeddedStore, connection, store
from tams_gql.store.scan import Scan
from tams_gql.store.tables import SOURCES
from tests.store import ask, build
from tests.waiting import PATIENCE_SECONDS


@contextmanager
def _locked(path: Path) -> Iterator[sqlite3.Connection]:
    """Another process in the middle of a write; rolled back at the end."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield other


def _source(source_id: str, **values: Any) -> ChangeSet:
    source = build.insert(SOURCES, build.source(source_id, **values))
    return build.changes(source, events=[build.event(f'"{source_id}"')])


async def _commit_all(embedded: EmbeddedStore, changes: list[ChangeSet]) -> list[asyncio.Task[Any]]:
    """Commits on their way, each of them queued."""
    tasks = [asyncio.create_task(embedded.commit(each)) for each in changes]
    await asyncio.sleep(0)
    return tasks


async def _ids(embedded: EmbeddedStore) -> list[str]:
    return sorted(i for (i,) in await ask.rows(embedded, Scan(SOURCES, ("id",))))


async def test_commits_that_wait_share_a_transaction(path: Path, embedded: EmbeddedStore) -> None:
    groups = 0

    def woken() -> None:
        nonlocal groups
        groups += 1

    embedded.log.on_commit(woken)
    names = [f"s{i:03}" for i in range(100)]
    with _locked(path):
        tasks = await _commit_all(embedded, [_source(name) for name in names])
        await asyncio.sleep(0.05)
    await asyncio.gather(*tasks)

    assert await _ids(embedded) == names
    assert 1 <= groups <= 2


async def test_a_full_queue_refuses_more(path: Path, embedded: EmbeddedStore) -> None:
    with _locked(path):
        tasks = await _commit_all(embedded, [_source(f"s{i:04}") for i in range(1_300)])
    ends = await asyncio.gather(*tasks, return_exceptions=True)

    refused = [i for i, end in enumerate(ends) if isinstance(end, BaseException)]
    assert 1_300 - 1_024 - 128 <= len(refused) <= 1_300 - 1_024
    assert {type(ends[i]) for i in refused} == {LimitExceeded}
    assert "1024 writes are already waiting" in str(ends[refused[0]])
    assert await _ids(embedded) == [f"s{i:04}" for i in range(1_300) if i not in refused]


async def test_a_defect_in_one_change_set_fails_alone(path: Path, embedded: EmbeddedStore) -> None:
    await embedded.commit(_source("taken"))
    changes = [
        _source("a"),
        build.changes(update=[Update(SOURCES, ("no_such_column",), (("a", 1),))]),
        _source("taken"),
        build.changes(build.insert(SOURCES, build.source("b", version="not a number"))),
        build.changes(build.insert(SOURCES, build.source("c", label=2**63))),
        build.changes(Insert(SOURCES, ("id",), (("d",),))),
        _source("e"),
    ]
    with _locked(path):
        tasks = await _commit_all(embedded, changes)
    ends = await asyncio.gather(*tasks, return_exceptions=True)

    assert [type(end).__name__ for end in ends] == [
        *("Committed", "OperationalError", "Stale", "IntegrityError", "OverflowError"),
        *("IntegrityError", "Committed"),
    ]
    assert await _ids(embedded) == ["a", "e", "taken"]
    assert await ask.bodies(embedded) == ['"taken"', '"a"', '"e"']


async def test_a_full_disk_loses_the_group_and_nothing_else(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def small(*args: Any, **options: Any) -> sqlite3.Connection:
        opened = connection.connect(*args, **options)
        if options["write"]:
            (pages,) = opened.execute("PRAGMA page_count").fetchone()
            opened.execute(f"PRAGMA max_page_count = {pages + 20}")
        return opened

    monkeypatch.setattr(store, "connect", small)
    embedded = await EmbeddedStore.open(path)
    await embedded.commit(_source("before"))
    with _locked(path):
        tasks = await _commit_all(
            embedded, [_source("small"), _source("large", description="x" * 1_000_000)]
        )
        await asyncio.sleep(0.05)
    ends = await asyncio.gather(*tasks, return_exceptions=True)

    # The first of them may have been on its way alone.
    assert {type(end) for end in ends[1:]} == {Unavailable}
    assert "disk is full" in str(ends[1])
    alone = ["small"] if not isinstance(ends[0], BaseException) else []
    assert await _ids(embedded) == ["before", *alone]
    await embedded.commit(_source("later"))
    assert await _ids(embedded) == ["before", "later", *alone]
    await embedded.close()


async def test_a_broken_connection_is_replaced(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[sqlite3.Connection] = []

    def watched(*args: Any, **options: Any) -> sqlite3.Connection:
        opened.append(connection.connect(*args, **options))
        return opened[-1]

    monkeypatch.setattr(store, "connect", watched)
    embedded = await EmbeddedStore.open(path)
    await embedded.commit(_source("a"))
    opened[-1].close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed database"):
        await embedded.commit(_source("b"))
    await embedded.commit(_source("c"))

    assert await _ids(embedded) == ["a", "c"]
    await embedded.close()


async def test_a_lock_that_lasts_is_an_outage(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_BUSY_TIMEOUT_MS", 20)
    embedded = await EmbeddedStore.open(path)
    with _locked(path):
        with pytest.raises(Unavailable, match="database is locked"):
            await embedded.commit(_source("a"))
        assert await _ids(embedded) == []
    await embedded.commit(_source("b"))

    assert await _ids(embedded) == ["b"]
    await embedded.close()


async def test_a_short_lock_is_waited_for(path: Path, embedded: EmbeddedStore) -> None:
    with _locked(path) as other:
        (task,) = await _commit_all(embedded, [_source("ours")])
        await asyncio.sleep(0.1)
        other.execute("INSERT INTO service VALUES ('theirs', '1')")
        other.execute("COMMIT")
    await task

    assert await _ids(embedded) == ["ours"]


async def test_what_nobody_waits_for_fails_in_silence(
    path: Path, embedded: EmbeddedStore, caplog: pytest.LogCaptureFixture
) -> None:
    await embedded.commit(_source("taken"))
    gc.collect()  # what others have left may have something to say
    with caplog.at_level(logging.DEBUG), _locked(path):
        (task,) = await _commit_all(embedded, [_source("taken")])
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await embedded.commit(_source("next"))
    del task
    gc.collect()

    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
    assert await _ids(embedded) == ["next", "taken"]


async def test_a_loop_that_is_gone_does_not_stop_the_writer(
    path: Path, embedded: EmbeddedStore
) -> None:
    def elsewhere() -> None:
        async def commit() -> None:
            embedded.log.on_commit(lambda: None)
            await asyncio.wait_for(embedded.commit(_source("abandoned")), 0.05)

        with pytest.raises(TimeoutError):
            asyncio.run(commit())

    with _locked(path):
        await asyncio.to_thread(elsewhere)
    await embedded.commit(_source("ours"))

    assert await _ids(embedded) == ["abandoned", "ours"]


async def test_closing_twice_while_commits_wait(path: Path) -> None:
    embedded = await EmbeddedStore.open(path)
    with _locked(path):
        tasks = await _commit_all(embedded, [_source(f"s{i}") for i in range(5)])
        closing = asyncio.gather(embedded.close(), embedded.close())
        await asyncio.sleep(0.02)
        assert not closing.done()
    await closing
    await asyncio.gather(*tasks)

    embedded = await EmbeddedStore.open(path)
    assert await _ids(embedded) == [f"s{i}" for i in range(5)]
    await embedded.close()


async def test_stale_changes_name_the_reason(embedded: EmbeddedStore) -> None:
    await embedded.commit(_source("s"))

    with pytest.raises(Stale, match=r"UNIQUE constraint failed: sources\.id"):
        await embedded.commit(_source("s"))
    with pytest.raises(Stale, match="1 rows of sources to update are gone"):
        await embedded.commit(
            build.changes(update=[Update(SOURCES, ("label",), (("s", "x"), ("t", "x")))])
        )
    with pytest.raises(Stale, match="flow f is gone"):
        await embedded.commit(build.changes(add_segments=[build.segments("f", [(0, 1)])]))


@pytest.mark.parametrize(("synchronous", "level"), [("full", 2), ("normal", 1)])
def test_durability_is_as_asked(path: Path, synchronous: Any, level: int) -> None:
    with closing(connection.connect(path, synchronous=synchronous, write=True)) as opened:
        assert opened.execute("PRAGMA synchronous").fetchone() == (level,)
        assert opened.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_reader_cannot_write(path: Path) -> None:
    with (
        closing(connection.connect(path, write=False)) as opened,
        pytest.raises(sqlite3.OperationalError, match="attempt to write a readonly database"),
    ):
        opened.execute("CREATE TABLE a (b)")


def test_a_file_without_write_ahead_logging_is_refused() -> None:
    with pytest.raises(Unavailable, match="needs write-ahead logging, and this file gets 'memory'"):
        connection.connect(Path(":memory:"), write=True)


def test_changing_the_journal_waits_for_a_lock(path: Path) -> None:
    with ThreadPoolExecutor(1) as pool, closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE a (b)")
        other.isolation_level = None
        other.execute("BEGIN IMMEDIATE")
        opening = pool.submit(connection.connect, path, write=True)
        with pytest.raises(TimeoutError):
            opening.result(0.05)
        other.execute("ROLLBACK")
        opening.result(PATIENCE_SECONDS).close()


def test_changing_the_journal_does_not_wait_for_ever(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_BUSY_TIMEOUT_MS", 20)
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE a (b)")
        other.isolation_level = None
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="database is locked"):
            connection.connect(path, write=True)


def test_an_old_sqlite_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "OLDEST_SQLITE", (99, 1, 0))

    with pytest.raises(Unavailable, match=r"the embedded store needs 99\.1\.0"):
        connection.connect(path, write=True)
