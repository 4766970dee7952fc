"""Checks of plain JSON values from outside, each with a message that names the field.

Every check returns the value with its type narrowed, or raises ``BadInput`` that states the field,
the value (cut to 80 characters) and what is allowed. A ``field`` is a dotted path, in which the
items of a list count from 0: ``flow_collection.2.id``. The empty path is the whole input.
"""

from __future__ import annotations

from reprlib import Repr
from typing import Final, NoReturn

from tams_gql.model.errors import BadInput

# The specification bounds no text. These keep a resource inside one VAST cell (128 KiB) and a
# list of them readable.
MAX_NAME_CHARS: Final = 256
MAX_LABEL_CHARS: Final = 1_024
MAX_DESCRIPTION_CHARS: Final = 16_384
MAX_SHOWN_CHARS: Final = 80

# GraphQL's Int holds 32 bits.
MAX_INT32: Final = 2**31 - 1
MIN_INT32: Final = -(2**31)

_brief = Repr()
_brief.maxother = MAX_SHOWN_CHARS
_brief.maxlong = MAX_SHOWN_CHARS


def shown(value: object) -> str:
    """``value`` as text for an error message: at most 80 characters, control characters escaped."""
    text = repr(value[: MAX_SHOWN_CHARS + 1]) if isinstance(value, str) else _brief.repr(value)
    return text if len(text) <= MAX_SHOWN_CHARS else text[: MAX_SHOWN_CHARS - 1] + "…"


def dotted(*parts: str | int) -> str:
    """The path of a field inside others; empty parts are left out."""
    return ".".join(str(part) for part in parts if part != "")


def bad_input(field: str, message: str) -> BadInput:
    """An error about ``field``, named in the message too."""
    return BadInput(f"{field}: {message}" if field else message, field=field or None)


def refuse(field: str, value: object, allowed: str) -> NoReturn:
    """Raise ``BadInput`` that names the field, the value and what is allowed."""
    raise bad_input(field, f"{shown(value)} is not allowed; {allowed}")


def is_storable(text: str) -> bool:
    """Whether UTF-8 holds ``text``: half of a surrogate pair cannot be stored or sent."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_text(value: object, field: str, *, max_chars: int, min_chars: int = 0) -> str:
    """A string of ``min_chars`` to ``max_chars`` characters that UTF-8 can hold."""
    if (
        not isinstance(value, str)
        or not min_chars <= len(value) <= max_chars
        or not is_storable(value)
    ):
        refuse(field, value, f"a string of {min_chars} to {max_chars} characters")
    return value


def check_int(value: object, field: str, *, minimum: int = MIN_INT32) -> int:
    """A whole number from ``minimum`` to what 32 bits hold; ``true`` and 1.0 are none."""
    # `bool` is a subclass of `int`, hence no isinstance.
    if type(value) is not int or not minimum <= value <= MAX_INT32:
        refuse(field, value, f"a whole number from {minimum} to {MAX_INT32}")
    return value
