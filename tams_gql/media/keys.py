"""Object keys: how a backend names what it stores.

A key is chosen once, when storage is allocated, and kept with the object's instance. The template
only decides how new keys look; changing it moves nothing.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import UTC, datetime
from string import Formatter
from typing import Final

from tams_gql.model.bounds import shown
from tams_gql.model.errors import BadInput

MAX_KEY_BYTES: Final = 1_024  # the bound of S3, kept for all backends
DEFAULT_TEMPLATE: Final = "{prefix}{YYYY}/{MM}/{DD}/{hh}/{object_id}"

_FIELDS: Final = frozenset({"prefix", "YYYY", "MM", "DD", "hh", "object_id", "flow_id", "shard"})
# Control characters break headers and logs, lone surrogates have no UTF-8, and some clients turn
# a backslash in a URL into a slash.
_REFUSED_CHARS = re.compile("[\x00-\x1f\x7f-\x9f\\\\\ud800-\udfff]")


def check_key(key: str) -> str:
    """``key`` if every backend can store and address it, else BadInput.

    Allowed: at most 1,024 bytes of UTF-8, in segments parted by ``/``, of which none is empty,
    ``.`` or ``..`` (clients resolve those before they send a URL), without control characters and
    backslashes.
    """
    if _REFUSED_CHARS.search(key):
        raise _refused(key, "it may not hold control characters, backslashes or lone surrogates")
    if len(key.encode()) > MAX_KEY_BYTES:
        raise _refused(key, f"it may be at most {MAX_KEY_BYTES} bytes of UTF-8")
    if any(segment in ("", ".", "..") for segment in key.split("/")):
        raise _refused(key, "no part between slashes may be empty, '.' or '..'")
    return key


def _refused(key: str, allowed: str) -> BadInput:
    return BadInput(f"storage key {shown(key)} is not allowed; {allowed}")


def unique_name(object_id: str) -> str:
    """A name for ``object_id`` in a key that no earlier or later key has."""
    return f"{object_id}.{secrets.token_hex(6)}"


class KeyTemplate:
    """Makes the keys of new objects.

    Fields: ``{prefix}``; ``{YYYY} {MM} {DD} {hh}``, the time of allocation in UTC; ``{object_id}``;
    ``{flow_id}``; ``{shard}``, two hexadecimal digits of a hash of the object id, for stores that
    dislike time-ordered prefixes. ``{object_id}`` is required, because it makes keys unique.
    """

    def __init__(self, template: str = DEFAULT_TEMPLATE, *, prefix: str = "") -> None:
        """Raises BadInput if the template names unknown fields or could make a refused key."""
        _check_template(template)
        self._template = template
        self._prefix = prefix
        self.render("object", flow_id="flow", now=datetime(2000, 1, 1, tzinfo=UTC))

    def render(self, object_id: str, *, flow_id: str, now: datetime) -> str:
        """The key of a new object. Raises BadInput if the object id cannot be part of a key."""
        if now.tzinfo is None:
            raise ValueError("the time of allocation needs a time zone")
        utc = now.astimezone(UTC)
        key = self._template.format(
            prefix=self._prefix,
            YYYY=f"{utc.year:04}",
            MM=f"{utc.month:02}",
            DD=f"{utc.day:02}",
            hh=f"{utc.hour:02}",
            object_id=object_id,
            flow_id=flow_id,
            shard=hashlib.sha256(object_id.encode(errors="replace")).hexdigest()[:2],
        )
        return check_key(key)


def _check_template(template: str) -> None:
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise BadInput(f"key template {shown(template)} is malformed: {error}") from None
    fields = {name for _, name, _, _ in parts if name is not None}
    # A format specification or conversion could reach into objects or cut an id short.
    decorated = any(spec or conversion for _, _, spec, conversion in parts)
    if decorated or not fields <= _FIELDS or "object_id" not in fields:
        allowed = ", ".join(f"{{{name}}}" for name in sorted(_FIELDS))
        raise BadInput(
            f"key template {shown(template)} is not allowed; "
            f"it must hold {{object_id}} and may hold, bare, {allowed}"
        )
