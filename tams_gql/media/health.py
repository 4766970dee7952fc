"""Whether the storage backends work, without asking them more often than is worth it.

A check writes, reads and removes an object, and object stores charge for that. So a good result is
kept for half a minute; a backend that failed is asked again each time.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from tams_gql.media.port import MediaBackend
from tams_gql.media.registry import MediaRegistry
from tams_gql.model.errors import TamsError, Unavailable

GOOD_SECONDS: Final = 30.0
_PATIENCE_SECONDS: Final = 1.5

_logger = logging.getLogger(__name__)


class MediaHealth:
    """The state of all storage backends of a registry."""

    def __init__(
        self, media: MediaRegistry, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``clock`` gives seconds."""
        self._watched = [_Watched(backend, clock) for backend in media]

    async def check(self) -> None:
        """Raise Unavailable if no storage backend works; those that fail stand in the log.

        One that works is enough: all servers share the backends, so that taking this one out of
        service would help nobody, and the catalog answers without any.
        """
        works = await asyncio.gather(*(watched.works() for watched in self._watched))
        if not any(works):
            raise Unavailable("no storage backend works")

    async def aclose(self) -> None:
        """End the checks that still wait for an answer."""
        await asyncio.gather(*(watched.aclose() for watched in self._watched))


class _Watched:
    """One backend: checked by one task at a time, for which nobody waits long."""

    def __init__(self, media: MediaBackend, clock: Callable[[], float]) -> None:
        self._media = media
        self._clock = clock
        self._good_until = float("-inf")
        self._worked = True
        self._task: asyncio.Task[TamsError | None] | None = None

    async def works(self) -> bool:
        if self._clock() < self._good_until:
            return True
        if self._task is None:
            self._task = asyncio.create_task(self._check())
        task = self._task
        done, _ = await asyncio.wait({task}, timeout=_PATIENCE_SECONDS)
        failure: TamsError | None = Unavailable("no answer in time")
        if done:
            if self._task is task:  # else another one who waited has had this result before
                self._task = None
            if task.cancelled():  # by the end of the server, which says nothing of the backend
                return False
            failure = task.result()
            if failure is None:
                self._good_until = self._clock() + GOOD_SECONDS
        self._tell(failure)
        return failure is None

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _check(self) -> TamsError | None:
        try:
            await self._media.check()
        except TamsError as error:
            return error
        except Exception as error:
            _logger.exception("the check of storage backend %s failed", self._media.backend.label)
            return Unavailable(type(error).__name__)
        return None

    def _tell(self, failure: TamsError | None) -> None:
        """Log when it changes, not at every check."""
        if failure is None and not self._worked:
            _logger.info("storage backend %s works again", self._media.backend.label)
        if failure is not None and self._worked:
            label = self._media.backend.label
            _logger.error("storage backend %s does not work: %s", label, failure.message)
        self._worked = failure is None
