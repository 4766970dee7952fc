"""Relay paging over keyset cursors.

A cursor holds the ordering values of one row and a digest of the arguments it came from. Used with
other arguments it is refused, because it would silently skip or repeat rows.
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Generic, TypeVar

import orjson

from tams_gql.context import Limits
from tams_gql.model.errors import BadInput, LimitExceeded
from tams_gql.store.scan import OrderBy, Value

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PageRequest:
    """The paging arguments as a client gave them.

    Without ``rows`` nothing of the page is used: the arguments are checked and nothing is read.
    """

    first: int | None = None
    after: str | None = None
    last: int | None = None
    before: str | None = None
    rows: bool = True


@dataclass(frozen=True, slots=True)
class PagePlan:
    """A checked page: how many rows, from where, and whether the order is read backwards."""

    size: int
    backwards: bool
    position: tuple[Value, ...] | None
    digest: str

    @property
    def read_limit(self) -> int:
        """One row more than is shown tells whether others follow."""
        return self.size + 1


@dataclass(frozen=True, slots=True)
class Connection(Generic[T]):
    """One page of a list. ``cursor_of`` makes a row's cursor when it is asked for."""

    rows: list[T]
    has_next: bool
    has_previous: bool
    cursor_of: Callable[[T], str]


def plan_page(request: PageRequest, limits: Limits, binding: object, width: int) -> PagePlan:
    """Check paging arguments. ``binding`` is what a cursor depends on, ``width`` its length.

    Raises ``BadInput`` or ``LimitExceeded`` naming the argument.
    """
    if request.first is not None and request.last is not None:
        raise BadInput("first and last cannot both be given", field="last")
    backwards = request.last is not None or (request.before is not None and request.first is None)
    name, asked = ("last", request.last) if backwards else ("first", request.first)
    cursor_name, cursor = ("before", request.before) if backwards else ("after", request.after)
    other_name, other = ("after", request.after) if backwards else ("before", request.before)
    if other is not None:
        raise BadInput(f"{other_name} cannot be combined with {name}", field=other_name)
    size = limits.default_page_size if asked is None else asked
    if size < 0:
        raise BadInput(f"{name}: {size} is not allowed; it must be 0 or more", field=name)
    if size > limits.max_page_size:
        raise LimitExceeded(
            f"{name}: {size} is above the page size limit of {limits.max_page_size}",
            field=name,
            limit=limits.max_page_size,
            requested=size,
        )
    digest = digest_of(binding)
    position = None if cursor is None else _position(cursor, digest, width, cursor_name)
    return PagePlan(size, backwards, position, digest)


@lru_cache(maxsize=4096)
def digest_of(binding: object) -> str:
    """A short digest of a frozen value that is equal for equal values, in every process."""
    return blake2b(repr(binding).encode(), digest_size=6).hexdigest()


def encode_cursor(digest: str, position: tuple[Value, ...]) -> str:
    """The opaque cursor of a row."""
    return urlsafe_b64encode(orjson.dumps([digest, *position])).decode().rstrip("=")


def _position(cursor: str, digest: str, width: int, name: str) -> tuple[Value, ...]:
    try:
        parts = orjson.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        found, *position = parts
    except (ValueError, TypeError, binascii.Error):
        raise _malformed(cursor, name) from None
    # Only a cursor that somebody has tampered with holds anything else.
    if not all(map(_is_value, position)):
        raise _malformed(cursor, name)
    if found != digest or len(position) != width:
        raise BadInput(
            f"{name}: the cursor came from a list with other arguments (filter or order)",
            field=name,
        )
    return tuple(position)


def _malformed(cursor: str, name: str) -> BadInput:
    return BadInput(f"{name}: {cursor[:80]!r} is not a cursor of this list", field=name)


def _is_value(value: object) -> bool:
    if isinstance(value, int):
        return not isinstance(value, bool) and -(2**63) <= value < 2**63
    return value is None or isinstance(value, str)


def ordered(order: tuple[OrderBy, ...], plan: PagePlan) -> tuple[OrderBy, ...]:
    """The order to read in: reversed when paging backwards."""
    if not plan.backwards:
        return order
    return tuple(OrderBy(term.column, not term.descending) for term in order)


def connect(
    rows: list[T], more: bool, plan: PagePlan, position: Callable[[T], tuple[Value, ...]]
) -> Connection[T]:
    """A page from the rows that were read, in the order of the list."""
    beyond = plan.position is not None

    def cursor_of(row: T) -> str:
        return encode_cursor(plan.digest, position(row))

    if plan.backwards:
        return Connection(rows[::-1], beyond, more, cursor_of)
    return Connection(rows, more, beyond, cursor_of)
