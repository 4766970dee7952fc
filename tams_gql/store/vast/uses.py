"""Where an object is used: a column of the object's own row that bounds every look for its users.

``segments`` is sorted by flow and time, so finding the segments of an object would read the
``object_id`` of all of them. Who registers a segment writes its object's row anyway, to count the
user; so that row also says in which flows segments that use the object begin, between which first
and last start. Removals leave it as it is: it never says too little, and perhaps too much. It
therefore decides nothing. What uses an object is always read from the segments themselves, in
these places, and is as exact as if all had been read.

As text: ``{"flow": start}`` or ``{"flow": [first, last]}``, with ``+`` before it once other objects
have counted as users (an initialisation object), and ``*`` if there are too many flows to name.
NULL, in a row that was made before the column was: not known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from tams_gql.store.scan import Op, Where, is_in
from tams_gql.store.tables import OBJECTS, SEGMENTS, Table
from tams_gql.store.vast.wire.domains import Within

USER_COLUMNS = {SEGMENTS: "object_id", OBJECTS: "init_object_id"}
"""The tables whose rows use objects, and the columns that name these."""

NOWHERE = "{}"
NEEDED = "+{}"
ANYWHERE = "*"

_OBJECTS = "+"
_MOST_BYTES = 8_192  # a hundred flows; each registration writes them again
_MOST_SPANS = 256  # ranges of time in one predicate

Span = tuple[int, int]
"""The first and the last start of the segments in question, ns."""

Places = dict[str, Span]
"""By flow."""


@dataclass(slots=True)
class Added:
    """Users that a change set gives one object."""

    places: Places = field(default_factory=dict)
    objects: bool = False

    def segments(self, flow_id: str, first_ns: int, last_ns: int) -> None:
        """Note segments of a flow that begin between two times, both included."""
        _widen(self.places, flow_id, (first_ns, last_ns))


def with_users(text: str | None, added: Added) -> str | None:
    """The column's new value."""
    if text is None or text == ANYWHERE:
        return text
    mark = _OBJECTS if added.objects or text.startswith(_OBJECTS) else ""
    places = _parsed(text)
    for flow_id, span in added.places.items():
        _widen(places, flow_id, span)
    told = {
        flow: first if first == last else (first, last) for flow, (first, last) in places.items()
    }
    written = mark + orjson.dumps(told).decode()
    return written if len(written.encode()) <= _MOST_BYTES else ANYWHERE


def bounds_of_users(table: Table, told: Mapping[str, str | None]) -> tuple[Where | Within, ...]:
    """What rows of ``segments`` or ``objects`` meet that use any of these objects.

    ``told`` has what the objects' rows say of their users. Other rows may meet it as well.
    """
    if table is OBJECTS:
        needed = [object_id for object_id, text in told.items() if _perhaps_needed(text)]
        return (is_in(USER_COLUMNS[OBJECTS], needed),)
    flows: dict[str, None] = {}
    spans: set[Span] = set()
    for text in told.values():
        if text is None or text == ANYWHERE:
            return ()
        places = _parsed(text)
        flows |= dict.fromkeys(places)
        spans.update(places.values())
    if len(spans) > _MOST_SPANS:
        spans = {(min(first for first, _ in spans), max(last for _, last in spans))}
    starts = tuple((first, last + 1) for first, last in sorted(spans))
    return is_in("flow_id", flows), Within("start_ns", starts)


def _perhaps_needed(text: str | None) -> bool:
    """Whether other objects may need this one, as an initialisation object."""
    return text is None or text.startswith((_OBJECTS, ANYWHERE))


def named(where: Iterable[Where | Within], column: str) -> list[str] | None:
    """The values that a text column has in all rows that match; None if they are not named."""
    for each in where:
        if isinstance(each, Where) and each.column == column:
            values = [value for bound in each.any_of for value in _values(bound.op, bound.value)]
            if None not in values:
                return [value for value in dict.fromkeys(values) if isinstance(value, str)]
    return None


def _values(op: Op, value: object) -> Iterable[object]:
    """What one comparison names; a None says that it lets other values through as well."""
    match op:
        case Op.IN:
            assert isinstance(value, tuple)
            return [each for each in value if each is not None]  # which equals nothing
        case Op.EQ if value is not None:
            return [value]
        case _:
            return [None]


def _parsed(text: str) -> Places:
    told: Mapping[str, Any] = orjson.loads(text.removeprefix(_OBJECTS))
    return {flow: (s, s) if isinstance(s, int) else (s[0], s[1]) for flow, s in told.items()}


def _widen(places: Places, flow_id: str, span: Span) -> None:
    known = places.get(flow_id, span)
    places[flow_id] = min(known[0], span[0]), max(known[1], span[1])
