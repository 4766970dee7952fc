"""Identifiers and names from outside: UUIDs, object ids, MIME types."""

from __future__ import annotations

import re
from typing import Final
from uuid import uuid4

from tams_gql.model.bounds import is_storable, refuse

MAX_OBJECT_ID_CHARS: Final = 256
MAX_MIME_TYPE_CHARS: Final = 255

UUID_ALLOWED: Final = "a UUID of version 1 to 5, such as 4f79cfd1-c057-47f4-8e4d-1b126ca7bf34"
MIME_TYPE_ALLOWED: Final = (
    f"type/subtype in printable ASCII without spaces, at most {MAX_MIME_TYPE_CHARS} characters, "
    "such as video/h264"
)
_OBJECT_ID_ALLOWED: Final = (
    f"1 to {MAX_OBJECT_ID_CHARS} characters without control characters, and neither '.' nor '..'"
)

# Schema `uuid`.
_match_uuid = re.compile(
    "[0-9a-f]{8}-[0-9a-f]{4}-[1-5][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
).fullmatch

# Visible ASCII with one slash. It holds every text of schema `mime-type`, and of the wider
# pattern that schema `flow-technical` gives codecs and containers all that fits an HTTP header.
_match_mime_type = re.compile("[!-.0-~]+/[!-.0-~]+").fullmatch

_CONTENT_KINDS = frozenset({"video", "audio", "application"})
_CONTAINERS_OF_MANY_KINDS = frozenset({"mp4", "iso.segment", "3gpp", "webm", "ogg"})

# C0, DEL, C1 and the two Unicode line separators: they break headers, logs and listings.
_find_control = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]").search


def canonical_uuid(text: object) -> str | None:
    """``text`` in lower case if it is a UUID as schema ``uuid`` has it, else ``None``."""
    if not isinstance(text, str) or len(text) != 36:
        return None
    lower = text.lower()
    return lower if _match_uuid(lower) else None


def parse_uuid(text: object, *, field: str) -> str:
    """A UUID in its canonical form: lower case, versions 1 to 5. Upper case is accepted."""
    uuid = canonical_uuid(text)
    if uuid is None:
        refuse(field, text, UUID_ALLOWED)
    return uuid


def new_id() -> str:
    """A fresh random UUID (version 4)."""
    return str(uuid4())


def parse_object_id(text: object, *, field: str) -> str:
    """The id of a media object: any text that works as one path segment of a URL.

    The specification only says that it is a string. It stands percent-encoded in
    ``/objects/{id}``, so slashes and spaces are fine; ``.`` and ``..`` are not, because clients
    and proxies resolve them even when encoded.
    """
    if (
        not isinstance(text, str)
        or not 1 <= len(text) <= MAX_OBJECT_ID_CHARS
        or text in (".", "..")
        or (not (text.isascii() and text.isprintable()) and not _is_plain_text(text))
    ):
        refuse(field, text, _OBJECT_ID_ALLOWED)
    return text


def _is_plain_text(text: str) -> bool:
    return _find_control(text) is None and is_storable(text)


def is_mime_type(text: str) -> bool:
    """Whether ``text`` is ``type/subtype``; see ``parse_mime_type``."""
    return len(text) <= MAX_MIME_TYPE_CHARS and _match_mime_type(text) is not None


def parse_mime_type(text: object, *, field: str) -> str:
    """A MIME type, kept as sent: codecs, containers and content types of objects.

    The part before the slash is not limited to the registered types, because the specification
    does not limit it for codecs and containers.
    """
    if not isinstance(text, str) or not is_mime_type(text):
        refuse(field, text, MIME_TYPE_ALLOWED)
    return text


def is_same_container(one: str | None, other: str | None) -> bool:
    """Whether two MIME types name the same container; case means nothing (RFC 2045, section 5.1).

    Some containers have a type for each kind of content, of which a flow takes the one that is
    closest to its format (TAMS 8.2, ``container``): an object in ``video/mp4`` may serve a flow of
    its sound in ``audio/mp4``, too.
    """
    if one is None or other is None:
        return one is other
    return _container_of(one.lower()) == _container_of(other.lower())


def _container_of(mime_type: str) -> str:
    kind, _, subtype = mime_type.partition("/")
    same = kind in _CONTENT_KINDS and subtype in _CONTAINERS_OF_MANY_KINDS
    return subtype if same else mime_type
