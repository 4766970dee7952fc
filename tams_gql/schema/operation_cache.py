"""Documents that were parsed and validated before, by their text.

Everything that looks at the document alone belongs into parsing and validation, and is then done
once. What depends on the variables must not be a validation rule: its result would be kept.
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
# Measured: the parser keeps 320 to 560 bytes for each token, in nodes and in the tokens themselves.
_TOKEN_BYTES = 600
_ERROR_BYTES = 2000


@dataclass(slots=True)
class ParsedDocument:
    """A document, its operations by name, and its errors once it was validated."""

    document: DocumentNode
    operations: dict[str | None, OperationKind]
    size: int
    errors: tuple[GraphQLError, ...] | None = None

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
            found = ParsedDocument(document, _operations(document), _size(text, document))
            self._documents.put(text, found, found.size)
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

    def validated(self, text: str, errors: tuple[GraphQLError, ...]) -> None:
        """Remember the outcome of validation."""
        found = self._documents.get(text)
        if found is not None:
            found.errors = errors
            found.size += len(errors) * _ERROR_BYTES
            self._documents.put(text, found, found.size)


class CachedOperations(SchemaExtension):
    """Lets parsing and validation use the cache."""

    def __init__(self, cache: OperationCache) -> None:
        super().__init__()
        self._cache = cache
        self._parsed: ParsedDocument | None = None

    def on_parse(self) -> Iterator[None]:
        context = self.execution_context
        context.parse_options = cast(ParseOptions, self._cache.parse_options)
        # An error must not leave the hook: the parser finds it again, where errors are coded.
        with suppress(GraphQLError):
            self._parsed = self._cache.parsed(context.query or "")
            context.graphql_document = self._parsed.document
        yield

    def on_validate(self) -> Iterator[None]:
        context = self.execution_context
        known = None if self._parsed is None else self._parsed.errors
        if known is not None:
            # A new list: what is found while executing is appended elsewhere to this attribute.
            context.pre_execution_errors = list(known)
        yield
        if known is None and context.query is not None:
            self._cache.validated(context.query, tuple(context.pre_execution_errors or ()))


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
    return sys.getsizeof(text) + tokens * _TOKEN_BYTES
