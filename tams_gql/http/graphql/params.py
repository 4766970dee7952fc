"""The parameters of a GraphQL request, however they came."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import orjson

from tams_gql.http.graphql.refusal import Malformed

_NAMES = ("query", "operationName", "variables", "extensions")
_JSON_TYPES = {
    bool: "a boolean",
    dict: "an object",
    float: "a number",
    int: "a number",
    list: "an array",
    str: "a string",
    type(None): "null",
}


@dataclass(frozen=True, slots=True)
class Params:
    """What one request asks; ``query`` may be missing where it is known by its hash."""

    query: str | None
    operation_name: str | None
    variables: dict[str, Any] | None
    extensions: dict[str, Any] | None


def params_of(body: object) -> Params:
    """The parameters in a decoded JSON body. Others than the four are ignored. Raises Malformed."""
    if not isinstance(body, dict):
        raise Malformed("body", f"an object is needed, not {_JSON_TYPES[type(body)]}")
    return Params(
        query=_optional(body, "query", str),
        operation_name=_optional(body, "operationName", str) or None,
        variables=_optional(body, "variables", dict),
        extensions=_optional(body, "extensions", dict),
    )


def params_of_url(query_string: bytes) -> Params:
    """The parameters in a URL, objects as JSON. Raises Malformed."""
    try:
        pairs = parse_qsl(
            query_string.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=64
        )
    except UnicodeDecodeError:
        raise Malformed("URL", "its parameters are not UTF-8") from None
    except ValueError as refused:
        raise Malformed("URL", f"its parameters cannot be read: {refused}") from None
    found: dict[str, object] = {}
    for name, text in pairs:
        if name in found and name in _NAMES:
            raise Malformed(name, "given more than once")
        found[name] = _from_json(name, text) if name in ("variables", "extensions") else text
    return params_of(found)


def _from_json(name: str, text: str) -> object:
    if not text:
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as refused:
        raise Malformed(name, f"not valid JSON: {refused}") from None


def _optional(body: Mapping[str, object], name: str, kind: type) -> Any:
    value = body.get(name)
    if value is not None and not isinstance(value, kind):
        raise Malformed(
            name, f"{_JSON_TYPES[kind]} or null is needed, not {_JSON_TYPES[type(value)]}"
        )
    return value
