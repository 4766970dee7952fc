"""What a reader of the log has yet to read: by its stamps and keys, in portions of bounded size.

The cluster neither sorts nor aggregates. So a long rest of the log is cut by its stamps, which
counting alone does, until a portion is small enough to be sorted here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from tams_gql.store.scan import is_in
from tams_gql.store.tables import EVENTS
from tams_gql.store.vast.change_log.frontier import LATENESS_SECONDS, START, Frontier, Seen
from tams_gql.store.vast.change_log.lanes import key_of
from tams_gql.store.vast.layout import physical_of
from tams_gql.store.vast.reading.reader import Reader
from tams_gql.store.vast.wire.domains import Asked, Within

KEY_COLUMNS = ("lane", "seq", "stamped")
KEYS_AT_ONCE = 65_536  # some megabytes

_EVENTS = physical_of(EVENTS)
_ORDER = [("stamped", "ascending"), ("lane", "ascending"), ("seq", "ascending")]
_MICROSECONDS = 1_000_000
_LATENESS_US = LATENESS_SECONDS * _MICROSECONDS


class Rows(NamedTuple):
    """A page of events, the keys of more that follow, and whether there are no others."""

    page: pa.Table
    rest: pa.Table
    whole: bool


def unread(frontier: Frontier) -> tuple[Asked, ...]:
    """Conditions that exactly the events outside a frontier meet."""
    stamped = Within("stamped", ((frontier.horizon * _MICROSECONDS, None),))
    if not frontier.lanes:
        return (stamped,)
    spans: list[tuple[str | None, str | None]] = []
    start: str | None = None
    for lane, seen in sorted(frontier.lanes.items()):
        spans.append((start, lane))
        start = key_of(lane, seen.seq + 1)
    return stamped, Within("key", (*spans, (start, None)))


def stamped_before(end: int) -> Asked:
    """Events stamped earlier."""
    return Within("stamped", ((None, end),))


def in_order(rows: pa.Table) -> pa.Table:
    """Rows in the order of the log: by stamp; those of a lane as they are numbered."""
    return rows.take(pc.sort_indices(rows, _ORDER)) if rows.num_rows > 1 else rows


def keys_of_page(page: pa.Table) -> tuple[Asked, ...]:
    """Conditions that the events of a page meet, which has rows of lanes without gaps."""
    lanes, numbers, stamps = (page.column(name).to_pylist() for name in KEY_COLUMNS)
    first, last = (
        dict(zip(lanes[::-1], numbers[::-1], strict=True)),
        dict(zip(lanes, numbers, strict=True)),
    )
    spans = tuple((key_of(lane, first[lane]), key_of(lane, last[lane] + 1)) for lane in first)
    return Within("stamped", ((stamps[0], stamps[-1] + 1),)), Within("key", spans)


def portion_end(
    reader: Reader, where: Sequence[Asked], start: int, end: int, *, least: int, most: int
) -> int:
    """A stamp before which there are ``least`` to ``most`` of the events.

    There must be more than ``most`` in all. ``start`` and ``end`` are where stamps are expected.
    Events of a single stamp are not parted, however many they are.
    """

    def found_before(stamp: int) -> int:
        return reader.count(_EVENTS, [*where, stamped_before(stamp)])

    low, high = start, max(end, start + 1)
    while found_before(high) < least:
        low, high = high, high + (high - start)
    while high - low > 1:
        middle = (low + high) // 2
        found = found_before(middle)
        if least <= found <= most:
            return middle
        low, high = (middle, high) if found < least else (low, middle)
    return high


def rows_after(
    reader: Reader,
    after: Frontier,
    limit: int,
    where: Sequence[Asked],
    now_us: int,
    *,
    few: bool,
) -> Rows:
    """The next ``limit`` events in order that meet ``where``.

    ``few`` tells that there cannot be many more, so that one call will do. Otherwise events are
    counted first, and the bodies of those that do not fit are never read.
    """
    wanted = [*unread(after), *where]
    total = 0 if few else reader.count(_EVENTS, wanted)
    if total <= limit:
        rows = in_order(reader.select(_EVENTS, _EVENTS.schema.names, wanted))
        return Rows(rows.slice(0, limit), rows.slice(limit).select(KEY_COLUMNS), whole=True)
    most = max(KEYS_AT_ONCE, 2 * limit)
    whole = total <= most
    if not whole:
        start = after.horizon * _MICROSECONDS
        end = portion_end(reader, wanted, start, now_us, least=limit, most=most)
        wanted.append(stamped_before(end))
    keys = in_order(reader.select(_EVENTS, KEY_COLUMNS, wanted))
    page = rows_of(reader, keys.slice(0, limit), where)
    return Rows(page, keys.slice(limit), whole)


def rows_of(reader: Reader, keys: pa.Table, where: Sequence[Asked]) -> pa.Table:
    """The events with the ``keys`` of a page, as far as they are still there, in order."""
    return in_order(reader.select(_EVENTS, _EVENTS.schema.names, [*keys_of_page(keys), *where]))


def rows_named_by(reader: Reader, position: Frontier, *, besides: Frontier) -> pa.Table:
    """The keys of the events that a position names and ``besides`` does not include."""
    keys = [
        key_of(lane, seen.seq)
        for lane, seen in position.lanes.items()
        if not besides.includes(lane, seen.seq, seen.second * _MICROSECONDS)
    ]
    stamped = Within("stamped", ((position.horizon * _MICROSECONDS, None),))
    return reader.select(_EVENTS, KEY_COLUMNS, [stamped, is_in("key", keys)])


def head_in(reader: Reader, known: Frontier, now_us: int, *, few: bool) -> tuple[Frontier, int]:
    """All events that a view shows, and the latest stamp that is not ``known``, 0 for none.

    ``few`` tells that there is no need to count what is not known first.
    """
    total = 0 if few else reader.count(_EVENTS, unread(known))
    newest = 0
    if total > KEYS_AT_ONCE:  # of what is long past only its end matters
        start = _about_newest(reader, known.horizon * _MICROSECONDS, now_us) - _LATENESS_US
        recent = Within("stamped", ((start, None),))
        while (total := reader.count(_EVENTS, [*unread(known), recent])) > KEYS_AT_ONCE:
            where = [*unread(known), recent]
            end = portion_end(reader, where, start, now_us, least=1, most=KEYS_AT_ONCE)
            part = reader.select(_EVENTS, KEY_COLUMNS, [*where, stamped_before(end)])
            known, newest = known.union(frontier_of(part)), max(newest, newest_of(part))
            start, recent = end, Within("stamped", ((end, None),))
        rest: tuple[Asked, ...] = (*unread(known), recent)
    else:
        rest = unread(known)
    rows = reader.select(_EVENTS, KEY_COLUMNS, rest)
    return known.union(frontier_of(rows)), max(newest, newest_of(rows))


def newest_of(rows: pa.Table) -> int:
    """The latest stamp of some events, 0 if there are none."""
    return pc.max(rows.column("stamped")).as_py() or 0


def frontier_of(rows: pa.Table) -> Frontier:
    """The frontier of some events and all before them."""
    lanes: dict[str, Seen] = {}
    for lane, seq, stamped in zip(*(rows.column(n).to_pylist() for n in KEY_COLUMNS), strict=True):
        if lane not in lanes or lanes[lane].seq < seq:
            lanes[lane] = Seen(seq, stamped // _MICROSECONDS)
    newest = max((seen.second for seen in lanes.values()), default=0)
    return START.union(Frontier(max(0, newest - LATENESS_SECONDS), lanes))


def _about_newest(reader: Reader, start: int, now_us: int) -> int:
    """A stamp that the latest event of the log follows within the lateness."""

    def any_from(stamp: int) -> bool:
        return reader.count(_EVENTS, [Within("stamped", ((stamp, None),))]) > 0

    low, high = start, max(now_us, start) + _LATENESS_US
    while any_from(high):
        low, high = high, high + (high - start)
    while high - low > _LATENESS_US:
        middle = (low + high) // 2
        low, high = (middle, high) if any_from(middle) else (low, middle)
    return low
