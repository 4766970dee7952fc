"""Another process that commits to a catalog: ``python -m tests.store.elsewhere NAME ADDRESS BODY``.

Prints the log position of its event.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.store import build
from tests.store.backends import REOPEN, Backend

ROOT = Path(__file__).parents[2]


async def commit_elsewhere(name: str, backend: Backend, body: str) -> str:
    """Commit one event from a process of its own; its position in the log."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __spec__.name, name, backend.address, body),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await child.communicate()
    assert child.returncode == 0
    return output.decode().strip()


async def _commit(name: str, address: str, body: str) -> None:
    store = await REOPEN[name](address).open()
    done = await store.commit(build.changes(events=[build.event(body)]))
    await store.close()
    print(done.position)


if __name__ == "__main__":
    asyncio.run(_commit(*sys.argv[1:]))
