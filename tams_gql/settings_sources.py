"""Where settings come from: defaults < file < environment < command line.

``read`` gathers the layers, remembers which of them gave each value, and reports every problem at
once, so that a wrong deployment is put right in one go instead of one restart per mistake.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar, get_args, get_origin

from annotated_types import Ge, Le
from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, EnvSettingsSource

PREFIX = "TAMS_"
CONFIG_FILE = "TAMS_CONFIG_FILE"
# Read by the command-line client and by the test suite, not by the server.
_CLIENT_KEYS = frozenset({"TAMS_INGEST_URL", "TAMS_INGEST_TOKEN"})
_TEST_PREFIX = "TAMS_TEST_"
_SHOWN_VALUE_CHARS = 80
_PASSWORD_IN_URL = re.compile(r"(?<=//)([^/@:\s]*):[^/@\s]*@")

SettingsModel = TypeVar("SettingsModel", bound=BaseSettings)


class InvalidSettings(Exception):
    """The settings contradict the model; ``problems`` has one readable line for each mistake."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        count = "1 setting is" if len(self.problems) == 1 else f"{len(self.problems)} settings are"
        super().__init__("\n".join([f"{count} wrong:", *(f"  {line}" for line in self.problems)]))


@dataclass(frozen=True)
class Note:
    """What the type of a setting cannot say: its unit, its allowed texts, a derived default, and
    that secrets are somewhere inside."""

    unit: str = ""
    allowed: str = ""
    default: str = ""
    secret: bool = False


class _Origin(NamedTuple):
    """What an error calls a setting, and where the value stands if the name does not say it."""

    name: str
    place: str = ""


@dataclass
class _Layers:
    """The merged values, and for each the layer that gave it."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, _Origin] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def put(self, name: str, value: object, origin: _Origin) -> None:
        self.values[name] = value
        self.origins[name] = origin


def read(
    model: type[SettingsModel],
    command_line: Mapping[str, object] | None = None,
    defaults: Mapping[str, object] | None = None,
) -> SettingsModel:
    """Make the settings out of all layers; ``defaults`` replaces defaults of the model.

    Raises InvalidSettings with every problem found.
    """
    layers = _Layers()
    for name, value in (defaults or {}).items():
        layers.put(name, value, _default_of(name))
    _add_file(layers)
    _add_environment(model, layers)
    _add_secret_files(model, layers)
    for name, value in (command_line or {}).items():
        layers.put(name, value, _Origin(option_name(name)))
    try:
        settings = model(**layers.values)
    except ValidationError as refused:
        layers.problems.extend(_explain(model, layers, refused))
    else:
        if not layers.problems:
            return settings
    # Not chained: the validation error holds the raw values, secrets among them.
    raise InvalidSettings(layers.problems) from None


def env_name(name: str) -> str:
    """The environment variable of a field."""
    return f"{PREFIX}{name.upper()}"


def option_name(name: str) -> str:
    """The command-line option of a field."""
    return f"--{name.replace('_', '-')}"


def is_secret(info: FieldInfo) -> bool:
    """Whether the field's value must never be shown."""
    holds = any(isinstance(note, Note) and note.secret for note in info.metadata)
    return holds or SecretStr in (info.annotation, *get_args(info.annotation))


def unit(info: FieldInfo) -> str:
    """The unit of a field's number, or an empty text."""
    return next((note.unit for note in info.metadata if isinstance(note, Note)), "")


def default(info: FieldInfo) -> str:
    """The default of a field, as one would write it into the environment."""
    value = info.default
    if info.default_factory is not None:
        return next(note.default for note in info.metadata if isinstance(note, Note))
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ",".join(value) or "none"
    if value is None:
        return "unset"
    return str(value)


def allowed(info: FieldInfo) -> str:
    """What a field accepts, in words."""
    if get_origin(info.annotation) is Literal:
        return " or ".join(str(choice) for choice in get_args(info.annotation))
    if info.annotation is bool:
        return "true or false"
    if info.annotation is int:
        least = next(mark.ge for mark in info.metadata if isinstance(mark, Ge))
        most = next(mark.le for mark in info.metadata if isinstance(mark, Le))
        return f"a whole number from {least:,} to {most:,}"
    return next(note.allowed for note in info.metadata if isinstance(note, Note))


def _add_file(layers: _Layers) -> None:
    path = os.environ.get(CONFIG_FILE)
    if not path:
        return
    try:
        values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as refused:
        layers.problems.append(f"{CONFIG_FILE}={path!r}: cannot be read ({refused.strerror})")
    except ValueError as refused:  # bad TOML or bad UTF-8
        layers.problems.append(f"{CONFIG_FILE}={path!r}: is not a TOML file ({refused})")
    else:
        for name, value in values.items():
            layers.put(name, value, _Origin(name, f" in {path}"))


def _add_environment(model: type[BaseSettings], layers: _Layers) -> None:
    for name, value in EnvSettingsSource(model)().items():
        layers.put(name, value, _Origin(env_name(name)))
    fields = {env_name(name) for name in model.model_fields}
    others = {f"{env_name(name)}_FILE" for name in _secrets(model)} | {CONFIG_FILE, *_CLIENT_KEYS}
    for key in sorted(os.environ):
        upper = key.upper()
        # Fields are read in upper and lower case, the other variables as they are written here.
        known = upper in fields or key in others or upper.startswith(_TEST_PREFIX)
        if upper.startswith(PREFIX) and not known:
            close = _did_you_mean(upper, fields | others)
            layers.problems.append(f"{key}: unknown setting{close}")


def _add_secret_files(model: type[BaseSettings], layers: _Layers) -> None:
    for name in _secrets(model):
        variable = f"{env_name(name)}_FILE"
        path = os.environ.get(variable)
        if not path:
            continue
        if os.environ.get(env_name(name)):
            layers.problems.append(f"{variable}: give this or {env_name(name)}, not both")
            continue
        try:
            value = Path(path).read_text(encoding="utf-8")
        except OSError as refused:
            layers.problems.append(f"{variable}={path!r}: cannot be read ({refused.strerror})")
        except UnicodeDecodeError:
            layers.problems.append(f"{variable}={path!r}: is not a UTF-8 text file")
        else:
            # Editors and `echo` end a file with a line break that is no part of the secret.
            layers.put(name, value.rstrip("\r\n"), _Origin(variable))


def _secrets(model: type[BaseSettings]) -> list[str]:
    return [name for name, info in model.model_fields.items() if is_secret(info)]


def _default_of(name: str) -> _Origin:
    return _Origin(env_name(name), " (the default)")


def _explain(model: type[BaseSettings], layers: _Layers, refused: ValidationError) -> Iterator[str]:
    for error in refused.errors(include_url=False):
        if error["type"] == "default_factory_not_called":
            continue  # a default made from a refused value; that value has its own line
        name = str(error["loc"][0])
        info = model.model_fields.get(name)
        origin = layers.origins.get(name, _default_of(name))
        if info is None:
            close = _did_you_mean(name, set(model.model_fields))
            yield f"{origin.name}{origin.place}: unknown setting{close}"
            continue
        if len(error["loc"]) > 1:
            yield f"{origin.name}{origin.place}: {_inner_problem(error)}"
            continue
        rule = error.get("ctx", {}).get("error") if error["type"] == "value_error" else None
        shown = _shown(info, error["input"])
        yield f"{origin.name}{shown}{origin.place}: must be {rule or allowed(info)}"


def _inner_problem(error: ErrorDetails) -> str:
    """What is wrong with a field inside a setting, without its value."""
    place = list(error["loc"])
    for choice in ("credentials", "url_signer"):
        if choice in place[:-1]:
            del place[place.index(choice) + 1]  # the kind, which is no part of the name
    known = {"extra_forbidden": "unknown field", "missing": "must be given"}
    text = error["msg"].removeprefix("Value error, ")
    return f"{'.'.join(map(str, place))}: {known.get(error['type'], text[:1].lower() + text[1:])}"


def _shown(info: FieldInfo, value: object) -> str:
    if is_secret(info):
        return ""
    text = repr(str(value) if isinstance(value, Path) else value)
    text = _PASSWORD_IN_URL.sub(r"\1:***@", text)
    if len(text) > _SHOWN_VALUE_CHARS:
        text = f"{text[:_SHOWN_VALUE_CHARS]}..."
    return f"={text}"


def _did_you_mean(key: str, known: set[str]) -> str:
    close = difflib.get_close_matches(key, sorted(known), n=1, cutoff=0.7)
    return f"; did you mean {close[0]}?" if close else ""
