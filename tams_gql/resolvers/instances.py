"""Adding and removing copies of objects (TAMS 8.2, object instances)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from tams_gql.context import Context
from tams_gql.model.errors import BadInput, Conflict, NotFound
from tams_gql.model.media_object import ExternalUrl
from tams_gql.resolvers.attempts import until_fresh
from tams_gql.resolvers.deletions import delete_bytes, doomed_of
from tams_gql.resolvers.documents import to_json_text
from tams_gql.resolvers.object_rules import MAX_INSTANCES, MAX_INSTANCES_BYTES
from tams_gql.resolvers.objects import media_object
from tams_gql.store.changes import ChangeSet, Expect, Update
from tams_gql.store.records import ObjectRecord
from tams_gql.store.tables import OBJECTS

_Instances = list[dict[str, Any]]


async def add_external_instance(ctx: Context, object_id: str, url: ExternalUrl) -> ObjectRecord:
    """Register a copy that this service does not control.

    Raises ``NotFound``, and ``Conflict`` if the label is that of a storage backend or of another
    copy. Adding the same copy again changes nothing.
    """
    backends = {media.backend.label for media in ctx.services.media}
    if url.label in backends:
        raise Conflict(
            f"label: {url.label!r} belongs to a storage backend; choose another", field="label"
        )
    added = {"url": url.url, "label": url.label}

    def change(instances: _Instances) -> _Instances:
        if added in instances:
            return instances
        if any(i.get("label") == url.label for i in instances):
            raise Conflict(f"label: {url.label!r} is another copy of the object", field="label")
        if len(instances) >= MAX_INSTANCES:
            raise Conflict(f"the object has {MAX_INSTANCES} copies, which is the most", field="url")
        return [*instances, added]

    return await _change(ctx, object_id, change)


async def remove_instance(
    ctx: Context, object_id: str, *, storage_id: str | None, label: str | None
) -> ObjectRecord:
    """Forget a copy; the bytes of a controlled one are deleted in the background.

    The last copy cannot be removed: an object ends with its segments. Raises ``NotFound``,
    ``Conflict``, and ``BadInput`` unless exactly one of ``storage_id`` and ``label`` is given.
    """
    if (storage_id is None) == (label is None):
        raise BadInput("give either storageId or label", field="label")
    gone: _Instances = []

    def change(instances: _Instances) -> _Instances:
        gone[:] = [i for i in instances if _names(ctx, i, storage_id, label)]
        if not gone:
            raise NotFound(
                f"object {object_id} has no such copy",
                field="label" if storage_id is None else "storageId",
            )
        kept = [i for i in instances if i not in gone]
        if not kept:
            raise Conflict("the last copy of an object cannot be removed")
        return kept

    def begin_deletion(changes: ChangeSet, row: ObjectRecord) -> None:
        doomed = doomed_of(ctx.services, row._replace(instances=to_json_text(gone)))
        delete_bytes(changes, doomed, object_id)

    row = await _change(ctx, object_id, change, begin_deletion)
    ctx.services.jobs_bell.ring()
    return row


def _names(
    ctx: Context, instance: dict[str, Any], storage_id: str | None, label: str | None
) -> bool:
    if storage_id is not None:
        return bool(instance.get("storage_id") == storage_id)
    if "storage_id" not in instance:
        return bool(instance.get("label") == label)
    media = ctx.services.media.get(instance["storage_id"])
    return media is not None and media.backend.label == label


async def _change(
    ctx: Context,
    object_id: str,
    change: Callable[[_Instances], _Instances],
    also: Callable[[ChangeSet, ObjectRecord], None] | None = None,
) -> ObjectRecord:
    async def attempt() -> ObjectRecord:
        row = await media_object(ctx, object_id)
        if row is None:
            raise NotFound(f"there is no object {object_id}", field="objectId")
        text = to_json_text(change(orjson.loads(row.instances)))
        if text == row.instances:
            return row
        if len(text) > MAX_INSTANCES_BYTES:
            raise Conflict("the copies of the object take too much room together", field="url")
        changes = ChangeSet(ctx.services.now_us())
        relied_on = {"instances": row.instances, "role": row.role}
        changes.expect.append(Expect(OBJECTS, (object_id,), relied_on))
        changes.update.append(Update(OBJECTS, ("instances",), ((object_id, text),)))
        if also is not None:
            also(changes, row)
        await ctx.commit(changes)
        return row._replace(instances=text)

    return await until_fresh(attempt)
