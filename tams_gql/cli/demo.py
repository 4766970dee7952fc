"""``tams-gql demo``: the server, a small programme to look at, and what to try first."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

import click

from tams_gql.cli.health import ask_readiness, local_url
from tams_gql.cli.options import settings_options, settings_or_exit
from tams_gql.cli.serve import create_app, run_server
from tams_gql.http.explorer.queries import QUERIES
from tams_gql.logs import configure_logs
from tams_gql.settings import Settings

# The live channel keeps its last quarter of an hour, so that a demo left running stays small.
_LIVE_WINDOW_SECONDS = 900
INGEST = (
    *(sys.executable, "-m", "tams_gql", "ingest", "--demo"),
    *("--live-window", str(_LIVE_WINDOW_SECONDS), "--url"),
)

_POLL_SECONDS = 0.1
_CHILD_END_SECONDS = 2.0
_LONGEST_LINE_BYTES = 2**20


@click.command()
@settings_options
def demo(**options: object) -> None:
    """Run the server and load a small demo programme into it.

    The data stays: a second start finds the programme in place. Ctrl-C stops everything.
    """
    # At the usual level the requests of the loading would bury the text that helps.
    settings = settings_or_exit(options, defaults={"log_level": "warning"})
    configure_logs("debug" if settings.debug else settings.log_level, settings.log_format)
    sys.exit(run_server(create_app, settings, alongside=play))


async def play(settings: Settings, client: Sequence[str] = INGEST) -> None:
    """Once the server is ready, say what to open, then load the programme and keep a channel live.

    ``client`` is the command that loads it; the server's URL is added to it.
    """
    await _until_ready(settings)
    click.echo(welcome(settings))
    code = await _run([*client, local_url(settings)])
    if code == 0:
        click.echo("Loading has ended. Ctrl-C stops the server.")
    else:
        text = f"Loading the demo programme failed with code {code}; the server goes on."
        click.secho(text, fg="red", err=True)


def welcome(settings: Settings) -> str:
    """Return what to open, and queries to paste into GraphiQL."""
    rows = [
        ("GraphiQL", f"{settings.public_url}/graphql"),
        ("Readiness", f"{settings.public_url}/readyz"),
        ("Data", settings.data_place),
    ]
    lines = ["", click.style("tams-gql is running", bold=True)]
    lines += [f"  {name:<10} {value}" for name, value in rows]
    lines += ["", "Paste into GraphiQL:"]
    for title, query in QUERIES.items():
        lines += ["", click.style(f"# {title}", fg="cyan"), query.rstrip()]
    return "\n".join([*lines, ""])


async def _until_ready(settings: Settings) -> None:
    said = ""
    while True:
        answer = await asyncio.to_thread(ask_readiness, settings)
        if answer.ready:
            return
        if answer.text != said:
            said = answer.text
            click.echo(f"Waiting for the server: {said}", err=True)
        await asyncio.sleep(_POLL_SECONDS)


async def _run(command: Sequence[str]) -> int:
    """Run the client as a process of its own, showing what it prints; return its exit code.

    It has its own session, so that Ctrl-C reaches this process only, which then ends it.
    """
    child = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        limit=_LONGEST_LINE_BYTES,
        start_new_session=True,
    )
    try:
        assert child.stdout is not None
        async for line in child.stdout:
            click.echo(f"ingest | {line.decode(errors='replace').rstrip()}")
        return await child.wait()
    finally:
        await _end(child)


async def _end(child: asyncio.subprocess.Process) -> None:
    if child.returncode is not None:
        return
    with suppress(ProcessLookupError):
        child.terminate()
        try:
            await asyncio.wait_for(child.wait(), _CHILD_END_SECONDS)
        except TimeoutError:
            child.kill()
            await child.wait()
