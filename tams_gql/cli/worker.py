"""``tams-gql worker``: the background work alone, without a server."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys

import click

from tams_gql import __version__
from tams_gql.cli.options import settings_options, settings_or_exit
from tams_gql.logs import configure_logs
from tams_gql.model.errors import TamsError
from tams_gql.settings import Settings

_logger = logging.getLogger("tams_gql.worker")


@click.command()
@settings_options
def worker(**options: object) -> None:
    """Run the background work until Ctrl-C or SIGTERM.

    Any number of workers and servers may do so for one catalog. It reclaims objects, deletes bytes,
    makes copies, keeps the change log short and checks stored objects. Exit codes: 0 stopped, 1
    could not start or broke off, 2 wrong settings.
    """
    settings = settings_or_exit(options)
    configure_logs("debug" if settings.debug else settings.log_level, settings.log_format)
    try:
        done = asyncio.run(_work(settings))
    except (TamsError, OSError) as refused:
        _logger.error("cannot start: %s", refused)
        done = False
    sys.exit(0 if done else 1)


async def _work(settings: Settings) -> bool:
    """Work until a signal comes; False if the work ended by itself, so that someone restarts it."""
    from tams_gql.opening import duties, open_services
    from tams_gql.resolvers.worker import keep_working

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sent in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(sent, stop.set)
    async with open_services(settings) as services:
        _logger.info("tams-gql %s works for %s", __version__, settings.catalog_place)
        work = asyncio.create_task(keep_working(services, duties(settings)))
        waiting = asyncio.create_task(stop.wait())
        await asyncio.wait({work, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            waiting.cancel()
            _logger.error("the background work broke off", exc_info=work.exception())
            return False
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
    _logger.info("stopped")
    return True
