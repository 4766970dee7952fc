"""Telling the objects of an older catalog where their users are.

Every segment is read once, in portions of a few flows or of a part of one. A portion is a
transaction that widens what its objects say, so it can be done again at any time, and what is
broken off is taken up by doing everything again. Nobody may write meanwhile who does not widen it,
too: an older program. Nor may a portion be written once the catalog is in use: what it has read of
its objects would be old by then.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

import pyarrow as pa

from tams_gql.model.errors import Unavailable
from tams_gql.model.jitter import CHANCE
from tams_gql.store.scan import eq, is_in
from tams_gql.store.tables import FLOWS, OBJECTS, SEGMENTS
from tams_gql.store.vast.layout import LOCK, ROW_ID, USES, physical_of
from tams_gql.store.vast.uses import NEEDED, NOWHERE, Added, with_users
from tams_gql.store.vast.wire.client import Gone, OutcomeUnknown, RowConflict, Tx, VastClient
from tams_gql.store.vast.wire.domains import Asked, Within

_SEGMENTS_AT_ONCE = 50_000  # objects are looked up and written in the same number
_FLOWS_AT_ONCE = 1_000
_MANY_FLOWS = 500_000  # more are read by parts of their ids
_PATIENCE_SECONDS = 60.0

_FLOWS, _SEGMENTS, _OBJECTS = physical_of(FLOWS), physical_of(SEGMENTS), physical_of(OBJECTS)
_TURNS = [f"{number:02x}" for number in range(1, 256)]  # ids are UUIDs as a rule

T = TypeVar("T")
_log = logging.getLogger(__name__)


def fill_uses(client: VastClient, hold: Callable[[Tx], None]) -> None:
    """Let the objects of all segments say where these are.

    ``hold`` is called first in each transaction that writes: it keeps others from taking the
    catalog into use until that ends, and raises if they have. Raises ``Unavailable`` if there are
    segments that belong to no flow, or somebody adds or removes some meanwhile.
    """

    def count(tx: Tx) -> int:
        hold(tx)
        return tx.count(_SEGMENTS)

    def fill(tx: Tx, where: Sequence[Asked]) -> int:
        hold(tx)
        return _fill(tx, where)

    total, done = _patiently(client, count), 0
    for where in _portions(client):
        done += _patiently(client, partial(fill, where=where))
        _log.info("found the objects of %d of %d segments", done, total)
    if done != total or total != _patiently(client, count):
        raise Unavailable(
            f"of {total} segments {done} belong to flows, or servers of an older release write to"
            " the catalog: stop them and run `tams-gql migrate` again"
        )


def _portions(client: VastClient) -> Iterator[tuple[Asked, ...]]:
    """Conditions of which each segment meets one."""
    waiting: list[str] = []
    count = 0
    for flow_id, segments, first, end in _flows(client):
        if segments > _SEGMENTS_AT_ONCE:
            yield from _parts(client, flow_id, first, end)
            continue
        if waiting and (count + segments > _SEGMENTS_AT_ONCE or len(waiting) == _FLOWS_AT_ONCE):
            yield (is_in("flow_id", waiting),)
            waiting, count = [], 0
        waiting.append(flow_id)
        count += segments
    if waiting:
        yield (is_in("flow_id", waiting),)


def _parts(client: VastClient, flow_id: str, first: int, end: int) -> Iterator[tuple[Asked, ...]]:
    """A long flow in pieces, from one end of time to the other."""
    edges = _edges(client, flow_id, first, end)
    for low, high in zip([None, *edges], [*edges, None], strict=True):
        yield _stretch(flow_id, low, high)


def _edges(client: VastClient, flow_id: str, low: int, high: int) -> list[int]:
    """Where to cut a stretch of a flow, however unevenly its segments lie in it."""
    stretch = _stretch(flow_id, low, high)
    count = _patiently(client, partial(Tx.count, table=_SEGMENTS, where=stretch))
    if count <= _SEGMENTS_AT_ONCE or high - low < 2:
        return []
    middle = (low + high) // 2
    before, after = _edges(client, flow_id, low, middle), _edges(client, flow_id, middle, high)
    return [*before, middle, *after]


def _stretch(flow_id: str, low: int | None, high: int | None) -> tuple[Asked, ...]:
    return eq("flow_id", flow_id), Within("start_ns", ((low, high),))


def _flows(client: VastClient) -> Iterator[tuple[str, int, int, int]]:
    """All flows, about how many segments each has, and between which times."""
    columns = ("id", "segment_count", "min_start_ns", "max_end_ns")
    turns = _TURNS if _patiently(client, lambda tx: tx.count(_FLOWS)) > _MANY_FLOWS else []
    for low, high in zip([None, *turns], [*turns, None], strict=True):
        where = (Within("id", ((low, high),)),)
        found = _patiently(client, partial(Tx.select, table=_FLOWS, columns=columns, where=where))
        for flow_id, count, first, end in zip(*_lists(found, columns), strict=True):
            yield flow_id, count or 0, first or 0, end or 0


def _fill(tx: Tx, where: Sequence[Asked]) -> int:
    """Widen what the objects of some segments say; how many segments these are."""
    columns = ("flow_id", "object_id", "start_ns")
    found = tx.select(_SEGMENTS, columns, where)
    spans = found.group_by(["object_id", "flow_id"]).aggregate(
        [("start_ns", "min"), ("start_ns", "max")]
    )
    users: defaultdict[str, Added] = defaultdict(Added)
    names = ("object_id", "flow_id", "start_ns_min", "start_ns_max")
    for object_id, flow_id, first, last in zip(*_lists(spans, names), strict=True):
        users[object_id].segments(flow_id, first, last)
    if users:
        _widen(tx, users)
    return int(found.num_rows)


def _widen(tx: Tx, users: dict[str, Added]) -> None:
    found = tx.select(_OBJECTS, ("id", "role", USES), [is_in("id", users)], row_ids=True)
    told = [
        # Whether objects need it was not noted. Those that segments use are none that others need.
        with_users((NOWHERE if role == "media" else NEEDED) if text is None else text, users[name])
        for name, role, text in zip(*_lists(found, ("id", "role", USES)), strict=True)
    ]
    changed = pa.array([a != b for a, b in zip(told, found.column(USES).to_pylist(), strict=True)])
    ids = found.column(ROW_ID).combine_chunks().filter(changed)
    texts = pa.array(told, pa.string()).filter(changed)
    locks = pa.array([CHANCE.getrandbits(62)] * len(ids), pa.int64())
    if len(ids):
        tx.update(_OBJECTS, pa.record_batch([ids, texts, locks], names=[ROW_ID, USES, LOCK]))


def _patiently(client: VastClient, work: Callable[[Tx], T]) -> T:
    """Do something in a transaction of its own, again if others or the cluster make that fail."""
    patience = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return _once(client, work)
        except (RowConflict, Gone, OutcomeUnknown, Unavailable) as error:
            if isinstance(error, OutcomeUnknown):
                with suppress(Unavailable):
                    client.abandon(error.txid)
            if time.monotonic() > patience:
                raise
            time.sleep(0.1 + 0.4 * CHANCE.random())


def _once(client: VastClient, work: Callable[[Tx], T]) -> T:
    tx = client.begin()
    try:
        done = work(tx)
        tx.commit()
        return done
    finally:
        tx.rollback()


def _lists(found: pa.Table, columns: Sequence[str]) -> list[list[object]]:
    return [found.column(name).to_pylist() for name in columns]
