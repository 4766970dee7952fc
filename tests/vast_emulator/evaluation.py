"""The filter of a query, evaluated with Arrow."""

from __future__ import annotations

import decimal
import functools
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from .predicates import Domain, Range


def matches(domains: Sequence[Domain], columns: Any) -> Any:
    """A boolean array without nulls; ``columns`` maps a column name to its array."""
    masks = [domain_mask(domain, columns) for domain in domains]
    return functools.reduce(pc.and_, masks)


def domain_mask(domain: Domain, columns: Any) -> Any:
    """Which rows are in a domain."""
    array = columns[domain.path[0]]
    for name in domain.path[1:]:
        # struct_field carries the nulls of the parents along
        array = pc.struct_field(array, array.type.get_field_index(name))
    kind = array.type
    if pa.types.is_fixed_size_list(kind):
        return _list_mask(domain, array)
    array, convert = comparable(array, kind)
    points = [convert(r.values[0]) for r in domain.ranges if r.operator == "=="]
    masks = []
    if len(points) > 2:
        masks.append(pc.is_in(array, value_set=pa.array(points, array.type)))
        others = [r for r in domain.ranges if r.operator != "=="]
    else:
        others = list(domain.ranges)
    masks += [_range_mask(r, array, convert) for r in others]
    mask = functools.reduce(pc.or_kleene, masks)
    return pc.fill_null(mask, False) if mask.null_count else mask


_FUNCTIONS = {
    "==": pc.equal,
    "!=": pc.not_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
    "<": pc.less,
    "<=": pc.less_equal,
}


def _range_mask(item: Range, array: Any, convert: Any) -> Any:
    if item.operator == "is_null":
        return pc.is_null(array)
    if item.operator == "is_valid":
        return pc.is_valid(array)
    if item.operator == "contains":
        return pc.match_substring(array, convert(item.values[0]))
    values = [pa.scalar(convert(value), array.type) for value in item.values]
    if item.operator in ("between", "from_to"):
        upper = pc.less_equal if item.operator == "between" else pc.less
        return pc.and_kleene(pc.greater_equal(array, values[0]), upper(array, values[1]))
    return _FUNCTIONS[item.operator](array, values[0])


def comparable(array: Any, kind: Any) -> tuple[Any, Any]:
    """The array in a form that compares like the protocol's literals, and their conversion."""
    if pa.types.is_string(kind):
        # the upper bound of a prefix may be invalid UTF-8, so strings compare as bytes
        return array.cast(pa.binary()), _to_bytes
    if pa.types.is_date32(kind) or pa.types.is_time32(kind):
        return array.cast(pa.int32()), _same
    if pa.types.is_time64(kind) or pa.types.is_timestamp(kind):
        return array.cast(pa.int64()), _same
    if pa.types.is_float16(kind):
        return array.cast(pa.float32()), _same
    if pa.types.is_decimal(kind):
        return array, functools.partial(_to_decimal, kind.scale)
    return array, _same


def _same(value: Any) -> Any:
    return value


def _to_bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)


def _to_decimal(scale: int, value: int) -> decimal.Decimal:
    return decimal.Decimal(value).scaleb(-scale)


def _list_mask(domain: Domain, array: Any) -> Any:
    """Fixed-size lists compare element by element."""
    kind = array.type.value_type
    storage, convert = comparable(pa.array([], kind), kind)
    flat = array.flatten() if not array.null_count else array.drop_null().flatten()
    numbers = comparable(flat, kind)[0].cast(storage.type).to_pylist()
    size = array.type.list_size
    rows = iter([tuple(numbers[n : n + size]) for n in range(0, len(numbers), size)])
    valid = array.is_valid().to_pylist()
    return pa.array(
        [_in_domain(next(rows) if there else None, domain, convert) for there in valid], pa.bool_()
    )


_PYTHON = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
}


def _in_domain(value: tuple[Any, ...] | None, domain: Domain, convert: Any) -> bool:
    for item in domain.ranges:
        if item.operator in ("is_null", "is_valid"):
            if (value is None) == (item.operator == "is_null"):
                return True
        elif value is not None:
            wanted = [tuple(convert(part) for part in bound) for bound in item.values]
            if item.operator == "between":
                if wanted[0] <= value <= wanted[1]:
                    return True
            elif _PYTHON[item.operator](value, wanted[0]):
                return True
    return False
