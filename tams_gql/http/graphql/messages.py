"""Messages from a client of the GraphQL over WebSocket protocol (``graphql-transport-ws``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from tams_gql.http.graphql.params import Params, params_of
from tams_gql.http.graphql.refusal import Malformed

SUBPROTOCOL = "graphql-transport-ws"
_MAX_ID_CHARS = 256


class InvalidMessage(Exception):
    """The protocol does not know such a message; the reason is for the client."""


@dataclass(frozen=True, slots=True)
class ConnectionInit:
    """The client wants to begin."""


@dataclass(frozen=True, slots=True)
class Ping:
    """To be answered by a pong with the same payload."""

    payload: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Pong:
    """An answer to a ping, or a sign of life."""


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Run an operation of any kind."""

    id: str
    params: Params


@dataclass(frozen=True, slots=True)
class Complete:
    """The client wants no more of an operation."""

    id: str


ClientMessage = ConnectionInit | Ping | Pong | Subscribe | Complete


def read_message(text: str) -> ClientMessage:
    """One message. Raises InvalidMessage."""
    try:
        message = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise InvalidMessage("The message is not valid JSON") from None
    if not isinstance(message, dict):
        raise InvalidMessage("The message is not an object")
    kind = message.get("type")
    if kind == "subscribe":
        return Subscribe(_id(message), _params(message))
    if kind == "complete":
        return Complete(_id(message))
    if kind == "ping":
        return Ping(_returned(_payload(message)))
    if kind == "pong":
        _payload(message)
        return Pong()
    if kind == "connection_init":
        _payload(message)
        return ConnectionInit()
    raise InvalidMessage("The message has no type that the protocol knows")


def _id(message: dict[str, Any]) -> str:
    id = message.get("id")
    if not isinstance(id, str) or not 0 < len(id) <= _MAX_ID_CHARS:
        raise InvalidMessage(f"id: a string of 1 to {_MAX_ID_CHARS} characters is needed")
    return id


def _params(message: dict[str, Any]) -> Params:
    try:
        return params_of(message.get("payload"))
    except Malformed as cause:
        name = "payload" if cause.field == "body" else f"payload.{cause.field}"
        raise InvalidMessage(f"{name}: {cause.reason}") from None


def _returned(payload: dict[str, Any] | None) -> dict[str, Any] | None:
    """A payload that can be sent back: what is read may be nested deeper than what is written."""
    try:
        orjson.dumps(payload)
    except orjson.JSONEncodeError:
        raise InvalidMessage("payload: it is nested too deep to be sent back") from None
    return payload


def _payload(message: dict[str, Any]) -> dict[str, Any] | None:
    payload = message.get("payload")
    if payload is not None and not isinstance(payload, dict):
        raise InvalidMessage("payload: an object or null is needed")
    return payload
