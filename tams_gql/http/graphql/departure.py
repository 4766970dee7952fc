"""Giving up a query whose client has left."""

from __future__ import annotations

import asyncio
from types import TracebackType

from starlette.requests import ClientDisconnect
from starlette.types import Receive

# Most queries are over by then, and to watch for each of them would cost more than it saves.
UNWATCHED_SECONDS = 1.0


class WhileClientWaits:
    """``with WhileClientWaits(receive):`` cancels what runs inside once the client has left.

    Raises ClientDisconnect then. The body of the request must have been read.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._left = False
        self._watcher: asyncio.Task[None] | None = None

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancelled_before = task.cancelling()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(UNWATCHED_SECONDS, self._watch)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
        # Not if the server, too, has cancelled it meanwhile.
        if self._left and self._task.uncancel() <= self._cancelled_before:
            raise ClientDisconnect from None

    def _watch(self) -> None:
        self._watcher = asyncio.create_task(self._until_client_leaves())

    async def _until_client_leaves(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._left = True
        self._task.cancel()
