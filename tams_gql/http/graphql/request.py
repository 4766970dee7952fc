"""Reading a GraphQL request from HTTP: its method, headers and body."""

from __future__ import annotations

from collections.abc import Mapping

import orjson
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from tams_gql.http.graphql.params import Params, params_of
from tams_gql.http.graphql.refusal import Malformed, Refused

_MAX_URL_BYTES = 32_768
_JSON = "application/json"
_UTF_8 = frozenset({"utf-8", "utf8"})


def check_url_length(query_string: bytes) -> None:
    """Refuse parameters of a length that belongs into a body."""
    if len(query_string) > _MAX_URL_BYTES:
        raise Refused(
            414,
            f"The parameters in the URL have {len(query_string)} bytes; the limit is "
            f"{_MAX_URL_BYTES}; send them by POST",
            code="LIMIT_EXCEEDED",
            limit=_MAX_URL_BYTES,
            requested=len(query_string),
        )


def check_content_type(headers: Headers) -> None:
    """Refuse bodies other than plain JSON in UTF-8.

    A page of another origin cannot send this type without asking first (CORS), so that a form
    cannot be made to change the catalog.
    """
    content_type = headers.get("content-type", "")
    if content_type != _JSON and not _is_json(content_type):
        raise _unsupported(f"The content type is {content_type[:200]!r}; {_JSON} is needed")
    coding = headers.get("content-encoding", "identity")
    if coding.strip().lower() != "identity":
        raise _unsupported(f"The content coding is {coding[:200]!r}; none is supported")


async def read_body(receive: Receive, max_batch: int) -> Params | list[Params]:
    """The parameters of a POST: of one operation or, if allowed, of several.

    Raises Refused, and ClientDisconnect if the rest of the body does not come.
    """
    try:
        body = orjson.loads(await _bytes(receive))
    except orjson.JSONDecodeError as refused:
        raise Refused(400, f"The request body is not valid JSON: {refused}") from None
    try:
        if not isinstance(body, list):
            return params_of(body)
        _check_batch(body, max_batch)
        return [params_of(item) for item in body]
    except Malformed as refused:
        raise malformed(refused) from None


def malformed(cause: Malformed) -> Refused:
    """What a bad parameter is for HTTP."""
    return Refused(400, str(cause), field=cause.field)


def _check_batch(batch: list[object], limit: int) -> None:
    if not limit:
        raise Refused(400, "The request body is an array; batches of operations are turned off")
    if not batch:
        raise Refused(400, "The batch has no operation")
    if len(batch) > limit:
        raise Refused(
            400,
            f"max_batch_operations: the batch has {len(batch)} operations; the limit is {limit}",
            code="LIMIT_EXCEEDED",
            limit=limit,
            requested=len(batch),
        )


async def _bytes(receive: Receive) -> bytes:
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        whole: bytes = message.get("body", b"")
        return whole
    chunks = []
    while message["type"] == "http.request":
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(chunks)
        message = await receive()
    raise ClientDisconnect


def _is_json(content_type: str) -> bool:
    name, *parts = (part.strip().lower() for part in content_type.split(";"))
    parameters: Mapping[str, str] = {
        key.strip(): value.strip().strip('"')
        for key, _, value in (part.partition("=") for part in parts)
    }
    return name == _JSON and parameters.get("charset", "utf-8") in _UTF_8


def _unsupported(message: str) -> Refused:
    return Refused(415, message, headers={"Accept-Post": _JSON})
