"""Probes: ``/livez`` says that the process runs, ``/readyz`` that it can do its work.

Neither asks for credentials, so neither tells more than the names of the checks: no addresses and
no error texts. What went wrong stands in the log.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

Check = Callable[[], Awaitable[object]]
"""Returns when the part works; raises when it does not."""

CheckStatus = Literal["ok", "failed", "timeout"]

CHECK_SECONDS = 2.0
CACHE_SECONDS = 5.0
_NO_STORE = {"Cache-Control": "no-store"}

_logger = logging.getLogger(__name__)


def health_routes(
    checks: Mapping[str, Check], clock: Callable[[], float] = time.monotonic
) -> list[Route]:
    """Return the routes of ``/livez`` and ``/readyz``.

    Each check has 2 s; results serve for 5 s, as ``clock`` (seconds) tells, however many ask.
    """
    readiness = _Readiness(checks, clock)

    async def livez(request: Request) -> JSONResponse:
        del request
        return JSONResponse({"status": "alive"}, headers=_NO_STORE)

    async def readyz(request: Request) -> JSONResponse:
        del request
        results = await readiness.results()
        ready = all(status == "ok" for status in results.values())
        body = {
            "status": "ready" if ready else "not_ready",
            "checks": {name: {"status": status} for name, status in results.items()},
        }
        return JSONResponse(body, status_code=200 if ready else 503, headers=_NO_STORE)

    return [Route("/livez", livez), Route("/readyz", readyz)]


class _Readiness:
    """The latest results of all checks, renewed by one task whoever asks."""

    def __init__(self, checks: Mapping[str, Check], clock: Callable[[], float]) -> None:
        self._probes = [_Probe(name, check) for name, check in checks.items()]
        self._clock = clock
        self._results: dict[str, CheckStatus] = {}
        self._renewed_at: float | None = None
        self._renewal: asyncio.Task[None] | None = None

    async def results(self) -> Mapping[str, CheckStatus]:
        fresh_until = None if self._renewed_at is None else self._renewed_at + CACHE_SECONDS
        if fresh_until is None or self._clock() >= fresh_until:
            if self._renewal is None or self._renewal.done():
                self._renewal = asyncio.create_task(self._renew())
            # Shielded: the one who asked may go away, others wait for the same task.
            await asyncio.shield(self._renewal)
        return self._results

    async def _renew(self) -> None:
        statuses = await asyncio.gather(*(probe.run() for probe in self._probes))
        names = (probe.name for probe in self._probes)
        self._results = dict(zip(names, statuses, strict=True))
        self._renewed_at = self._clock()


class _Probe:
    """Runs one check at a time and waits for it no longer than 2 s."""

    def __init__(self, name: str, check: Check) -> None:
        self.name = name
        self._check = check
        self._status: CheckStatus = "ok"
        self._task: asyncio.Task[object] | None = None

    async def run(self) -> CheckStatus:
        status, cause = await self._outcome()
        if status != self._status:  # logged when it changes, not at every probe
            level = logging.INFO if status == "ok" else logging.ERROR
            _logger.log(level, "readiness check %s: %s", self.name, status, exc_info=cause)
        self._status = status
        return status

    async def _outcome(self) -> tuple[CheckStatus, BaseException | None]:
        if self._task is not None and not self._task.done():
            return "timeout", None  # the last one still hangs; do not pile up more
        self._task = asyncio.ensure_future(_awaited(self._check))
        self._task.add_done_callback(_look_at)
        # `wait` comes back in time even if the check, stuck in a thread, cannot be cancelled.
        done, _ = await asyncio.wait({self._task}, timeout=CHECK_SECONDS)
        if not done:
            self._task.cancel()
            return "timeout", None
        cause = self._task.exception() if not self._task.cancelled() else asyncio.CancelledError()
        return ("ok", None) if cause is None else ("failed", cause)


def _look_at(task: asyncio.Task[object]) -> None:
    # A check that fails after its time is up has been reported; asyncio need not warn of it.
    if not task.cancelled():
        task.exception()


async def _awaited(check: Check) -> object:
    # Inside the task, so that a check that fails before its first await is caught as well.
    return await check()
