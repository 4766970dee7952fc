"""Documents that were parsed before, by their text.

What else is known of a document, such as the result of its validation, is kept for as long as the
document is (see ``limits.analysis``), so the bound on documents is a bound on that, too.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, cast

from graphql import DocumentNode, GraphQLError, OperationDefinitionNode, parse
from strawberry.extensions import SchemaExtension
from strawberry.types.execution import ParseOptions

from tams_gql.bounded_cache import BoundedCache

OperationKind = Literal["query", "mutation", "subscription"]

_MAX_DOCUMENTS = 4096
# Measured: the parser keeps 180 to 560 bytes for each token, in nodes and in the tokens themselves,
# and strings of the text a second time.
_TOKEN_BYTES = 600
_TEXT_COPIES = 3


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """A document and its operations by name."""

    document: DocumentNode
    operations: dict[str | None, OperationKind]

    def kind_of(self, operation_name: str | None) -> OperationKind:
        """The kind of the operation to run; ``GraphQLError`` if it is not clear which."""
        if operation_name is not None:
            kind = self.operations.get(operation_name)
            if kind is None:
                raise GraphQLError(f'Unknown operation named "{operation_name}".')
            return kind
        if not self.operations:
            raise GraphQLError("The document has no operation.")
        if len(self.operations) > 1:
            raise GraphQLError("operationName: the document has several operations, name one.")
        return next(iter(self.operations.values()))


class OperationCache:
    """Keeps the documents that were used last, within ``max_bytes`` bytes of memory."""

    def __init__(self, *, max_bytes: int, max_tokens: int, max_characters: int) -> None:
        self._max_characters = max_characters
        self.parse_options: dict[str, Any] = {
            "max_tokens": max_tokens,
            "max_source_length": max_characters,
        }
        self._documents: BoundedCache[str, ParsedDocument] = BoundedCache(
            max_bytes=max_bytes, max_entries=_MAX_DOCUMENTS
        )

    def parsed(self, text: str) -> ParsedDocument:
        """The document. Raises ``GraphQLError``, which is not kept: it comes early and cheaply."""
        found = self._documents.get(text)
        if found is None:
            self._check_length(text)
            document = parse(text, **self.parse_options)
            found = ParsedDocument(document, _operations(document))
            self._documents.put(text, found, _size(text, document))
        return found

    def _check_length(self, text: str) -> None:
        # Blanks and long names are no tokens, yet reading a million characters takes the half of a
        # second in which nothing else is served.
        if len(text) > self._max_characters:
            raise GraphQLError(
                f"max_query_characters: the document has {len(text)} characters; "
                f"the limit is {self._max_characters}",
                extensions={
                    "code": "LIMIT_EXCEEDED",
                    "limit": self._max_characters,
                    "requested": len(text),
                },
            )


class CachedOperations(SchemaExtension):
    """Lets the library take documents from the cache."""

    def __init__(self, cache: OperationCache) -> None:
        super().__init__()
        self._cache = cache

    def on_parse(self) -> Iterator[None]:
        context = self.execution_context
        context.parse_options = cast(ParseOptions, self._cache.parse_options)
        # An error must not leave the hook: the parser finds it again, where errors are coded.
        with suppress(GraphQLError):
            context.graphql_document = self._cache.parsed(context.query or "").document
        yield


def _operations(document: DocumentNode) -> dict[str | None, OperationKind]:
    kinds: dict[str | None, OperationKind] = {}
    for definition in document.definitions:
        if isinstance(definition, OperationDefinitionNode):
            name = definition.name.value if definition.name else None
            # A second one of the same name is refused by validation.
            kinds.setdefault(name, definition.operation.value)
    return kinds


def _size(text: str, document: DocumentNode) -> int:
    tokens = 0
    token = document.loc.start_token if document.loc else None
    while token is not None:
        tokens += 1
        token = token.next
    return sys.getsizeof(text) * _TEXT_COPIES + tokens * _TOKEN_BYTES
