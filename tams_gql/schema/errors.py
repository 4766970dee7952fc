"""Errors as clients see them: a code for every one, no inner detail for the unexpected."""

from __future__ import annotations

import logging
import re
from typing import Any

from graphql import GraphQLError
from strawberry.exceptions import MissingQueryError
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError

from tams_gql.model.errors import TamsError
from tams_gql.schema.limits.bounds import exceeded
from tams_gql.schema.limits.shapes import NESTING

# The document does not say which operation is meant, or none that may be run.
_UNCLEAR = (CannotGetOperationTypeError, InvalidOperationTypeError, MissingQueryError)

# The parser stops there, so how many there are is not known.
_TOO_MANY_TOKENS = re.compile(r"^Syntax Error: Document contains more than (\d+) tokens")
_TOO_DEEP = "Syntax Error: Document is nested too deeply."

_log = logging.getLogger(__name__)


def coded(error: GraphQLError) -> GraphQLError:
    """The error with its code; what nobody expected is logged and masked.

    Expected failures carry their own code, field and details. An error without a cause comes from
    the document or its variables, which is the client's input.
    """
    if error.extensions and "code" in error.extensions:
        return error
    cause = _cause(error)
    if isinstance(cause, TamsError):
        return _with(error, cause.message, _extensions(cause))
    if cause is None and (tokens := _TOO_MANY_TOKENS.search(error.message)):
        extensions = {"code": "LIMIT_EXCEEDED", "limit": int(tokens[1])}
        return _with(error, f"max_query_tokens: {error.message}", extensions)
    if cause is None and error.message.startswith(_TOO_DEEP):
        # The parser stops there, too.
        refusal = exceeded("nesting", NESTING, NESTING + 1, at_least=True).original_error
        assert isinstance(refusal, TamsError)
        return _with(error, refusal.message, _extensions(refusal))
    if cause is None or isinstance(cause, _UNCLEAR):
        return _with(error, error.message, {"code": "BAD_USER_INPUT"})
    _log.error("unexpected failure of %s", _path(error), exc_info=cause)
    return _with(error, "Something went wrong on the server.", {"code": "INTERNAL"})


def _cause(error: GraphQLError) -> Exception | None:
    cause: Exception | None = error.original_error
    while isinstance(cause, GraphQLError):
        cause = cause.original_error
    return cause


def _extensions(cause: TamsError) -> dict[str, Any]:
    extensions: dict[str, Any] = {"code": cause.code}
    if cause.field is not None:
        extensions["field"] = cause.field
    return extensions | cause.details


def _path(error: GraphQLError) -> str:
    return ".".join(map(str, error.path or ())) or "an operation"


def _with(error: GraphQLError, message: str, extensions: dict[str, Any]) -> GraphQLError:
    return GraphQLError(
        message,
        nodes=error.nodes,
        source=error.source,
        positions=error.positions,
        path=error.path,
        extensions=extensions,
    )
