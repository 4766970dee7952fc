"""The JSON body of a resource as a whole: only JSON values, no deeper and no larger than we keep.

Vendor keys travel through the catalog unread, so a value that could not be stored or sent back
must be refused here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import orjson

from tams_gql.model.bounds import bad_input, dotted, is_storable, refuse

MAX_BODY_BYTES: Final = 128 * 1024
"""Size of a body as compact UTF-8 JSON, in bytes: what one cell of a VAST table holds."""

MAX_DEPTH: Final = 32

# What orjson writes: 64 bits, signed or unsigned.
_MIN_INT: Final = -(2**63)
_MAX_INT: Final = 2**64 - 1


def check_body(body: object, field: str) -> dict[str, object]:
    """``body`` as a dictionary whose values are all JSON that can be stored and sent back.

    Raises ``BadInput`` for anything but an object, for NaN and infinities, integers beyond
    64 bits, unpaired surrogates, more than 32 levels and more than 128 KiB.
    """
    if not isinstance(body, Mapping):
        refuse(field, body, "a JSON object")
    checked = dict(body)
    _check_value(checked, field, 0)
    size = len(orjson.dumps(checked))
    if size > MAX_BODY_BYTES:
        raise bad_input(field, f"the JSON body has {size} bytes; at most {MAX_BODY_BYTES}")
    return checked


def _check_value(value: object, field: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise bad_input(field, f"nested too deep; at most {MAX_DEPTH} levels")
    match value:
        case None | bool():
            pass
        case str():
            if not is_storable(value):
                refuse(field, value, "text without unpaired surrogates")
        case int():
            if not _MIN_INT <= value <= _MAX_INT:
                refuse(field, value, "an integer of at most 64 bits")
        case float():
            if not math.isfinite(value):
                refuse(field, value, "a finite number")
        case dict():
            for key, item in value.items():
                if not isinstance(key, str) or not is_storable(key):
                    refuse(field, key, "keys are text without unpaired surrogates")
                _check_value(item, dotted(field, key), depth + 1)
        case list():
            for index, item in enumerate(value):
                _check_value(item, dotted(field, index), depth + 1)
        case _:
            refuse(field, value, "a JSON value")
