"""From the outcome of an operation to an HTTP response with a single body."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType

import orjson
from starlette.datastructures import Headers
from starlette.responses import Response

from tams_gql.http.conditional import refused_by_precondition
from tams_gql.http.graphql.accept import GRAPHQL_JSON, LEGACY_JSON, JsonType
from tams_gql.http.graphql.engine import Outcome
from tams_gql.http.graphql.refusal import Refusal, Refused

_CONTENT_TYPES: Mapping[str, str] = MappingProxyType(
    {name: f"{name}; charset=utf-8" for name in (GRAPHQL_JSON, LEGACY_JSON)}
)

# For operations that were not run; a code that is not here is the client's fault.
_STATUS_OF_CODE: Mapping[str, int] = MappingProxyType(
    {"UNAUTHENTICATED": 401, "FORBIDDEN": 403, "INTERNAL": 500, "UNAVAILABLE": 503}
)
_BUSY_HEADERS = {"Retry-After": "1"}
_NO_DATE = datetime.fromtimestamp(0, UTC)


def answer(outcome: Outcome, media_type: JsonType) -> Response:
    """The response to a single operation."""
    busy = isinstance(outcome, Refusal) and outcome.busy
    return Response(
        orjson.dumps(outcome.response),
        503 if busy else _status(outcome, media_type),
        _BUSY_HEADERS if busy else None,
        _CONTENT_TYPES[media_type],
    )


def batch_answer(outcomes: Sequence[Outcome], media_type: JsonType) -> Response:
    """The response to a batch, in which each operation has its own errors."""
    body = orjson.dumps([outcome.response for outcome in outcomes])
    return Response(body, media_type=_CONTENT_TYPES[media_type])


def cacheable_answer(outcome: Outcome, media_type: JsonType, headers: Headers) -> Response:
    """The response to a query by GET, which a browser may keep and ask again for changes.

    Shared caches may not: what a query may see depends on who asks.
    """
    response = answer(outcome, media_type)
    response.headers["Vary"] = "Accept"
    if not outcome.executed or "errors" in outcome.response:
        response.headers["Cache-Control"] = "no-store"
        return response
    digest = hashlib.blake2b(media_type.encode() + bytes(response.body), digest_size=16)
    etag = f'"{digest.hexdigest()}"'
    kept = {"ETag": etag, "Cache-Control": "private, no-cache", "Vary": "Accept"}
    if _is_known(headers, etag):
        return Response(status_code=304, headers=kept)
    response.headers.update(kept)
    return response


def _is_known(headers: Headers, etag: str) -> bool:
    # Without If-None-Match a date would count, and answers to queries have none.
    return "if-none-match" in headers and refused_by_precondition(headers, etag, _NO_DATE) == 304


def refused_answer(refused: Refused, media_type: JsonType | None) -> Response:
    """The response to a request that is no GraphQL request, or not one to serve."""
    content_type = _CONTENT_TYPES[media_type or LEGACY_JSON]
    body = orjson.dumps(refused.response)
    return Response(body, refused.status, refused.headers, content_type)


def _status(outcome: Outcome, media_type: JsonType) -> int:
    """The status, after the GraphQL over HTTP specification.

    ``application/json`` has 200 for every request that is well formed: it may come from something
    between that knows nothing of GraphQL, so clients of old look at the status before the body.
    """
    if outcome.executed or media_type == LEGACY_JSON:
        return 200
    if isinstance(outcome, Refusal) and outcome.status is not None:
        return outcome.status
    code = outcome.response["errors"][0]["extensions"]["code"]
    return _STATUS_OF_CODE.get(code, 400)
