"""Reads jobs as JSON lines from standard input and answers each with one line."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import orjson

from bench.client.load import load
from bench.client.subscribers import follow
from bench.client.writers import register, upload

_JOBS: dict[str, Callable[..., Coroutine[Any, Any, dict[str, Any]]]] = {
    "load": load,
    "register": register,
    "upload": upload,
    "follow": follow,
}


def main() -> None:
    """Do one job after the other until standard input ends."""
    with asyncio.Runner(loop_factory=_fast_loop()) as runner:
        for line in sys.stdin.buffer:
            job = orjson.loads(line)
            try:
                answer = runner.run(_JOBS[job.pop("job")](**job))
            except Exception as error:
                answer = {"failure": f"{type(error).__name__}: {error}"}
            sys.stdout.buffer.write(orjson.dumps(answer) + b"\n")
            sys.stdout.buffer.flush()


def _fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        from uvloop import new_event_loop
    except ImportError:
        return None
    return new_event_loop


if __name__ == "__main__":
    main()
