"""Parsed and validated documents, kept for the next time they are sent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from graphql import GraphQLError
from strawberry.extensions import ParserCache


class ParsedDocuments(ParserCache):
    """A cache of parsed documents, which leaves those that cannot be parsed alone.

    The library's own lets the syntax error out of its hook, past the place where errors are coded
    and, over a WebSocket, past the place where they are sent at all.
    """

    def on_parse(self) -> Iterator[None]:
        context = self.execution_context
        with suppress(GraphQLError):
            context.graphql_document = self.cached_parse_document(
                context.query, **context.parse_options
            )
        yield
