"""Every setting as a command-line option, made out of the model so that none can be missing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click
from pydantic.fields import FieldInfo

from tams_gql.settings import Settings, load_settings
from tams_gql.settings_sources import (
    InvalidSettings,
    allowed,
    default,
    env_name,
    is_secret,
    option_name,
    unit,
)

EXIT_SETTINGS = 2

_Command = TypeVar("_Command", bound=Callable[..., Any])


def settings_options(command: _Command) -> _Command:
    """Give a command an option for each setting; those not given arrive as None.

    Secrets have none: other users of the machine can read command lines.
    """
    # Of a hundred lines of help, those that few need come last.
    fields = sorted(Settings.model_fields.items(), key=lambda field: field[0].startswith("vast_"))
    for name, info in reversed(fields):
        if not is_secret(info):
            command = _option(name, info)(command)
    return command


def settings_or_exit(
    options: Mapping[str, object], defaults: Mapping[str, object] | None = None
) -> Settings:
    """Read the settings with the options given; print every problem and exit with 2 if any."""
    given = {name: value for name, value in options.items() if value is not None}
    try:
        return load_settings(given, defaults)
    except InvalidSettings as wrong:
        click.echo(f"tams-gql: {wrong}", err=True)
        sys.exit(EXIT_SETTINGS)


def _option(name: str, info: FieldInfo) -> Callable[[_Command], _Command]:
    facts = [f"default: {default(info)}", env_name(name)]
    if unit(info):
        facts.insert(0, unit(info))
    text = f"{info.description}  [{'; '.join(facts)}]".replace("`", "")
    if info.annotation is bool:
        flags = f"{option_name(name)}/--no-{option_name(name)[2:]}"
        return click.option(flags, name, default=None, help=text)
    metavar = allowed(info).replace(" or ", "|") if "Literal" in repr(info.annotation) else "VALUE"
    return click.option(option_name(name), name, metavar=metavar, help=text)
