"""``tams-gql serve``: the application behind uvicorn, from the socket to the last request."""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING, Any

import click
import uvicorn

from tams_gql import __version__
from tams_gql.cli.options import settings_options, settings_or_exit
from tams_gql.logs import configure_logs
from tams_gql.model.errors import TamsError
from tams_gql.settings import Settings

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.types import Message, Receive, Scope, Send

AppFactory = Callable[[Settings], "Starlette"]
Alongside = Callable[[Settings], Coroutine[Any, Any, None]]
"""What else runs in the server's loop from its start; cancelled when the server stops."""

EXIT_OK = 0
EXIT_FAILED = 1
# Of the grace period, what closing the store gets after the last request.
_CLOSING_SECONDS = 1
_WATCHDOG_EXTRA_SECONDS = 1
# Longer than the idle time of common proxies (60 s), which would otherwise send a request into a
# connection that is just being closed.
_KEEP_ALIVE_SECONDS = 75
# New objects before the young ones are looked at, and how many such looks before the older ones.
_COLLECTOR_THRESHOLDS = (50_000, 20, 50)

_logger = logging.getLogger("tams_gql.serve")


class CannotListen(Exception):
    """The address cannot be listened on; the message says why and what to change."""


@click.command()
@settings_options
def serve(**options: object) -> None:
    """Run the server until Ctrl-C or SIGTERM.

    Settings come from the options, the environment and the file named by TAMS_CONFIG_FILE, in
    this order. Exit codes: 0 stopped, 1 could not start, 2 wrong settings.
    """
    settings = settings_or_exit(options)
    configure_logs("debug" if settings.debug else settings.log_level, settings.log_format)
    sys.exit(run_server(create_app, settings))


def create_app(settings: Settings) -> Starlette:
    """Make the application, importing it and all its libraries only now."""
    from tams_gql.app import create_app as factory

    return factory(settings)


def run_server(
    app_factory: AppFactory, settings: Settings, alongside: Alongside | None = None
) -> int:
    """Serve until a signal stops it; return the exit code. Belongs in the main thread.

    SIGINT and SIGTERM end the listening at once, give open requests ``shutdown_grace`` seconds and
    close WebSockets with code 1012; a second SIGINT does not wait. If the application has
    ``app.state.begin_shutdown``, it is called first, for answers that have no end of their own.
    """
    try:
        listener = listen(settings.host, settings.port)
    except CannotListen as refused:
        _logger.error("%s", refused)
        return EXIT_FAILED
    with listener:
        settings = settings.listening_on(listener.getsockname()[1])
        try:
            app = app_factory(settings)
        except (TamsError, OSError) as refused:
            _logger.error("cannot start: %s", refused)
            return EXIT_FAILED
        server = _Server(app, settings, alongside)
        loop_factory = server.config.get_loop_factory()
        # When the application does not start, uvicorn logs why and raises SystemExit.
        with (
            suppress(SystemExit),
            asyncio.Runner(loop_factory=loop_factory, debug=settings.debug) as runner,
        ):
            runner.run(server.serve(sockets=[listener]))
    server.end_watch()
    return EXIT_OK if server.started else EXIT_FAILED


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; ``::`` takes IPv4 as well. Raises CannotListen."""
    where = f"port {port} on {host}"
    try:
        family, *_, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        both = host == "::" and socket.has_dualstack_ipv6()
        return socket.create_server(address[:2], family=family, backlog=2048, dualstack_ipv6=both)
    except socket.gaierror:
        raise CannotListen(f"cannot listen: the host {host!r} is unknown (TAMS_HOST)") from None
    except OSError as refused:
        if refused.errno == errno.EADDRINUSE:
            reason = "it is already in use; stop the other program or set TAMS_PORT (--port)"
        elif refused.errno == errno.EACCES:
            reason = "that needs more privileges; choose a port above 1023 (TAMS_PORT, --port)"
        else:
            reason = os.strerror(refused.errno) if refused.errno else str(refused)
        raise CannotListen(f"cannot listen on {where}: {reason}") from None


class _Server(uvicorn.Server):
    """uvicorn with a bounded stop, an exit code of 0 for it, and our words at start."""

    def __init__(self, app: Starlette, settings: Settings, alongside: Alongside | None) -> None:
        super().__init__(_config(_with_readable_failure(app), settings))
        self._app = app
        self._settings = settings
        self._alongside = alongside
        self._companion: asyncio.Task[None] | None = None
        self._watchdog: threading.Timer | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, then listen, then what runs alongside."""
        await super().startup(sockets)
        _spare_collector()
        settings = self._settings
        _logger.info(
            "tams-gql %s serves %s, data in %s",
            __version__,
            settings.public_url,
            settings.data_place,
        )
        if not settings.loopback_only:
            _logger.warning(
                "NO AUTHENTICATION: whoever reaches port %d on %s can read, change and delete "
                "everything. Use this for a local trial in a trusted network only.",
                settings.port,
                settings.host,
            )
        if self._alongside is not None:
            self._companion = asyncio.create_task(self._alongside(settings))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop within the grace period, whatever still runs."""
        grace = self._settings.shutdown_grace
        self._watchdog = threading.Timer(grace + _WATCHDOG_EXTRA_SECONDS, _give_up)
        self._watchdog.daemon = True
        self._watchdog.start()
        begin_shutdown = getattr(self._app.state, "begin_shutdown", None)
        if begin_shutdown is not None:
            begin_shutdown()
        try:
            async with asyncio.timeout(grace):
                await self._end_companion()
                await super().shutdown(sockets)
        except TimeoutError:
            _logger.error("the application did not close within %d s", grace)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; at a second Ctrl-C do not wait for open requests.

        uvicorn would also raise the signal again after the stop, and the exit code would tell of
        a killed process where there was an orderly end.
        """
        del frame
        self.force_exit = self.force_exit or (self.should_exit and sig == signal.SIGINT)
        self.should_exit = True

    def end_watch(self) -> None:
        """Everything has ended in time; let the process live on (a test may run in it)."""
        if self._watchdog is not None:
            self._watchdog.cancel()

    async def _end_companion(self) -> None:
        if self._companion is None:
            return
        self._companion.cancel()
        try:
            await self._companion
        except asyncio.CancelledError:
            pass
        except Exception:
            _logger.exception("what ran beside the server failed")


def _config(app: Callable[..., Any], settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="auto",  # uvloop and httptools wherever they exist
        http="auto",
        ws="websockets-sansio",
        ws_max_size=settings.max_request_bytes,
        # Compressing every event for every subscriber would cost more than the local network.
        ws_per_message_deflate=False,
        lifespan="on",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=settings.shutdown_grace - _CLOSING_SECONDS,
    )


def _with_readable_failure(app: Starlette) -> Callable[..., Any]:
    """Wrap the application so that an expected failure at its start is one line in the log."""

    async def lifespan(scope: Scope, receive: Receive, send: Send) -> None:
        async def explain(message: Message) -> None:
            cause = sys.exception()
            if message["type"] == "lifespan.startup.failed" and isinstance(
                cause, TamsError | OSError
            ):
                message = {**message, "message": f"cannot start: {cause}"}
            await send(message)

        await app(scope, receive, explain)

    # Not async itself: requests, which are many, pass straight through.
    def entry(scope: Scope, receive: Receive, send: Send) -> Coroutine[Any, Any, None]:
        if scope["type"] == "lifespan":
            return lifespan(scope, receive, send)
        return app(scope, receive, send)

    return entry


def _spare_collector() -> None:
    """Let the garbage collector run seldom, and never over what lives as long as the program.

    An answer of thousands of rows makes hundreds of thousands of objects; looking at them again
    and again while they become more was a sixth of the time of a large query.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECTOR_THRESHOLDS)


def _give_up() -> None:
    # A thread that never returns would keep the interpreter alive. Committed writes are safe: the
    # store is made to survive a kill.
    _logger.error("a thread did not end in time; the process is ended")
    os._exit(EXIT_FAILED)
