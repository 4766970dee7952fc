"""Calls to whichever endpoint answers."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

from tams_gql.model.errors import LimitExceeded, Unavailable
from tams_gql.model.jitter import CHANCE
from tams_gql.store.vast.config import VastConfig
from tams_gql.store.vast.wire.clock import StoreClock
from tams_gql.store.vast.wire.outcomes import Lost, NotSent, Refused, Silent, TooLarge

if TYPE_CHECKING:
    from tams_gql.store.vast.wire.transport import Api

T = TypeVar("T")

_LEFT_ALONE_SECONDS = 5.0
_REPEATS = 3  # of a call that may be repeated after its connection broke
_BUSY_SECONDS = (0.05, 2.0)  # first and longest wait for a cluster that asks to slow down


@dataclass(slots=True, eq=False)
class Endpoint:
    """One address of the cluster. ``down_until`` is on the monotonic clock."""

    url: str
    api: Api
    down_until: float = 0.0


class Cluster:
    """The endpoints of a cluster. Thread-safe; connects at the first call."""

    def __init__(self, config: VastConfig) -> None:
        self.clock = StoreClock()
        self._config = config
        self._lock = Lock()
        self._endpoints: list[Endpoint] = []
        self._turn = itertools.count(CHANCE.randrange(len(config.endpoints)))
        self._closed = False

    def choose(self, *, besides: Endpoint | None = None) -> Endpoint:
        """The next endpoint in turn that is not known to be down, or the one down longest."""
        endpoints = self._opened()
        start = next(self._turn)
        others = [endpoints[(start + i) % len(endpoints)] for i in range(len(endpoints))]
        if besides is not None and len(others) > 1:
            others.remove(besides)
        now = time.monotonic()
        return next((e for e in others if e.down_until <= now), None) or min(
            others, key=lambda e: e.down_until
        )

    def call(self, ask: Callable[[Api], T], at: Endpoint, *, repeat: bool) -> T:
        """Ask one endpoint, and others if it cannot be reached.

        With ``repeat`` the call is made again if its connection breaks or the endpoint fails. An
        endpoint that failed or kept silent is left alone for some seconds. Raises ``Lost`` if the
        answer did not come, ``Refused`` if it was an error, ``Unavailable`` if no endpoint can be
        reached, ``LimitExceeded`` if the answer is too large.
        """
        deadline = time.monotonic() + self._config.timeout_seconds
        attempts = _Attempts(deadline, max(_REPEATS, len(self._config.endpoints)))
        if self._closed or at.down_until > time.monotonic():
            at = self.choose()
        while True:
            try:
                return ask(at.api)
            except NotSent as error:
                _leave_alone(at)
                if not attempts.again():
                    raise Unavailable(f"the VAST cluster cannot be reached: {error}") from error
                at = self.choose(besides=at)
            except Lost as error:
                if isinstance(error, Silent):
                    _leave_alone(at)
                if not repeat or not attempts.again():
                    raise
                at = self.choose(besides=at)
            except Refused as error:
                if error.ailing:
                    _leave_alone(at)
                    if not repeat or not attempts.again():
                        raise
                    at = self.choose(besides=at)
                elif not error.busy or not attempts.later():
                    raise
            except TooLarge as error:
                raise LimitExceeded("an answer of the VAST cluster exceeds 1 GiB") from error

    def close(self) -> None:
        """Close all connections; later calls fail."""
        with self._lock:
            self._closed = True
            for endpoint in self._endpoints:
                endpoint.api.close()

    def _opened(self) -> list[Endpoint]:
        if self._closed:
            raise Unavailable("the VAST store is closed")
        if not self._endpoints:
            with self._lock:
                if not self._endpoints:
                    self._endpoints = self._open()
        return self._endpoints

    def _open(self) -> list[Endpoint]:
        # Imported at first use: the SDK takes more than a second.
        from tams_gql.store.vast.wire.transport import Api

        config = self._config
        return [Endpoint(url, Api(config, url, self.clock)) for url in config.endpoints]


def _leave_alone(endpoint: Endpoint) -> None:
    endpoint.down_until = time.monotonic() + _LEFT_ALONE_SECONDS


class _Attempts:
    """How often and until when a call is tried again."""

    def __init__(self, deadline: float, repeats: int) -> None:
        self._deadline = deadline
        self._repeats = repeats
        self._wait, self._longest = _BUSY_SECONDS

    def again(self) -> bool:
        """Whether to repeat at once, elsewhere if possible."""
        self._repeats -= 1
        if self._repeats <= 0 or time.monotonic() > self._deadline:
            return False
        time.sleep(0.02 * CHANCE.random())
        return True

    def later(self) -> bool:
        """Whether to repeat when the cluster may be less busy; waits for that."""
        wait = self._wait * (0.5 + CHANCE.random() / 2)
        if time.monotonic() + wait > self._deadline:
            return False
        time.sleep(wait)
        self._wait = min(2 * self._wait, self._longest)
        return True
