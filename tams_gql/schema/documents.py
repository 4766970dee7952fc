"""Between GraphQL objects and the specification's JSON documents."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, TypeVar

import strawberry

from tams_gql.model.errors import TamsError

T = TypeVar("T")

# Names that differ from the camelCase of the specification's key.
_MEMBER_ID = re.compile(r"\bflow_collection\.(\d+)\.id$")
_RENAMED = {"flow_collection": "collection"}
# What follows is a name that a client chose.
_TAG = re.compile(r"(?:^|(?<=\.))tags\.")


def document_of(value: Any) -> Any:
    """An input object as a document: what was left out or null is no key of it."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, list):
        return [document_of(item) for item in value]
    if not is_dataclass(value):
        return value
    return {
        field.name: document_of(item)
        for field in fields(value)
        if (item := getattr(value, field.name)) not in (None, strawberry.UNSET)
    }


def object_of(
    kind: type[T], document: Mapping[str, Any] | None, nested: Mapping[type, Mapping[str, Any]]
) -> T | None:
    """A document as a GraphQL object. ``nested`` names the types of keys that are not plain."""
    if document is None:
        return None
    types = nested.get(kind, {})
    found = {f.name: document.get(f.name) for f in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: _value(types.get(name), v, nested) for name, v in found.items()})


def _value(kind: Any, value: Any, nested: Mapping[type, Mapping[str, Any]]) -> Any:
    if kind is None or value is None:
        return value
    if issubclass(kind, Enum):
        return kind(value)
    return object_of(kind, value, nested)


def client_path(path: str) -> str:
    """A path of the specification's keys in the spelling of GraphQL."""
    known, *tag = _TAG.split(_MEMBER_ID.sub(r"flow_collection.\1.flowId", path), maxsplit=1)
    parts = [_RENAMED.get(part, part) for part in known.split(".")]
    spelled = [re.sub(r"_([a-z0-9])", lambda m: m[1].upper(), part) for part in parts]
    return ".".join(spelled) + "".join(f"tags.{name}" for name in tag)


@contextmanager
def named_from(prefix: str) -> Iterator[None]:
    """Let the fields of errors raised inside be paths from the operation's arguments."""
    try:
        yield
    except TamsError as error:
        rename_field(error, prefix)
        raise


def rename_field(error: TamsError, prefix: str) -> None:
    """Spell an error's field as the client knows it, in its message as well."""
    error.message, error.field = _renamed(error.message, error.field, prefix)
    error.args = (error.message,)
    failed = error.details.get("failed")
    for item in failed if isinstance(failed, list) else ():
        item["message"], item["field"] = _renamed(item["message"], item["field"], prefix)


def _renamed(message: str, field: str | None, prefix: str) -> tuple[str, str | None]:
    if field is None:
        return message, None
    path = f"{prefix}.{client_path(field)}"
    return path + message[len(field) :] if message.startswith(f"{field}:") else message, path
