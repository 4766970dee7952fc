"""Several processes on one file: killed in mid stream, claiming the same time, writing at once."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from itertools import pairwise
from pathlib import Path

from tams_gql.store.embedded import EmbeddedStore
from tams_gql.store.scan import Scan, Tagged, TagOp
from tams_gql.store.tables import EVENTS, FLOW_COUNTERS, FLOWS, OBJECTS, SEGMENTS, SOURCES
from tests.store import ask, build, naive
from tests.store.embedded import children

_FLOW, _BODY = EVENTS.columns.index("flow_id"), EVENTS.columns.index("body")


def _damage(path: Path) -> list[tuple[str]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("PRAGMA integrity_check").fetchall()


async def _open(path: Path) -> EmbeddedStore:
    return await EmbeddedStore.open(path)


async def test_a_killed_process_loses_nothing_it_acknowledged(path: Path) -> None:
    reports = children.run("write-until-killed", path, 20)
    acknowledged = {name for names in reports for name in names}
    assert all(reports[1::2])

    assert _damage(path) == [("ok",)]
    store = await _open(path)
    found = await ask.everything(store)
    tagged = await ask.rows(store, Scan(FLOWS, ("id",), tags=(Tagged("of", TagOp.EXISTS),)))
    await store.close()

    names = [row[0] for row in found["sources"]]
    assert acknowledged <= set(names)
    # A change set is there with all its rows, and with its events, or not at all.
    assert [row[0] for row in found["flows"]] == names
    assert sorted(name for (name,) in tagged) == names
    assert [row[0] for row in found["flow_counters"]] == names
    assert [row[0] for row in found["objects"]] == sorted(
        f"{name}/{i}" for name in names for i in range(children.PARTS)
    )
    followed = {name for name in names if _next(name) in set(names)}
    spans = {name: [(i * 10, i * 10 + 10) for i in range(name in followed, 3)] for name in names}
    stored: dict[str, list[tuple[int, int]]] = {name: [] for name in names}
    for flow_id, start, end, *_ in found["segments"]:
        stored[flow_id].append((start, end))
    assert stored == spans
    assert [row[:4] for row in found["flow_counters"]] == [
        (name, len(spans[name]), 10 * len(spans[name]), 7 * len(spans[name])) for name in names
    ]
    references = {row[0]: row[OBJECTS.columns.index("ref_count")] for row in found["objects"]}
    assert references == {
        f"{name}/{i}": int(i > 0 or name not in followed) for name in names for i in range(3)
    }
    removed = '{"segment_count":1,"start_ns":0,"end_ns":10}'
    assert Counter((row[_FLOW], row[_BODY]) for row in found["events"]) == Counter(
        [(name, body) for name in names for body in ('{"n":1}', '{"n":2}')]
        + [(name, removed) for name in followed]
    )


def _next(name: str) -> str:
    head, _, number = name.rpartition("-")
    return f"{head}-{int(number) + 1}"


async def test_processes_that_claim_the_same_time(path: Path) -> None:
    store = await _open(path)
    await store.commit(build.changes(*build.flows("f"), build.objects("object")))

    reports = children.run("claim", path, 8)

    claims = [claim for child in reports for claim in child]
    assert {kind for kind, _ in claims} == {"stored", "refused"}
    stored = sorted(tuple(s) for kind, spans in claims if kind == "stored" for s in spans)
    rows = await ask.everything_of(store, SEGMENTS)
    assert [row[1:3] for row in rows] == stored
    assert all(end <= start for (_, end), (start, _) in pairwise(stored))
    for kind, spans in claims:
        if kind == "refused":
            assert any(naive.overlap(tuple(s), other) for s in spans for other in stored)
    ((_, segment_count, duration_ns, *_),) = await ask.everything_of(store, FLOW_COUNTERS)
    assert (segment_count, duration_ns) == (len(stored), sum(b - a for a, b in stored))
    assert await ask.rows(store, Scan(OBJECTS, ("ref_count",))) == [(len(stored),)]
    await store.close()


async def test_processes_that_write_at_once_wait_for_each_other(path: Path) -> None:
    store = await _open(path)

    reports = children.run("write-for", path, 8)

    # A child that had failed would have said so instead.
    commits = [child["commits"] for (child,) in reports]
    assert len(commits) == 8
    assert all(number > 0 for number in commits)
    assert await ask.count(store, Scan(SOURCES, ("id",))) == 20 * sum(commits)
    assert len(await ask.events(store)) == sum(commits)
    await store.close()
