"""Allocating storage for new objects (TAMS 8.2, POST storage)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from tams_gql.context import Context
from tams_gql.media.keys import unique_name
from tams_gql.media.port import MediaBackend, PutRequest, SignedRequest
from tams_gql.model.errors import BadInput, Conflict, LimitExceeded, NotFound, ReadOnly
from tams_gql.model.ids import new_id
from tams_gql.resolvers.documents import to_json_text
from tams_gql.resolvers.idempotency import NO_KEY, Earlier, Idempotency, once
from tams_gql.store.changes import ChangeSet, Expect, Insert
from tams_gql.store.records import FlowRecord, ObjectRecord
from tams_gql.store.tables import FLOWS, OBJECTS


@dataclass(frozen=True, slots=True)
class Allocation:
    """A new object and the request that uploads its bytes."""

    object_id: str
    storage_id: str
    put: SignedRequest
    presigned: bool


async def allocate_storage(
    ctx: Context,
    flow_id: str,
    *,
    limit: int | None = None,
    object_ids: Sequence[str] | None = None,
    storage_id: str | None = None,
    content_type: str | None = None,
    idempotency: Idempotency = NO_KEY,
) -> list[Allocation]:
    """Reserve object ids and keys for a flow; they lapse unless registered in time.

    ``content_type`` is only for initialisation segments of another type than the flow's container.
    Raises ``BadInput``, ``NotFound``, ``ReadOnly``, ``LimitExceeded``.
    """
    wanted = _wanted(limit, object_ids, ctx.limits.max_batch_items)
    media = _backend(ctx, storage_id)

    async def attempt() -> list[Allocation]:
        flow = await ctx.loaders.flow_by_id.load(flow_id)
        if flow is None:
            raise NotFound(f"there is no flow {flow_id}", field="flowId")
        if flow.read_only:
            raise ReadOnly(f"flow {flow_id} is read-only", field="flowId")
        if flow.container is None:
            raise BadInput(
                f"flow {flow_id} has no container, so it cannot hold objects", field="flowId"
            )
        if object_ids is not None:
            await _refuse_taken(ctx, wanted)
        keys = [_new_key(ctx, media, i, flow.id, minted=object_ids is None) for i in wanted]
        made = _Made(media, dict(zip(wanted, keys, strict=True)), content_type or flow.container)
        # First: storage that nobody can upload to must not be allocated.
        signed = _signed(ctx, made, ctx.limits.min_object_timeout)
        await _allocate(ctx, flow, made, idempotency, minted=object_ids is None)
        return signed

    async def replay(earlier: Earlier) -> list[Allocation]:
        stored = ctx.services.media.for_allocation(earlier.response["storage_id"])
        made = _Made(stored, earlier.response["keys"], earlier.response["content_type"])
        return _signed(ctx, made, await _still_open(ctx, made))

    return await once(ctx, idempotency, replay, attempt)


def _backend(ctx: Context, storage_id: str | None) -> MediaBackend:
    try:
        return ctx.services.media.for_allocation(storage_id)
    except BadInput as error:
        raise BadInput(f"storage_id: {error.message}", field="storage_id") from None


def _wanted(limit: int | None, object_ids: Sequence[str] | None, most: int) -> list[str]:
    if limit is not None and object_ids is not None:
        raise BadInput("limit and objectIds cannot both be given", field="limit")
    count = (10 if limit is None else limit) if object_ids is None else len(object_ids)
    name = "limit" if object_ids is None else "objectIds"
    if count < 1:
        raise BadInput(f"{name}: at least one object must be asked for", field=name)
    if count > most:
        raise LimitExceeded(
            f"{name}: {count} objects are above the limit of {most}",
            field=name,
            limit=most,
            requested=count,
        )
    if object_ids is None:
        return [new_id() for _ in range(count)]
    if len(set(object_ids)) != count:
        raise BadInput("objectIds: an id is given twice", field="objectIds")
    return list(object_ids)


async def _refuse_taken(ctx: Context, object_ids: list[str]) -> None:
    # TAMS 8.2, storage `object_ids`: supplied ids must be new to this service.
    known = await ctx.loaders.object_by_id.load_many(object_ids)
    taken = [row.id for row in known if row is not None]
    if taken:
        raise BadInput(f"objectIds: {taken[0]} is already in use", field="objectIds")


@dataclass(frozen=True, slots=True)
class _Made:
    """Places for new objects: their keys by object id."""

    media: MediaBackend
    keys: Mapping[str, str]
    content_type: str


def _now(ctx: Context) -> datetime:
    return datetime.fromtimestamp(ctx.services.now_us() / 1_000_000, UTC)


def _new_key(
    ctx: Context, media: MediaBackend, object_id: str, flow_id: str, *, minted: bool
) -> str:
    # An id that a client has chosen may come back when its object has gone, but what is deleted
    # under the old key must never be the new object.
    name = object_id if minted else unique_name(object_id)
    return media.new_key(name, flow_id=flow_id, now=_now(ctx))


async def _allocate(
    ctx: Context, flow: FlowRecord, made: _Made, idempotency: Idempotency, *, minted: bool
) -> None:
    now_us = ctx.services.now_us()
    lifetime = ctx.limits.min_object_timeout + ctx.limits.allocation_grace
    storage_id = made.media.backend.id
    rows = tuple(
        ObjectRecord(
            id=object_id,
            role=None,
            size=None,
            content_type=made.content_type,
            timerange=None,
            start_ns=None,
            end_ns=None,
            init_object_id=None,
            key_frame_count=None,
            instances=to_json_text([{"storage_id": storage_id, "key": key}]),
            created=now_us,
            registered=None,
            expires=now_us + lifetime * 1_000_000,
            allocated_flow_id=flow.id,
            first_flow_id=None,
            ref_count=0,
            orphaned=None,
        )
        for object_id, key in made.keys.items()
    )
    changes = ChangeSet(now_us)
    relied_on = {"read_only": False, "container": flow.container}
    changes.expect.append(Expect(FLOWS, (flow.id,), relied_on))
    changes.insert.append(Insert(OBJECTS, OBJECTS.columns, rows, minted))
    response = {"storage_id": storage_id, "keys": made.keys, "content_type": made.content_type}
    idempotency.remember(changes, response)
    await ctx.commit(changes)


async def _still_open(ctx: Context, made: _Made) -> int:
    """How many seconds the places of an earlier allocation could still be written to.

    That they are registered already does not matter: a client that lost an answer begins again
    with the allocation, and its first upload request works as long.
    """
    rows = await ctx.loaders.object_by_id.load_many(list(made.keys))
    begun = [row.created for row in rows if row is not None]
    ends_us = min(begun, default=0) + ctx.limits.min_object_timeout * 1_000_000
    left = (ends_us - ctx.services.now_us()) // 1_000_000
    if len(begun) != len(made.keys) or left < 1:
        raise Conflict(
            "idempotencyKey: the storage that the key allocated has lapsed",
            field="idempotencyKey",
        )
    return left


def _signed(ctx: Context, made: _Made, open_seconds: int) -> list[Allocation]:
    """The upload requests, as many as there are places.

    They do not outlive the allocation: a later upload would never be registered.
    """
    backend = made.media.backend
    puts = made.media.sign_put(
        [PutRequest(key, made.content_type) for key in made.keys.values()],
        expires_in=min(ctx.limits.url_lifetime, open_seconds),
    )
    return [
        Allocation(object_id, backend.id, put, backend.presigned)
        for object_id, put in zip(made.keys, puts, strict=True)
    ]
