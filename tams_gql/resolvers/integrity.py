"""Reading a sample of the stored objects, to notice bytes that have changed on their own."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

import orjson

from tams_gql.context import Services
from tams_gql.media.port import MediaBackend
from tams_gql.media.verification import mismatches
from tams_gql.metrics import INTEGRITY_CHECKS
from tams_gql.model.errors import NotFound, TamsError
from tams_gql.model.ids import new_id
from tams_gql.store.records import ObjectRecord, records
from tams_gql.store.scan import Op, OrderBy, Scan, compare, eq
from tams_gql.store.tables import OBJECTS

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Checked:
    """What became of one copy: ``ok``, ``mismatch``, ``missing`` or ``unreadable``."""

    object_id: str
    storage_id: str
    outcome: str


async def check_object(services: Services, row: ObjectRecord) -> list[Checked]:
    """Read each copy of an object whose checksum is known, and report those that differ."""
    found: list[Checked] = []
    for instance in orjson.loads(row.instances):
        media = services.media.get(instance.get("storage_id", ""))
        expected = instance.get("checksums")
        if media is None or not expected:
            continue
        outcome = await _outcome(media, instance["key"], expected)
        if outcome is None:
            continue
        if outcome != "ok" and not await _still_there(services, row.id, instance["key"]):
            continue  # it was removed, as it may be
        checked = Checked(row.id, instance["storage_id"], outcome)
        INTEGRITY_CHECKS.add(outcome)
        if outcome != "ok":
            _log.error("object %s in storage backend %s: %s", row.id, checked.storage_id, outcome)
        found.append(checked)
    return found


async def _outcome(media: MediaBackend, key: str, expected: dict[str, str]) -> str | None:
    try:
        wrong = await mismatches(media, key, expected)
    except NotFound:
        return "missing"
    except TamsError:
        return "unreadable"
    if wrong is None:
        return None
    return "mismatch" if wrong else "ok"


async def _still_there(services: Services, object_id: str, key: str) -> bool:
    scan = Scan(OBJECTS, OBJECTS.columns, where=(eq("id", object_id),))
    async with services.store.session() as session:
        (batch,) = await session.scan([scan])
    return any(
        instance.get("key") == key
        for row in records(batch, ObjectRecord)
        for instance in orjson.loads(row.instances)
    )


async def next_object(services: Services, after: str) -> ObjectRecord | None:
    """The registered object that follows an id, the first one after the last."""
    for start in ((after,), None):
        scan = Scan(
            OBJECTS,
            OBJECTS.columns,
            where=(compare("role", Op.NOT_NULL),),
            order=(OrderBy("id"),),
            limit=1,
            after=start,
        )
        async with services.store.session() as session:
            (batch,) = await session.scan([scan])
        for row in records(batch, ObjectRecord):
            return row
    return None


async def keep_checking(services: Services, per_hour: int) -> None:
    """Check one object after the other, from a random one on. Runs until it is cancelled."""
    after = new_id()
    while True:
        try:
            row = await next_object(services, after)
            if row is not None:
                after = row.id
                await check_object(services, row)
        except TamsError as error:
            _log.warning("stored objects could not be checked, trying again later: %s", error)
        except Exception:
            _log.exception("checking stored objects failed, trying again later")
        await asyncio.sleep(3600 / per_hour)
