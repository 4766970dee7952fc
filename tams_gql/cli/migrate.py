"""``tams-gql migrate``: bring the catalog to the schema version of this program."""

from __future__ import annotations

import sys

import click

from tams_gql.cli.options import settings_options, settings_or_exit
from tams_gql.model.errors import TamsError


@click.command()
@click.option("--check", "only_check", is_flag=True, help="Change nothing, only compare versions.")
@settings_options
def migrate(only_check: bool, **options: object) -> None:
    """Create or upgrade the catalog, in the data directory or in the VAST cluster.

    The server creates a catalog when it starts, and upgrades an embedded one. Exit codes: 0 up to
    date, 1 with --check: an upgrade is needed, or the catalog cannot be used; 2 wrong settings.
    """
    from tams_gql import store_choice

    settings = settings_or_exit(options)
    try:
        if only_check:
            found, needed = store_choice.versions(settings)
        else:
            before, after = store_choice.migrate(settings)
    except (TamsError, OSError) as refused:
        click.echo(f"tams-gql: {refused}", err=True)
        sys.exit(1)
    place = settings.catalog_place
    if only_check:
        click.echo(f"schema version {found or 'none'}, this program needs {needed}: {place}")
        sys.exit(0 if found == needed else 1)
    if before == after:
        click.echo(f"schema version {after}, nothing to do: {place}")
    else:
        click.echo(f"schema version {before or 'none'} -> {after}: {place}")
