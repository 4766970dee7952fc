"""The write-ahead log stays short although somebody is always reading."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from tams_gql.store.embedded import EmbeddedStore, checkpoint
from tams_gql.store.embedded.checkpoint import LogKeeper
from tams_gql.store.embedded.connection import connect
from tams_gql.store.scan import Scan
from tams_gql.store.tables import SERVICE
from tests.store import ask, build
from tests.waiting import PATIENCE_SECONDS

_MIB = 2**20
_READ = [Scan(SERVICE, ("name",))]


def _log_size(path: Path) -> int:
    return path.with_name(f"{path.name}-wal").stat().st_size


async def _write(embedded: EmbeddedStore, mebibytes: int, path: Path) -> int:
    """Append events; the largest size that the log had meanwhile."""
    longest = 0
    for _ in range(mebibytes * 2):
        await embedded.commit(build.changes(events=[build.event(f'"{"x" * (_MIB // 2)}"')]))
        longest = max(longest, _log_size(path))
        await asyncio.sleep(0)
    return longest


async def test_reads_that_overlap_without_a_pause_do_not_let_the_log_grow(
    path: Path, embedded: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "_LONG_BYTES", 2 * _MIB)
    monkeypatch.setattr(checkpoint, "_BYTES_PER_SECOND", 1)
    monkeypatch.setattr(checkpoint, "_LONGEST_PAUSE_SECONDS", PATIENCE_SECONDS)
    written = asyncio.Event()

    async def keep_reading(number: int) -> int:
        await asyncio.sleep(number * 0.01)
        count = 0
        while not written.is_set():
            async with embedded.session() as session:
                await session.scan(_READ)
                await asyncio.sleep(0.03)
                await session.scan(_READ)
            count += 1
        return count

    reading = [asyncio.create_task(keep_reading(number)) for number in range(3)]
    await asyncio.sleep(0.05)
    # The keeper of an open store has read the threshold when it was made.
    other = await EmbeddedStore.open(path)
    longest = await _write(other, 24, path)
    written.set()

    assert min(await asyncio.gather(*reading)) > 3
    assert longest < 8 * _MIB
    assert len(await ask.bodies(embedded)) == 48
    await other.close()


async def test_a_read_that_does_not_end_holds_up_writers_for_a_moment_only(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "_LONG_BYTES", _MIB)
    monkeypatch.setattr(checkpoint, "_LONGEST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(checkpoint, "_GROWTH_BYTES", 1)
    embedded = await EmbeddedStore.open(path)
    async with embedded.session() as session:
        before = await session.head()
        longest = await _write(embedded, 8, path)
        assert await session.head() == before
    assert longest > 8 * _MIB
    # The log begins anew then, in the file as long as it is.
    assert await _write(embedded, 8, path) < longest + 2 * _MIB

    assert len(await ask.bodies(embedded)) == 32
    await embedded.close()


def test_the_longer_the_log_the_rarer_are_the_attempts(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "_LONG_BYTES", _MIB)
    monkeypatch.setattr(checkpoint, "_GROWTH_BYTES", 1)
    monkeypatch.setattr(checkpoint, "_LONGEST_PAUSE_SECONDS", 0)
    attempts = []
    monkeypatch.setattr(checkpoint, "_begin_anew", lambda *_: attempts.append(_log_size(path)))
    with closing(connect(path, write=True)) as connection:
        keeper = LogKeeper(path)
        connection.execute("CREATE TABLE t (x)")
        with closing(connect(path, write=False)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM t").fetchall()
            while _log_size(path) < 4 * _MIB:
                connection.execute("INSERT INTO t VALUES (zeroblob(65536))")
                keeper.look(connection)
    assert len(attempts) == 6
    for one, other in pairwise(attempts):
        assert one * 5 // 4 <= other < one * 5 // 4 + _MIB // 8


def test_a_short_log_and_one_that_is_gone_are_left_alone(path: Path) -> None:
    with closing(connect(path, write=True)) as connection:
        connection.execute("CREATE TABLE t (x)")
        size = _log_size(path)
        LogKeeper(path).look(connection)
        assert _log_size(path) == size > 0
        LogKeeper(path.with_name("gone")).look(connection)


async def test_a_failure_costs_no_commit(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(self: LogKeeper, connection: sqlite3.Connection) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(LogKeeper, "look", fail)
    embedded = await EmbeddedStore.open(path)
    with caplog.at_level(logging.WARNING):
        for body in ('"a"', '"b"'):
            await embedded.commit(build.changes(events=[build.event(body)]))
    assert await ask.bodies(embedded) == ['"a"', '"b"']
    await embedded.close()
    assert [record.message for record in caplog.records] == [
        "the write-ahead log could not be shortened: disk I/O error"
    ] * 2
