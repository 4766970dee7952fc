"""aiodataloader's batching, with an answer for each caller of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from aiodataloader import DataLoader

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

Load = Callable[[list[K]], Coroutine[Any, Any, list[T]]]
"""Answers keys in their order."""


class Loader(DataLoader[K, T]):
    """Loads each key once and gives every caller a future of its own.

    A ``DataLoader`` hands the same future to all who ask for a key. When one branch of an operation
    fails, the executor cancels its siblings, and with them what they await: others who wait for the
    same key would be cancelled too, and so would a batch that another loader makes of it.
    """

    def __init__(self, load: Load[K, T], *, max_batch_size: int | None = None) -> None:
        super().__init__(_answering(load), max_batch_size=max_batch_size)

    def load(self, key: K) -> asyncio.Future[T]:
        answer: Any = self._cache.get(key)
        if answer is None:
            answer = self._cache[key] = _Answer(self.loop)  # type: ignore[assignment]
            self.do_resolve_reject(key, answer)
        future: asyncio.Future[T] = answer.future()
        return future


def _answering(load: Load[K, T]) -> Load[K, T]:
    """Let a batch fail in which something was cancelled that nobody of ours has cancelled.

    A ``DataLoader`` settles nothing then, and those who wait would do so for ever.
    """

    async def answer(keys: list[K]) -> list[T]:
        try:
            return await load(keys)
        except asyncio.CancelledError as stray:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise RuntimeError("something that a batch waited for was cancelled") from stray

    return answer


class _Answer(Generic[T]):
    """What a batch settles, as it would settle a future, for all who wait for one key."""

    __slots__ = ("_error", "_loop", "_settled", "_value", "_waiting")

    _value: T

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._settled = False
        self._error: BaseException | None = None
        self._waiting: list[asyncio.Future[T]] = []

    def future(self) -> asyncio.Future[T]:
        """A future for one who asks; settled at once if the answer is known."""
        future: asyncio.Future[T] = self._loop.create_future()
        if self._settled:
            self._tell(future)
        else:
            self._waiting.append(future)
        return future

    def done(self) -> bool:
        return self._settled

    def set_result(self, value: T) -> None:
        self._value = value
        self._settle()

    def set_exception(self, error: BaseException) -> None:
        self._error = error
        self._settle()

    def _settle(self) -> None:
        self._settled = True
        for future in self._waiting:
            if not future.done():
                self._tell(future)
        self._waiting.clear()

    def _tell(self, future: asyncio.Future[T]) -> None:
        if self._error is None:
            future.set_result(self._value)
        else:
            future.set_exception(self._error)
