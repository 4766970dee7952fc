"""Probes over a real socket, with real time where time is the point."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress

import httpx
import pytest
from starlette.applications import Starlette

from tams_gql.http import health
from tams_gql.http.health import CACHE_SECONDS, Check, health_routes
from tests.waiting import PATIENCE_SECONDS, until

Serve = Callable[[Starlette], Awaitable[int]]
Ask = Callable[..., Awaitable[httpx.Response]]
Probed = Callable[[Mapping[str, Check]], Awaitable[Ask]]


class _Clock:
    """Seconds that pass when the test says so."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


@pytest.fixture
async def probed(serve: Serve, clock: _Clock) -> AsyncIterator[Probed]:
    """Serve the probes over the given checks; return what asks them."""
    async with httpx.AsyncClient(timeout=PATIENCE_SECONDS, trust_env=False) as client:

        async def start(checks: Mapping[str, Check]) -> Ask:
            port = await serve(Starlette(routes=health_routes(checks, clock=clock)))

            async def ask(path: str = "/readyz") -> httpx.Response:
                return await client.get(f"http://127.0.0.1:{port}{path}")

            return ask

        yield start


class _Part:
    """A part that works, or fails with ``failure``, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.failure: Exception | None = None

    async def __call__(self) -> None:
        self.asked += 1
        await asyncio.sleep(0.02)
        if self.failure is not None:
            raise self.failure


def _checks(**statuses: str) -> dict[str, dict[str, str]]:
    return {name: {"status": status} for name, status in statuses.items()}


async def test_ready_while_every_check_passes(probed: Probed) -> None:
    answer = await (await probed({"store": _Part(), "media": _Part()}))()
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json() == {"status": "ready", "checks": _checks(store="ok", media="ok")}


async def test_a_failing_check_is_named_without_its_reason_and_logged_with_it(
    probed: Probed, clock: _Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "tams_gql.http.health")
    store, media = _Part(), _Part()
    store.failure = ConnectionError("db.internal:5432 refused the password")
    ask = await probed({"store": store, "media": media})
    for _ in range(2):
        answer = await ask()
        clock.now += CACHE_SECONDS
        assert answer.status_code == 503
        assert answer.json() == {
            "status": "not_ready",
            "checks": _checks(store="failed", media="ok"),
        }
        assert "db.internal" not in answer.text
    store.failure = None
    assert (await ask()).status_code == 200
    # a change is logged, not every probe
    assert [record.getMessage() for record in caplog.records] == [
        "readiness check store: failed",
        "readiness check store: ok",
    ]
    assert "db.internal:5432 refused the password" in caplog.text


async def test_results_serve_for_five_seconds_and_then_are_renewed(
    probed: Probed, clock: _Clock
) -> None:
    store = _Part()
    ask = await probed({"store": store})
    await ask()
    clock.now += CACHE_SECONDS - 0.001
    store.failure = OSError("gone")
    assert ((await ask()).status_code, store.asked) == (200, 1)
    clock.now += 0.001
    assert ((await ask()).status_code, store.asked) == (503, 2)


async def test_many_who_ask_at_once_share_one_check(probed: Probed) -> None:
    store = _Part()
    ask = await probed({"store": store})
    answers = await asyncio.gather(*(ask() for _ in range(20)))
    assert ({answer.status_code for answer in answers}, store.asked) == ({200}, 1)


async def test_a_check_stuck_in_a_thread_is_a_timeout_and_is_not_started_twice(
    probed: Probed, clock: _Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert health.CHECK_SECONDS == 2  # as the documents say
    limit = 0.4  # seconds; who waited for the parts that hang would wait for ever
    monkeypatch.setattr(health, "CHECK_SECONDS", limit)
    free, released = threading.Event(), asyncio.Event()
    started = Counter[str]()

    async def stuck() -> None:
        started["stuck"] += 1
        await asyncio.to_thread(free.wait)

    async def deaf() -> None:
        started["deaf"] += 1
        while not released.is_set():
            with suppress(asyncio.CancelledError):
                await released.wait()
        raise OSError("far too late")

    async def quick() -> None:
        """Done before any time can be up."""

    ask = await probed({"stuck": stuck, "deaf": deaf, "media": quick})
    try:
        began = time.monotonic()
        first = await ask()
        took = time.monotonic() - began
        clock.now += CACHE_SECONDS
        second = await ask()
    finally:
        free.set()
        released.set()
    assert took >= limit
    assert first.status_code == 503
    assert first.json()["checks"] == _checks(stuck="timeout", deaf="timeout", media="ok")
    # stuck was cancelled and starts anew; deaf still runs, and nobody waits for it again
    assert second.json()["checks"]["deaf"] == {"status": "timeout"}
    assert started == {"stuck": 2, "deaf": 1}


async def test_the_loop_is_free_while_a_check_hangs(probed: Probed) -> None:
    hangs, free = asyncio.Event(), asyncio.Event()

    async def check() -> None:
        hangs.set()
        await free.wait()

    ask = await probed({"store": check})
    waiting = asyncio.ensure_future(ask())
    await until(hangs.is_set)
    alive = await ask("/livez")
    assert not waiting.done()
    assert (alive.status_code, alive.json()) == (200, {"status": "alive"})
    free.set()
    assert (await waiting).status_code == 200


async def test_alive_even_if_nothing_works(probed: Probed) -> None:
    store = _Part()
    store.failure = OSError("gone")
    ask = await probed({"store": store})
    assert (await ask("/livez")).status_code == 200
    assert store.asked == 0
