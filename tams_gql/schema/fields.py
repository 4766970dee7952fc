"""Short spellings for what every field of the schema needs: a description, sometimes a type."""

from __future__ import annotations

from typing import Any

import strawberry
from strawberry.types.arguments import StrawberryArgumentAnnotation

from tams_gql.context import Context

Info = strawberry.Info[Context, None]


def column(description: str, name: str | None = None) -> Any:
    """A field whose value is the attribute of the same name of the row behind the object."""
    return strawberry.field(description=description, name=name)


def resolved(description: str, *, returns: Any = None, name: str | None = None) -> Any:
    """A field with a resolver. ``returns`` is its GraphQL type where the resolver gives a row."""
    return strawberry.field(description=description, graphql_type=returns, name=name)


def arg(description: str) -> StrawberryArgumentAnnotation:
    """The description of an argument."""
    return strawberry.argument(description=description)


def given(value: Any) -> Any:
    """An argument's value, None when it was left out."""
    return None if value is strawberry.UNSET else value
