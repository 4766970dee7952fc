"""Checks of plain JSON values from outside, each with a message that names the field.

Every check returns the value with its type narrowed, or raises ``BadInput`` that states the field,
the value (cut to 80 characters) and what is allowed.
"""

from __future__ import annotations

from reprlib import Repr
from typing import Final, NoReturn

from tams_gql.model.errors import BadInput

# Names and free text of resources. A bound keeps one resource inside one VAST cell (128 KiB).
MAX_LABEL_CHARS: Final = 1_024
MAX_DESCRIPTION_CHARS: Final = 16_384
MAX_SHOWN_CHARS: Final = 80

# GraphQL's Int, and the INTEGER columns behind it, hold 32 bits.
MAX_INT32: Final = 2**31 - 1
MIN_INT32: Final = -(2**31)

_brief = Repr()
_brief.maxstring = MAX_SHOWN_CHARS
_brief.maxother = MAX_SHOWN_CHARS
_brief.maxlong = MAX_SHOWN_CHARS


def shown(value: object) -> str:
    """``value`` as text for an error message: at most 80 characters, control characters escaped."""
    text = repr(value[: MAX_SHOWN_CHARS + 1]) if isinstance(value, str) else _brief.repr(value)
    return text if len(text) <= MAX_SHOWN_CHARS else text[: MAX_SHOWN_CHARS - 1] + "…"


def refuse(field: str, value: object, allowed: str) -> NoReturn:
    """Raise ``BadInput`` that names the field, the value and what is allowed."""
    raise BadInput(f"{field}: {shown(value)} is not allowed; {allowed}", field=field)
