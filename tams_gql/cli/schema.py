"""``tams-gql schema``: print the GraphQL schema."""

from __future__ import annotations

import click


@click.command()
def schema() -> None:
    """Print the GraphQL schema in its definition language (SDL)."""
    from tams_gql.schema import print_sdl

    click.echo(print_sdl().rstrip())
