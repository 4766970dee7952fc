"""``python -m bench generate`` and ``python -m bench run``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from bench.catalog import Shape
from bench.generate import WrongCatalog, generate
from bench.plan import PARTS, Plan
from bench.servers import ServerFailed

_DIRECTORY = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group()
def main() -> None:
    """Measure the server beside a minimal program over the same catalog."""


@main.command("generate")
@click.option("--segments", default=100_000, show_default=True, type=click.IntRange(min=100))
@click.option("--seed", default=1, show_default=True)
@click.option("--data-dir", required=True, type=_DIRECTORY)
def generate_command(segments: int, seed: int, data_dir: Path) -> None:
    """Write the catalog to measure on, unless it is there already."""
    generate(data_dir.absolute(), Shape(segments, seed), click.echo)


@main.command("run")
@click.option("--data-dir", required=True, type=_DIRECTORY, help="A generated catalog.")
@click.option("--seconds", default=5.0, show_default=True, help="Of each measurement in all.")
@click.option("--rounds", default=5, show_default=True, help="Parts each measurement is split in.")
@click.option("--part", "parts", multiple=True, type=click.Choice(PARTS), help="Default: all.")
@click.option("--query", "queries", multiple=True, help="Only these queries, such as Q1.")
@click.option(
    "--against",
    type=_DIRECTORY,
    help="Another checkout of this project, measured in the same run.",
)
@click.option("--output", type=_FILE, help="Where to write the results as JSON.")
@click.option("--seed", default=0, show_default=True, help="Of the order of measurements.")
def run_command(
    data_dir: Path,
    seconds: float,
    rounds: int,
    parts: tuple[str, ...],
    queries: tuple[str, ...],
    against: Path | None,
    output: Path | None,
    seed: int,
) -> None:
    """Measure everything in one run and print the ratios."""
    from bench.run import run  # brings in the whole server, which the generator does not need

    plan = Plan(
        data_dir=data_dir.absolute(),
        seconds=seconds,
        rounds=rounds,
        parts=parts or PARTS,
        queries=queries,
        against=None if against is None else against.absolute(),
        output=output,
        seed=seed,
    )
    run(plan, click.echo)


if __name__ == "__main__":
    try:
        main()
    except (WrongCatalog, ServerFailed) as refused:
        sys.exit(f"bench: {refused}")
