"""The limits of a document, and how a refusal reads."""

from __future__ import annotations

from dataclasses import dataclass

from graphql import GraphQLError, Node

from tams_gql.model.errors import LimitExceeded

CEILING = 10**12
"""Counts and costs stop here. What is beyond any limit needs no exact number."""


@dataclass(frozen=True, slots=True)
class QueryLimits:
    """What a document and its variables may ask.

    ``introspection_depth`` stands in for ``depth`` below ``__schema`` and ``__type``, because the
    query that tools send is deeper than those of the catalog need be. ``cache_bytes`` is the memory
    for documents that were seen before.
    """

    characters: int = 200_000
    tokens: int = 5000
    definitions: int = 50
    depth: int = 16
    introspection_depth: int = 20
    aliases: int = 100
    root_fields: int = 50
    directives: int = 100
    input_depth: int = 40
    cost: int = 100_000
    default_page_size: int = 50
    max_page_size: int = 1000
    cache_bytes: int = 64 * 2**20


def exceeded(
    name: str,
    limit: int,
    requested: int,
    *,
    field: str | None = None,
    at_least: bool = False,
    node: Node | None = None,
) -> GraphQLError:
    """``LIMIT_EXCEEDED`` for what is above a limit, with ``name``, ``limit`` and ``requested``.

    ``name`` is the setting where there is one. ``at_least`` says that counting stopped early, as it
    does at ``CEILING``.
    """
    least = "at least " if at_least or requested >= CEILING else ""
    message = f"{name}: the operation asks for {least}{requested:,}; the limit is {limit:,}"
    if field is not None:
        message = f"{field}: {message}"
    cause = LimitExceeded(message, field=field, name=name, limit=limit, requested=requested)
    return GraphQLError(message, node, original_error=cause)
