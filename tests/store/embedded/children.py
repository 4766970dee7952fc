"""Processes that write to one catalog file together: ``python -m tests.store.embedded.children``.

The modules are imported once and each child is a fork, so that many children cost little. Children
report JSON values, one a line; what a killed child had reported counts.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

from tams_gql.store.changes import AddSegments, ChangeSet, RemoveSegments, Stale
from tams_gql.store.embedded import EmbeddedStore
from tams_gql.store.tables import SOURCES
from tests.store import build
from tests.store.elsewhere import ROOT

Report = Callable[[Any], None]
Work = Callable[[EmbeddedStore, int, Report], Awaitable[None]]

PARTS = 3
"""Segments and objects that each change set of a doomed writer makes."""


def run(role: str, path: Path, *arguments: int) -> list[list[Any]]:
    """What each child reported, from a process of its own."""
    command = [sys.executable, "-m", __spec__.name, role, str(path), *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    reports: list[list[Any]] = json.loads(done.stdout)
    return reports


def doomed_change(name: str, before: str | None) -> ChangeSet:
    """Everything about one flow, and the removal of a segment of the flow before it."""
    objects = [f"{name}/{i}" for i in range(PARTS)]
    rows = tuple(
        build.segment(name, i * 10, i * 10 + 10, object_id=o, size=7) for i, o in enumerate(objects)
    )
    removed = [RemoveSegments(before, 0, 10, event=build.event(flow_id=before))] if before else []
    return build.changes(
        build.insert(SOURCES, build.source(name, tags=build.tags_json({"of": name}))),
        *build.flows(name, source_id=name, tags=build.tags_json({"of": [name]})),
        build.objects(*objects),
        add_segments=[AddSegments(name, rows)],
        remove_segments=removed,
        events=[build.event('{"n":1}', flow_id=name), build.event('{"n":2}', flow_id=name)],
    )


async def _write_until_killed(store: EmbeddedStore, number: int, report: Report) -> None:
    async def write(writer: int) -> None:
        before: str | None = None
        for k in count():
            name = f"{number}-{writer}-{k}"
            await store.commit(doomed_change(name, before))
            report(name)
            before = name

    await asyncio.gather(*(write(writer) for writer in range(3)))


async def _claim(store: EmbeddedStore, number: int, report: Report) -> None:
    """Add segments wherever chance leads, until some have been refused."""
    chance, refused = random.Random(number), False
    deadline = time.monotonic() + 1.5
    while not refused or time.monotonic() < deadline:
        first = chance.randrange(3_000)
        spans = [(first + i * 4, first + i * 4 + chance.randint(1, 4)) for i in range(3)]
        try:
            await store.commit(build.changes(add_segments=[build.segments("f", spans)]))
        except Stale:
            refused = True
            report(["refused", spans])
        else:
            report(["stored", spans])


async def _write_for(store: EmbeddedStore, number: int, report: Report) -> None:
    """Commit for five seconds without a pause; report how often, and the longest wait."""
    start, commits, longest = time.monotonic(), 0, 0.0
    while (began := time.monotonic()) < start + 5:
        rows = [build.source(f"{number}-{commits}-{i}") for i in range(20)]
        await store.commit(build.changes(build.insert(SOURCES, *rows), events=[build.event()]))
        longest = max(longest, time.monotonic() - began)
        commits += 1
    report({"commits": commits, "longest_wait": longest})


_ROLES: dict[str, Work] = {
    "write-until-killed": _write_until_killed,
    "claim": _claim,
    "write-for": _write_for,
}


async def _child(path: Path, work: Work, number: int, report: Report) -> None:
    store = await EmbeddedStore.open(path)
    await work(store, number, report)
    await store.close()


def _fork(path: Path, work: Work, number: int) -> tuple[int, int]:
    """The process id of a new child, and where its reports can be read."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        return pid, reader

    def report(value: Any) -> None:
        os.write(writer, json.dumps(value).encode() + b"\n")

    try:
        asyncio.run(_child(path, work, number, report))
    except BaseException as error:
        report(["failed", repr(error)])
    os._exit(0)


def _kill_each(path: Path, work: Work, rounds: int) -> Iterator[list[Any]]:
    """Every other child dies at any moment of its life, the rest when they have begun to report."""
    for number in range(rounds):
        pid, reader = _fork(path, work, number)
        if number % 2:
            select.select([reader], [], [])
        # The reports are read only later: a pipe holds more of them than a child can make.
        time.sleep(random.uniform(0, 0.25))
        os.kill(pid, signal.SIGKILL)
        yield _reports(pid, reader)


def _side_by_side(path: Path, work: Work, number: int) -> list[list[Any]]:
    children = dict(_fork(path, work, i) for i in range(number))
    readers = dict.fromkeys(children.values(), b"")
    while readers_open := [r for r in readers if r in children.values()]:
        for reader in select.select(readers_open, [], [])[0]:
            data = os.read(reader, 65_536)
            readers[reader] += data
            if not data:
                os.close(reader)
                children = {pid: r for pid, r in children.items() if r != reader}
    for _ in readers:
        os.wait()
    return [[json.loads(line) for line in text.splitlines()] for text in readers.values()]


def _reports(pid: int, reader: int) -> list[Any]:
    os.waitpid(pid, 0)
    with os.fdopen(reader) as pipe:
        return [json.loads(line) for line in pipe]


def _main(role: str, path: str, number: str) -> None:
    work, place = _ROLES[role], Path(path)
    if work is _write_until_killed:
        print(json.dumps(list(_kill_each(place, work, int(number)))))
    else:
        print(json.dumps(_side_by_side(place, work, int(number))))


if __name__ == "__main__":
    _main(*sys.argv[1:])
