"""Which Arrow types a column may have, and whether sent columns fit the stored ones."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from .errors import RpcError, bad_request, not_found

_UNSUPPORTED = "TabularUnsupportedColumnType"
_MAX_LIST_SIZE = 1 << 20
_SIMPLE = (
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_boolean,
    pa.types.is_string,
    pa.types.is_binary,
    pa.types.is_decimal128,
    pa.types.is_date32,
    pa.types.is_time,
    pa.types.is_timestamp,
    pa.types.is_fixed_size_binary,
)


def check_type(item: Any) -> None:
    """RpcError 400 for a field the server does not support."""
    kind = item.type
    if pa.types.is_struct(kind):
        for index in range(kind.num_fields):
            check_type(kind.field(index))
    elif pa.types.is_map(kind):
        check_type(kind.key_field)
        check_type(kind.item_field)
    elif pa.types.is_list(kind):
        check_type(kind.value_field)
    elif pa.types.is_fixed_size_list(kind):
        _check_fixed_size_list(item)
    elif not any(test(kind) for test in _SIMPLE):
        raise bad_request(f"column {item.name!r}: {kind} is not supported", _UNSUPPORTED)


def _check_fixed_size_list(item: Any) -> None:
    kind = item.type
    element = kind.value_type
    is_number = (
        pa.types.is_integer(element)
        or pa.types.is_float32(element)
        or pa.types.is_float64(element)
        or pa.types.is_decimal128(element)
        or pa.types.is_temporal(element)
    )
    if not is_number or kind.value_field.nullable or kind.list_size > _MAX_LIST_SIZE:
        raise bad_request(f"column {item.name!r}: {kind} is not supported", _UNSUPPORTED)
    if kind.list_size == 0:
        raise bad_request(
            f"column {item.name!r}: a list of size 0 is not allowed",
            "TabularInvalidColumnTypeParam",
        )


def check_columns(stored: Any, sent: Any) -> None:
    """RpcError if a sent column is unknown or not exactly of the stored type."""
    for item in sent:
        index = stored.get_field_index(item.name)
        if index < 0:
            raise not_found(f"column {item.name!r}")
        mine = stored.field(index)
        if mine.type != item.type or mine.nullable != item.nullable:
            raise RpcError(
                400,
                "TabularMismatchColumnType",
                f"column {item.name!r} is {mine.type}"
                f"{'' if mine.nullable else ' not null'}, not {item.type}"
                f"{'' if item.nullable else ' not null'}",
            )
