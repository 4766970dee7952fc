"""``tams-gql gc``: one pass over what has lapsed, as the worker does it."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click
import orjson

from tams_gql.cli.options import settings_options, settings_or_exit
from tams_gql.logs import configure_logs
from tams_gql.model.errors import TamsError, Unavailable
from tams_gql.settings import Settings

if TYPE_CHECKING:
    from tams_gql.resolvers.gc import GcReport


@click.command()
@click.option("--dry-run", is_flag=True, help="Change nothing, only say what would go.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@settings_options
def gc(dry_run: bool, as_json: bool, **options: object) -> None:
    """Remove lapsed objects, and delete bytes that no object has any more.

    The servers do the same again and again. Deletions that have failed are tried once more. Exit
    codes: 0 done, 1 it could not be done or some bytes could not be deleted; 2 wrong settings.
    """
    settings = settings_or_exit(options)
    configure_logs(settings.log_level, settings.log_format)
    try:
        _refuse_to_make_a_catalog(settings, dry_run=dry_run)
        report = asyncio.run(_collect(settings, dry_run))
    except (TamsError, OSError) as refused:
        click.echo(f"tams-gql: {refused}", err=True)
        sys.exit(1)
    if as_json:
        click.echo(orjson.dumps({"dry_run": dry_run, **asdict(report)}, option=orjson.OPT_INDENT_2))
    else:
        _print(report, dry_run)
    sys.exit(1 if report.failed.jobs and not dry_run else 0)


def _refuse_to_make_a_catalog(settings: Settings, *, dry_run: bool) -> None:
    """Raise ``Unavailable`` where opening the catalog would make it, or upgrade it on a trial.

    A data directory that is misspelt holds nothing that could be removed.
    """
    from tams_gql.store_choice import versions

    found, needed = versions(settings)
    if found == 0:
        raise Unavailable(f"there is no catalog: {settings.catalog_place}")
    if dry_run and found != needed:
        raise Unavailable(
            f"the catalog has schema version {found}, this program needs {needed}:"
            " run `tams-gql migrate` first"
        )


async def _collect(settings: Settings, dry_run: bool) -> GcReport:
    from tams_gql.opening import open_services
    from tams_gql.resolvers.gc import collect

    async with open_services(settings) as services:
        return await collect(services, dry_run=dry_run)


def _print(report: GcReport, dry_run: bool) -> None:
    reclaimed, due, later, failed = report.reclaimed, report.due, report.later, report.failed
    went, deleted = ("would go", "would be deleted") if dry_run else ("went", "were to be deleted")
    click.echo(f"{reclaimed.objects} lapsed objects of {reclaimed.bytes:,} bytes {went}")
    click.echo(f"{due.keys} stored objects of {due.bytes:,} bytes {deleted}")
    if later.keys:
        click.echo(f"{later.keys} stored objects will be tried again later")
    if failed.keys:
        click.echo(f"{failed.keys} stored objects could not be deleted; the log has the reasons")
