"""Probes over a real socket, with real time where time is the point."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import httpx
import pytest
from starlette.applications import Starlette

from tams_gql.http import health
from tams_gql.http.health import CACHE_SECONDS, CHECK_SECONDS, Check, health_routes

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
    async with httpx.AsyncClient(trust_env=False) as client:

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
    limit = 0.4  # seconds; nobody waits for the part that is deaf, which takes ten times that
    monkeypatch.setattr(health, "CHECK_SECONDS", limit)
    started = 0

    async def stuck() -> None:
        nonlocal started
        started += 1
        await asyncio.to_thread(time.sleep, limit + 0.4)

    async def deaf() -> None:
        sleeping = asyncio.ensure_future(asyncio.sleep(10 * limit))
        while not sleeping.done():
            try:
                await asyncio.shield(sleeping)
            except asyncio.CancelledError:
                continue
        raise OSError("far too late")

    ask = await probed({"stuck": stuck, "deaf": deaf, "media": _Part()})
    began = time.monotonic()
    first = await ask()
    took = time.monotonic() - began
    clock.now += CACHE_SECONDS
    second = await ask()
    assert limit <= took < 9 * limit
    assert first.status_code == 503
    assert first.json()["checks"] == _checks(stuck="timeout", deaf="timeout", media="ok")
    # stuck was cancelled and starts anew; deaf still runs, and nobody waits for it again
    assert second.json()["checks"]["deaf"] == {"status": "timeout"}
    assert started == 2
    assert time.monotonic() - began < 9 * limit


async def test_the_loop_is_free_while_a_check_hangs(probed: Probed) -> None:
    async def hangs() -> None:
        await asyncio.sleep(60)

    ask = await probed({"store": hangs})
    waiting = asyncio.ensure_future(ask())
    await asyncio.sleep(0.1)
    began = time.monotonic()
    alive = await ask("/livez")
    assert time.monotonic() - began < CHECK_SECONDS
    assert not waiting.done()
    assert (alive.status_code, alive.json()) == (200, {"status": "alive"})
    assert (await waiting).status_code == 503
    assert CHECK_SECONDS <= time.monotonic() - began + 0.1 < CHECK_SECONDS + 5


async def test_alive_even_if_nothing_works(probed: Probed) -> None:
    store = _Part()
    store.failure = OSError("gone")
    ask = await probed({"store": store})
    assert (await ask("/livez")).status_code == 200
    assert store.asked == 0
