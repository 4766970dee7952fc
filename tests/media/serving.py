"""Applications behind a real uvicorn socket, in a thread of their own."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp


class _Failures(logging.Handler):
    """Keeps what the server reports of itself: an answer of 500 must not pass unseen."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(self.format(record))


@contextmanager
def serving(make_app: Callable[[str], ASGIApp]) -> Iterator[str]:
    """Serve the application that ``make_app`` makes for its own URL; give that URL.

    Fails at the end if the application let an exception through.
    """
    failures = _Failures()
    logger = logging.getLogger("uvicorn.error")
    logger.addHandler(failures)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        config = uvicorn.Config(
            make_app(url), ws="none", lifespan="off", log_config=None, access_log=False
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield url
        finally:
            server.should_exit = True
            thread.join()
            logger.removeHandler(failures)
    assert failures.messages == []
