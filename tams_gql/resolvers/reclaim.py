"""Reclaiming objects that nothing uses: their rows first, then their bytes.

A claim is a commit: it expects that the object is still unused and removes its row. A registration
that comes first makes the claim stale; one that comes later finds the object gone. Only then are
the bytes deleted, so that nothing referenced is ever missing. Bytes whose deletion fails stay
behind without a row; they cost space, never correctness.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass

from tams_gql.context import Services
from tams_gql.loaders.urls import instances_of
from tams_gql.media.port import ObjectLocation
from tams_gql.model.errors import TamsError
from tams_gql.store.changes import ChangeSet, Delete, Expect, Refer, Stale
from tams_gql.store.records import ObjectRecord, records
from tams_gql.store.scan import Op, OrderBy, Scan, compare, eq
from tams_gql.store.tables import OBJECTS, RECEIPTS

_BATCH = 200
_PAUSE_SECONDS = 15.0
_RECEIPTS_PAUSE_SECONDS = 3600.0
_RECEIPT_SECONDS = 24 * 3600

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reclaimed:
    """How many objects went, and the bytes they had as far as known."""

    objects: int
    bytes: int


async def reclaim_objects(services: Services) -> Reclaimed:
    """Remove what has lapsed now: allocations never registered, objects without users.

    An orphan is kept for ``min_object_timeout``, so that a client may delete a segment and register
    its object anew (TAMS 8.2, POST segments).
    """
    now = services.now_us()
    before = now - services.limits.min_object_timeout * 1_000_000
    total = Reclaimed(0, 0)
    for column, limit in (("expires", now), ("orphaned", before)):
        total = _sum(total, await _reclaim_by(services, column, limit))
    return total


async def _reclaim_by(services: Services, column: str, limit_us: int) -> Reclaimed:
    total = Reclaimed(0, 0)
    after: tuple[int, str] | None = None
    while True:
        scan = Scan(
            OBJECTS,
            OBJECTS.columns,
            where=(compare(column, Op.LT, limit_us),),
            order=(OrderBy(column), OrderBy("id")),
            limit=_BATCH,
            after=after,
        )
        async with services.store.session() as session:
            (batch,) = await session.scan([scan])
        rows = records(batch, ObjectRecord)
        # Side by side, so that the claims share the sync of a group commit.
        taken = await asyncio.gather(*(_claim(services, row) for row in rows))
        claimed = [row for row, mine in zip(rows, taken, strict=True) if mine]
        await _delete_bytes(services, claimed)
        total = _sum(total, Reclaimed(len(claimed), sum(row.size or 0 for row in claimed)))
        if len(rows) < _BATCH:
            return total
        after = (getattr(rows[-1], column), rows[-1].id)


def _sum(one: Reclaimed, other: Reclaimed) -> Reclaimed:
    return Reclaimed(one.objects + other.objects, one.bytes + other.bytes)


async def _claim(services: Services, row: ObjectRecord) -> bool:
    """Take the object out of the catalog unless somebody has begun to use it."""
    changes = ChangeSet(services.now_us())
    relied_on = {"role": row.role, "ref_count": 0, "orphaned": row.orphaned, "expires": row.expires}
    changes.expect.append(Expect(OBJECTS, (row.id,), relied_on))
    changes.delete.append(Delete(OBJECTS, (eq("id", row.id),)))
    if row.init_object_id is not None:
        changes.refer.append(Refer(row.init_object_id, -1))
    try:
        await services.store.commit(changes)
    except Stale:
        return False
    return True


async def _delete_bytes(services: Services, rows: list[ObjectRecord]) -> None:
    locations = [
        ObjectLocation(instance.storage_id, instance.key)
        for row in rows
        for instance in instances_of(row)
        if instance.storage_id is not None and instance.key is not None
    ]
    if not locations:
        return
    try:
        await services.media.delete(locations)
    except TamsError as error:
        _log.warning("bytes of reclaimed objects could not be deleted: %s", error)


async def forget_receipts(services: Services) -> None:
    """Remove what idempotency keys have remembered for longer than a client retries."""
    now = services.now_us()
    old = compare("created", Op.LT, now - _RECEIPT_SECONDS * 1_000_000)
    changes = ChangeSet(now)
    changes.delete.append(Delete(RECEIPTS, (old,)))
    await services.store.commit(changes)


async def keep_reclaiming(services: Services) -> None:
    """Reclaim again and again. Runs until it is cancelled."""
    receipts_due = 0.0
    while True:
        try:
            done = await reclaim_objects(services)
            if time.monotonic() >= receipts_due:
                await forget_receipts(services)
                receipts_due = time.monotonic() + _RECEIPTS_PAUSE_SECONDS
            if done.objects:
                _log.info("reclaimed %d objects of %d bytes", done.objects, done.bytes)
        except TamsError as error:
            _log.warning("objects could not be reclaimed, trying again later: %s", error)
        except Exception:
            # Nobody waits for this task, so a failure would end the work without a word.
            _log.exception("reclaiming objects failed, trying again later")
        await asyncio.sleep(_PAUSE_SECONDS)
