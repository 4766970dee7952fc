"""Retention of the change log: the oldest events go, and a record of which stays.

The record is a frontier in rows of ``service``. What several processes remove at once adds up: each
adds a row of its own, removes those that it has read, and all that are there count together.
"""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

import pyarrow as pa

from tams_gql.model.errors import Unavailable
from tams_gql.store.scan import Op, compare, eq
from tams_gql.store.tables import EVENTS, SERVICE
from tams_gql.store.vast.change_log.frontier import START, Frontier, parse
from tams_gql.store.vast.change_log.unread import (
    KEY_COLUMNS,
    frontier_of,
    in_order,
    portion_end,
    stamped_before,
)
from tams_gql.store.vast.layout import ROW_ID, physical_of, rows_to_batch
from tams_gql.store.vast.reading.reader import Reader
from tams_gql.store.vast.wire.client import Gone, OutcomeUnknown, RowConflict, Tx, VastClient
from tams_gql.store.vast.wire.domains import Asked

_EVENTS, _SERVICE = physical_of(EVENTS), physical_of(SERVICE)
_FLOOR = "log_floor"
_MOST_AT_ONCE = 10_000
_LEAST_AT_ONCE = 1_000
_MICROSECONDS = 1_000_000


class Portion(NamedTuple):
    """How many events went, and whether there may be more to remove."""

    removed: int
    more: bool


def floor_in(reader: Reader) -> Frontier:
    """What has been removed, as a view shows it."""
    return _union(reader.select(_SERVICE, ["value"], [eq("name", _FLOOR)]))


def trim_portion(client: VastClient, before_us: int) -> Portion:
    """Remove some of the oldest events, up to the first that was created at ``before_us`` or later.

    Raises ``Unavailable``. When another process removes them at the same time this one leaves it
    to that.
    """
    tx = client.begin()
    try:
        portion = _remove(tx, before_us, client.clock.now_us())
        if portion.removed:
            tx.commit()
        return portion
    except RowConflict:
        return Portion(0, more=False)
    except (Gone, OutcomeUnknown) as error:
        if isinstance(error, OutcomeUnknown):
            with suppress(Unavailable):  # else its rows stay in everybody's way until it expires
                client.abandon(error.txid)
        raise Unavailable(f"the change log could not be trimmed: {error}") from error
    finally:
        tx.rollback()


def _remove(tx: Tx, before_us: int, now_us: int) -> Portion:
    if not tx.count(_EVENTS, [compare("created", Op.LT, before_us)]):
        return Portion(0, more=False)
    records = tx.select(_SERVICE, ["value"], [eq("name", _FLOOR)], row_ids=True)
    floor = _union(records)
    oldest = _oldest(tx, floor, now_us)
    young = [created >= before_us for created in oldest.column("created").to_pylist()]
    count = young.index(True) if any(young) else len(young)
    if not count:
        return Portion(0, more=False)
    removed = oldest.slice(0, count)
    tx.delete(_EVENTS, removed.column(ROW_ID))
    record = floor.union(frontier_of(removed)).text()
    tx.insert(_SERVICE, rows_to_batch(_SERVICE, ("name", "value"), [(_FLOOR, record)]))
    tx.delete(_SERVICE, records.column(ROW_ID))
    return Portion(count, more=count == oldest.num_rows)


def _oldest(tx: Tx, floor: Frontier, now_us: int) -> pa.Table:
    """The events that come first, not too many, in order."""
    where: list[Asked] = []
    if tx.count(_EVENTS) > _MOST_AT_ONCE:
        start = floor.horizon * _MICROSECONDS
        end = portion_end(tx, (), start, now_us, least=_LEAST_AT_ONCE, most=_MOST_AT_ONCE)
        where = [stamped_before(end)]
    columns = [*KEY_COLUMNS, "created"]
    return in_order(tx.select(_EVENTS, columns, where, row_ids=True))


def _union(records: pa.Table) -> Frontier:
    found = START
    for text in records.column("value").to_pylist():
        found = found.union(parse(text))
    return found
