"""Writers that get in each other's way, in any number of stores and processes.

``python -m tests.store.vast.rivals CONFIG NUMBER SECONDS`` is one of them; it prints what it has
been told was done, one act a line, as soon as it knows.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from tams_gql.store.changes import (
    AddSegments,
    ChangeSet,
    Delete,
    Expect,
    RemoveSegments,
    Stale,
    Update,
)
from tams_gql.store.port import CatalogStore
from tams_gql.store.scan import eq
from tams_gql.store.tables import OBJECTS, SOURCES
from tams_gql.store.vast.config import VastConfig
from tams_gql.store.vast.store import VastStore
from tests.store import ask, build
from tests.store.elsewhere import ROOT

Acts = list[list[Any]]
"""What was acknowledged: the name of what was done, and its arguments."""

FLOW_IDS = ("f", "g")
OBJECT_IDS = ("a", "b", "c")


def world() -> ChangeSet:
    """What the writers begin with."""
    return build.changes(
        build.insert(SOURCES, build.source("s", version=0)),
        *build.flows(*FLOW_IDS),
        build.objects(*OBJECT_IDS, size=7),
    )


class Rival:
    """One writer, with a memory of what it has been told was done."""

    def __init__(
        self, store: CatalogStore, number: int, report: Callable[[list[Any]], None] | None = None
    ) -> None:
        self.done: Acts = []
        self._report = report
        self.refused = 0
        self._store = store
        self._number = number
        self._chance = random.Random(number)
        self._count = 0

    async def act_until(self, over: Callable[[], bool]) -> None:
        """Do one thing after the other."""
        acts = (self.add, self.add, self.add, self.remove, self.increment, self.create, self.renew)
        while not over():
            try:
                await self._chance.choice(acts)()
            except Stale:
                self.refused += 1
                await asyncio.sleep(self._chance.uniform(0, 0.01))

    async def add(self) -> None:
        """Add segments wherever chance leads, of objects that everybody uses."""
        flow_id, first = self._chance.choice(FLOW_IDS), self._chance.randrange(300)
        spans = [(first + i * 4, first + i * 4 + self._chance.randint(1, 4)) for i in range(3)]
        used = self._chance.choices(OBJECT_IDS, k=3)
        rows = tuple(
            build.segment(flow_id, *span, object_id=o, size=7, id=f"{self._number}/{self._count}")
            for span, o in zip(spans, used, strict=True)
        )
        await self._commit(["add", flow_id, spans], add_segments=[AddSegments(flow_id, rows)])

    async def remove(self) -> None:
        """Remove what is in a part of a flow."""
        flow_id, first = self._chance.choice(FLOW_IDS), self._chance.randrange(300)
        event = build.event('{"removed":true}')
        removal = RemoveSegments(flow_id, first, first + 40, None, event)
        await self._commit(["remove", flow_id], remove_segments=[removal])

    async def increment(self) -> None:
        """Add one to a number that everybody adds to."""
        row = await ask.row(self._store, SOURCES, "s")
        assert row is not None
        await self._commit(
            ["increment"],
            expect=[Expect(SOURCES, ("s",), {"version": row["version"]})],
            update=[Update(SOURCES, ("version",), (("s", row["version"] + 1),))],
        )

    async def create(self) -> None:
        """Make a source and an object whose names others are after as well."""
        name = f"new-{self._chance.randrange(40)}"
        await self._commit(
            ["create", name],
            expect=[Expect(SOURCES, (name,), None)],
            insert=[build.insert(SOURCES, build.source(name)), build.objects(name, size=1)],
        )

    async def renew(self) -> None:
        """Remove such a source and its object, if they are there."""
        name = f"new-{self._chance.randrange(40)}"
        await self._commit(
            ["renew", name],
            expect=[Expect(SOURCES, (name,), {}), Expect(OBJECTS, (name,), {"ref_count": 0})],
            delete=[Delete(SOURCES, (eq("id", name),)), Delete(OBJECTS, (eq("id", name),))],
        )

    async def _commit(self, act: list[Any], **parts: Any) -> None:
        self._count += 1
        name = json.dumps([self._number, self._count])
        await self._store.commit(build.changes(events=[build.event(name)], **parts))
        self.done.append([*act, name])
        if self._report is not None:
            self._report(self.done[-1])


async def open_store(config: VastConfig) -> CatalogStore:
    """A store, as a process of its own would open it."""
    return await VastStore.open(config)


async def run_elsewhere(
    config: VastConfig, rivals: int, seconds: float, *, kill: bool = False
) -> Acts:
    """Let writers in processes of their own do what they like; what they were told was done.

    With ``kill`` they have no time to finish: each is killed soon after the first acts of all. What
    a killed one has claimed may keep the others from acting until its claims expire.
    """
    children = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", __spec__.name),
            *(json.dumps(asdict(config)), str(number), str(seconds)),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )
        for number in range(rivals)
    ]
    early = await asyncio.gather(*(_first_lines(child, 3 if kill else 0) for child in children))
    late = await asyncio.gather(*(_last_lines(child, kill) for child in children))
    assert [child.returncode for child in children] == [-9 if kill else 0] * rivals
    return [json.loads(line) for of_child in (*early, *late) for line in of_child]


async def _first_lines(child: asyncio.subprocess.Process, count: int) -> list[bytes]:
    assert child.stdout is not None
    return [await child.stdout.readline() for _ in range(count)]


async def _last_lines(child: asyncio.subprocess.Process, kill: bool) -> list[bytes]:
    if kill:
        await asyncio.sleep(random.uniform(0.05, 0.2))
        child.kill()
    output, _ = await child.communicate()
    return output.splitlines()


async def _run(config: VastConfig, number: int, seconds: float) -> None:
    store = await open_store(config)

    def report(act: list[Any]) -> None:
        print(json.dumps(act), flush=True)

    one, other = Rival(store, number, report), Rival(store, number + 1_000, report)
    deadline = time.monotonic() + seconds
    await asyncio.gather(
        *(rival.act_until(lambda: time.monotonic() > deadline) for rival in (one, other))
    )
    await store.close()


if __name__ == "__main__":
    asyncio.run(_run(VastConfig(**json.loads(sys.argv[1])), int(sys.argv[2]), float(sys.argv[3])))
