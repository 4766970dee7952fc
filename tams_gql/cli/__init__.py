"""The command line, ``tams-gql``.

Every command is a module of its own, imported when it runs: ``--help`` and the container's health
check must not wait for pyarrow or Strawberry.
"""

from __future__ import annotations

import importlib
from typing import NamedTuple

import click

from tams_gql import __version__


class _Entry(NamedTuple):
    module: str
    help: str


# The function has the name of the command. The help is repeated here to spare the import.
COMMANDS = {
    "serve": _Entry("tams_gql.cli.serve", "Run the server."),
    "demo": _Entry("tams_gql.cli.demo", "Run the server and load a small demo programme into it."),
    "ingest": _Entry("tams_gql.cli.ingest", "Load media through the API of a running server."),
    "migrate": _Entry("tams_gql.cli.migrate", "Create or upgrade the catalog, or check it."),
    "doctor": _Entry("tams_gql.cli.doctor", "Check the store, the media folder and the cluster."),
    "gc": _Entry("tams_gql.cli.gc", "Remove lapsed objects and bytes that none has, once."),
    "worker": _Entry("tams_gql.cli.worker", "Run the background work without a server."),
    "schema": _Entry("tams_gql.cli.schema", "Print the GraphQL schema."),
    "health": _Entry("tams_gql.cli.health", "Ask a running server whether it is ready."),
}


class _LazyGroup(click.Group):
    """A group that imports a command when it is called, not when it is listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table: the most used first."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command; None if there is none of that name."""
        del ctx
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        command = getattr(importlib.import_module(entry.module), cmd_name)
        if not isinstance(command, click.Command):
            raise TypeError(f"{entry.module}.{cmd_name} is not a command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tams-gql")
def main() -> None:
    """A GraphQL-first media catalog server for the Time-addressable Media Store model."""
