"""Cursors into the change log, as clients see them.

A cursor names its log, so that one from another catalog (or from before a data directory was
wiped) is refused instead of silently skipping or repeating events. What the position in it means
only the log knows, which also refuses one that it cannot have given.
"""

from __future__ import annotations

import binascii
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode

from tams_gql.model.errors import BadInput

_POSITION = re.compile("[0-9a-z.-]{1,4096}")


def encode_cursor(log_id: str, position: str) -> str:
    """The opaque cursor of a log position."""
    return urlsafe_b64encode(f"{log_id}:{position}".encode()).decode().rstrip("=")


def decode_cursor(log_id: str, cursor: str, *, field: str = "after") -> str:
    """The log position behind a cursor; ``BadInput`` if it is malformed or of another log."""
    foreign = BadInput(
        f"{field}: {cursor[:80]!r} is not an event cursor of this service", field=field
    )
    try:
        text = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        log, position = text.split(":")
    except (ValueError, binascii.Error, UnicodeError):
        raise foreign from None
    if log != log_id:
        raise BadInput(
            f"{field}: the event cursor belongs to another catalog; start without a cursor",
            field=field,
        )
    if not _POSITION.fullmatch(position):
        raise foreign
    return position
