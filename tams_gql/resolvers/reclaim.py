"""Reclaiming objects that nothing uses: their rows first, then their bytes.

A claim is a commit: it expects that the object is still unused, looks for users once more, removes
its row, and begins the job that deletes its bytes. A registration that comes first makes the claim
stale; one that comes later finds the object gone. So nothing referenced is ever missing, and no
bytes are forgotten.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from tams_gql.context import Services
from tams_gql.metrics import GC_BYTES, GC_OBJECTS
from tams_gql.model.errors import TamsError
from tams_gql.resolvers import jobs
from tams_gql.resolvers.deletions import delete_bytes, doomed_of
from tams_gql.resolvers.object_rules import INIT, MEDIA
from tams_gql.store.changes import ChangeSet, Delete, Expect, Refer, Stale, Update
from tams_gql.store.records import ObjectRecord, records
from tams_gql.store.scan import Op, OrderBy, Scan, compare, eq, is_in
from tams_gql.store.tables import JOBS, OBJECTS, RECEIPTS, SEGMENTS

_BATCH = 100  # objects of one claim
_PAUSE_SECONDS = 15.0
_RECEIPT_SECONDS = 24 * 3600

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reclaimed:
    """How many objects went, and the bytes they had as far as known."""

    objects: int = 0
    bytes: int = 0

    def __add__(self, other: Reclaimed) -> Reclaimed:
        return Reclaimed(self.objects + other.objects, self.bytes + other.bytes)


async def reclaim_objects(services: Services) -> Reclaimed:
    """Remove what has lapsed now: allocations never registered, objects without users.

    An orphan is kept for ``min_object_timeout``, so that a client may delete a segment and register
    its object anew (TAMS 8.2, POST segments).
    """
    total = Reclaimed()
    async for rows in lapsed(services):
        total += await _reclaim(services, rows)
    return total


async def lapsed(services: Services) -> AsyncIterator[list[ObjectRecord]]:
    """The objects that have lapsed now, in batches. Whether one is in use has to be checked."""
    now = services.now_us()
    before = now - services.limits.min_object_timeout * 1_000_000
    for column, limit in (("expires", now), ("orphaned", before)):
        after: tuple[int, str] | None = None
        while True:
            scan = Scan(
                OBJECTS,
                OBJECTS.columns,
                where=(compare(column, Op.LT, limit),),
                order=(OrderBy(column), OrderBy("id")),
                limit=_BATCH,
                after=after,
            )
            async with services.store.session() as session:
                (batch,) = await session.scan([scan])
            rows = records(batch, ObjectRecord)
            if rows:
                yield rows
            if len(rows) < _BATCH:
                break
            after = (getattr(rows[-1], column), rows[-1].id)


async def users_of(services: Services, row: ObjectRecord) -> tuple[int, int]:
    """How many segments and objects really use an object, whatever its count says."""
    segments = Scan(SEGMENTS, (), where=(eq("object_id", row.id),))
    objects = Scan(OBJECTS, (), where=(eq("init_object_id", row.id),))
    async with services.store.session() as session:
        by_segments, by_objects = await session.count([segments, objects])
    return by_segments, by_objects


async def _reclaim(services: Services, rows: Sequence[ObjectRecord]) -> Reclaimed:
    try:
        return await _claim(services, rows)
    except Stale:
        # One of them is in use. Side by side, so that the claims share the sync of a group commit.
        found = await asyncio.gather(*(_reclaim_one(services, row) for row in rows))
        return sum(found, Reclaimed())


async def _reclaim_one(services: Services, row: ObjectRecord) -> Reclaimed:
    try:
        return await _claim(services, [row])
    except Stale:
        corrected = await _correct(services, row)
        GC_OBJECTS.add("corrected" if corrected else "reused")
        return Reclaimed()


async def _claim(services: Services, rows: Sequence[ObjectRecord]) -> Reclaimed:
    """Take objects out of the catalog; ``Stale`` if somebody uses one of them."""
    changes = ChangeSet(services.now_us())
    ids = [row.id for row in rows]
    for row in rows:
        unused = {"role": row.role, "ref_count": 0, "created": row.created}
        lapse = {"orphaned": row.orphaned, "expires": row.expires, "instances": row.instances}
        changes.expect.append(Expect(OBJECTS, (row.id,), unused | lapse))
    # The counts are not enough: bytes that are gone cannot be brought back. None may be found.
    changes.delete.append(Delete(SEGMENTS, (is_in("object_id", ids),), count=0))
    changes.delete.append(Delete(OBJECTS, (is_in("init_object_id", ids),), count=0))
    changes.delete.append(Delete(OBJECTS, (is_in("id", ids),)))
    ended = (is_in("object_id", ids), eq("kind", jobs.COPY), eq("due", None))
    changes.delete.append(Delete(JOBS, ended))
    inits = Counter(row.init_object_id for row in rows if row.init_object_id is not None)
    changes.refer += [Refer(object_id, -count) for object_id, count in inits.items()]
    doomed = [each for row in rows for each in doomed_of(services, row)]
    delete_bytes(changes, doomed, rows[0].id if len(rows) == 1 else None)
    await jobs.commit(services, changes)
    done = Reclaimed(len(rows), sum(row.size or 0 for row in rows))
    GC_OBJECTS.add("reclaimed", by=done.objects)
    GC_BYTES.add(by=done.bytes)
    return done


async def _correct(services: Services, row: ObjectRecord) -> bool:
    """Repair the count of an object that is in use although it says otherwise."""
    by_segments, by_objects = await users_of(services, row)
    used = by_segments + by_objects
    if not used:
        return False
    changes = ChangeSet(services.now_us())
    as_read = {"ref_count": row.ref_count, "orphaned": row.orphaned, "expires": row.expires}
    changes.expect.append(Expect(OBJECTS, (row.id,), {"role": row.role, **as_read}))
    role = row.role or (MEDIA if by_segments else INIT)
    registered = row.registered or changes.now_us
    columns = ("role", "registered", "expires", "ref_count", "orphaned")
    values = (row.id, role, registered, None, used, None)
    changes.update.append(Update(OBJECTS, columns, (values,)))
    try:
        await services.store.commit(changes)
    except Stale:
        return False  # the count has changed meanwhile, as it should
    _log.error("object %s had no user by its count but has %d; corrected", row.id, used)
    return True


async def forget_receipts(services: Services) -> None:
    """Remove what idempotency keys have remembered for longer than a client retries."""
    now = services.now_us()
    old = compare("created", Op.LT, now - _RECEIPT_SECONDS * 1_000_000)
    changes = ChangeSet(now)
    changes.delete.append(Delete(RECEIPTS, (old,)))
    await services.store.commit(changes)


async def keep_reclaiming(services: Services) -> None:
    """Reclaim again and again. Runs until it is cancelled."""
    while True:
        try:
            done = await reclaim_objects(services)
            if done.objects:
                _log.info("reclaimed %d objects of %d bytes", done.objects, done.bytes)
        except TamsError as error:
            _log.warning("objects could not be reclaimed, trying again later: %s", error)
        except Exception:
            # Nobody waits for this task, so a failure would end the work without a word.
            _log.exception("reclaiming objects failed, trying again later")
        await asyncio.sleep(_PAUSE_SECONDS)
